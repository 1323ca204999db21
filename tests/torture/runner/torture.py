#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Torture the library: every torture program in each of its modes, for as long as is given.

The time is shared by the weights in table.py; what a program leaves, since it has covered everything, goes to those
that come after it. A failure, a crash and a hang leave a folder with the exact command (again.sh), the output, the
environment, and the stacks of all threads. With --out DIR the folders are there, and the results in results.json and
results.md.
"""
import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(1, os.path.join(HERE, "..", "..", "..", "bench", "lib"))

from evidence import Run  # noqa: E402
from progress import Shown, minutes  # noqa: E402
from results import Results  # noqa: E402
from table import MODES, PROGRAMS, find  # noqa: E402

DEFAULT_MINUTES = 10
LEAST_SECONDS = 4  # a run takes at least that
HANG_SECONDS = 180  # over its time, until a run has hung
SKIPPED = 77


def arguments():
    parser = argparse.ArgumentParser(
        prog="tools/torture", description=__doc__.split("\n\n", maxsplit=1)[0],
        epilog="The last line is 'N passed, N failed' (and ', N skipped'). A seed that is not given is drawn and named.")
    parser.add_argument("--minutes", type=float, default=DEFAULT_MINUTES, metavar="N",
                        help=f"for how long, all together (default: {DEFAULT_MINUTES}; at least {LEAST_SECONDS} s for each run)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this program; may be repeated")
    parser.add_argument("--mode", action="append", default=[], choices=list(MODES), help="only in this mode; may be repeated")
    parser.add_argument("--seed", type=int, metavar="S", help="of all that is random in the programs")
    parser.add_argument("--out", metavar="DIR", help="write the results here (default: a new folder, named when something failed)")
    parser.add_argument("--list", action="store_true", help="name the programs and their modes, and run none")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args()
    if not options.minutes > 0:
        parser.error("--minutes wants a number above 0")
    if options.seed is not None and options.seed <= 0:
        parser.error("--seed wants a number above 0")
    try:
        options.programs = find(options.only) if options.only else PROGRAMS
    except KeyError as name:
        parser.error(f"no program {name}; --list names them")
    return options


def turns_of(options):
    """(program, mode), each mode once through all programs, so that a run that is cut off has seen them all."""
    wanted = options.mode or list(MODES)
    return [(program, mode) for mode in MODES if mode in wanted
            for program in options.programs if mode in program.modes]


def list_programs(turns):
    """Name the programs, and what is not there. Returns the exit status."""
    missing = 0
    seen = dict.fromkeys(program.name for program, _ in turns)
    for program in find(seen):
        modes = [mode for name, mode in ((each.name, mode) for each, mode in turns) if name == program.name]
        print(f"{program.name:14} {program.about} ({', '.join(modes)})")
        for mode in modes:
            if not program.path(mode):
                print(f"tools/torture: {program.name} is not built for {mode}", file=sys.stderr)
                missing += 1
    return 1 if missing else 0


class Torture:
    def __init__(self, options, turns):
        self.options = options
        self.turns = turns
        self.seed = options.seed or random.SystemRandom().randrange(1, 1 << 48)
        self.out = os.path.abspath(options.out or tempfile.mkdtemp(prefix="torture-", dir=os.environ.get("TMPDIR")))
        os.makedirs(self.out, exist_ok=True)
        self.results = Results(self.seed)
        self.end = None
        self.run = None

    def seconds_for(self, number):
        """What is left of the time, shared by weight among the turns that are left."""
        left = self.turns[number:]
        share = (self.end - time.monotonic()) * left[0][0].weight / sum(program.weight for program, _ in left)
        return max(LEAST_SECONDS, int(share))

    def seed_for(self, program, mode):
        """Each its own; of programs that were asked for by name the one that was given, so that a failure is met again."""
        if self.options.only:
            return self.seed
        return random.Random(f"{self.seed} {program.name} {mode}").randrange(1, 1 << 48)

    def all(self, progress):
        self.end = time.monotonic() + self.options.minutes * 60
        for number, (program, mode) in enumerate(self.turns):
            self.turn(progress, number, program, mode)

    def turn(self, progress, number, program, mode):
        seconds = self.seconds_for(number)
        seed = self.seed_for(program, mode)
        name = f"{program.name.replace('/', '_')}-{mode}"
        if not program.path(mode):
            self.results.add(program.name, mode, "failed", 0, seed, "it is not built", None)
            progress.say(f"failed: {program.name} ({mode}): it is not built")
            return
        folder = os.path.join(self.out, name)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        self.run = Run(program.command(mode, seconds, seed), program.environment(mode, seed), folder)
        self.run.start()
        while not self.run.poll():
            self.show(progress, number, program, mode)
            if self.run.seconds() > seconds + program.fixed + HANG_SECONDS:
                self.run.hang()
                break
            time.sleep(0.2)
        self.judge(progress, program, mode, seed)
        self.run = None

    def show(self, progress, number, program, mode):
        total = self.options.minutes * 60
        left = max(self.end - time.monotonic(), 0)
        what = f"{program.name} ({mode})"
        progress.show(what, total - left, left, f"{number + 1} of {len(self.turns)}: {what}", (program.name, mode))

    def judge(self, progress, program, mode, seed):
        run = self.run
        took = run.seconds()
        run.end()  # what it left behind
        if run.status == 0 and not run.hung:
            result, what = "passed", run.last_line()
        elif run.status == SKIPPED:
            result, what = "skipped", run.last_line()
        else:
            result, what = "failed", f"{run.what_happened()}: {run.last_line()}"
        if result == "failed":
            run.keep_evidence()
            progress.say(f"failed: {program.name} ({mode}): {what}\n  again: {run.folder}/again.sh")
        else:
            if result == "skipped":
                progress.say(f"skipped: {program.name} ({mode}): {what}")
            shutil.rmtree(run.folder, ignore_errors=True)
        self.results.add(program.name, mode, result, took, seed, what, run.folder if result == "failed" else None)
        self.results.write(self.out)

    def stop(self):
        """After an interruption: what runs is ended, what was done counts."""
        if self.run:
            self.run.end()
            shutil.rmtree(self.run.folder, ignore_errors=True)

    def clean(self):
        """Without --out and without a failure nothing is left behind."""
        if self.options.out or self.results.count("failed"):
            self.results.write(self.out)
            print(f"results: {self.out}", file=sys.stderr)
        else:
            shutil.rmtree(self.out, ignore_errors=True)


def interrupt(*_):
    raise KeyboardInterrupt


def main():
    options = arguments()
    turns = turns_of(options)
    if options.list:
        return list_programs(turns)
    if not turns:
        print("tools/torture: none of these programs runs in that mode", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, interrupt)
    torture = Torture(options, turns)
    print(f"seed {torture.seed}, {len(turns)} runs, {minutes(options.minutes * 60)}", file=sys.stderr)
    interrupted = False
    with Shown(options.minutes * 60, options.quiet) as progress:
        try:
            torture.all(progress)
        except KeyboardInterrupt:
            interrupted = True
            torture.stop()
    torture.clean()
    torture.results.print_summary(len(turns), interrupted)
    if interrupted:
        return 130
    return 1 if torture.results.count("failed") or not torture.results.count("passed") else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"tools/torture: the results can't be written: {where}{error.strerror} (--out names another folder)")
