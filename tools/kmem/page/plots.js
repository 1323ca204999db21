// SPDX-License-Identifier: MIT
// The plots: live bytes or objects over time, and two histograms. Each takes the recording, what is to be shown, and a width.
import * as Plot from "@observablehq/plot";
import { bytes, short, time, whole } from "./units.js";

const style = { fontSize: "12px", fontFamily: "inherit", background: "none", overflow: "visible" };
const TIP = { fontSize: 12, lineWidth: 20, textPadding: 8, maxRadius: Infinity };

// Round steps of 2 where bytes are counted, so that ticks are 512 KiB and not 488.
function byteTicks(most, count) {
	const step = 2 ** Math.max(0, Math.ceil(Math.log2(most / count)));
	return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
}

export function curve({ points, total, peak_ns: peakTime, duration_ns: end }, unit, width) {
	const inBytes = unit === "bytes";
	const data = points.map(([ns, size, objects]) => ({ ns, value: inBytes ? size : objects }));
	const peak = { ns: peakTime, value: inBytes ? total.peak_bytes : total.peak_objects };
	const most = Math.max(1, peak.value, ...data.map(({ value }) => value));
	const label = (value) => (inBytes ? bytes(value) : whole(value));
	return Plot.plot({
		width, height: Math.min(320, Math.max(200, width * 0.4)), marginLeft: 64, marginRight: 16, marginTop: 28, style, className: "curve",
		x: { domain: [0, Math.max(end, 1)], tickFormat: (ns) => (ns ? time(ns) : "0"), ticks: Math.max(2, Math.floor(width / 130)), label: null },
		y: { domain: [0, most * 1.04], grid: true, label: null, tickFormat: inBytes ? bytes : short, ...(inBytes ? { ticks: byteTicks(most, 6) } : { ticks: 6 }) },
		marks: [
			Plot.areaY(data, { x: "ns", y: "value", curve: "step-after", fill: "var(--ours)", fillOpacity: 0.18 }),
			Plot.lineY(data, { x: "ns", y: "value", curve: "step-after", stroke: "var(--ours)", strokeWidth: 1.5 }),
			Plot.ruleY([0], { stroke: "var(--line)" }),
			Plot.ruleX([peak], { x: "ns", stroke: "var(--muted)", strokeDasharray: "3 3" }),
			Plot.text([peak], {
				x: "ns", frameAnchor: "top", dy: -18, text: (d) => `peak: ${label(d.value)}`, fill: "var(--ink)", className: "peak",
				textAnchor: peak.ns > end * 0.75 ? "end" : peak.ns < end * 0.25 ? "start" : "middle",
			}),
			Plot.tip(data, Plot.pointerX({ x: "ns", y: "value", title: (d) => `${label(d.value)}\nafter ${time(d.ns)}`, className: "tip", ...TIP })),
		],
	});
}

// Bars over classes that are powers of two. `name` says what a class is, of its lower and its upper end.
function histogram(data, width, name, format) {
	const rows = data.map((row) => ({ ...row, name: name(row.from, row.to) }));
	return Plot.plot({
		width, height: rows.length * 22 + 40, marginLeft: 132, marginRight: 72, marginTop: 8, marginBottom: 8, style, className: "histogram",
		x: { axis: null, domain: [0, Math.max(1, ...rows.map(({ value }) => value))] },
		y: { type: "band", domain: rows.map((row) => row.name), label: null, tickSize: 0, padding: 0.25 },
		marks: [
			Plot.barX(rows, { x: "value", y: "name", fill: "var(--peer-0)", className: "bar" }),
			Plot.text(rows, { x: "value", y: "name", text: (d) => format(d.value), textAnchor: "start", dx: 6, fill: "var(--ink)", className: "number" }),
		],
	});
}

// The classes from the first to the last one that has something, with those between.
function classes(rows, value) {
	const used = rows.map(([from, to, ...values]) => ({ from, to, value: values[value] }));
	const first = used.findIndex((row) => row.value > 0);
	const last = used.findLastIndex((row) => row.value > 0);
	return first < 0 ? [] : used.slice(first, last + 1);
}

function nothing(text) {
	const paragraph = document.createElement("p");
	paragraph.append(text);
	return paragraph;
}

export function sizes(recording, unit, width) {
	const rows = classes(recording.sizes, unit === "objects" ? 0 : 1);
	if (!rows.length)
		return nothing("Nothing was allocated.");
	return histogram(rows, width, (from, to) => `${bytes(from)} – ${bytes(to > 1024 ? to : to - 1)}`, unit === "objects" ? whole : bytes);
}

export function lifetimes(recording, unit, width) {
	const rows = classes(recording.lifetimes, 0);
	if (!rows.length)
		return nothing("Nothing was freed.");
	return histogram(rows, width, (from, to) => `${time(from)} – ${time(to)}`, whole);
}
