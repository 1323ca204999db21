// SPDX-License-Identifier: MIT
// Tables of numbers: sortable by each column, the first column stays in sight when they are scrolled.
import { breakable, h } from "./dom.js";
import { number, percent, ratio } from "./format.js";
import { failureOf, metricOf } from "./model.js";

const FIELDS = { median: "median", spread: "±", ratio: "ratio" };
const sorting = new Map(); // table's key -> {column, field, down}; column null: by name

function fieldsOf(column) {
	return column.kind === "ours" ? ["median", "spread"] : ["median", "spread", "ratio"];
}

function fieldText(field, result) {
	const value = result[field];
	if (value === null || value === undefined)
		return "";
	return { median: number, spread: percent, ratio }[field](value);
}

// All of a result in words, for the pointer.
function detail(result, unit) {
	const lines = [`median ${result.median}${unit ? ` ${unit}` : ""}`];
	if (result.ratio !== undefined)
		lines.push(`ratio ${result.ratio} (${result.ratio_low} to ${result.ratio_high})`);
	if (result.samples)
		lines.push(`rounds: ${result.samples.join(", ")}`);
	return lines.join("\n");
}

function compare(a, b, down) {
	if (a === undefined || a === null || b === undefined || b === null) // without a number: last
		return (a === undefined || a === null) - (b === undefined || b === null);
	const order = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
	return down ? -order : order;
}

function sorted(rows, { column, field, down }) {
	const value = ({ benchmark, metric }) => (column === null ? benchmark.name : metric.results[column]?.[field]);
	return [...rows].sort((a, b) => compare(value(a), value(b), down));
}

function sortHead(text, spec, state, onsort, attributes = {}) {
	const active = state && state.column === spec.column && state.field === spec.field;
	return h("th", { ...attributes, "aria-sort": active ? (state.down ? "descending" : "ascending") : null },
		h("button", {
			type: "button", title: "sort", "data-sort": `${spec.column ?? ""} ${spec.field}`,
			onclick: () => onsort(active ? (state.down ? null : { ...spec, down: true }) : { ...spec, down: false }),
		}, text, h("span", { class: "arrow", "aria-hidden": "true" }, active ? (state.down ? "▼" : "▲") : "")));
}

function bodyRow({ benchmark, metric }, columns, results) {
	const cells = columns.flatMap((column) => {
		const result = metric.results[column.name];
		const fields = fieldsOf(column);
		if (!result) {
			const why = failureOf(results, benchmark.name, column.name);
			return [h("td", { class: "none first", colspan: fields.length, title: why }, why ? "failed" : "–")];
		}
		return fields.map((field, i) => h("td", {
			class: [i ? null : "first", field, column.kind === "ours" ? "ours" : null].filter(Boolean).join(" "),
			title: i ? null : detail(result, metric.unit),
			"data-column": column.name, "data-field": field,
		}, fieldText(field, result)));
	});
	return h("tr", { "data-benchmark": benchmark.name },
		h("th", { scope: "row", class: "sticky", title: benchmark.about }, breakable(benchmark.name)), cells);
}

// One metric of some benchmarks, all columns that have it.
export function metricTable({ key, benchmarks, metric, columns, results, caption }) {
	const rows = benchmarks.map((benchmark) => ({ benchmark, metric: metricOf(benchmark, metric) }))
		.filter((row) => row.metric);
	const used = columns.filter(({ name }) => rows.some((row) => row.metric.results[name]));
	const wrapper = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption });
	const draw = () => {
		const state = sorting.get(key) ?? null;
		const onsort = (next) => {
			sorting.set(key, next);
			draw();
		};
		wrapper.replaceChildren(h("table", { class: "numbers", "data-metric": metric.name, "data-unit": metric.unit },
			h("caption", {}, caption),
			h("thead", {},
				h("tr", {},
					sortHead("benchmark", { column: null, field: "name" }, state, onsort, { rowspan: 2, class: "sticky" }),
					used.map((column) => h("th", {
						colspan: fieldsOf(column).length, scope: "colgroup", class: `first ${column.kind}`,
					}, column.name))),
				h("tr", {}, used.flatMap((column) => fieldsOf(column).map((field, i) =>
					sortHead(FIELDS[field], { column: column.name, field }, state, onsort,
						{ class: i ? null : "first" }))))),
			h("tbody", {}, (state ? sorted(rows, state) : rows).map((row) => bodyRow(row, used, results)))));
	};
	draw();
	return wrapper;
}

// The geometric means: one line each, a column per peer.
export function summaryTable({ summary, columns }) {
	const used = columns.filter(({ name }) => summary.some((line) => line.results[name]));
	const cell = (line, { name }) => {
		const mean = line.results[name];
		if (!mean)
			return h("td", { class: "none" }, "–");
		const part = mean.count !== undefined && mean.count !== line.count ? `${mean.count} of ${line.count}` : "";
		return h("td", { "data-column": name },
			h("span", { class: "mean", "data-field": "ratio" }, ratio(mean.ratio)),
			h("span", { class: "range", "data-field": "range" }, `${ratio(mean.ratio_low)}–${ratio(mean.ratio_high)}`),
			part && h("span", { class: "range" }, part));
	};
	return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "geometric means" },
		h("table", { class: "numbers means" },
			h("thead", {}, h("tr", {}, h("th", { class: "sticky" }, "benchmarks"),
				used.map((column) => h("th", { class: column.kind }, column.name)))),
			h("tbody", {}, summary.map((line) => h("tr", { "data-title": line.title, "data-metric": line.metric },
				h("th", { scope: "row", class: "sticky" }, line.title,
					h("span", { class: "range" }, `${line.metric}, ${line.count} benchmarks`)),
				used.map((column) => cell(line, column)))))));
}
