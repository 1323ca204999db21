// SPDX-License-Identifier: MIT
// The sections of the page: the summary, and one for each group of benchmarks. A view says what is to
// be shown: {results, columns (those switched on), ratios (else absolute numbers), matches, width}.
import { absoluteScale, curveChart, ratioScale, rowChart, seriesChart } from "./charts.js";
import { breakable, h } from "./dom.js";
import { number, percent, ratio, withUnit } from "./format.js";
import { curvesOf, failureOf, metricOf, metricsOf, metricTitle } from "./model.js";
import { metricTable, summaryTable } from "./tables.js";

const NARROW = 330; // a chart is not made narrower to have a second one beside it
const SPACE = 28; // between charts

const openDetails = new Map(); // key -> whether it is open; kept when the page is drawn again

// A <details> that is filled when it is first opened.
function foldable(key, title, open, fill) {
	const body = h("div", {});
	const details = h("details", { open: openDetails.get(key) ?? open }, h("summary", {}, title), body);
	const check = () => {
		if (details.open && !body.firstChild)
			body.append(...fill());
	};
	details.addEventListener("toggle", () => {
		openDetails.set(key, details.open);
		check();
	});
	check();
	return details;
}

// The caption of a chart that goes on with the one beside it only holds the place.
function figure(title, note, chart, attributes = {}, again = false) {
	return h("figure", { class: "chart", style: `width: ${chart.getAttribute("width")}px`, ...attributes },
		h("figcaption", { class: again ? "again" : null }, h("span", { class: "title" }, title), note && h("span", { class: "note" }, note)), chart);
}

// How many charts fit beside each other, and how wide they are then.
function columnsFor(width, most) {
	const count = Math.max(1, Math.min(most, Math.floor((width + SPACE) / (NARROW + SPACE))));
	return { count, width: Math.floor((width - (count - 1) * SPACE) / count) };
}

function resultTip(benchmark, column, result, unit, ours) {
	const spread = result.spread ? ` ±${percent(result.spread)}` : "";
	const lines = [benchmark.name, `${column.name}: ${withUnit(result.median, unit)}${spread}`];
	if (result.ratio !== undefined)
		lines.push(`${ours} / ${column.name}: ${ratio(result.ratio)} ` +
			`(${ratio(result.ratio_low)}–${ratio(result.ratio_high)})`);
	return [...lines, benchmark.about].filter(Boolean).join("\n");
}

// What is drawn of one result: {column, value, low, high, text, title}, or null.
function cellOf(benchmark, metric, column, ratios, ours) {
	const result = metric.results[column.name];
	if (!result || (ratios && result.ratio === undefined))
		return null;
	const title = resultTip(benchmark, column, result, metric.unit, ours);
	if (ratios)
		return { column, value: result.ratio, low: result.ratio_low, high: result.ratio_high, text: ratio(result.ratio), title };
	const half = Math.abs(result.median) * (result.spread ?? 0);
	return {
		column, value: result.median, low: result.median - half, high: result.median + half,
		text: number(result.median), title,
	};
}

function noteOf(benchmark, view) {
	const why = failureOf(view.results, benchmark.name, view.results.ours);
	if (why)
		return `${view.results.ours} failed: ${why}`;
	return view.ratios ? "no ratio" : "no result of an allocator that is switched on";
}

function rowsOf(benchmarks, metric, view) {
	return benchmarks.map((benchmark) => {
		const own = metricOf(benchmark, metric);
		return own && {
			name: benchmark.name,
			note: noteOf(benchmark, view),
			cells: view.columns.map((column) => cellOf(benchmark, own, column, view.ratios, view.results.ours)).filter(Boolean),
		};
	}).filter(Boolean);
}

function scaleOf(rows, ratios) {
	const values = rows.flatMap(({ cells }) => cells.flatMap(({ value, low, high }) => [value, low, high]));
	if (ratios)
		return ratioScale(values);
	const positive = rows.flatMap(({ cells }) => cells.map(({ value }) => value));
	// A whisker that reaches below zero must not make a logarithmic scale impossible.
	return absoluteScale(positive.length && Math.min(...positive) > 0 ? values.filter((value) => value > 0) : [...values, 0]);
}

