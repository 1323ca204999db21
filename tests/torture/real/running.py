# SPDX-License-Identifier: MIT
"""One test of another program: under the library, and where that goes wrong, without it.

 1. The test runs under the library. All well: it passed.
 2. Else it runs without. What fails there too does not count.
 3. What failed under the library alone is tried once more under it. What fails again is a failure; what does not is
    named as flaky.
 4. A report of the library's own (a line `libkmalloc: ...`) is a failure whatever the program made of it, unless
    the program ends badly without the library too.
"""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/preload"))
import compare  # noqa: E402  (found through the line above)

SKIP = 77
WHOLE = "(the whole test)"
REPORT = re.compile(r"libkmalloc: (?!unknown)[^\n]*|object '[^']*libkmalloc[^\n]*cannot be preloaded")

# Name -> (build folder, library's parameters).
MODES = {
    "rseq": ("build", ""),
    "locked": ("build", "rseq=off"),
    "debug": ("build-debug", ""),
    "debug-locked": ("build-debug", "rseq=off"),
}


@dataclass
class Outcome:
    status: int | None              # None: not done in time
    checks: int
    failed: set
    report: str
    seconds: float

    @property
    def bad(self):
        return self.status not in (0, SKIP) or bool(self.failed) or bool(self.report)

    def names(self):
        """What failed: the names that the program gave, else the whole."""
        if self.failed:
            return self.failed
        return {WHOLE} if self.bad else set()

    def ending(self):
        if self.status is None:
            return "not done in time"
        if self.status < 0:
            return f"signal {-self.status}"
        return f"status {self.status}"


@dataclass
class Verdict:
    suite: str
    test: str
    mode: str
    result: str                     # passed, skipped, failed, flaky, or own: fails without the library too
    checks: int = 0
    names: list = field(default_factory=list)
    ending: str = ""
    output: str = ""                # where a failure's output was kept
    seconds: float = 0


class Over(Exception):
    """The time was over before a test was."""


class Runner:
    """Runs tests in folders of its own below TOP; slots keep the ports of those that run at once apart."""

    GRACE = 30      # seconds that a test may go on after the time is over; then it is dropped, uncounted

    def __init__(self, top, libraries):
        self.top = Path(top)
        self.libraries = libraries      # build folder -> library
        self.stop_at = float("inf")     # time.monotonic() when the time is over
        self.running = set()
        self.lock = threading.Lock()
        self.closed = False

    def environment(self, suite, mode, folder):
        home = str(folder)
        if mode is None:
            env = compare.base_env(home)
        else:
            build, cmdline = MODES[mode]
            env = compare.library_env(home, str(self.libraries[build]), "rseq", f"{cmdline} foreign_free=panic".strip())
        for name in ("CASES", "PROGS", "KMALLOC_EXPECT"):
            env.pop(name, None)
        env.update(LC_ALL="C.UTF-8", LANG="C.UTF-8", **suite.environment)
        return env

    def witness(self, suite):
        """The suite's program must be seen to bind malloc to the library; else its results say nothing."""
        if suite.witness is None:
            return
        folder = self.top / f"witness-{suite.name}"
        folder.mkdir()
        mode = "rseq" if "build" in self.libraries else "debug"
        env = self.environment(suite, mode, folder)
        program, arguments = suite.witness
        compare.witness(program, arguments, env, env["LD_PRELOAD"], str(folder))
        shutil.rmtree(folder, ignore_errors=True)

    def close(self):
        """Ends what still runs, and lets nothing more start."""
        with self.lock:
            self.closed = True
            for pid in self.running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)

    def _start(self, argv, env, cwd, output):
        with self.lock:
            if self.closed:
                raise KeyboardInterrupt
            child = subprocess.Popen([str(word) for word in argv], env=env, cwd=cwd, stdin=subprocess.DEVNULL,
                                     stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
            self.running.add(child.pid)
            return child

    def once(self, suite, place, test, mode, slot, cut=False):
        """One run in an empty folder: an Outcome, and the output. With CUT it is dropped when the time is over."""
        folder = self.top / f"slot-{slot}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o755)
        argv = suite.command(place, test, folder, slot)
        begin = time.monotonic()
        limit = min(suite.timeout, self.stop_at + self.GRACE - begin) if cut else suite.timeout
        with open(self.top / f"output-{slot}", "w+b") as output:
            child = self._start(argv, self.environment(suite, mode, folder), folder, output)
            try:
                status = child.wait(max(limit, 0))
            except subprocess.TimeoutExpired:
                status = None
                if limit < suite.timeout:
                    raise Over from None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                with self.lock:
                    self.running.discard(child.pid)
            output.seek(0)
            text = output.read().decode("utf-8", "replace")
        said = suite.read(text, folder)
        report = REPORT.search(text)
        shutil.rmtree(folder, ignore_errors=True)
        return Outcome(status, said.checks, said.failed, report[0] if report and mode else "",
                       time.monotonic() - begin), text

    def _keep(self, verdict, text):
        folder = self.top.parent / "failed"
        folder.mkdir(exist_ok=True)
        path = folder / f"{verdict.suite}-{verdict.test.replace('/', '_')}-{verdict.mode}.log"
        path.write_text(text)
        verdict.output = str(path)

    def judge(self, suite, place, test, mode, slot):
        first, text = self.once(suite, place, test, mode, slot, cut=True)
        verdict = Verdict(suite.name, test, mode, "passed", first.checks, seconds=first.seconds)
        if not first.bad:
            if first.status == SKIP or not first.checks:
                verdict.result = "skipped"
            return verdict
        verdict.ending = first.report or first.ending()
        plain, _ = self.once(suite, place, test, None, slot)
        fresh = new_failures(first, plain)
        if not fresh:
            verdict.result = "own"
            return verdict
        verdict.names = sorted(fresh)
        again, again_text = self.once(suite, place, test, mode, slot)
        lasting = fresh & new_failures(again, plain)
        if lasting or first.report:
            verdict.result, verdict.names = "failed", sorted(lasting or fresh)
        else:
            verdict.result = "flaky"
        self._keep(verdict, again_text if lasting else text)
        return verdict


def new_failures(under, plain):
    """What failed under the library and not without. Who fails as a whole without it, by names or not, gives no
    more than names to compare."""
    if not under.bad:
        return set()
    if not plain.bad:
        return under.names()
    if not plain.failed:
        return set()
    return under.names() - plain.failed
