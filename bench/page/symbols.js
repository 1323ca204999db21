// SPDX-License-Identifier: MIT
// A column's mark, as in the charts, for the legend.
import { symbol, symbolCircle, symbolCross, symbolDiamond, symbolSquare, symbolStar, symbolTriangle, symbolWye } from "d3";

const TYPES = {
	circle: symbolCircle, cross: symbolCross, diamond: symbolDiamond, square: symbolSquare,
	star: symbolStar, triangle: symbolTriangle, wye: symbolWye,
};

export function symbols({ symbol: name, colour, kind }) {
	const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
	const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
	svg.setAttribute("viewBox", "-7 -7 14 14");
	svg.setAttribute("class", "symbol");
	svg.setAttribute("aria-hidden", "true");
	path.setAttribute("d", symbol(TYPES[name], 64)());
	path.style.fill = kind === "reference" ? "none" : colour;
	path.style.stroke = kind === "reference" ? colour : "none";
	path.style.strokeWidth = "2";
	svg.append(path);
	return svg;
}
