// SPDX-License-Identifier: MIT
// Bundles the pages, each into one HTML file with its script, its style and the licences of the
// libraries inside: node bundle.mjs SOURCE-DIR OUT-DIR. The modules are those of OUT-DIR/node_modules.
// Where the data goes the file keeps a placeholder, which page.py replaces, and `kmem export --html` in its.
import { createRequire } from "node:module";
import { existsSync, readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [source, out] = process.argv.slice(2);
const esbuild = createRequire(join(out, "package.json"))("esbuild");
const modules = join(out, "node_modules");

// The text of a package's licence; a package without such a file must not get into a page.
function licence(name) {
	const folder = join(modules, name);
	const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
	if (!file)
		throw new Error(`error: the package ${name} has no licence file`);
	return readFileSync(join(folder, file), "utf8").trim();
}

// Names of the packages that files of the bundle come from.
function packagesOf(metafile) {
	const names = new Set();
	for (const output of Object.values(metafile.outputs))
		for (const [file, { bytesInOutput }] of Object.entries(output.inputs)) {
			const found = /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file);
			if (found && bytesInOutput > 0)
				names.add(found[1]);
		}
	return [...names].sort();
}

// All licences, the packages that share a text named together.
function notices(names) {
	const byText = new Map();
	for (const name of names) {
		const { version } = JSON.parse(readFileSync(join(modules, name, "package.json"), "utf8"));
		const text = licence(name);
		byText.set(text, [...(byText.get(text) ?? []), `${name} ${version}`]);
	}
	return [...byText].map(([text, of]) => `${of.join(", ")}:\n\n${text}`).join("\n\n----\n\n");
}

function put(html, placeholder, text) {
	if (html.split(placeholder).length !== 2)
		throw new Error(`error: ${placeholder} is not in the page just once`);
	return html.replace(placeholder, () => text);
}

async function bundle(folder, name, made = name) {
	const { outputFiles, metafile } = await esbuild.build({
		absWorkingDir: folder,
		entryPoints: [`${name}.js`],
		outdir: out,
		nodePaths: [modules],
		bundle: true,
		minify: true,
		format: "iife",
		target: "es2020",
		charset: "utf8",
		legalComments: "eof",
		metafile: true,
		write: false,
		logLevel: "error",
	});
	const text = (end) => outputFiles.find(({ path }) => path.endsWith(end))?.text ?? "";
	const script = text(".js");
	const style = text(".css");
	if (/<\/script/i.test(script) || /<\/style/i.test(style))
		throw new Error("error: the bundle would end its own element");
	const licences = notices(packagesOf(metafile));
	if (/--!?>/.test(licences))
		throw new Error("error: a licence would end the comment around it");
	let html = readFileSync(join(folder, `${name}.html`), "utf8");
	html = put(html, "@STYLE@", style);
	html = put(html, "@SCRIPT@", script);
	html = put(html, "@LICENCES@", licences);
	put(html, "@DATA@", ""); // just one is left for the data
	const file = join(out, `${made}.html`);
	writeFileSync(`${file}.new`, html);
	renameSync(`${file}.new`, file);
}

if (!existsSync(modules))
	throw new Error(`error: no ${modules}`);
await bundle(source, "page", "results");
await bundle(source, "flame");
await bundle(join(source, "../../tools/kmem/page"), "heap");
