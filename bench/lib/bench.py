# SPDX-License-Identifier: MIT
"""tools/bench: measure allocators side by side, time and memory.

Every benchmark runs under each allocator in turn, round after round, so that what slows the
machine down for a while slows all of them. What was measured is on disk at once: a run that is
cut off goes on with `tools/bench --out DIR`. It ends with tables on standard output and in DIR:
results.md (the same tables), results.json (all samples) and results.html (plots)."""
import argparse
import datetime
import fnmatch
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent
sys.path.insert(0, str(BENCH / "page"))

import allocators as allocators_module  # noqa: E402
import report  # noqa: E402
import units as units_module  # noqa: E402
from allocators import BadArgument  # noqa: E402
from progress import Progress, TimeLeft, minutes  # noqa: E402
from runner import Failed, Runner  # noqa: E402
from store import Store, Turn  # noqa: E402


def positive(text):
    value = float(text) if "." in text else int(text)
    if value <= 0:
        raise ValueError
    return value


def arguments():
    parser = argparse.ArgumentParser(
        prog="tools/bench", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true",
                        help="fewer rounds and sizes: a first look")
    parser.add_argument("--only", metavar="PATTERN", action="append", default=[],
                        help="only benchmarks whose name contains or matches PATTERN (may be "
                             "repeated; --list shows the names)")
    parser.add_argument("--peer", metavar="NAME=PATH", action="append", default=[],
                        help="one more allocator, or another file for a known one (may be "
                             "repeated); ;VARIABLE=VALUE behind it sets its environment")
    parser.add_argument("--against", metavar="REV",
                        help="build this revision of the repository and compare only with it "
                             "(and with each --peer)")
    parser.add_argument("--out", metavar="DIR",
                        help="where the results go; one that holds a run goes on with it "
                             "(default: a new folder under bench-results/)")
    parser.add_argument("--rounds", metavar="N", type=positive,
                        help="turns of each allocator (default 5, quick 3)")
    parser.add_argument("--timeout", metavar="SECONDS", type=positive, default=120,
                        help="a program that takes longer hangs (default 120)")
    parser.add_argument("--build", metavar="DIR", type=Path, default=ROOT / "build",
                        help="build folder with the library and the benchmarks (default build)")
    parser.add_argument("--library", metavar="PATH",
                        help="measure this file as kmalloc (default: the build folder's)")
    parser.add_argument("--warm", metavar="GIB", type=float, default=4.0,
                        help="memory to touch and give back first, as the first touch of a "
                             "virtual machine's memory is slow (default 4, half of what is "
                             "free at most; 0: none)")
    parser.add_argument("--list", action="store_true", help="print the benchmarks' names")
    parser.add_argument("--describe", action="store_true",
                        help="print what each benchmark is about, as Markdown")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    return parser.parse_args()


@dataclass
class Context:
    """What the units need to know."""
    runner: Runner
    only: list
    quick: bool
    rounds: int

    def __post_init__(self):
        self.repetitions = 3 if self.quick else 5
        self.min_time = 0.005 if self.quick else 0.02
        self.starts = 20 if self.quick else 60
        self.age_seconds = 12
        self.shrink_mib = 256 if self.quick else 1024

    def wanted(self, name):
        return not self.only or any(fnmatch.fnmatchcase(name, pattern) or pattern in name
                                    for pattern in self.only)


def host():
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    with open("/proc/meminfo", encoding="utf-8") as info:
        total = int(info.readline().split()[1]) // 1024
    return {"cpu": model or platform.machine(), "cpus": os.cpu_count(), "memory_mib": total,
            "kernel": platform.release(), "libc": " ".join(platform.libc_ver())}


