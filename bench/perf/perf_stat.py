# SPDX-License-Identifier: MIT
"""tools/perf-stat: a program under the library beside the same program on the C library's malloc."""
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import callgrind
import disasm
import program
import rooms
from program import Stop, say
from samples import BYTES

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "build" / "libkmalloc.so"  # --library names another
OURS, THEIRS = "libkmalloc", "C library"
HARDWARE = ("instructions", "cycles", "branches", "branch-misses", "cache-misses", "dTLB-load-misses")
SOFTWARE = ("duration_time", "task-clock", "page-faults", "context-switches", "cpu-migrations")
NANOSECONDS = ("duration_time",)
TRIES = 5

USAGE = """\
NAME
  tools/perf-stat - what a program costs under the library, beside the same on the C library's malloc

SYNOPSIS
  tools/perf-stat [--runs N] [--callgrind | --no-callgrind] [--json FILE] [--] PROGRAM [ARGS...]

DESCRIPTION
  Runs PROGRAM once under libkmalloc as it is: with its standard input, output and error, and with its exit status as
  this tool's. That run is not counted. Then PROGRAM runs under `perf stat` N times each with libkmalloc and with the
  C library's malloc in turn, without output, and medians and their ratio are printed on standard error. A ratio below
  1 means that libkmalloc needs less. Starting `env`, about a millisecond, is part of each run.

  Standard input: a file is read from the same place in each run; what comes out of a pipe is kept and given to each;
  from a terminal only the first run reads. What PROGRAM writes to files it writes in each run.

  Counted are hardware events (instructions, cycles, branches, misses) where the machine has them, and always the
  software events elapsed time, processor time, page faults, context switches and migrations.

  Where there are no hardware events, instructions are counted by callgrind instead, in one more run each: the
  program's own, children included, not the kernel's. It takes some 50 times as long. It also tells the allocator's
  part by path (tools/perf-record --help explains the paths). Valgrind runs no restartable sequences, so there the
  library is in its locked mode: each call leaves the hit path and takes a lock, and costs more than otherwise.
  The instructions of a hit are a unit test, tests/check/test_hit_path.py.

OPTIONS
  --runs N         counted runs of each (default 5)
  --callgrind      count instructions by callgrind in any case
  --no-callgrind   don't
  --json FILE      write the numbers there as well
  --library FILE   a libkmalloc.so other than build/libkmalloc.so, in the directory where it was built
  --help           this text

EXIT STATUS
  That of PROGRAM's first run. When it was not run: 127 not found, 126 not executable, 125 perf cannot count or there
  is no library, 2 bad usage.
"""


def perf_counts(line):
    """(event, value) of a line of `perf stat -x`, or None."""
    fields = line.split(",")
    if len(fields) < 3:
        return None
    try:
        return fields[2].split(":")[0], float(fields[0])
    except ValueError:
        return None


