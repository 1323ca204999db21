# SPDX-License-Identifier: MIT
"""The whole programs: what they need, what they run."""
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import generate
from runner import Failed

HERE = Path(__file__).resolve().parent.parent / "programs"


@dataclass
class Program:
    name: str
    command: Callable              # (work folder, runner) -> the words to run
    needs: tuple = ()              # commands that have to be installed
    prepare: Callable | None = None  # (work folder, environment): once, untimed
    before: Callable | None = None   # (work folder): before each run, untimed
    run: Callable | None = None    # (runner, peer) -> Measurement, in place of a plain run
    environment: dict | None = None
    forks: bool = False            # several processes at a time: sample their total too
    same_output: bool = True       # the output does not depend on the run
    group: str = "programs"        # or "servers": our own programs
    about: str = ""                # which path it takes, why it matters, what is good
    series: bool = True            # sample its memory over time, in a run of its own
    # Lines `NAME VALUE` of the output that are results: NAME -> (metric, unit, factor).
    results: dict = field(default_factory=dict)

    def _is_result(self, line):
        return line.split(b" ")[0].decode(errors="replace") in self.results

    def stable_output(self, output):
        """What every run has to print alike."""
        return b"\n".join(line for line in output.split(b"\n") if not self._is_result(line))

    def more_samples(self, output):
        """(metric, unit, value) of the output's results; of several alike the last counts."""
        found = {}
        for line in output.split(b"\n"):
            if self._is_result(line):
                name, value = line.decode().split()[:2]
                metric, unit, factor = self.results[name]
                found[metric, unit] = float(value) * factor
        return [(metric, unit, value) for (metric, unit), value in found.items()]


def script(interpreter, name, **options):
    return dict(needs=(interpreter,), command=lambda work, _: [interpreter, HERE / name], **options)


def fresh_repository(work):
    shutil.rmtree(work / "gc", ignore_errors=True)
    shutil.copytree(work / "repository", work / "gc")


def wait_for_redis(client, environment, work, server):
    for _ in range(500):
        reply = subprocess.run(client + ["ping"], cwd=work, env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        if reply.strip() == b"PONG":
            return
        if server.poll() is not None:
            break
        time.sleep(0.01)
    raise Failed("redis-server does not answer")


def run_redis(runner, peer):
    """Time the benchmark, which keeps the C library's malloc; the memory is the server's."""
    (runner.work / "redis.sock").unlink(missing_ok=True)
    client = ["redis-cli", "-s", "redis.sock"]
    server = runner.start(["redis-server", "--port", "0", "--unixsocket", "redis.sock",
                           "--save", "", "--appendonly", "no"], peer, own_allocator=True)
    try:
        wait_for_redis(client, runner.environment, runner.work, server)
        begin = time.monotonic()
        done = subprocess.run(
            ["redis-benchmark", "-s", "redis.sock", "-n", "150000", "-P", "16", "-r", "50000",
             "-d", "200", "-c", "20", "-q", "-t", "set,get,lpush,lpop,hset,mset"],
            cwd=runner.work, env=runner.environment, timeout=runner.timeout,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wall = time.monotonic() - begin
        if done.returncode:
            raise Failed(f"redis-benchmark ended with {done.returncode}")
        subprocess.run(client + ["shutdown", "nosave"], cwd=runner.work, env=runner.environment,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        measurement = runner.finish(server)
    except subprocess.TimeoutExpired:
        raise Failed(f"not done after {runner.timeout:g} s") from None
    finally:
        if server.poll() is None:
            server.terminate()
            server.wait()
    measurement.wall = wall
    return measurement


PYTHON = {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}

PROGRAMS = [
    Program("python-objects", **script("python3", "objects.py", environment=PYTHON)),
    Program("python-text", **script("python3", "text.py", environment=PYTHON)),
    Program("python-containers", **script("python3", "containers.py", environment=PYTHON)),
    Program("gcc", needs=("gcc",), forks=True,
            prepare=lambda work, _: generate.c_source(work / "source.c"),
            command=lambda work, _: ["gcc", "-O2", "-c", "source.c", "-o", "source.o"]),
    Program("g++", needs=("g++",), forks=True,
            prepare=lambda work, _: generate.cxx_source(work / "source.cc"),
            command=lambda work, _: ["g++", "-std=c++17", "-O2", "-c", "source.cc",
                                     "-o", "source.o"]),
    Program("sqlite3", needs=("sqlite3",),
            command=lambda work, _: ["sqlite3", "-batch", ":memory:",
                                     f".read {HERE / 'tables.sql'}"]),
    Program("redis", needs=("redis-server", "redis-benchmark", "redis-cli"), run=run_redis,
            command=lambda work, _: [], same_output=False),
    Program("perl", **script("perl", "words.pl", environment={"PERL_HASH_SEED": "0"})),
    Program("lua", **script("lua5.4", "trees.lua")),
    Program("git-gc", needs=("git",), forks=True,
            prepare=lambda work, env: generate.repository(work / "repository", env),
            before=fresh_repository,
            command=lambda work, _: ["git", "-C", "gc", "-c", "pack.threads=2", "gc",
                                     "--quiet", "--prune=now"]),
    Program("bash-forks", **script("bash", "forks.sh", forks=True)),
    Program("sort", needs=("sort",),
            prepare=lambda work, _: generate.lines(work / "lines", 500000),
            command=lambda work, _: ["sort", "--parallel=2", "-k2,2", "-k3,4", "lines"]),
    Program("xz", needs=("xz",),
            prepare=lambda work, _: generate.lines(work / "lines", 500000),
            command=lambda work, _: ["xz", "-T2", "-1", "-k", "-c", "lines"]),
    Program("openssl-speed", needs=("openssl",), same_output=False,
            command=lambda work, _: ["openssl", "speed", "-seconds", "1", "-bytes", "1024",
                                     "sha256"]),
    Program("threads", needs=("g++",),
            command=lambda work, runner: [runner.binary("threads"), 1000000]),
    Program("ssh-keygen", needs=("ssh-keygen",),
            prepare=lambda work, env: generate.authorized_keys(work / "keys", 150000, env),
            command=lambda work, _: ["ssh-keygen", "-l", "-f", "keys"]),
    Program("ssh-keygen-new", needs=("ssh-keygen",), same_output=False,
            command=lambda work, _: ["bash", "-c", "for i in {1..40}; do rm -f key key.pub; "
                                     "ssh-keygen -q -t ed25519 -N '' -f key || exit 1; done"]),
    Program("man", needs=("man", "groff"), forks=True,
            prepare=lambda work, _: generate.manual_page(work / "sample.1"),
            command=lambda work, _: ["man", "-P", "cat", "-l", "sample.1"]),
    Program("file", needs=("file",),
            prepare=lambda work, _: generate.file_list(work / "files", 800),
            command=lambda work, _: ["file", "-f", "files"]),
]
