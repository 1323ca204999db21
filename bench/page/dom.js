// SPDX-License-Identifier: MIT
// Elements of the page. All text goes in as text, never as markup.

// h("a", {href: "#x", onclick: f}, "text", element, ...): null and false children are left out.
export function h(tag, attributes, ...children) {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes ?? {})) {
		if (value === null || value === undefined || value === false)
			continue;
		if (name.startsWith("on"))
			element.addEventListener(name.slice(2), value);
		else
			element.setAttribute(name, value === true ? "" : value);
	}
	element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
	return element;
}

// A benchmark's name, which may be broken behind its slashes.
export function breakable(name) {
	return name.split(/(?<=\/)/).flatMap((part, i) => (i ? [document.createElement("wbr"), part] : [part]));
}

export function debounced(milliseconds, run) {
	let timer;
	return () => {
		clearTimeout(timer);
		timer = setTimeout(run, milliseconds);
	};
}