function barFigures(benchmarks, metric, view, beside) {
	const rows = rowsOf(benchmarks, metric, view);
	const ours = view.results.ours;
	const scale = scaleOf(rows, view.ratios);
	const { count, width } = columnsFor(view.width, beside);
	const parts = rows.length >= 2 * count ? count : 1;
	const size = Math.ceil(rows.length / parts);
	const note = view.ratios ? `${ours} / the other; below 1: ${ours} needs less`
		: `less is better${scale.log ? "; logarithmic scale" : ""}`;
	return Array.from({ length: parts }, (_, i) => rows.slice(i * size, (i + 1) * size)).filter((part) => part.length)
		.map((part, i) => figure(metricTitle(metric), note,
			rowChart({ rows: part, scale, width, isRatio: view.ratios, label: `${metricTitle(metric)}, bars` }),
			{ "data-kind": "bars", "data-metric": metric.name }, i > 0));
}

function bars(benchmarks, view) {
	const metrics = metricsOf(benchmarks);
	if (!metrics.length)
		return [];
	const fit = columnsFor(view.width, 4).count;
	const beside = Math.max(1, Math.floor(fit / metrics.length));
	const narrow = { ...view };
	const each = columnsFor(view.width, Math.min(fit, metrics.length * beside));
	narrow.width = beside * each.width + (beside - 1) * SPACE;
	return metrics.flatMap((metric) => barFigures(benchmarks, metric, narrow, beside));
}

// Throughput for times of an item over threads; otherwise the ratio or the metric itself.
function curvePoints(curve, metric, view) {
	const throughput = curve.by === "threads" && metric.unit === "ns";
	const ours = view.results.ours;
	const points = curve.benchmarks.flatMap((benchmark) => {
		const own = metricOf(benchmark, metric);
		return !own ? [] : view.columns.map((column) => {
			const cell = cellOf(benchmark, own, column, view.ratios && !throughput, ours);
			if (!cell)
				return null;
			const point = { column, x: benchmark.curve.x, title: cell.title };
			if (!throughput)
				return { ...point, y: cell.value, low: cell.low, high: cell.high };
			if (!(cell.value > 0))
				return null;
			const { value, low, high } = cell;
			const perSecond = 1e9 / value;
			return {
				...point, y: perSecond, low: 1e9 / high, high: low > 0 ? 1e9 / low : perSecond,
				title: `${number(perSecond / 1e6)} million per second\n${cell.title}`,
			};
		}).filter(Boolean);
	});
	return { points, throughput };
}

function curveFigure(curve, metric, view, width) {
	const { points, throughput } = curvePoints(curve, metric, view);
	if (!points.length)
		return null;
	const isRatio = view.ratios && !throughput;
	const ours = view.results.ours;
	const yLabel = throughput ? "per second" : isRatio ? "ratio" : metricTitle(metric);
	const note = throughput ? "throughput of all threads together; more is better"
		: isRatio ? `${metric.name}, ${ours} / the other; below 1: ${ours} needs less` : `${metricTitle(metric)}; less is better`;
	return figure(curve.name, `${note}; by ${curve.by}`,
		curveChart({ points, by: curve.by, yLabel, width, isRatio, label: `${curve.name} by ${curve.by}` }),
		{ "data-kind": "curve", "data-curve": curve.name, "data-metric": metric.name });
}

function curveFigures(curves, view) {
	const count = curves.reduce((sum, curve) => sum + metricsOf(curve.benchmarks).length, 0);
	const { width } = columnsFor(view.width, Math.min(3, Math.max(count, 2)));
	return curves.flatMap((curve) =>
		metricsOf(curve.benchmarks).map((metric) => curveFigure(curve, metric, view, width))).filter(Boolean);
}

function seriesSection(benchmarks, view) {
	const { width } = columnsFor(view.width, 3);
	const figures = benchmarks.map((benchmark) => {
		const points = view.columns.flatMap((column) => (benchmark.series[column.name] ?? []).map(([x, y]) => ({
			column, x, y, title: `${benchmark.name}\n${column.name}: ${number(y)} MiB after ${number(x)} s`,
		})));
		return points.length ? figure(benchmark.name, "", seriesChart({ points, width, label: `memory of ${benchmark.name}` }),
			{ "data-kind": "series", "data-benchmark": benchmark.name }) : null;
	}).filter(Boolean);
	return figures.length ? [h("h3", {}, "Memory over time"), h("div", { class: "charts" }, figures)] : null;
}

