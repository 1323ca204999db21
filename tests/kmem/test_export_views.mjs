// SPDX-License-Identifier: MIT
// Lets other people's programs read what kmem export wrote, in headless Chromium, and prints what they made of it as JSON;
// test_export.py judges.
//
//   node test_export_views.mjs DIR chrome TRACE_VIEWER.html FILE
//   node test_export_views.mjs DIR speedscope INDEX.html FILE
//
// DIR holds the node_modules with playwright-core.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [dir, kind, viewer, file] = process.argv.slice(2);
const { chromium } = createRequire(join(dir, "package.json"))("playwright-core");
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
	"--disable-component-update", "--disable-sync"];

// Runs before the trace viewer: what browsers had when it was written, as far as its model and its importers need that.
function standIn() {
	const made = {};
	const create = document.createElement;
	window.CustomElements = { hasNative: false, upgrade() {} };
	document._currentScript = { ownerDocument: document };
	document.registerElement = (name, { prototype } = {}) => {
		made[name] = prototype;
		return Object.assign(function () { return document.createElement(name); }, { prototype });
	};
	document.createElement = function (name, ...more) {
		const element = create.call(document, name, ...more);
		const prototype = made[String(name).toLowerCase()];
		if (prototype) {
			Object.setPrototypeOf(element, prototype);
			element.createdCallback?.();
		}
		return element;
	};
}

// Runs in the page of the trace viewer.
function importTrace(text) {
	const model = new tr.Model();
	const options = new tr.importer.ImportOptions();
	options.showImportWarnings = false;
	new tr.importer.Import(model, options).importTraces([text]);
	const [one, ...more] = Object.values(model.processes);
	return {
		warnings: model.importWarnings.map(({ message }) => String(message)),
		process: more.length ? null : one.name,
		counters: Object.fromEntries(Object.values(one.counters).map(({ name, series }) =>
			[name, series.flatMap(({ samples }) => samples.map(({ value }) => value))])),
		marks: one.instantEvents.map(({ title, args }) => ({ title, args })),
		other: model.metadata.find(({ name }) => name === "otherData").value,
	};
}

async function useTraceViewer(page) {
	await page.addInitScript(standIn);
	await page.goto(pathToFileURL(viewer).href);
	return page.evaluate(importTrace, readFileSync(file, "utf8"));
}

// It draws on a canvas; what it read is in what it saves.
async function useSpeedscope(page) {
	await page.goto(pathToFileURL(viewer).href);
	await page.setInputFiles("input[type=file]", file);
	const saved = page.waitForEvent("download");
	await page.getByText("Export", { exact: false }).click();
	const { shared, profiles: [profile] } = JSON.parse(readFileSync(await (await saved).path(), "utf8"));
	const stacks = {};
	const open = [];
	let before = profile.startValue;
	for (const { type, frame, at } of profile.events) {
		const name = open.join(";");
		if (at > before)
			stacks[name] = (stacks[name] ?? 0) + at - before;
		before = at;
		if (type === "O")
			open.push(shared.frames[frame].name);
		else
			open.pop();
	}
	return { unit: profile.unit, stacks };
}

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ARGS, timeout: 60000 });
try {
	const page = await browser.newPage();
	page.setDefaultTimeout(30000);
	const problems = [];
	page.on("pageerror", (error) => problems.push(error.message));
	page.on("dialog", (dialog) => problems.push(dialog.message()) && dialog.dismiss());
	const seen = kind === "chrome" ? await useTraceViewer(page) : await useSpeedscope(page);
	console.log(JSON.stringify({ ...seen, problems }));
} finally {
	await browser.close();
}
