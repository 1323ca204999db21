# SPDX-License-Identifier: MIT
"""The statistics of progs/counted.c: every number of its own must be exact. Under the library only."""

import os
import re
import subprocess
import sys

# name: allocations, frees, bytes asked for, bytes live
SMALL = {
    "kmalloc-16": (1000, 1000, 16000, 0),
    "kmalloc-64": (20000, 20000, 20000 * 60, 0),
    "kmalloc-128": (300, 299, 300 * 128, 128),
    "kmalloc-512": (3, 1, 512 + 500 + 512, 2 * 512),
    "kmalloc-1k": (1, 1, 1000, 0),
    "kmalloc-2k": (1, 1, 2048, 0),
    "kmalloc-4k": (1, 1, 4096, 0),
    "kmalloc-8k": (2, 1, 8192 + 8000, 8192),
}
AREAS = "areas: 7 allocated, 6 freed, 1 live"
# Areas are whole pages: 5 of 200000 bytes, one of 1 MiB, one of 300000 bytes.
PAGE = 4096
AREA_BYTES = sum(-(-n // PAGE) * PAGE for n in [200000] * 5 + [1 << 20, 300000])
BYTES = f"bytes: {AREA_BYTES} allocated, {1 << 20} live, "


def fail(text, output):
    sys.exit(f"{text}, in\n{output}")


def rows_of(text, title):
    """The rows of numbers between a title and the next empty line, by their first word."""
    part = text.split(title, 1)[1].split("\n\n", 1)[0]
    return {row[0]: row[1:] for row in (line.split() for line in part.splitlines()[1:]) if row and row[0] != "#"}


def main():
    env = dict(os.environ, KMALLOC_CMDLINE=(os.environ["KMALLOC_CMDLINE"] + " stat").strip())
    done = subprocess.run([os.environ["PROGS"] + "/counted"], env=env, stderr=subprocess.PIPE, text=True, check=True)
    text = done.stderr
    small = {name: tuple(map(int, row)) for name, row in rows_of(text, "kmalloc path").items()}
    slabs = rows_of(text, "slabinfo - version: 2.1")
    for name, want in SMALL.items():
        if small.get(name) != want:
            fail(f"{name} is {small.get(name)}, not {want}", text)
        if int(slabs[name][0]) != want[0] - want[1]:
            fail(f"{name}: active_objs is not {want[0] - want[1]}", text)
    total = small.pop("total")
    # What else there is the C library allocated itself for its four threads.
    others = [row for name, row in small.items() if name not in SMALL]
    if sum(row[0] for row in others) > 8 or total != tuple(map(sum, zip(*small.values()))):
        fail("the total is not the sum of the rows, or too many were never asked for", text)
    for line in (AREAS, BYTES):
        if not re.search("^" + re.escape(line), text, re.M):
            fail(f"not there: {line}", text)
    if f"program: {os.environ['PROGS']}/counted, process " not in text:
        fail("the program is not named", text)
    print("statistics: every number exact")


main()
