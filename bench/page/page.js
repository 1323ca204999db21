// SPDX-License-Identifier: MIT
// The page of a run of tools/bench: reads the JSON beside it and draws all of it. What can be switched
// (allocators, unit, filter) is in `state`; a change draws the sections again.
import { symbols } from "./symbols.js";
import { debounced, h } from "./dom.js";
import { date } from "./format.js";
import { columnsOf, groupsOf } from "./model.js";
import { groupSection, summarySection } from "./sections.js";
import "./page.css";

const results = JSON.parse(document.getElementById("results").textContent);
const columns = columnsOf(results);
const groups = groupsOf(results);
const state = { hidden: new Set(), ratios: true, filter: "" };

function words(list) {
	return list.length < 2 ? list.join("") : `${list.slice(0, -1).join(", ")} and ${list.at(-1)}`;
}

function hostFacts() {
	const { host = {} } = results;
	const system = [host.kernel && `Linux ${host.kernel}`, host.libc].filter(Boolean).join(", ");
	const memory = host.memory_mib ? `${+(host.memory_mib / 1024).toPrecision(3)} GiB of memory` : null;
	return [
		["Processor", [host.cpu, host.cpus && `${host.cpus} CPUs`].filter(Boolean).join(", ")],
		["System", [system, memory].filter(Boolean).join(", ")],
		["Command", results.command && h("code", {}, results.command)],
		["Date", results.date && date(results.date)],
	].filter(([, value]) => value);
}

function notices() {
	const broken = columns.filter((column) => column.broken);
	return [
		!results.complete && h("p", { class: "notice", id: "incomplete" },
			h("strong", {}, "Not complete. "),
			"This run was cut off, or goes on: what it has measured so far is here, and the rest is missing."),
		results.quick && h("p", { class: "notice" }, h("strong", {}, "A quick run. "),
			"Few rounds of few benchmarks: good for a first look, not for a decision."),
		broken.length > 0 && h("p", { class: "notice" }, h("strong", {}, "Not usable here: "),
			`${broken.map(({ name, broken: why }) => `${name} (${why})`).join("; ")}.`),
	];
}

