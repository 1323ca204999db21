#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""trace_programs.py [--rounds N] [--json] [--only PATTERN]: what recording costs whole programs, beside heaptrack.

The programs are those of tools/bench that are one process. Each runs in turn in every way, N rounds over: on the C library's
malloc, on the library, under `kmem record` in four ways, under heaptrack. A time is that of the whole command, with what it takes
to start and to end the recording (3 to 4 ms, however short the program is); the medians are shown, as they are and as times of the run
without recording. `share` is what `kmem record --stacks` adds to the library's time, over what heaptrack adds to the C library's.
"""
import argparse
import fnmatch
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
sys.path.insert(0, str(ROOT / "bench" / "lib"))

from programs import PROGRAMS  # noqa: E402 (the path is needed first)

KMEM = BUILD / "kmem"
WAYS = {
    "glibc": None,
    "off": None,
    "samples": ["--sample"],
    "samples, stacks": ["--sample", "--stacks"],
    "all": ["--all"],
    "all, stacks": ["--all", "--stacks"],
    "heaptrack": None,
}
LEFT_OUT = ("openssl-speed",)  # it works for a second, however much that is


class Runner:
    """What commands ask of tools/bench's."""

    @staticmethod
    def binary(name):
        found = [path for path in (BUILD / "bench" / name, BUILD / "bench" / "programs" / name) if path.is_file()]
        return found[0] if found else BUILD / "bench" / name


def environment(program):
    plain = {name: value for name, value in os.environ.items()
             if name not in ("LD_PRELOAD", "KMALLOC_CMDLINE", "DEBUGINFOD_URLS")}
    return dict(plain, LC_ALL="C", **(program.environment or {}))


def command(words, way, work):
    if way == "heaptrack":
        return ["heaptrack", "-r", "-o", str(work / "heaptrack"), *words]
    if WAYS[way] is not None:
        return [str(KMEM), "record", "-o", str(work / "kmem.data"), *WAYS[way], "--", *words]
    return words


def run(program, way, work):
    """Seconds."""
    words = command([str(word) for word in program.command(work, Runner)], way, work)
    env = environment(program)
    if way == "off":
        env["LD_PRELOAD"] = str(BUILD / "libkmalloc.so")
    start = time.monotonic()
    done = subprocess.run(words, cwd=work, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, check=False)
    seconds = time.monotonic() - start
    if done.returncode and way != "heaptrack":  # whose status is not the program's
        sys.exit(f"trace_programs.py: {program.name}, {way}: status {done.returncode}: {done.stderr.decode()[-300:]}")
    for left in work.glob("heaptrack*"):
        left.unlink()
    return seconds


def chosen(pattern):
    return [program for program in PROGRAMS
            if not program.forks and not program.run and program.name not in LEFT_OUT
            and (program.group == "programs" or program.name in ("server-16", "sessions"))
            and fnmatch.fnmatch(program.name, pattern) and all(shutil.which(name) for name in program.needs)]


def measure(programs, rounds, ways):
    rows = []
    for number, program in enumerate(programs):
        times = {way: [] for way in ways}
        with tempfile.TemporaryDirectory(prefix="trace-programs-") as folder:
            work = Path(folder)
            if program.prepare:
                program.prepare(work, environment(program))
            for turn in range(rounds + 1):
                for way in ways:
                    if sys.stderr.isatty():
                        print(f"\r{number + 1} of {len(programs)}: {program.name}, round {turn}, {way}\033[K", end="",
                              file=sys.stderr)
                    if program.before:
                        program.before(work)
                    seconds = run(program, way, work)
                    if turn:  # the first warms up
                        times[way].append(seconds)
        rows.append({"program": program.name, "seconds": {way: statistics.median(values) for way, values in times.items()}})
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return rows


def share(seconds):
    """None where heaptrack adds too little to say."""
    if "heaptrack" not in seconds or seconds["heaptrack"] - seconds["glibc"] < 0.05:
        return None
    return (seconds["all, stacks"] - seconds["off"]) / (seconds["heaptrack"] - seconds["glibc"])


def geometric(values):
    return statistics.geometric_mean(values) if values else float("nan")


def show(rows, ways):
    print(f"{'program':18}" + "".join(f"{way:>17}" for way in ways) + f"{'share':>8}")
    for row in rows:
        seconds = row["seconds"]
        line = f"{row['program']:18}"
        for way in ways:
            base = seconds["glibc" if way == "heaptrack" else "off"]
            ratio = "" if way in ("glibc", "off") else f" {seconds[way] / base:6.2f}x"
            line += f"{seconds[way]:.3f}{ratio}".rjust(17)
        one = share(seconds)
        print(line + (f"{one:8.2f}" if one is not None else ""))
    line = f"{'geometric mean':18}"
    for way in ways:
        base = "glibc" if way == "heaptrack" else "off"
        line += "".rjust(17) if way in ("glibc", "off") else \
            f"{geometric([row['seconds'][way] / row['seconds'][base] for row in rows]):.3f}x".rjust(17)
    shares = [one for one in (share(row["seconds"]) for row in rows) if one is not None and one > 0]
    print(line + f"{geometric(shares):8.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="*", metavar="PATTERN")
    options = parser.parse_args()
    if not os.access(KMEM, os.X_OK) or not Runner.binary("server").exists():
        sys.exit("trace_programs.py: run `tools/build --bench` first")
    ways = [way for way in WAYS if way != "heaptrack" or shutil.which("heaptrack")]
    if "heaptrack" not in ways:
        print("trace_programs.py: no heaptrack (tools/deps these heaptrack): it is left out", file=sys.stderr)
    rows = measure(chosen(options.only), max(options.rounds, 1), ways)
    if options.json:
        print(json.dumps([dict(row, share=share(row["seconds"])) for row in rows], indent=1))
    else:
        show(rows, ways)


if __name__ == "__main__":
    main()
