// SPDX-License-Identifier: MIT
// The flame graph: frames by what was allocated under them. A frame's value includes its children's.
import flamegraph from "d3-flame-graph";
import { select } from "d3";
import { debounced, h } from "../../../bench/page/dom.js";
import { bytes, percent, whole } from "./units.js";

const VALUES = [
	["never freed", "live_bytes", bytes],
	["at the peak", "peak_bytes", bytes],
	["allocated", "alloc", bytes],
	["allocations", "allocs", (value) => `${whole(value)} objects`],
];
const COLOURS = 8;
const START = "Point at a frame, or choose it to zoom.";

// Files have colours by the order in which they first come, so that neighbours differ.
function colours(frames) {
	const numbers = new Map();
	for (const { module } of frames)
		if (!numbers.has(module))
			numbers.set(module, numbers.size % COLOURS);
	return (module) => `var(--module-${numbers.get(module) ?? 0})`;
}

// The tree of all sites that have some of the value.
function treeOf({ command, sites, frames }, key) {
	const root = { name: command, value: 0, children: [], frame: null };
	const kids = new Map([[root, new Map()]]);
	for (const site of sites) {
		const value = site[key];
		if (!value)
			continue;
		let node = root;
		node.value += value;
		for (const number of [...site.stack].reverse()) {
			const frame = frames[number];
			const id = `${frame.name}\n${frame.module}\n${frame.inlined}`;
			let child = kids.get(node).get(id);
			if (!child) {
				child = { name: frame.name, value: 0, children: [], frame };
				kids.get(node).set(id, child);
				kids.set(child, new Map());
				node.children.push(child);
			}
			child.value += value;
			node = child;
		}
	}
	return root;
}

function place({ frame }) {
	if (!frame)
		return "";
	const parts = [frame.inlined && "inlined", frame.file && `${frame.file}:${frame.line}`, frame.module].filter(Boolean);
	return parts.length ? ` (${parts.join(", ")})` : "";
}

function label(format, total) {
	return ({ data, value }) => `${data.name}${place(data)}: ${format(value)}, ${percent(total ? value / total : 0)}`;
}

function graph(width, colourOf, text, details) {
	const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
	return flamegraph().width(width).cellHeight(20).minFrameSize(0.7).selfValue(false)
		.transitionDuration(calm ? 0 : 250).title("").sort(true)
		.getName((d) => d.data.name)
		.setLabelHandler(text)
		.setDetailsHandler((shown) => details.replaceChildren(shown || START))
		.setSearchMatch((d, term) => `${d.data.name}${place(d.data)}`.toLowerCase().includes(term.toLowerCase()))
		.setColorMapper((d) => (d.highlight ? "var(--match)" : d.data.frame ? colourOf(d.data.frame.module) : "var(--program)"))
		.onClick((d) => details.replaceChildren(text(d)));
}

export function flameSection(recording) {
	const colourOf = colours(recording.frames);
	const container = h("div", { id: "graph" });
	const details = h("p", { class: "details", role: "status" }, START);
	const found = h("p", { class: "found", role: "status" });
	const input = h("input", {
		type: "search", id: "search", placeholder: "search functions and files", "aria-label": "search functions and files",
		autocomplete: "off", spellcheck: "false",
	});
	let chosen = VALUES.find(([, key]) => recording.total[key] > 0) ?? VALUES[0];
	let chart = null;
	let width = 0;

	const search = (term) => {
		if (input.value !== term)
			input.value = term;
		found.replaceChildren("");
		if (chart && term)
			chart.search(term);
		else
			chart?.clear();
	};
	const draw = () => {
		const [, key, format] = chosen;
		const tree = treeOf(recording, key);
		width = container.clientWidth;
		container.replaceChildren();
		details.replaceChildren(START);
		if (!tree.value) {
			chart = null;
			container.append(h("p", {}, "Nothing is left here: choose another value."));
			return;
		}
		chart = graph(width, colourOf, label(format, tree.value), details).setSearchHandler((results, sum) => found.replaceChildren(
			results.length ? `${results.length} ${results.length === 1 ? "frame" : "frames"}, ${format(sum)}, ${percent(sum / tree.value)}` : "no frame matches"));
		select(container).datum(tree).call(chart);
		search(input.value.trim());
	};
	const buttons = VALUES.map((value) => h("button", {
		type: "button", "data-value": value[1], "aria-pressed": `${value === chosen}`, onclick: () => {
			chosen = value;
			buttons.forEach((button) => button.setAttribute("aria-pressed", `${button.dataset.value === value[1]}`));
			draw();
		},
	}, value[0]));
	const reset = h("button", {
		type: "button", id: "reset", onclick: () => {
			search("");
			chart?.resetZoom();
		},
	}, "reset");
	input.addEventListener("input", debounced(120, () => search(input.value.trim())));
	new ResizeObserver(debounced(150, () => container.clientWidth !== width && draw())).observe(container);
	return {
		section: h("section", { id: "flame" }, h("h2", {}, h("a", { href: "#flame" }, "Flame graph")),
			h("p", { class: "about" }, "Wider is more; above a frame is what it called, or what was inlined into it. ",
				"Colours tell the files apart that the code is in."),
			h("div", { class: "switch", role: "group", "aria-label": "value" }, buttons),
			h("div", { class: "controls" }, input, reset), found, container, details),
		draw,
		search: (term) => {
			search(term);
			container.scrollIntoView({ block: "nearest" });
		},
	};
}
