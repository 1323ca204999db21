# SPDX-License-Identifier: MIT
"""Runs one program under one allocator and says what it took."""
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


class Failed(Exception):
    """A run that did not work; the text says why, in one line."""


@dataclass
class Measurement:
    wall: float        # seconds
    cpu: float         # seconds, user and system, children included
    peak_kib: int      # of the largest process
    faults: int        # minor page faults
    tree_kib: int      # largest total of all processes; 0 unless it was sampled
    output: bytes
    # [seconds, KiB] of all processes together, when it was sampled.
    series: list = field(default_factory=list)


def last_line(text):
    lines = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:160] if lines else ""


def signal_name(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Runner:
    def __init__(self, binaries, work, timeout):
        self.binaries = Path(binaries)
        self.work = Path(work)
        self.timeout = timeout
        self.environment = {name: value for name, value in os.environ.items()
                            if name not in ("LD_PRELOAD", "LD_LIBRARY_PATH")}
        # The system's programs, without wrappers that may lie before them, and nobody's settings.
        self.environment.update(PATH="/usr/bin:/bin", HOME=str(work), TMPDIR=str(work),
                                LANG="C.UTF-8", LC_ALL="C.UTF-8", GIT_CONFIG_NOSYSTEM="1")

    def binary(self, name):
        """Path of a benchmark program: in the build folder or in one of its subfolders."""
        found = [path for path in (self.binaries / name, *self.binaries.glob(f"*/{name}"))
                 if path.is_file()]
        return str(found[0] if found else self.binaries / name)

    def start(self, command, allocator, *, own_allocator=False, environment=None, sample_ms=0):
        """Start COMMAND under measure; finish() collects it."""
        if allocator.broken:
            raise Failed(allocator.broken)
        result = self.work / "result"
        result.unlink(missing_ok=True)
        with open(self.work / "stdout", "wb") as out, open(self.work / "stderr", "wb") as err:
            return subprocess.Popen(
                [self.binary("measure"), str(result), str(self.timeout), str(sample_ms)]
                + [str(word) for word in command],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=self.work,
                env=dict(self.environment, **(environment or {}),
                         **allocator.settings(own_allocator)))

    def finish(self, process):
        code = process.wait()
        errors = (self.work / "stderr").read_bytes()
        if code != 0:
            raise Failed(last_line(errors) or f"measure ended with {code}")
        values, series = {}, []
        for line in (self.work / "result").read_text().splitlines():
            name, *rest = line.split()
            if name == "sample":
                series.append([float(rest[0]), float(rest[1])])
            else:
                values[name] = rest[0]
        if int(values["timed_out"]):
            raise Failed(f"hangs: not done after {self.timeout:g} s")
        if int(values["signal"]):
            raise Failed(f"crashes: {signal_name(int(values['signal']))} "
                         f"{last_line(errors)}".strip())
        if int(values["exit"]):
            raise Failed(f"ends with {values['exit']} {last_line(errors)}".strip())
        if b"cannot be preloaded" in errors:
            raise Failed(last_line(errors))
        return Measurement(wall=float(values["wall"]),
                           cpu=float(values["user"]) + float(values["sys"]),
                           peak_kib=int(values["maxrss_kib"]), faults=int(values["minflt"]),
                           tree_kib=int(values["tree_kib"]),
                           output=(self.work / "stdout").read_bytes(), series=series)

    def run(self, command, allocator, **options):
        process = self.start(command, allocator, **options)
        try:
            return self.finish(process)
        finally:
            # Only after an interrupt is it still there; it takes its child along.
            if process.poll() is None:
                process.terminate()
                process.wait()

    def check(self, allocator):
        """Make sure that malloc comes from the allocator's library; else mark it as broken."""
        if allocator.broken:
            return
        try:
            owner = self.run([self.binary("micro"), "--which"], allocator).output.decode().strip()
            if allocator.preload and os.path.realpath(owner) != os.path.realpath(allocator.preload):
                raise Failed(f"malloc comes from {owner}")
        except Failed as error:
            allocator.broken = str(error)
