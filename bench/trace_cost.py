#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""trace_cost.py [--rounds N] [--json]: what `kmem record` costs the program that it records.

Two programs, each in turn in every way (off, sampled, all events by what happens when a ring is full), N rounds over; the
medians, and the spread of the middle half. `pairs` does nothing but malloc(64) and free: what an event costs at worst. A
request of `words` allocates, copies, sorts and frees strings: what a program that also works notices.

A loop's time is its own, without the start of the program and the end of the recording. Numbers depend on the machine, and
`wait` and `drop` on a second CPU for kmem itself.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
BUILD = os.path.join(ROOT, "build")
KMEM = os.path.join(BUILD, "kmem")

# Prints nanoseconds per call of malloc() or free(), over all of them.
SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static long pairs(void)
{
	for (int i = 0; i < 1000; i++) {
		void *volatile ptr = malloc(64);

		free(ptr);
	}
	return 2000;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static long words(void)
{
	char *list[200];
	static unsigned long random = 88172645463325252UL;

	for (int i = 0; i < 200; i++) {
		char text[80];

		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		snprintf(text, sizeof(text), "%0*lx", (int)(random % 60) + 1, random >> 20);
		list[i] = malloc(strlen(text) + 1);
		strcpy(list[i], text);
	}
	qsort(list, 200, sizeof(*list), compare);
	for (int i = 0; i < 200; i++)
		free(list[i]);
	return 400;
}

int main(int argc, char **argv)
{
	long (*work)(void) = argc > 1 && !strcmp(argv[1], "words") ? words : pairs;
	double start, end = now() + 50e6;
	long calls = 0;

	while (now() < end)
		work();
	start = now();
	end = start + 300e6;
	while (now() < end)
		calls += work();
	printf("%.3f\n", (now() - start) / (double)calls);
	return 0;
}
"""

WAYS = {
    "off": None,
    "sampled, 512K": ["--sample=512K", "--full=drop"],
    "all, overwrite": ["--all", "--full=overwrite"],
    "all, drop": ["--all", "--full=drop"],
    "all, wait": ["--all", "--full=wait"],
}


def environment():
    plain = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "KMALLOC_CMDLINE")}
    return plain


def run(words, way, folder):
    """Nanoseconds per call; bytes in the file per event, or None."""
    data = os.path.join(folder, "kmem.data")
    if WAYS[way] is None:
        env = dict(environment(), LD_PRELOAD=os.path.join(BUILD, "libkmalloc.so"))
        done = subprocess.run(words, env=env, stdout=subprocess.PIPE, text=True, check=True)
        return float(done.stdout), None
    done = subprocess.run([KMEM, "record", "-o", data, *WAYS[way], "--", *words], env=environment(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True)
    events = int(re.search(r"kmem: (\d+) events", done.stderr).group(1))
    return float(done.stdout), os.path.getsize(data) / events if events > 10000 else None


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def measure(rounds, folder):
    program = os.path.join(folder, "work")
    subprocess.run(["cc", "-O2", "-fno-builtin-malloc", "-fno-builtin-free", "-x", "c", "-", "-o", program], input=SOURCE,
                   text=True, check=True)
    times = {(work, way): [] for work in ("pairs", "words") for way in WAYS}
    sizes = {key: None for key in times}
    for number in range(rounds):
        for key in times:
            if sys.stderr.isatty():
                print(f"\rround {number + 1} of {rounds}: {', '.join(key)}\033[K", end="", file=sys.stderr)
            time, size = run([program, key[0]], key[1], folder)
            times[key].append(time)
            sizes[key] = size or sizes[key]
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    rows = []
    for (work, way), values in times.items():
        off = statistics.median(times[work, "off"])
        median = statistics.median(values)
        low, high = quartiles(values)
        rows.append({"program": work, "way": way, "ns_per_call": round(median, 2), "from": round(low, 2),
                     "to": round(high, 2), "ns_more": round(median - off, 2), "times_off": round(median / off, 3),
                     "bytes_per_event": sizes[work, way] and round(sizes[work, way], 2)})
    return rows


def show(rows):
    print(f"{'program':8} {'recorded':15} {'ns per call':>12} {'middle half':>17} {'ns more':>9} {'times':>7} {'B/event':>8}")
    for row in rows:
        spread = f"{row['from']:.1f} - {row['to']:.1f}"
        size = f"{row['bytes_per_event']:.2f}" if row["bytes_per_event"] else ""
        print(f"{row['program']:8} {row['way']:15} {row['ns_per_call']:12.1f} {spread:>17} {row['ns_more']:9.1f} "
              f"{row['times_off']:7.2f} {size:>8}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not os.access(KMEM, os.X_OK):
        sys.exit("trace_cost.py: no build/kmem: run tools/build, or `ninja -C build kmem`")
    with tempfile.TemporaryDirectory(prefix="trace-cost-") as folder:
        rows = measure(max(options.rounds, 1), folder)
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        show(rows)


if __name__ == "__main__":
    main()
