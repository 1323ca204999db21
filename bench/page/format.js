// SPDX-License-Identifier: MIT
// How numbers are written on the page: three significant digits where there are that many.

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

// 12,346  123  12.3  1.23  0.123  0.0123  0
export function number(value) {
	const size = Math.abs(value);
	if (size === 0)
		return "0";
	if (size >= 99.95)
		return grouped.format(value);
	if (size >= 9.995)
		return value.toFixed(1);
	if (size >= 0.9995)
		return value.toFixed(2);
	return value.toFixed(Math.min(8, 2 - Math.floor(Math.log10(size))));
}

// 123  12.3  1.23  0.84  0.084: of a ratio two digits behind the point say enough.
export function ratio(value) {
	return value < 0.0995 || value >= 9.995 ? number(value) : value.toFixed(2);
}

export function percent(part) {
	return `${(part * 100).toFixed(1)}%`;
}

export function withUnit(value, unit) {
	return unit ? `${number(value)} ${unit}` : number(value);
}

// For the ticks of an axis: 0.01  5  10k  2M
export function short(value) {
	const size = Math.abs(value);
	for (const [limit, suffix] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
		if (size >= limit)
			return `${+(value / limit).toPrecision(3)}${suffix}`;
	return `${+value.toPrecision(3)}`;
}

// 64  1 KiB  16 MiB
export function bytes(value) {
	for (const [limit, suffix] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]])
		if (value >= limit)
			return `${+(value / limit).toPrecision(3)} ${suffix}`;
	return `${value}`;
}

const months = ["January", "February", "March", "April", "May", "June", "July", "August",
	"September", "October", "November", "December"];

// 24 November 2026, 10:00 UTC; what is no date is shown as it is.
export function date(text) {
	const at = new Date(text);
	if (Number.isNaN(at.getTime()))
		return `${text}`;
	const clock = at.toISOString().slice(11, 16);
	return `${at.getUTCDate()} ${months[at.getUTCMonth()]} ${at.getUTCFullYear()}, ${clock} UTC`;
}
