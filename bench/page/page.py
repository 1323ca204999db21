#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Puts data into the pages that bench/page/build bundled: one self-contained HTML file each.

page.py results.json TEMPLATE OUT.html   (a profile's JSON with the flame template works as well)
"""
import json
import os
import sys
from pathlib import Path

PLACEHOLDER = "@DATA@"
FORMAT = 1


class BadData(Exception):
    """What was given cannot be shown; the text says why, in one line."""


def escaped(data):
    """JSON that cannot end the script element that it stands in, whatever names it holds."""
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, from a name that is no UTF-8
        text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadData(f"not to be written as JSON: {error}") from None
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def check(data, keys):
    if not isinstance(data, dict):
        raise BadData("not a JSON object")
    if data.get("format") != FORMAT:
        raise BadData(f"format {data.get('format')!r}, this page shows format {FORMAT}")
    missing = [key for key in keys if key not in data]
    if missing:
        raise BadData(f"no {missing[0]!r} in it")


def fill(template_path, data):
    template = Path(template_path).read_text(encoding="utf-8")
    before, found, after = template.partition(PLACEHOLDER)
    if not found or PLACEHOLDER in after:
        raise BadData(f"{template_path}: not a template of bench/page/build")
    return before + escaped(data) + after


def results_page(template_path, results: dict) -> str:
    """The page of a run: what tools/bench writes as results.json, in DIR/results.html."""
    check(results, ("ours", "allocators", "groups", "benchmarks", "summary", "failures"))
    return fill(template_path, results)


def flame_page(template_path, data: dict) -> str:
    """The page of a profile, in DIR/flame.html. `value` of a frame includes its children's."""
    check(data, ("shares", "tree"))
    return fill(template_path, data)


def load(path):
    try:
        return json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path}: damaged JSON: {error}") from None


def write(path, text):
    """Whole or not at all."""
    new = Path(f"{path}.new{os.getpid()}")
    try:
        new.write_text(text, encoding="utf-8")
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def main(words):
    if len(words) != 3:
        print("usage: page.py results.json TEMPLATE OUT.html", file=sys.stderr)
        return 2
    source, template, out = words
    try:
        data = load(source)
        make = flame_page if isinstance(data, dict) and "tree" in data else results_page
        try:
            text = make(template, data)
        except BadData as error:
            raise BadData(f"{source}: {error}") from None
        write(out, text)
    except BadData as error:
        print(f"page.py: {error}", file=sys.stderr)
        return 1
    except (OSError, UnicodeDecodeError) as error:
        what = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else f"{template}: {error}"
        print(f"page.py: {what}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
