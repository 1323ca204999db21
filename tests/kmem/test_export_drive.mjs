// SPDX-License-Identifier: MIT
// Opens what kmem export wrote in headless Chromium, uses it, and prints what it saw as JSON; test_export.py judges.
//
//   node test_export_drive.mjs DIR page PAGE.html WIDTH [PICTURES]
//   node test_export_drive.mjs DIR dhat DH_VIEW.html FILE.json
//
// DIR holds the node_modules with playwright-core; PICTURES is where screenshots go, if anywhere.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [dir, kind, file, argument, pictures] = process.argv.slice(2);
const { chromium } = createRequire(join(dir, "package.json"))("playwright-core");
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
	"--disable-component-update", "--disable-sync"];

// Runs in the page: what is in sight now.
function look() {
	const text = (node) => node?.textContent ?? null;
	const all = (root, selector) => [...root.querySelectorAll(selector)];
	const bars = (id) => all(document, `#${id} .number > text, #${id} .number text`).map(text);
	return {
		overflow: Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - innerWidth,
		notices: all(document, ".notice").map(text),
		tiles: Object.fromEntries(all(document, ".tile").map((tile) => [tile.id,
			{ shown: text(tile.querySelector(".large")), exact: all(tile, "[data-exact]").map((node) => +node.dataset.exact) }])),
		peak: text(document.querySelector("#curve .peak text, #curve text.peak")),
		curves: all(document, "#curve svg path").length,
		names: all(document, "#sites tbody tr").map((row) => text(row.querySelector("th button"))),
		sites: Object.fromEntries(all(document, "#sites tbody tr").map((row) => [text(row.querySelector("th button")),
			Object.fromEntries(all(row, "td").map((cell) => [cell.dataset.field, { exact: +cell.dataset.exact, shown: text(cell) }]))])),
		where: all(document, "#sites tbody .where").map(text),
		sizes: bars("sizes"),
		lifetimes: bars("lifetimes"),
		found: text(document.querySelector(".found")),
		details: text(document.querySelector(".details")),
		frames: all(document, "#graph svg > g").map((frame) => ({
			name: frame.getAttribute("name"), title: text(frame.querySelector("title")),
			fill: frame.querySelector("rect").getAttribute("fill"), width: +frame.querySelector("rect").getAttribute("width"),
		})),
	};
}

async function usePage(page, picture) {
	const whole = (name) => page.waitForFunction((wanted) => {
		const frames = [...document.querySelectorAll("#graph svg > g")];
		const wide = document.querySelector("#graph").clientWidth;
		const full = frames.filter((frame) => Math.abs(frame.querySelector("rect").getAttribute("width") - wide) < 1);
		return wanted ? full.some((frame) => frame.getAttribute("name") === wanted) : frames.length > 0 && full.length > 0;
	}, name);
	const seen = { text: await page.evaluate(() => document.body.innerText) };
	await whole();
	seen.start = await page.evaluate(look);
	await picture("page", true);
	seen.values = {};
	for (const value of ["live_bytes", "peak_bytes", "alloc", "allocs"]) {
		await page.click(`#flame [data-value="${value}"]`);
		await page.waitForTimeout(50);
		seen.values[value] = (await page.evaluate(look)).frames;
	}
	await page.click('#flame [data-value="alloc"]');
	await page.fill("#search", "KEEP");
	await page.waitForFunction(() => document.querySelector(".found").textContent !== "");
	seen.searched = await page.evaluate(look);
	await page.click("#reset");
	await page.locator('#graph svg > g[name="outer_one"], #graph svg > g[name="keep"]').first().click({ position: { x: 1, y: 5 } });
	await page.waitForTimeout(100);
	seen.zoomed = await page.evaluate(look);
	await picture("zoomed");
	await page.click("#reset");
	await whole();
	await page.waitForTimeout(100);
	seen.reset = await page.evaluate(look);

	seen.sorted = {};
	for (const column of ["alloc", "allocs", "live_bytes"])
		for (const turn of ["down", "up"]) {
			await page.click(`#sites [data-column="${column}"] button`);
			seen.sorted[`${column} ${turn}`] = (await page.evaluate(look)).names;
		}
	await page.fill("#filter", "at_PEAK");
	await page.waitForFunction(() => document.querySelectorAll("#sites tbody tr").length === 1);
	seen.filtered = (await page.evaluate(look)).names;
	await page.click("#sites tbody th button");
	await page.waitForFunction(() => document.querySelector(".found").textContent !== "");
	seen.fromTable = await page.evaluate(look);
	await page.click('#curve [data-choice="objects"]');
	seen.objects = await page.evaluate(look);
	await page.click('#sizes [data-choice="bytes"]');
	seen.bytes = await page.evaluate(look);
	const curve = page.locator("#curve svg").first();
	await curve.scrollIntoViewIfNeeded();
	const box = await curve.boundingBox();
	await curve.hover({ position: { x: box.width / 2, y: box.height / 2 } });
	await page.waitForTimeout(100);
	seen.tip = await page.evaluate(() => document.querySelector("#curve .tip text")?.textContent ?? null);
	seen.tipOverflow = (await page.evaluate(look)).overflow;
	await picture("tip");
	return seen;
}

async function useDhat(page) {
	await page.setInputFiles("input[type=file]", argument);
	await page.waitForFunction(() => document.body.innerText.includes("t-end"));
	return { text: await page.evaluate(() => document.body.innerText) };
}

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ARGS, timeout: 60000 });
try {
	const width = kind === "page" ? +argument : 1280;
	const page = await browser.newPage({
		viewport: { width, height: 740 }, reducedMotion: "reduce", colorScheme: width < 700 ? "dark" : "light",
	});
	page.setDefaultTimeout(20000);
	const problems = [];
	const requests = [];
	page.on("console", (message) => problems.push(`console: ${message.type()}: ${message.text()}`));
	page.on("pageerror", (error) => problems.push(`error: ${error.message}`));
	page.on("dialog", (dialog) => problems.push(`dialog: ${dialog.message()}`) && dialog.dismiss());
	const url = pathToFileURL(file).href;
	page.on("request", (request) => request.url() !== url && requests.push(request.url()));
	await page.goto(url);
	const picture = async (name, fullPage = false) => pictures && page.screenshot({ path: join(pictures, `${name}-${width}.png`), fullPage });
	const seen = await (kind === "page" ? usePage(page, picture) : useDhat(page));
	process.stdout.write(JSON.stringify({ ...seen, problems, requests }));
} finally {
	await browser.close();
}
