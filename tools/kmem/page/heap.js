// SPDX-License-Identifier: MIT
// The page of `kmem export --html`: reads the recording's numbers, which stand beside it as JSON, and draws them.
import { debounced, h } from "../../../bench/page/dom.js";
import { date } from "../../../bench/page/format.js";
import { flameSection } from "./flame.js";
import { curve, lifetimes, sizes } from "./plots.js";
import { sitesSection } from "./sites.js";
import { bytes, percent, time, whole } from "./units.js";
import "../../../bench/page/page.css";
import "./heap.css";

const recording = JSON.parse(document.getElementById("recording").textContent);
const { total } = recording;

function facts() {
	return [
		["Command", h("code", {}, recording.command)],
		["Process", recording.pid && `${recording.pid}${recording.host ? ` on ${recording.host}` : ""}`],
		["Recorded", recording.time && date(recording.time * 1000)],
		["Length", `${time(recording.duration_ns)}, ${whole(recording.events)} events`],
	].filter(([, value]) => value);
}

function notices() {
	const notice = (strong, text) => h("p", { class: "notice" }, h("strong", {}, `${strong} `), text);
	return [
		recording.lost > 0 && notice("Events were lost.", `${whole(recording.lost)} events found no room while the program ran: ` +
			"numbers are too small, and what seems to be never freed may have been."),
		recording.sampled && notice("Sampled.", `Numbers are estimates, from ${whole(recording.samples)} samples, ` +
			`one in ${bytes(recording.sample_bytes)} on average.`),
		!recording.whole && notice("Not whole.", "The recording ends before the program's end did, or is damaged: this is what is readable."),
		recording.unknown_frees > 0 && notice("Frees of what is older.",
			`${whole(recording.unknown_frees)} frees are of objects whose allocation is not in the recording.`),
		recording.function !== null && notice("A part.", `Only call sites in functions that match ${recording.function} ` +
			"are in the flame graph and the table; all else is of the whole program."),
	];
}

function tile(id, title, size, objects, more) {
	return h("div", { class: "tile", id }, h("h3", {}, title),
		h("p", { class: "large", "data-exact": size, title: `${whole(size)} bytes` }, bytes(size)),
		h("p", { "data-exact": objects, class: "objects" }, `${whole(objects)} ${objects === 1 ? "object" : "objects"}`),
		more && h("p", { class: "more" }, more));
}

function tiles() {
	const share = total.allocs ? total.short_lived / total.allocs : 0;
	const wasted = total.alloc ? (total.alloc - total.req) / total.alloc : 0;
	return h("div", { class: "tiles" },
		tile("never-freed", "Never freed", total.live_bytes, total.live_objects, "until the recording's end"),
		tile("at-peak", "At the peak", total.peak_bytes, total.peak_objects, `after ${time(recording.peak_ns)}`),
		tile("allocated", "Allocated in all", total.alloc, total.allocs,
			`${percent(share)} lived for less than 1 ms; ${percent(wasted)} of the bytes were not asked for`));
}

function head() {
	return h("header", {}, h("h1", {}, "Where the memory went"),
		h("dl", { class: "facts" }, facts().flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
		notices(), tiles());
}

function nav() {
	const link = (id, text) => h("a", { href: `#${id}` }, text);
	return h("nav", { "aria-label": "sections" }, link("curve", "Over time"), link("flame", "Flame graph"), link("sites", "Call sites"),
		link("sizes", "Sizes"), link("lifetimes", "Lifetimes"));
}

// A section whose plot is drawn for the width at hand; `choices` are the values of a switch, if it has one.
function plotSection(id, title, about, choices, plot) {
	const box = h("div", { class: "plot" });
	let chosen = choices[0];
	let width = 0;
	const draw = () => {
		width = box.clientWidth;
		box.replaceChildren(plot(recording, chosen, width));
	};
	const buttons = choices.map((choice) => h("button", {
		type: "button", "data-choice": choice, "aria-pressed": `${choice === chosen}`, onclick: () => {
			chosen = choice;
			buttons.forEach((button) => button.setAttribute("aria-pressed", `${button.dataset.choice === chosen}`));
			draw();
		},
	}, choice));
	const section = h("section", { id }, h("h2", {}, h("a", { href: `#${id}` }, title)), h("p", { class: "about" }, about),
		choices.length > 1 && h("div", { class: "switch", role: "group", "aria-label": "what is shown" }, buttons), box);
	new ResizeObserver(debounced(100, () => box.clientWidth !== width && draw())).observe(box);
	return { section, draw };
}

function start() {
	const flame = flameSection(recording);
	const parts = {
		curve: plotSection("curve", "Over time", "What was live, from the recording's start to its end.", ["bytes", "objects"], curve),
		sizes: plotSection("sizes", "Sizes", "Allocations by the bytes that were asked for.", ["objects", "bytes"], sizes),
		lifetimes: plotSection("lifetimes", "Lifetimes",
			`How long objects lived that were freed. ${whole(total.live_objects)} were not.`, ["objects"], lifetimes),
	};
	document.title = `kmem: ${recording.command}`;
	document.body.append(h("main", {}, head(), nav(), parts.curve.section, flame.section,
		sitesSection(recording, (term) => flame.search(term)), parts.sizes.section, parts.lifetimes.section,
		h("footer", {}, "Drawn with d3-flame-graph, Observable Plot and D3, whose licences are in the source of this page. ",
			"The numbers are in it too, as JSON.")));
	Object.values(parts).forEach(({ draw }) => draw());
	flame.draw();
	if (location.hash)
		document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

start();
