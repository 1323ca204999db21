// SPDX-License-Identifier: MIT
// The charts. Each takes data that is already chosen and returns an element.
//
// Rows of bars (and the dots of the summary) are laid out in pixels by hand: a line with the benchmark's
// name, under it one thin line per column with the column's name on the left and its number on the
// right. So the chart can be read on a phone, and without colours.
import * as Plot from "@observablehq/plot";
import { bytes, short } from "./format.js";

const LABEL = 20; // height of a row's name
const LINE = 15; // of a column's line
const GAP = 9; // under a row
const TOP = 20; // the axis
const BOTTOM = 22;
const LOG_FROM = 30; // from this span on a scale is logarithmic

const style = { fontSize: "11px", fontFamily: "inherit", background: "none", overflow: "visible" };
const tip = { fontSize: 12, lineWidth: 19, lineHeight: 1.25, textPadding: 8, maxRadius: 30 };

// Length of a text in pixels, near enough to cut it.
function cut(text, pixels, size = 6.4) {
	const length = Math.max(4, Math.floor(pixels / size));
	return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

function extent(values) {
	return [Math.min(...values), Math.max(...values)];
}

// Ticks of a logarithmic scale: 1-2-5, fewer when there is no room.
function logTicks([low, high], most) {
	for (const steps of [[1, 1.5, 2, 3, 5, 7], [1, 2, 5], [1]]) {
		const ticks = [];
		for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
			for (const step of steps) {
				const tick = +(step * 10 ** power).toPrecision(2);
				if (tick >= low * 0.999 && tick <= high * 1.001)
					ticks.push(tick);
			}
		if (ticks.length <= most && ticks.length)
			return ticks;
	}
	const first = Math.ceil(Math.log10(low));
	const every = Math.ceil((Math.log10(high) - first + 1) / most);
	return Array.from({ length: most }, (_, i) => 10 ** (first + i * every)).filter((tick) => tick <= high);
}

// Ratios lie around 1 on a logarithmic scale: {domain, base, log}.
export function ratioScale(values) {
	const [low, high] = extent([0.7, 1.4, ...values]);
	return { domain: [low / 1.06, high * 1.06], base: 1, log: true };
}

export function absoluteScale(values) {
	const [low, high] = extent(values);
	if (low > 0 && high / low > LOG_FROM) {
		const floor = 10 ** Math.floor(Math.log10(low * 0.9));
		return { domain: [floor, high * 1.05], base: floor, log: true };
	}
	return { domain: [Math.min(0, low * 1.05), Math.max(high * 1.05, 0) || 1], base: 0, log: false };
}

function scaleOptions(scale, most) {
	return {
		type: scale.log ? "log" : "linear",
		domain: scale.domain,
		ticks: scale.log ? logTicks(scale.domain, most) : Math.min(most, 6),
	};
}

// Lays rows out: y of each name and each line, and the height of all.
function layout(rows) {
	const lines = [];
	const names = [];
	let y = 0;
	for (const row of rows) {
		names.push({ y: y + LABEL / 2 + 2, row });
		y += LABEL;
		row.cells.forEach((cell) => {
			lines.push({ ...cell, row, top: y + 2, bottom: y + LINE - 2, middle: y + LINE / 2 });
			y += LINE;
		});
		if (!row.cells.length) {
			names.push({ y: y + LINE / 2, row, note: row.note });
			y += LINE;
		}
		y += GAP;
	}
	return { names, lines, height: Math.max(y, LINE) };
}

function valueMarks(lines, scale, dots) {
	const clamp = (value) => (scale.log ? Math.max(value, scale.domain[0]) : value);
	const whiskers = lines.filter(({ low, high }) => low < high);
	const hollow = ({ column }) => column.kind === "reference";
	const marks = dots
		? [Plot.dot(lines, {
			x: "value", y: "middle", r: 4.5, className: "value", symbol: (d) => d.column.symbol,
			fill: (d) => (hollow(d) ? "var(--paper)" : d.column.colour),
			stroke: (d) => d.column.colour, strokeWidth: 1.5,
		})]
		: [
			Plot.rect(lines.filter((d) => !hollow(d)), {
				x1: () => scale.base, x2: "value", y1: "top", y2: "bottom", className: "value",
				fill: (d) => d.column.colour, fillOpacity: (d) => (d.column.kind === "ours" ? 1 : 0.8),
			}),
			Plot.rect(lines.filter(hollow), {
				x1: () => scale.base, x2: "value", y1: (d) => d.top + 1, y2: (d) => d.bottom - 1,
				className: "value hollow", fill: "none", stroke: (d) => d.column.colour, strokeWidth: 1,
			}),
		];
	const whisker = Plot.ruleY(whiskers, {
		x1: (d) => clamp(d.low), x2: (d) => clamp(d.high), y: "middle", className: "whisker",
		stroke: "var(--ink)", strokeWidth: 1.25, insetTop: 3, insetBottom: 3,
	});
	return dots ? [whisker, ...marks] : [...marks, whisker];
}

// Tips stand in the middle of the chart, above what is pointed at: so none leaves a phone's screen.
function tips(data, channels, pointer = Plot.pointer) {
	return Plot.tip(data, pointer({ ...channels, title: "title", anchor: "bottom", className: "tip", ...tip }));
}

// Horizontal bars, or dots. rows: [{name, note, cells: [{column, value, low, high, text, title}]}].
export function rowChart({ rows, scale, width, label, dots = false, isRatio = false }) {
	const { names, lines, height } = layout(rows);
	const marginLeft = Math.min(92, 14 + 6.2 * Math.max(6, ...lines.map(({ column }) => column.name.length)));
	const marginRight = 50;
	const inner = width - marginLeft - marginRight;
	const x = scaleOptions(scale, Math.max(2, Math.floor(inner / 44)));
	const axis = { ticks: x.ticks, text: isRatio ? (d) => `${d}` : short, tickSize: 0, label: null };
	const flush = {
		y: "y", frameAnchor: "left", textAnchor: "start", dx: -marginLeft, fontSize: 12,
		stroke: "var(--paper)", strokeWidth: 5,
	};
	const chart = Plot.plot({
		width, marginLeft, marginRight, marginTop: TOP, marginBottom: BOTTOM,
		height: height + TOP + BOTTOM, style, className: "plot",
		x: { ...x, label: null },
		y: { type: "linear", domain: [0, height], range: [TOP, TOP + height], axis: null },
		symbol: { type: "identity" },
		marks: [
			Plot.gridX({ ticks: x.ticks, stroke: "var(--grid)", strokeOpacity: 1 }),
			Plot.axisX({ ...axis, anchor: "top" }),
			height > 400 ? Plot.axisX({ ...axis, anchor: "bottom" }) : null,
			Plot.ruleX([scale.base], {
				stroke: isRatio ? "var(--ours)" : "var(--muted)", strokeWidth: isRatio ? 1.5 : 1,
			}),
			valueMarks(lines, scale, dots),
			Plot.text(names.filter(({ note }) => !note), {
				...flush, className: "name", text: (d) => cut(d.row.name, width, 7.4), fill: "var(--ink)", fontWeight: 600,
			}),
			Plot.text(names.filter(({ note }) => note), {
				...flush, className: "note", text: (d) => cut(d.note, width), fill: "var(--muted)",
			}),
			Plot.text(lines, {
				y: "middle", frameAnchor: "left", textAnchor: "end", dx: -6, text: (d) => d.column.name,
				fill: (d) => (d.column.kind === "ours" ? "var(--ours)" : "var(--muted)"), className: "column",
			}),
			Plot.text(lines, {
				y: "middle", frameAnchor: "right", textAnchor: "end", dx: marginRight - 2, text: "text",
				fill: "var(--ink)", className: "number", fontVariant: "tabular-nums",
			}),
			tips(lines, { py: "middle", y: "middle" }, Plot.pointerY),
		],
	});
	chart.setAttribute("aria-label", label);
	return chart;
}

// Labels of an axis over sizes or threads: the values themselves, fewer when there is no room.
function pointTicks(values, width, wide) {
	const all = [...new Set(values)].sort((a, b) => a - b);
	const every = Math.max(1, Math.ceil(all.length / Math.max(2, Math.floor(width / wide))));
	return all.filter((_, i) => i % every === 0);
}

// Lines over sizes or threads. points: [{column, x, y, low, high, title}].
export function curveChart({ points, by, yLabel, width, isRatio = false, label }) {
	const xs = points.map(({ x }) => x);
	const values = points.flatMap(({ y, low, high }) => [y, low ?? y, high ?? y]);
	const scale = isRatio ? ratioScale(values) : absoluteScale(values);
	const margin = { marginLeft: 46, marginRight: 14, marginTop: 28, marginBottom: 34 };
	const [first, last] = extent(xs);
	const xLog = first > 0 && last / first > 8;
	const y = scaleOptions(scale, 5);
	const strokeOf = (d) => d.column.colour;
	const byColumn = { x: "x", y: "y", z: (d) => d.column.name };
	const hollow = (d) => d.column.kind === "reference";
	const chart = Plot.plot({
		width, height: Math.round(Math.min(300, Math.max(230, width * 0.6))), ...margin, style, className: "plot",
		x: { type: xLog ? "log" : "linear", domain: [first, last], nice: false, label: null },
		y: { ...y, label: null },
		symbol: { type: "identity" },
		marks: [
			Plot.gridY({ ticks: y.ticks, stroke: "var(--grid)", strokeOpacity: 1 }),
			Plot.axisX({
				ticks: pointTicks(xs, width - 60, by === "size" ? 48 : 34),
				text: by === "size" ? bytes : (d) => d.toLocaleString("en-US"),
				label: by === "size" ? "bytes" : by, labelAnchor: "right", labelArrow: false, tickSize: 4,
			}),
			Plot.axisY({ ticks: y.ticks, text: isRatio ? (d) => `${d}` : short, tickSize: 0, label: yLabel, labelArrow: false }),
			Plot.ruleY([scale.base], {
				stroke: isRatio ? "var(--ours)" : "var(--muted)", strokeWidth: isRatio ? 1.5 : 1,
			}),
			Plot.line(points.filter((d) => !hollow(d)), {
				...byColumn, stroke: strokeOf, className: "curve",
				strokeWidth: 1.75, strokeOpacity: (d) => (d.column.kind === "ours" ? 1 : 0.85),
			}),
			Plot.line(points.filter((d) => d.column.kind === "ours"), {
				...byColumn, stroke: strokeOf, strokeWidth: 3, className: "ours",
			}),
			Plot.line(points.filter(hollow), {
				...byColumn, stroke: strokeOf, strokeWidth: 1.25, strokeDasharray: "4 3", className: "curve",
			}),
			Plot.ruleX(points.filter(({ low, high }) => low < high), {
				x: "x", y1: "low", y2: "high", stroke: strokeOf, strokeOpacity: 0.6, className: "whisker",
			}),
			Plot.dot(points.filter((d) => !hollow(d)), {
				x: "x", y: "y", fill: strokeOf, symbol: (d) => d.column.symbol, r: 3.2, className: "point",
			}),
			Plot.dot(points.filter(hollow), {
				x: "x", y: "y", stroke: strokeOf, symbol: (d) => d.column.symbol, r: 2.8, className: "point",
			}),
			tips(points, { px: "x", py: "y", y: "y" }),
		],
	});
	chart.setAttribute("aria-label", label);
	return chart;
}

// Memory over time. points: [{column, x: seconds, y: MiB, title}].
export function seriesChart({ points, width, label }) {
	const ours = points.filter((d) => d.column.kind === "ours");
	const peers = points.filter((d) => d.column.kind !== "ours");
	const line = { x: "x", y: "y", z: (d) => d.column.name, stroke: (d) => d.column.colour, curve: "step-after" };
	const chart = Plot.plot({
		width, height: 190, marginLeft: 46, marginRight: 14, marginTop: 26, marginBottom: 32, style, className: "plot",
		x: { label: null }, y: { label: null, zero: true, nice: true },
		marks: [
			Plot.gridY({ ticks: 4, stroke: "var(--grid)", strokeOpacity: 1 }),
			Plot.axisX({ ticks: Math.floor(width / 70), tickSize: 4, text: short, label: "seconds", labelAnchor: "right", labelArrow: false }),
			Plot.axisY({ ticks: 4, tickSize: 0, text: short, label: "MiB", labelArrow: false }),
			Plot.ruleY([0], { stroke: "var(--muted)" }),
			Plot.line(peers, { ...line, strokeWidth: 1.4, strokeOpacity: 0.9, className: "series" }),
			Plot.line(ours, { ...line, strokeWidth: 2.6, className: "series" }),
			tips(points, { px: "x", py: "y", y: "y" }),
		],
	});
	chart.setAttribute("aria-label", label);
	return chart;
}

