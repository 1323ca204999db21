# SPDX-License-Identifier: MIT
"""Runs one program under one allocator and says what it took."""
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


class Failed(Exception):
    """A run that did not work; the text says why, in one line."""


@dataclass
class Peer:
    """An allocator: a library to preload, or None for the one of the C library."""
    name: str
    preload: str | None
    environment: dict = field(default_factory=dict)
    # A reason why it cannot be used, or None.
    broken: str | None = None

    def settings(self, own_allocator=False):
        """The environment that loads it. OWN_ALLOCATOR: the program comes linked with an
        allocator of its own, so the C library's has to be put before that one."""
        preload = self.preload or ("libc.so.6" if own_allocator else None)
        return dict(self.environment, **({"LD_PRELOAD": preload} if preload else {}))


@dataclass
class Measurement:
    wall: float        # seconds
    cpu: float         # seconds, user and system, children included
    peak_kib: int      # of the largest process
    faults: int        # minor page faults
    tree_kib: int      # largest total of all processes; 0 unless it was sampled
    output: bytes


def last_line(text):
    lines = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:160] if lines else ""


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
        return str(self.binaries / name)

    def start(self, command, peer, *, own_allocator=False, environment=None, sample_ms=0):
        """Start COMMAND under measure; finish() collects it."""
        if peer.broken:
            raise Failed(peer.broken)
        result = self.work / "result"
        result.unlink(missing_ok=True)
        with open(self.work / "stdout", "wb") as out, open(self.work / "stderr", "wb") as err:
            return subprocess.Popen(
                [self.binary("measure"), str(result), str(self.timeout), str(sample_ms)]
                + [str(word) for word in command],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=self.work,
                env=dict(self.environment, **(environment or {}),
                         **peer.settings(own_allocator)))

    def finish(self, process):
        code = process.wait()
        errors = (self.work / "stderr").read_bytes()
        if code != 0:
            raise Failed(last_line(errors) or f"measure ended with {code}")
        values = dict(line.split() for line in (self.work / "result").read_text().splitlines())
        if int(values["timed_out"]):
            raise Failed(f"not done after {self.timeout:g} s")
        if int(values["signal"]):
            raise Failed(f"killed by signal {values['signal']} {last_line(errors)}".strip())
        if int(values["exit"]):
            raise Failed(f"exit {values['exit']} {last_line(errors)}".strip())
        if b"cannot be preloaded" in errors:
            raise Failed(last_line(errors))
        return Measurement(wall=float(values["wall"]),
                           cpu=float(values["user"]) + float(values["sys"]),
                           peak_kib=int(values["maxrss_kib"]), faults=int(values["minflt"]),
                           tree_kib=int(values["tree_kib"]),
                           output=(self.work / "stdout").read_bytes())

    def run(self, command, peer, **options):
        process = self.start(command, peer, **options)
        try:
            return self.finish(process)
        finally:
            # Only after an interrupt is it still there; it takes its child along.
            if process.poll() is None:
                process.terminate()
                process.wait()

    def check(self, peer):
        """Make sure that malloc comes from the peer's library; else mark the peer as broken."""
        if peer.broken:
            return
        try:
            owner = self.run([self.binary("micro"), "--which"], peer).output.decode().strip()
            if peer.preload and os.path.realpath(owner) != os.path.realpath(peer.preload):
                raise Failed(f"malloc comes from {owner}")
        except Failed as error:
            peer.broken = str(error)
