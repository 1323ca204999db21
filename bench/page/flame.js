// SPDX-License-Identifier: MIT
// The page of a profile of tools/perf-record: the allocator's share by path as a table, and a flame
// graph of the whole program in which the allocator's frames are coloured by path. A frame is the
// allocator's where its name ends in " [kmalloc:PATH]". A frame's value includes its children's.
import flamegraph from "d3-flame-graph";
import { select } from "d3";
import { debounced, h } from "./dom.js";
import "./flame.css";

const profile = JSON.parse(document.getElementById("profile").textContent);
const MARK = / \[kmalloc:([a-z]+)\]$/;

const PATHS = {
	hit: "an object from this thread's sheaf, or back into it",
	refill: "the sheaf was empty or full: it is refilled or flushed",
	barn: "whole sheaves are exchanged with the barn",
	slab: "objects are taken from slabs or given back to them",
	page: "slabs are made of pages",
	vmalloc: "large areas",
	syscall: "system calls for memory",
	fault: "page faults of memory that the allocator handed out or keeps",
	other: "the rest of the library",
};

const total = profile.tree.value;
const unit = profile.unit || "samples";
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

function percent(part) {
	return `${(part * 100).toFixed(1)}%`;
}

function pathOf(name) {
	return MARK.exec(name)?.[1] ?? null;
}

function colourOf(path) {
	return path in PATHS ? `var(--path-${path})` : "var(--path-other)";
}

function head() {
	const facts = [["Command", profile.command && h("code", {}, profile.command)],
		["Event", profile.event], ["Total", `${whole.format(total)} ${unit}`]].filter(([, value]) => value);
	return h("header", {}, h("h1", {}, profile.title || "Profile"),
		h("dl", { class: "facts" }, facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

function sharesTable(search) {
	const sum = profile.shares.reduce((all, { samples }) => all + samples, 0);
	const most = Math.max(...profile.shares.map(({ share }) => share), Number.MIN_VALUE);
	const row = ({ path, samples, share }) => h("tr", { "data-path": path },
		h("th", { scope: "row" }, h("button", {
			type: "button", title: `show ${path} in the graph`, onclick: () => search(`[kmalloc:${path}]`),
		}, h("span", { class: "swatch", style: `background: ${colourOf(path)}` }), path)),
		h("td", { class: "number", "data-field": "samples" }, whole.format(samples)),
		h("td", { class: "number", "data-field": "share" }, percent(share)),
		h("td", { class: "bar" }, h("span", { style: `width: ${(share / most) * 100}%; background: ${colourOf(path)}` })),
		h("td", { class: "what" }, PATHS[path] ?? ""));
	return h("section", {}, h("h2", {}, "The allocator's share, by path"),
		h("p", { class: "about" }, `${percent(total ? sum / total : 0)} of the program's ${unit} are the allocator's. `,
			"Choose a path to find it in the graph."),
		h("table", { class: "shares" },
			h("thead", {}, h("tr", {}, h("th", {}, "path"), h("th", { class: "number" }, unit),
				h("th", { class: "number" }, "share"), h("th", { class: "bar" }), h("th", { class: "what" }, "what it is"))),
			h("tbody", {}, profile.shares.map(row)),
			h("tfoot", {}, h("tr", {}, h("th", { scope: "row" }, "all"), h("td", { class: "number", "data-field": "sum" }, whole.format(sum)),
				h("td", { class: "number", "data-field": "sum-share" }, percent(total ? sum / total : 0)),
				h("td", { class: "bar" }), h("td", { class: "what" })))));
}

function label({ data, value }) {
	const path = pathOf(data.name);
	const name = data.name.replace(MARK, "");
	return `${name}${path ? ` (allocator: ${path})` : ""}: ${whole.format(value)} ${unit}, ${percent(total ? value / total : 0)}`;
}

function graph(container, details) {
	const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
	return flamegraph().width(container.clientWidth).cellHeight(20).minFrameSize(0.7).selfValue(false)
		.transitionDuration(calm ? 0 : 250).title("").sort(true)
		.getName((d) => d.data.name.replace(MARK, ""))
		.setLabelHandler(label)
		.setDetailsHandler((text) => details.replaceChildren(text || "Point at a frame, or choose it to zoom."))
		.setSearchMatch((d, term) => d.data.name.toLowerCase().includes(term.toLowerCase()))
		.setColorMapper((d) => {
			const path = pathOf(d.data.name);
			return d.highlight ? "var(--match)" : path ? colourOf(path) : "var(--program)";
		})
		.onClick((d) => details.replaceChildren(label(d)));
}

function start() {
	const container = h("div", { id: "graph" });
	const details = h("p", { class: "details", role: "status" });
	const found = h("p", { class: "found", role: "status" });
	const input = h("input", { type: "search", id: "search", placeholder: "search frames", "aria-label": "search frames", autocomplete: "off", spellcheck: "false" });
	let chart;
	const search = (term) => {
		if (input.value !== term)
			input.value = term;
		found.replaceChildren("");
		if (term)
			chart.search(term);
		else
			chart.clear();
	};
	const reset = h("button", {
		type: "button", id: "reset", onclick: () => {
			search("");
			chart.resetZoom();
		},
	}, "reset");
	input.addEventListener("input", debounced(120, () => search(input.value.trim())));
	document.body.append(h("main", {}, head(), sharesTable((term) => {
		search(term);
		container.scrollIntoView({ block: "nearest" });
	}), h("section", {}, h("h2", {}, "Flame graph"),
	h("p", { class: "about" }, "Wider is more; above a frame is what it called. Grey frames are the program's, coloured ones the allocator's, by path."),
	h("div", { class: "controls" }, input, reset), found, container, details),
	h("footer", {}, "Drawn with d3-flame-graph and D3, whose licences are in the source of this page. The numbers are in it too, as JSON.")));
	const make = () => {
		chart = graph(container, details).setSearchHandler((results, sum) => found.replaceChildren(
			results.length ? `${results.length} ${results.length === 1 ? "frame" : "frames"}, ${whole.format(sum)} ${unit}, ${percent(total ? sum / total : 0)}` : "no frame matches"));
		container.replaceChildren();
		select(container).datum(structuredClone(profile.tree)).call(chart);
		details.replaceChildren("Point at a frame, or choose it to zoom.");
	};
	make();
	let width = container.clientWidth;
	new ResizeObserver(debounced(150, () => {
		if (container.clientWidth === width)
			return;
		width = container.clientWidth;
		make();
		search(input.value.trim());
	})).observe(container);
}

start();
