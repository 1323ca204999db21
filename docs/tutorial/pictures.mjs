// SPDX-License-Identifier: MIT
// Takes the tutorial's pictures of two pages of `kmem export --html`, in headless Chromium.
//
//   node pictures.mjs DIR WORDS.html REDIS.html OUT
//
// DIR holds the node_modules with playwright-core: build/page.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [dir, words, redis, out] = process.argv.slice(2);
const { chromium } = createRequire(join(dir, "package.json"))("playwright-core");
const WIDTH = 860;
const MARGIN = 6;

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"], timeout: 60000 });
try {
	const open = async (file) => {
		const page = await browser.newPage({ viewport: { width: WIDTH, height: 1400 }, reducedMotion: "reduce", colorScheme: "light" });
		await page.goto(pathToFileURL(file).href);
		await page.waitForSelector("#graph svg > g");
		return page;
	};
	// From the top of one element to the bottom of another one.
	const take = async (page, name, first, last) => {
		await page.waitForTimeout(300);
		const boxes = await page.evaluate((selectors) => selectors.map((selector) => {
			const box = document.querySelector(selector).getBoundingClientRect();
			return { top: box.top + scrollY, bottom: box.bottom + scrollY };
		}), [first, last]);
		const y = boxes[0].top - MARGIN;
		await page.screenshot({ path: join(out, `${name}.png`), fullPage: true, clip: { x: 0, y, width: WIDTH, height: boxes[1].bottom + MARGIN - y } });
	};
	const frame = (page, name) => page.locator(`#graph svg > g[name="${name}"]`).first();

	let page = await open(words);
	await page.fill("#search", "words_normalise");
	await page.waitForFunction(() => document.querySelector(".found").textContent !== "");
	await page.locator("h1").click(); // out of the field
	await take(page, "words-flame", "#flame .switch", ".details");

	page = await open(redis);
	await take(page, "redis-curve", ".tiles", "#curve .plot");
	await take(page, "redis-flame", "#flame .switch", ".details");
	await frame(page, "pushGenericCommand").click({ position: { x: 2, y: 8 } });
	await frame(page, "quicklistPushTail").hover();
	await take(page, "redis-zoom", "#flame .switch", ".details");
	await page.mouse.move(0, 0);
	await take(page, "redis-sites", "#sites .controls", "#sites tbody tr:nth-child(4)");
} finally {
	await browser.close();
}
