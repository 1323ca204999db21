# SPDX-License-Identifier: MIT
"""One run of one program in a process group of its own: its end, and what is kept when it fails.

What a run starts carries its mark in the environment, so that all of it is found when it hangs: also what has left the
process group, or was left by a parent that died.
"""
import glob
import os
import resource
import shlex
import signal
import subprocess
import time

MARK = "TORTURE_RUN"
CORE_BYTES = 4 << 30
MAX_STACKS = 12  # processes whose stacks are written when a run hangs
GDB_SECONDS = 60
# Of the environment, what can matter; the rest is the user's own affair.
TOLD = ("KMALLOC", "LD_", "STRESS", "GLIBC", "MALLOC", "PYTHON", "LC_", "LANG", "PATH", "TMPDIR", "SHELL")
STACKS = ["-ex", "set pagination off", "-ex", "thread apply all bt 40"]


class Run:
    """`folder` is where it runs; its output goes to output.txt there."""

    def __init__(self, command, setting, folder):
        self.command = command
        self.setting = setting
        self.folder = folder
        self.status = None
        self.hung = False
        self._mark = f"{os.getpid()}-{os.path.basename(folder)}"
        self._output = os.path.join(folder, "output.txt")
        self._process = None
        self._started = None

    def start(self):
        # the runner waits longer than the programs' own watchdogs, to have a look at what hangs
        environment = dict(os.environ, **self.setting, **{MARK: self._mark, "STRESS_HANG_SECONDS": "86400"})
        with open(self._output, "wb") as output:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=self.folder,
                env=environment, start_new_session=True, preexec_fn=allow_cores)
        self._started = time.monotonic()

    def seconds(self):
        return time.monotonic() - self._started

    def poll(self):
        """True once it has ended."""
        self.status = self._process.poll()
        return self.status is not None

    def processes(self):
        """All that carry the mark and are not zombies."""
        wanted = f"{MARK}={self._mark}".encode()
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if wanted in file.read().split(b"\0"):
                        found.append(int(entry))
            except OSError:
                pass  # it ended, or is somebody else's
        return sorted(found)

    def hang(self):
        """Its time is over by far: write the stacks of all its threads, and end it."""
        self.hung = True
        with open(os.path.join(self.folder, "stacks.txt"), "w", encoding="utf-8") as file:
            for pid in self.processes()[:MAX_STACKS]:
                file.write(f"== process {pid}: {command_line(pid)}\n{gdb('-p', str(pid))}\n")
        self.end()

    def end(self):
        """Nothing of the run is left after this."""
        for _ in range(10):
            left = self.processes()
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            if not left:
                break
            time.sleep(0.1)
        self.status = self._process.wait()

    def output(self):
        with open(self._output, encoding="utf-8", errors="replace") as file:
            return file.read()

    def last_line(self):
        lines = [line for line in self.output().splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""

    def what_happened(self):
        if self.hung:
            return f"hung: no end after {self.seconds():.0f} s"
        if self.status < 0:
            try:
                return "died by " + signal.Signals(-self.status).name
            except ValueError:
                return f"died by signal {-self.status}"
        return f"exit status {self.status}"

    def keep_evidence(self):
        """What is needed to do it again, and to see what it was."""
        setting = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.setting.items())
        script = os.path.join(self.folder, "again.sh")
        with open(script, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n# {self.what_happened()}\nexec env {setting} {shlex.join(self.command)}\n")
        os.chmod(script, 0o755)
        with open(os.path.join(self.folder, "environment.txt"), "w", encoding="utf-8") as file:
            for name, value in sorted(dict(os.environ, **self.setting).items()):
                if name.startswith(TOLD):
                    file.write(f"{name}={value}\n")
            file.write(f"\n{' '.join(os.uname())}\nCPUs: {sorted(os.sched_getaffinity(0))}\n\n{limits()}")
        for core in glob.glob(os.path.join(glob.escape(self.folder), "core*")):
            with open(os.path.join(self.folder, "backtrace.txt"), "a", encoding="utf-8") as file:
                file.write(f"== {os.path.basename(core)}\n{gdb(self.command[0], core)}\n")


def allow_cores():
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    most = CORE_BYTES if most == resource.RLIM_INFINITY else min(most, CORE_BYTES)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def limits():
    """What the run had from the runner, as prlimit shows it; of RLIMIT_CORE it set the soft one itself."""
    with open("/proc/self/limits", encoding="utf-8") as file:
        return file.read()


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "?"


def gdb(*what):
    try:
        done = subprocess.run(["gdb", "-batch", "-nx", *STACKS, *what], stdin=subprocess.DEVNULL, text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=GDB_SECONDS, check=False)
        return done.stdout
    except (OSError, subprocess.TimeoutExpired) as why:
        return f"no stacks: {why}"
