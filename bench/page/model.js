// SPDX-License-Identifier: MIT
// The run as the page needs it, from the JSON that page.py put into it.
//
// A column is an allocator, or a reference that ratios are given to: `limit`, and `empty` for calls
// that do nothing. It has a colour and a mark that stay the same over the whole page.

export const REFERENCES = ["limit", "empty"];
const PEER_SYMBOLS = ["square", "triangle", "diamond", "star", "wye", "cross"];
const PEER_COLOURS = 7; // --peer-0 ... in page.css

function isReference(name) {
	return REFERENCES.includes(name);
}

// Names of all columns: the allocators as they are listed, then what only results name.
function columnNames(results) {
	const names = new Set(results.allocators.map(({ name }) => name));
	for (const { metrics, series } of results.benchmarks) {
		for (const { results: columns } of metrics)
			Object.keys(columns).forEach((name) => names.add(name));
		Object.keys(series ?? {}).forEach((name) => names.add(name));
	}
	return [...[...names].filter((name) => !isReference(name)), ...[...names].filter(isReference)];
}

export function columnsOf(results) {
	const used = new Set();
	for (const { metrics, series } of results.benchmarks) {
		metrics.forEach((metric) => Object.keys(metric.results).forEach((name) => used.add(name)));
		Object.keys(series ?? {}).forEach((name) => used.add(name));
	}
	let peer = 0;
	return columnNames(results).map((name) => {
		const listed = results.allocators.find((allocator) => allocator.name === name);
		const column = {
			name,
			version: listed?.version ?? "",
			broken: listed?.broken ?? null,
			used: used.has(name),
			kind: name === results.ours ? "ours" : isReference(name) ? "reference" : "peer",
		};
		if (column.kind === "ours")
			return { ...column, colour: "var(--ours)", symbol: "circle" };
		if (column.kind === "reference")
			return { ...column, colour: "var(--reference)", symbol: name === "limit" ? "circle" : "diamond" };
		const number = peer++;
		return {
			...column,
			colour: `var(--peer-${number % PEER_COLOURS})`,
			symbol: PEER_SYMBOLS[number % PEER_SYMBOLS.length],
		};
	});
}

// The metrics that benchmarks have, each once: [{name, unit, key}].
export function metricsOf(benchmarks) {
	const found = new Map();
	for (const { metrics } of benchmarks)
		for (const { name, unit } of metrics)
			found.set(`${name}\n${unit}`, { name, unit, key: `${name}\n${unit}` });
	return [...found.values()];
}

export function metricOf(benchmark, { name, unit }) {
	return benchmark.metrics.find((metric) => metric.name === name && metric.unit === unit);
}

export function metricTitle({ name, unit }) {
	return unit ? `${name}, ${unit}` : name;
}

// The line that benchmarks lie on: their name without the argument that the curve runs over.
function lineOf(benchmark) {
	const { by, x } = benchmark.curve;
	const without = benchmark.name.replace(new RegExp(`/${by}:${x}(?=/|$)`), "");
	return without === benchmark.name ? benchmark.family : without;
}

// Benchmarks in curves of at least three points, and the rest: {curves: [{name, by, benchmarks}], single}.
export function curvesOf(benchmarks) {
	const lines = new Map();
	for (const benchmark of benchmarks) {
		if (!benchmark.curve)
			continue;
		const name = lineOf(benchmark);
		const key = `${name}\n${benchmark.curve.by}`;
		if (!lines.has(key))
			lines.set(key, { name, by: benchmark.curve.by, benchmarks: [] });
		lines.get(key).benchmarks.push(benchmark);
	}
	const curves = [...lines.values()].filter((line) =>
		new Set(line.benchmarks.map(({ curve }) => curve.x)).size >= 3);
	for (const curve of curves)
		curve.benchmarks.sort((a, b) => a.curve.x - b.curve.x);
	const drawn = new Set(curves.flatMap((curve) => curve.benchmarks));
	return { curves, single: benchmarks.filter((benchmark) => !drawn.has(benchmark)) };
}

// Why a benchmark has no result of a column, or null. A failure names a benchmark or all below it.
export function failureOf(results, benchmark, column) {
	const found = results.failures.find((failure) => failure.allocator === column &&
		(failure.benchmark === benchmark || benchmark.startsWith(`${failure.benchmark}/`)));
	return found?.reason ?? null;
}

// Groups in order, with their benchmarks; those of no listed group come last.
export function groupsOf(results) {
	const groups = results.groups.map((group) => ({ ...group, benchmarks: [] }));
	for (const benchmark of results.benchmarks) {
		let group = groups.find(({ name }) => name === benchmark.group);
		if (!group) {
			group = { name: benchmark.group, title: benchmark.group, about: "", benchmarks: [] };
			groups.push(group);
		}
		group.benchmarks.push(benchmark);
	}
	return groups.filter(({ benchmarks }) => benchmarks.length);
}
