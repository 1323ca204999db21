// SPDX-License-Identifier: MIT
// How bytes, objects and times are written on the page.

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export function whole(value) {
	return grouped.format(value);
}

function scaled(value, base, units) {
	let unit = 0;
	while (Math.abs(value) >= base && unit < units.length - 1) {
		value /= base;
		unit++;
	}
	return `${unit ? +value.toPrecision(3) : whole(value)} ${units[unit]}`;
}

// 320 B  1.5 KiB  12 MiB
export function bytes(value) {
	return scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
}

// 118 ns  24.7 ms  3 s
export function time(ns) {
	return scaled(ns, 1000, ["ns", "µs", "ms", "s"]);
}

// 12  5k  1.2M: for the ticks of an axis
export function short(value) {
	return scaled(value, 1000, ["", "k", "M", "G"]).replace(" ", "");
}

export function percent(part) {
	return `${(part * 100).toFixed(1)}%`;
}