// Each benchmark's line, those that share one together.
function abouts(benchmarks) {
	const lines = new Map();
	for (const { family, about, name } of benchmarks) {
		const key = `${family}\n${about}`;
		if (!about)
			continue;
		if (!lines.has(key))
			lines.set(key, { family, about, names: [] });
		lines.get(key).names.push(name);
	}
	const shared = new Map();
	for (const { family } of lines.values())
		shared.set(family, (shared.get(family) ?? 0) + 1);
	return h("dl", { class: "abouts" }, [...lines.values()].flatMap(({ family, about, names }) => {
		const label = names.length > 1 && shared.get(family) === 1 ? [family] : names;
		return [...label.map((name) => h("dt", {}, breakable(name))), h("dd", {}, about)];
	}));
}

function tables(group, benchmarks, view) {
	return metricsOf(benchmarks).map((metric) => metricTable({
		key: `${group.name}\n${metric.key}`, benchmarks, metric, columns: view.columns, results: view.results,
		caption: metricTitle(metric),
	}));
}

// What a group shows of its benchmarks that match the filter; null where none does.
export function groupSection(group, view) {
	const benchmarks = group.benchmarks.filter(({ name }) => view.matches(name));
	if (!benchmarks.length)
		return null;
	const { curves, single } = curvesOf(benchmarks);
	const onCurves = benchmarks.filter((benchmark) => !single.includes(benchmark));
	const id = `group-${group.name}`;
	const all = benchmarks.length === 1 ? "1 benchmark" : `${benchmarks.length} benchmarks`;
	return h("section", { id, "data-group": group.name },
		h("h2", {}, h("a", { href: `#${id}` }, group.title), h("span", { class: "count" }, all)),
		group.about && h("p", { class: "about" }, group.about),
		abouts(benchmarks),
		h("div", { class: "charts" }, curveFigures(curves, view), bars(single, view)),
		onCurves.length ? foldable(`${id} bars`, `Bars of the curves' ${onCurves.length} points`, false,
			() => [h("div", { class: "charts" }, bars(onCurves, view))]) : null,
		seriesSection(benchmarks.filter(({ series }) => series), view),
		foldable(`${id} table`, "Numbers", view.width > 800, () => tables(group, benchmarks, view)));
}

export function summarySection(view) {
	const { summary, ours } = view.results;
	const peers = view.columns.filter(({ kind }) => kind !== "ours");
	if (!summary.length)
		return h("section", { id: "summary" }, h("h2", {}, "Summary"), h("p", {}, "No ratios yet."));
	const rows = summary.map((line) => ({
		name: `${line.title}: ${line.metric}`,
		note: "no ratio",
		cells: peers.filter(({ name }) => line.results[name]).map((column) => {
			const mean = line.results[column.name];
			return {
				column, value: mean.ratio, low: mean.ratio_low, high: mean.ratio_high, text: ratio(mean.ratio),
				title: `${line.title}, ${line.metric}\n${ours} / ${column.name}: ${ratio(mean.ratio)} ` +
					`(${ratio(mean.ratio_low)}–${ratio(mean.ratio_high)})\nmean of ${mean.count ?? line.count} benchmarks`,
			};
		}),
	}));
	const scale = scaleOf(rows, true);
	const { count, width } = columnsFor(view.width, 3);
	const size = Math.ceil(rows.length / count);
	const parts = Array.from({ length: count }, (_, i) => rows.slice(i * size, (i + 1) * size)).filter((part) => part.length);
	return h("section", { id: "summary" },
		h("h2", {}, h("a", { href: "#summary" }, "Summary")),
		h("p", { class: "about" }, `Geometric means of the ratios ${ours} / other allocator. Below 1: ${ours} needs less. ` +
			"Whiskers: the middle half of the rounds."),
		h("div", { class: "charts" }, parts.map((part) => figure("", "",
			rowChart({ rows: part, scale, width, dots: true, isRatio: true, label: "geometric means of ratios" }),
			{ "data-kind": "summary" }))),
		summaryTable({ summary, columns: peers }));
}
