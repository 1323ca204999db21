// SPDX-License-Identifier: MIT
// Opens a page in headless Chromium, uses it, and prints what it saw as JSON; test_page.py judges.
//
//   node page_drive.mjs DIR results|flame PAGE.html WIDTH [PICTURES]
//
// DIR holds the node_modules with playwright-core; PICTURES is where screenshots go, if anywhere.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [dir, kind, file, width, pictures] = process.argv.slice(2);
const { chromium } = createRequire(join(dir, "package.json"))("playwright-core");
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
	"--disable-component-update", "--disable-sync"];

// Runs in the page: what is in sight now.
function lookAtResults() {
	const text = (node) => node?.textContent ?? null;
	const all = (root, selector) => [...root.querySelectorAll(selector)];
	const cells = (row) => all(row, "td").map((cell) => ({ ...cell.dataset, text: text(cell), title: cell.title }));
	const fields = (row) => all(row, "td[data-column]").map((cell) => ({
		column: cell.dataset.column, ratio: text(cell.querySelector('[data-field="ratio"]')),
		range: text(cell.querySelector('[data-field="range"]')),
	}));
	const chart = (figure) => ({
		...figure.dataset,
		bars: all(figure, ".value > *").length,
		hollow: all(figure, ".hollow > *").length,
		whiskers: all(figure, ".whisker > *").length,
		// Where the bars begin and end, and the whiskers, in pixels.
		spans: all(figure, ".value > rect").map((bar) => [+bar.getAttribute("x"), +bar.getAttribute("x") + +bar.getAttribute("width")]),
		reaches: all(figure, ".whisker > line").map((line) => [+line.getAttribute("x1"), +line.getAttribute("x2")]),
		names: all(figure, ".name > *").map(text),
		notes: all(figure, ".note > text").map(text),
		numbers: all(figure, ".number > *").map(text),
		points: all(figure, ".point > *").length,
		lines: all(figure, ".curve > *").length,
		series: all(figure, ".series > *").length,
	});
	return {
		overflow: Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - innerWidth,
		sections: all(document, ".content > section").map(({ id }) => id),
		groups: all(document, "section[data-group]").map((section) => ({
			name: section.dataset.group,
			abouts: all(section, ".abouts dd").map(text),
			charts: all(section, "figure").map(chart),
			tables: all(section, "table.numbers").map((table) => ({
				...table.dataset,
				columns: all(table, "thead tr:first-child th[colspan]").map(text),
				rows: all(table, "tbody tr").map((row) => ({ name: row.dataset.benchmark, head: text(row.querySelector("th")), cells: cells(row) })),
			})),
		})),
		summary: {
			charts: all(document, "#summary figure").map(chart),
			rows: all(document, "#summary tbody tr").map((row) => ({ ...row.dataset, head: text(row.querySelector("th")), cells: fields(row) })),
		},
	};
}

async function drawn(page) {
	await page.waitForSelector(".content:not([data-drawing])", { state: "attached" });
}

async function openAll(page) {
	await drawn(page);
	await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
	await page.waitForFunction(() => [...document.querySelectorAll("details > div")].every((body) => body.firstChild));
}