def hardware_events():
    """Those that this machine counts."""
    if not shutil.which("perf"):
        raise Stop("perf is not installed: apt-get install linux-perf (tools/deps bench does it)")
    done = subprocess.run(["perf", "stat", "-x", ",", "-e", ",".join(HARDWARE), "--", "true"], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    counted = dict(filter(None, map(perf_counts, done.stderr.splitlines())))
    return [event for event in HARDWARE if counted.get(event)]


class Input:
    """The program's standard input, the same for each run."""

    def __init__(self, folder):
        self.file = None
        try:
            if os.isatty(0):
                return
            self.file = os.fdopen(os.dup(0), "rb")
            if self.file.seekable():
                self.start = os.lseek(0, 0, os.SEEK_CUR)
                return
            copy = open(os.path.join(folder, "stdin"), "w+b")
            shutil.copyfileobj(self.file, copy)
            self.file, self.start = copy, 0
            copy.flush()
        except OSError:
            self.file = None

    def rewound(self):
        """For a counted run: the input from its start, or nothing."""
        if self.file is None:
            return subprocess.DEVNULL
        os.lseek(self.file.fileno(), self.start, os.SEEK_SET)
        return self.file

    def first(self):
        return None if self.file is None else self.rewound()


class Runner:
    def __init__(self, words, library, preload, folder):
        self.words, self.library, self.folder = words, library, folder
        own = program.own_environment()
        program.find_program(words[0], own)
        self.environment = {OURS: program.with_preload(own, library, preload),
                            THEIRS: program.with_preload(own, None, preload)}
        self.input = Input(folder)
        self.other_status = 0

    def first(self):
        """Run it as it is. Returns its status as subprocess does."""
        command = program.under_env(self.environment[OURS], self.words)
        with subprocess.Popen(command, stdin=self.input.first()) as process:
            signal.signal(signal.SIGINT, lambda *_: None)
            signal.signal(signal.SIGTERM, lambda *_: process.terminate())
            status = process.wait()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return status

    def counted(self, name, events, status):
        """{event: value} of one run. A program that ends before perf's own process goes on makes perf begin its clock
        too late and lose the status: a run with more processor time than there was is done again."""
        for _ in range(TRIES):
            found, returned = self._under_perf(name, events)
            if found.get("duration_time", 0) * os.cpu_count() >= 1e6 * found.get("task-clock", 0):
                break
        self.other_status += returned != status
        return found

    def _under_perf(self, name, events):
        out = os.path.join(self.folder, "counts")
        command = ["perf", "stat", "-x", ",", "-o", out, "-e", ",".join(events), "--",
                   *program.under_env(self.environment[name], self.words)]
        done = subprocess.run(command, stdin=self.input.rewound(), stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
        try:
            with open(out, encoding="utf-8") as file:
                found = dict(filter(None, map(perf_counts, file)))
        except OSError:
            found = {}
        if not found:
            raise Stop("perf cannot count here (see kernel.perf_event_paranoid)")
        return found, done.returncode

    def by_callgrind(self, name):
        folder = tempfile.mkdtemp(dir=self.folder)
        costs, _ = callgrind.count(self.words, self.environment[name], folder,
                                   {"stdin": self.input.rewound(), "stdout": subprocess.DEVNULL,
                                    "stderr": subprocess.DEVNULL})
        return costs


def paths_of(costs, classifier, library):
    """{path: instructions} of the allocator. lib/ and arch/ serve all: their cost goes to the paths that call them, in
    the proportion that callgrind's calls have."""
    found, shared = Counter(), Counter()
    for address, cost in costs.of_object(library).items():
        path = classifier.path_at(address)
        if path is rooms.CALLER:
            shared[classifier.name_at(address)] += cost
        else:
            found[path] += cost
    incoming = {}
    real = os.path.realpath(library)
    for (caller, address, called, function), cost in costs.calls.items():
        if os.path.realpath(caller) != real:
            continue
        path = classifier.path_at(address)
        if os.path.realpath(called) != real:
            found[rooms.COPY if BYTES.match(function) else path or rooms.REST] += cost
        else:
            key = path if path is not rooms.CALLER else ("of", classifier.name_at(address))
            incoming.setdefault(function.split("'")[0], Counter())[key] += cost
    for function, cost in shared.items():
        _share_out(function, cost, incoming, found, 0)
    return {path: round(cost) for path, cost in found.items()}


def _share_out(function, cost, incoming, found, depth):
    callers = incoming.get(function)
    total = sum(callers.values()) if callers else 0
    if not total or depth > 5:
        found[rooms.REST] += cost
        return
    for path, weight in callers.items():
        if isinstance(path, tuple):
            _share_out(path[1], cost * weight / total, incoming, found, depth + 1)
        else:
            found[path] += cost * weight / total


def readable(event, value):
    if event in NANOSECONDS:
        return f"{value / 1e6:,.1f} ms"
    if event == "task-clock":
        return f"{value:,.1f} ms"
    return f"{value:,.0f}"


def table(rows):
    lines = [f"{'':18} {OURS:>20} {THEIRS:>20} {'ratio':>7}"]
    for name, ours, theirs in rows:
        ratio = f"{ours / theirs:7.3f}" if theirs and ours else f"{'-':>7}"
        lines.append(f"{name.replace('duration_time', 'elapsed time').replace('task-clock', 'processor time'):18} "
                     f"{readable(name, ours):>20} {readable(name, theirs):>20} {ratio}")
    return lines


def callgrind_lines(runner, result):
    costs = {name: runner.by_callgrind(name) for name in (OURS, THEIRS)}
    ours, theirs = costs[OURS].total, costs[THEIRS].total
    split = paths_of(costs[OURS], rooms.Rooms(runner.library, ROOT), runner.library)
    inside = sum(split.values())
    result["callgrind"] = {"instructions": {OURS: ours, THEIRS: theirs}, "mode": "locked",
                           "allocator": inside, "paths": split}
    lines = ["", "callgrind, one run each; valgrind has no rseq, so this is the locked mode (all calls miss):",
             *table([("instructions", ours, theirs)]), "",
             f"{'path':18} {'instructions':>18} {'share':>9} {'of allocator':>13}"]
    for path in rooms.ALLOCATOR:
        if path in (rooms.FAULTS, rooms.REST) and not split.get(path):
            continue
        cost = split.get(path, 0)
        lines.append(f"{path:18} {cost:>18,} {100 * cost / ours:7.1f} % {100 * cost / max(1, inside):11.1f} %")
    lines.append(f"{'the allocator':18} {inside:>18,} {100 * inside / ours:7.1f} %")
    return lines


def measure(runner, runs, status, use_callgrind):
    hardware = hardware_events()
    events = list(hardware) + list(SOFTWARE)
    values = {name: [] for name in (OURS, THEIRS)}
    for _ in range(runs):
        for name in values:
            values[name].append(runner.counted(name, events, status))
    result = {"format": 1, "command": shlex.join(runner.words), "runs": runs,
              "events": "hardware" if "instructions" in hardware else "software", "counts": {}}
    rows = []
    for event in events:
        seen = {name: [run[event] for run in found if event in run] for name, found in values.items()}
        if all(seen.values()):
            middle = {name: statistics.median(numbers) for name, numbers in seen.items()}
            result["counts"][event] = dict(middle, samples=seen)
            rows.append((event, middle[OURS], middle[THEIRS]))
    what = "hardware and software events" if "instructions" in hardware else \
        "software events; this machine counts no hardware events"
    lines = [f"{result['command']}", f"perf stat, medians of {runs} runs in turn: {what}", *table(rows)]
    if use_callgrind or (use_callgrind is None and "instructions" not in hardware):
        try:
            lines += callgrind_lines(runner, result)
        except (callgrind.CallgrindFailed, disasm.CannotRead) as error:
            lines += ["", f"no instruction counts: {error}"]
    if runner.other_status:
        lines += ["", f"note: {runner.other_status} of {2 * runs} runs ended with another status than the first"]
    return lines, result


def main(words):
    program.TOOL = "tools/perf-stat"
    options = {"--runs": "5", "--callgrind": False, "--no-callgrind": False, "--json": "",
               "--library": str(LIBRARY), "--preload": ""}
    values, words = program.parse(words, options, USAGE)
    runs = program.number("--runs", values["--runs"], 1, 1000)
    if values["--callgrind"] and values["--no-callgrind"]:
        raise Stop("--callgrind and --no-callgrind exclude each other", 2)
    use_callgrind = True if values["--callgrind"] else False if values["--no-callgrind"] else None
    library = program.library(values["--library"])
    with tempfile.TemporaryDirectory(prefix="libkmalloc-stat.") as folder:
        runner = Runner(words, library, values["--preload"], folder)
        status = runner.first()
        if status < 0:
            say(f"not counted: the program was killed by signal {-status}")
        else:
            lines, result = measure(runner, runs, status, use_callgrind)
            print("\n" + "\n".join(lines), file=sys.stderr)
            if values["--json"]:
                try:
                    Path(values["--json"]).write_text(json.dumps(result, indent=1) + "\n")
                except OSError as error:
                    say(f"{values['--json']}: {error.strerror}")
    program.end_as(status)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Stop as stop:
        say(str(stop))
        sys.exit(stop.status)
    except KeyboardInterrupt:
        sys.exit(130)
