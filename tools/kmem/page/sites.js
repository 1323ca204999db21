// SPDX-License-Identifier: MIT
// The call sites as a table, sorted by the column that was chosen; a name finds the site in the flame graph.
import { debounced, h } from "../../../bench/page/dom.js";
import { bytes, percent, time, whole } from "./units.js";

const LINES = 50;
const NEAR = 3;

const mean = (site) => (site.frees ? site.lifetime_ns / site.frees : 0);
const share = (site) => (site.allocs ? site.short_lived / site.allocs : 0);

// [what it is called, its key, the number, how it is written]
const COLUMNS = [
	["never freed", "live_bytes", (site) => site.live_bytes, bytes],
	["objects", "live_objects", (site) => site.live_objects, whole],
	["at peak", "peak_bytes", (site) => site.peak_bytes, bytes],
	["most", "max_bytes", (site) => site.max_bytes, bytes],
	["allocated", "alloc", (site) => site.alloc, bytes],
	["allocations", "allocs", (site) => site.allocs, whole],
	["short-lived", "short", share, percent],
	["mean lifetime", "lifetime", mean, (value) => (value ? time(value) : "")],
];

function nameOf(recording, site) {
	const frames = site.stack.map((number) => recording.frames[number]);
	const [first] = frames;
	const where = [first.file && `${first.file}:${first.line}`, first.module].filter(Boolean).join(", ");
	// an inlined function is a part of the one behind it, any other was called by that
	const callers = frames.slice(1).map(({ name }, i) => `${frames[i].inlined ? "in " : "←\u00a0"}${name}`);
	return { name: first.name, where: where || site.address, callers };
}

// Of a whole stack the nearest callers are shown, the others on demand.
function callersOf(callers) {
	const near = callers.length <= NEAR + 1 ? callers : callers.slice(0, NEAR);
	const far = callers.slice(near.length);
	return [near.length > 0 && h("span", { class: "where" }, near.join(" ")),
		far.length > 0 && h("details", { class: "where" }, h("summary", {}, `${far.length} more`), far.join(" "))];
}

export function sitesSection(recording, find) {
	const named = recording.sites.map((site) => ({ site, ...nameOf(recording, site) }));
	const body = h("tbody");
	const more = h("button", { type: "button", class: "chip", id: "all-sites", onclick: () => draw(Infinity) });
	const none = h("p", { hidden: true });
	let column = COLUMNS.find(([, , value]) => named.some(({ site }) => value(site) > 0)) ?? COLUMNS[0];
	let down = true;
	let filter = "";

	const heads = COLUMNS.map((which) => h("th", { scope: "col", "data-column": which[1] }, h("button", {
		type: "button", onclick: () => {
			down = column === which ? !down : true;
			column = which;
			draw();
		},
	}, which[0], h("span", { class: "arrow" }))));

	function row({ site, name, where, callers }) {
		return h("tr", { "data-address": site.address },
			h("th", { class: "sticky", scope: "row" },
				h("button", { type: "button", title: "find it in the flame graph", onclick: () => find(name) }, name),
				h("span", { class: "where" }, where),
				...callersOf(callers)),
			COLUMNS.map(([, key, value, format]) => h("td", { "data-field": key, "data-exact": value(site) }, value(site) ? format(value(site)) : "")));
	}

	function draw(lines = LINES) {
		const wanted = named.filter(({ name, where, callers }) =>
			`${name} ${where} ${callers.join(" ")}`.toLowerCase().includes(filter));
		wanted.sort((a, b) => (down ? 1 : -1) * (column[2](b.site) - column[2](a.site)));
		heads.forEach((cell) => {
			const mine = cell.dataset.column === column[1];
			cell.setAttribute("aria-sort", mine ? (down ? "descending" : "ascending") : "none");
			cell.querySelector(".arrow").replaceChildren(mine ? (down ? "▼" : "▲") : "");
		});
		body.replaceChildren(...wanted.slice(0, lines).map(row));
		more.hidden = wanted.length <= lines;
		more.replaceChildren(`show all ${whole(wanted.length)}`);
		none.hidden = wanted.length > 0;
		none.replaceChildren(named.length ? `No call site has "${filter}" in its name.` : "Nothing was allocated.");
	}

	const input = h("input", {
		type: "search", id: "filter", placeholder: "filter call sites", "aria-label": "filter call sites", autocomplete: "off", spellcheck: "false",
	});
	input.addEventListener("input", debounced(120, () => {
		filter = input.value.trim().toLowerCase();
		draw();
	}));
	draw();
	return h("section", { id: "sites" }, h("h2", {}, h("a", { href: "#sites" }, "Call sites"),
		h("span", { class: "count" }, `${whole(named.length)}`)),
	h("p", { class: "about" }, "Choose a heading to sort by it, and a name to find it in the flame graph. ",
		"At peak: its share when the program had most. Most: what it had itself at some time."),
	h("div", { class: "controls" }, input),
	h("div", { class: "scroll" }, h("table", { class: "numbers" },
		h("thead", {}, h("tr", {}, h("th", { class: "sticky", scope: "col" }, "call site"), heads)), body)), none, more);
}