def warm_up(runner, gib):
    with open("/proc/meminfo", encoding="utf-8") as info:
        kib = {line.split(":")[0]: int(line.split()[1]) for line in info}
    mib = min(int(gib * 1024), kib["MemAvailable"] // 2048)
    if mib > 0 and subprocess.run([runner.binary("warm"), str(mib)]).returncode:
        print("tools/bench: could not warm the memory up", file=sys.stderr)


def measure(unit, allocators, store, left, progress):
    """All turns of one unit that are not on disk yet."""
    todo = [(number, allocator) for number in range(unit.rounds) for allocator in allocators
            if not store.has(unit.name, number, allocator.name)]
    if not todo:
        return
    try:
        unit.prepare()
    except (Failed, OSError, subprocess.CalledProcessError) as error:
        for number, allocator in todo:
            if number == 0:
                store.add(Turn(unit.name, number, allocator.name,
                               failed=f"cannot be run here: {error}"))
            left.skip(unit.name)
        progress.say(f"{unit.name}: cannot be run here: {error}")
        return
    for number, allocator in todo:
        if store.failure(unit.name, allocator.name):
            left.skip(unit.name)
            continue
        progress.turn(unit, number, allocator.name)
        begin = time.monotonic()
        turn = Turn(unit.name, number, allocator.name)
        try:
            turn.samples, turn.series = unit.turn(allocator, number)
        except Failed as error:
            turn.failed = str(error)
            progress.say(f"{unit.name} under {allocator.name}: {error}")
        turn.seconds = round(time.monotonic() - begin, 3)
        store.add(turn)
        left.did(unit.name, turn.seconds)


def page(store, results):
    """results.html; without npm there is none, and a line says so."""
    try:
        from page import BadData, results_page
    except ImportError as error:
        print(f"tools/bench: no results.html: {error}", file=sys.stderr)
        return False
    try:
        subprocess.run([str(BENCH / "page" / "build")], check=True, stdout=sys.stderr)
        template = ROOT / "build" / "page" / "results.html"
        store.write("results.html", results_page(template, results))
        return True
    except (BadData, OSError, subprocess.CalledProcessError) as error:
        print(f"tools/bench: no results.html: {error}", file=sys.stderr)
        return False


def write_reports(store, units, allocators, rounds):
    results = report.report(store, units, allocators, store.config["host"], rounds)
    store.write("results.json", json.dumps(results, indent=1) + "\n")
    text = report.as_text(results)
    store.write("results.md", text)
    page(store, results)
    print(text)
    return results


def default_folder():
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path.cwd() / "bench-results" / stamp


def check_patterns(only, units):
    if not units:
        raise BadArgument(f"--only {' '.join(only)}: no benchmark has such a name "
                          "(--list shows them)")


def names_of(units):
    for unit in units:
        yield from getattr(unit, "benchmarks", lambda unit=unit: [unit.name])()


def describe(units):
    """Groups in the order of the report, in each a row per family: variants differ in a number."""
    rows = {}
    for unit in units:
        for name in names_of([unit]):
            about = unit.about(name)
            rows.setdefault(about["group"], {})[about["about"]] = about["family"]
    for group, (title, _) in units_module.GROUPS.items():
        if group in rows:
            print(f"\n### {title}\n\n| benchmark | |\n|---|---|")
            for about, family in rows[group].items():
                print(f"| `{family}` | {about} |")


# The options that make a run what it is; the others may differ when it goes on.
PLAN = {"quick": False, "only": [], "peer": [], "against": None, "rounds": None, "library": None,
        "timeout": 120}


def plan_of(options):
    return {name: getattr(options, name) for name in PLAN}


def command_of(plan):
    words = ["tools/bench"]
    for name, value in plan.items():
        if value is True:
            words.append(f"--{name}")
        elif value != PLAN[name]:
            for one in value if isinstance(value, list) else [value]:
                words += [f"--{name}", str(one)]
    return shlex.join(words)


def take_old_plan(options):
    """A run that goes on without other options than --out has those it began with."""
    path = Path(options.out or "", "run.json")
    if not options.out or not path.exists() or plan_of(options) != PLAN:
        return
    try:
        old = json.loads(path.read_text(encoding="utf-8"))["plan"]
        for name in PLAN:
            setattr(options, name, old[name])
    except (OSError, ValueError, KeyError, TypeError):
        raise BadArgument(f"{path} is damaged (remove {options.out} to begin anew)") from None


def bench(options, work):
    runner = Runner(options.build.resolve() / "bench", work, options.timeout)
    context = Context(runner, options.only, options.quick,
                      options.rounds or (3 if options.quick else 5))
    units = list(units_module.all_units(context))
    check_patterns(options.only, units)
    if options.list or options.describe:
        if options.describe:
            describe(units)
        else:
            print("\n".join(names_of(units)))
        return 0
    allocators, ours = allocators_module.choose(
        ROOT, options.library or options.build / "libkmalloc.so", options.peer, options.against)
    folder = Path(options.out) if options.out else default_folder()
    store = Store(folder, {
        "plan": plan_of(options), "command": command_of(plan_of(options)),
        "quick": options.quick, "rounds": context.rounds, "allocators": [entry.config() for entry in allocators],
        "host": host(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")})
    for allocator in allocators:
        runner.check(allocator)
        if allocator.broken:
            print(f"tools/bench: {allocator.name} is left out: {allocator.broken}",
                  file=sys.stderr)
    if ours.broken:
        raise BadArgument(f"{ours.preload} cannot be preloaded: {ours.broken}")
    usable = [allocator for allocator in allocators if not allocator.broken]
    left = TimeLeft(units, usable, store)
    interrupted = False
    try:
        if left.turns():
            print(f"tools/bench: {left.turns()} turns, about {minutes(left.seconds())}; results "
                  f"in {folder}", file=sys.stderr)
            warm_up(runner, options.warm)
        with Progress(left, options.quiet) as progress:
            for unit in units:
                measure(unit, usable, store, left, progress)
    except KeyboardInterrupt:
        interrupted = True
    results = write_reports(store, units, allocators, context.rounds)
    if interrupted:
        print(f"tools/bench: cut off; go on with: tools/bench --out {shlex.quote(str(folder))}",
              file=sys.stderr)
        return 130
    print(f"tools/bench: results.md, results.json, results.html are in {folder}",
          file=sys.stderr)
    return int(any(failure["allocator"] == ours.name for failure in results["failures"]))


def end(*_):
    raise KeyboardInterrupt


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
    try:
        take_old_plan(options)
        with tempfile.TemporaryDirectory(prefix="bench-") as work:
            return bench(options, Path(work).resolve())
    except BadArgument as error:
        print(f"tools/bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the tables has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 1
    sys.exit(status)