async function results(page, look, picture) {
	const seen = { text: await page.evaluate(() => document.body.innerText) };
	seen.links = await page.evaluate(() => [...document.querySelectorAll("nav a")].map((link) => link.getAttribute("href")));
	seen.failures = await page.evaluate(() => [...document.querySelectorAll(".failures li")].map((item) => item.textContent));
	await picture("top");
	await openAll(page);
	seen.ratio = await look();
	await picture("ratio");

	await page.click('[data-unit="absolute"]');
	seen.absolute = await look();
	await picture("absolute");
	await page.click('[data-unit="ratio"]');

	await page.click('.chip[data-column="jemalloc"]');
	seen.switchedOff = await look();
	await page.click('.chip[data-column="jemalloc"]');
	seen.switchedOn = await look();

	// Sort the first table by each of two columns, up and down and back.
	const table = page.locator("table.numbers[data-metric]").first();
	const names = () => table.evaluate((node) => [...node.querySelectorAll("tbody tr")].map((row) => row.dataset.benchmark));
	seen.sorted = {};
	for (const key of ["glibc ratio", "kmalloc median"])
		for (const turn of ["up", "down", "back"]) {
			await table.locator(`[data-sort="${key}"]`).evaluate((button) => button.click());
			seen.sorted[`${key} ${turn}`] = await names();
		}

	await page.fill("#filter", "REDIS");
	await page.waitForFunction(() => document.querySelectorAll("section[data-group]").length === 1);
	seen.filtered = await look();
	await page.fill("#filter", "no such benchmark");
	await page.waitForSelector(".nothing:not([hidden])");
	seen.nothing = await page.textContent(".nothing");
	await page.fill("#filter", "");
	await page.waitForFunction((count) => document.querySelectorAll("section[data-group]").length === count, seen.ratio.groups.length);
	await drawn(page);

	// A tip, at both ends of each chart of a group: none may make the page wider.
	seen.tips = [];
	for (const section of ["#summary", "#group-programs", "#group-threads"])
		for (const figure of await page.locator(`${section} figure`).all()) {
			const svg = figure.locator("svg.plot").first();
			await svg.scrollIntoViewIfNeeded();
			const { width: wide } = await svg.boundingBox();
			for (const x of [wide * 0.25, wide * 0.8]) {
				await svg.hover({ position: { x, y: 60 } });
				await page.waitForTimeout(30);
				const shown = await svg.evaluate((node) => {
					const text = node.querySelector(".tip text");
					const box = text?.getBoundingClientRect();
					return text && { text: text.textContent, left: box.left, right: box.right };
				});
				if (shown)
					seen.tips.push({ section, ...shown, overflow: (await look()).overflow });
			}
		}
	await picture("tip");
	// The sticky first column stays where it is when its table is scrolled.
	seen.sticky = await page.evaluate(() => {
		const scroll = document.querySelector("section[data-group] .scroll");
		const left = () => scroll.querySelector("tbody th").getBoundingClientRect().left - scroll.getBoundingClientRect().left;
		const before = left();
		scroll.scrollLeft = 150;
		return { moved: scroll.scrollLeft, by: left() - before };
	});
	return seen;
}

function lookAtFlame() {
	const text = (node) => node.textContent;
	return {
		overflow: Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - innerWidth,
		shares: [...document.querySelectorAll(".shares tbody tr")].map((row) => ({
			path: row.dataset.path,
			samples: text(row.querySelector('[data-field="samples"]')), share: text(row.querySelector('[data-field="share"]')),
		})),
		found: text(document.querySelector(".found")),
		details: text(document.querySelector(".details")),
		frames: [...document.querySelectorAll("#graph svg > g")].map((frame) => ({
			name: frame.getAttribute("name"), title: text(frame.querySelector("title")),
			fill: frame.querySelector("rect").getAttribute("fill"), width: +frame.querySelector("rect").getAttribute("width"),
		})),
	};
}

async function flame(page, look, picture) {
	// Until the frame that is the whole of what is shown is as wide as the graph.
	const settle = (name = "all") => page.waitForFunction((wanted) => {
		const rect = document.querySelector(`#graph svg > g[name="${wanted}"] rect`);
		return Math.abs(rect.getAttribute("width") - document.querySelector("#graph").clientWidth) < 1;
	}, name);
	const frame = (name) => page.locator(`#graph svg > g[name="${name}"]`).first();
	const seen = { text: await page.evaluate(() => document.body.innerText) };
	await settle();
	seen.start = await look();
	await picture("flame");
	await page.fill("#search", "MALLOC");
	await page.waitForFunction(() => document.querySelector(".found").textContent !== "");
	seen.searched = await look();
	await page.click('.shares [data-path="barn"] button');
	await settle();
	seen.path = await look();
	await page.click("#reset");
	await settle();
	seen.cleared = await look();
	await frame("parse_file").click({ position: { x: 5, y: 5 } });
	await settle("parse_file");
	seen.zoomed = await look();
	await picture("zoomed");
	await page.click("#reset");
	await settle();
	seen.reset = await look();
	return seen;
}

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ARGS, timeout: 60000 });
try {
	const page = await browser.newPage({
		viewport: { width: +width, height: 740 }, reducedMotion: "reduce", colorScheme: +width < 700 ? "dark" : "light",
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
	const picture = async (name) => pictures && page.screenshot({ path: join(pictures, `${name}-${width}.png`) });
	const look = async () => {
		if (kind === "results")
			await drawn(page);
		return await page.evaluate(kind === "flame" ? lookAtFlame : lookAtResults);
	};
	const seen = await (kind === "flame" ? flame : results)(page, look, picture);
	process.stdout.write(JSON.stringify({ ...seen, problems, requests }));
} finally {
	await browser.close();
}