function head() {
	const ours = columns.find(({ kind }) => kind === "ours");
	const peers = columns.filter(({ kind, used }) => kind === "peer" && used).map(({ name }) => name);
	const rounds = results.rounds === 1 ? "one round" : `${results.rounds} rounds`;
	const count = results.benchmarks.length;
	return h("header", {},
		h("h1", {}, "libkmalloc: benchmarks"),
		h("p", { class: "lede" }, h("strong", {}, [results.ours, ours?.version].filter(Boolean).join(" ")),
			peers.length ? ` beside ${words(peers)}` : "",
			`: ${count} ${count === 1 ? "benchmark" : "benchmarks"}, ${rounds} of each, the allocators in turn.`),
		h("dl", { class: "facts" }, hostFacts().flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
		notices(),
		h("p", { class: "reading" }, `All is better when lower, but for throughput. A ratio is ${results.ours} / the other, of medians: ` +
			`below 1, ${results.ours} needs less. The number behind ± and the whiskers show the spread: half the range of ` +
			"the middle half of the rounds. " +
			(columns.some(({ kind, used }) => kind === "reference" && used)
				? "Hollow marks are references that no allocator can beat: limit is an unsynchronised thread-local list, or the bytes live." : "")));
}

function nav() {
	const link = (id, text) => h("a", { href: `#${id}` }, text);
	return h("nav", { "aria-label": "sections" }, link("summary", "Summary"),
		groups.map(({ name, title }) => link(`group-${name}`, title)),
		results.failures.length > 0 && link("failures", "Failures"), link("allocators", "Allocators"));
}

function legend() {
	return h("div", { class: "legend", role: "group", "aria-label": "allocators" },
		columns.filter(({ used }) => used).map((column) => h("button", {
			type: "button", class: `chip ${column.kind}`, "aria-pressed": "true", "data-column": column.name,
			title: `show or hide ${column.name}`,
			onclick: (event) => {
				const on = state.hidden.delete(column.name);
				if (!on)
					state.hidden.add(column.name);
				event.currentTarget.setAttribute("aria-pressed", `${on}`);
				draw();
			},
		}, symbols(column), column.name)));
}

function controls() {
	const redraw = debounced(120, () => draw());
	const filter = h("input", {
		type: "search", id: "filter", placeholder: "filter benchmarks", "aria-label": "filter benchmarks by name",
		autocomplete: "off", spellcheck: "false",
		oninput: () => {
			state.filter = filter.value.trim().toLowerCase();
			redraw();
		},
	});
	const units = [["ratio", true], ["absolute", false]].map(([text, ratios]) => h("button", {
		type: "button", "data-unit": text, "aria-pressed": `${state.ratios === ratios}`,
		onclick: () => {
			state.ratios = ratios;
			units.forEach((button) => button.setAttribute("aria-pressed", `${button.dataset.unit === text}`));
			draw();
		},
	}, text));
	return h("div", { class: "controls" }, filter, h("div", { class: "switch", role: "group", "aria-label": "unit" }, units));
}

function failures() {
	if (!results.failures.length)
		return null;
	return h("section", { id: "failures" }, h("h2", {}, h("a", { href: "#failures" }, "Failures")),
		h("p", { class: "about" }, "These did not finish; the rest of the run went on without them."),
		h("ul", { class: "failures" }, results.failures.map(({ benchmark, allocator, reason }) => h("li", {},
			h("strong", {}, allocator), " did not finish ", h("code", {}, benchmark), `: ${reason}`))));
}

function allocators() {
	return h("section", { id: "allocators" }, h("h2", {}, h("a", { href: "#allocators" }, "Allocators")),
		h("dl", { class: "allocators" }, results.allocators.flatMap(({ name, version, library, broken }) => [
			h("dt", {}, symbols(columns.find((column) => column.name === name)), name),
			h("dd", {}, version || "", library && h("code", {}, library), broken && h("em", {}, `not usable: ${broken}`))])));
}

const content = h("div", { class: "content" });
// What stands for the summary and for each group now; a group that the filter leaves out is a comment.
const slots = [null, ...groups].map((group) => ({ group, node: document.createComment("") }));
const nothing = h("p", { class: "nothing", hidden: true });
let drawing = 0; // counts the calls of draw(): a later one ends an earlier one

function drawSlot(slot, view) {
	const node = slot.group ? groupSection(slot.group, view) : summarySection(view);
	const next = node ?? document.createComment("");
	slot.node.replaceWith(next);
	slot.node = next;
}

// How far a slot is from what is in sight, in pixels.
function distance({ node }) {
	if (!node.getBoundingClientRect)
		return 1;
	const { top, bottom } = node.getBoundingClientRect();
	return Math.max(0, top - innerHeight, -bottom);
}

// Draws what is in sight at once, and the rest bit by bit, so that a long page stays quick to use.
function draw(done) {
	const view = {
		results,
		columns: columns.filter(({ name, used }) => used && !state.hidden.has(name)),
		ratios: state.ratios,
		matches: (name) => name.toLowerCase().includes(state.filter),
		width: content.clientWidth,
	};
	const found = results.benchmarks.some(({ name }) => view.matches(name));
	nothing.hidden = found;
	nothing.replaceChildren(results.benchmarks.length ? `No benchmark has "${state.filter}" in its name.` : "No benchmark has a result yet.");
	const order = slots.map((slot) => ({ slot, far: distance(slot) })).sort((a, b) => a.far - b.far);
	const mine = ++drawing;
	content.dataset.drawing = "";
	const step = () => {
		if (mine !== drawing)
			return;
		const until = performance.now() + 30;
		do
			drawSlot(order.shift().slot, view);
		while (order.length && (order[0].far === 0 || performance.now() < until));
		if (order.length) {
			setTimeout(step);
			return;
		}
		delete content.dataset.drawing;
		done?.();
	};
	step();
}

function start() {
	document.body.append(
		h("main", {}, head(), nav(), h("div", { class: "tools" }, legend(), controls()), content,
			failures(), allocators(),
			h("footer", {}, "Drawn with Observable Plot and D3, whose licences are in the source of this page. ",
				"The numbers are in it too, as JSON.")));
	content.append(...slots.map(({ node }) => node), nothing);
	// The sections were not there yet when the browser looked for the anchor.
	draw(() => location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView());
	let width = content.clientWidth;
	new ResizeObserver(debounced(150, () => {
		if (content.clientWidth !== width) {
			width = content.clientWidth;
			draw();
		}
	})).observe(content);
}

start();
