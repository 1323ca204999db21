# SPDX-License-Identifier: MIT
"""The whole programs: what they need, what they run."""
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import generate
from runner import Failed

HERE = Path(__file__).resolve().parent.parent / "programs"

# What our own programs say of their memory: it differs from run to run.
MEMORY_LINE = re.compile(rb"^(?:(\w+)_)?(rss|live)_kib (\d+)\n", re.MULTILINE)


@dataclass
class Program:
    name: str
    command: Callable              # (work folder, runner) -> the words to run
    about: str                     # what path it takes, why it matters, what a good result is
    group: str = "programs"        # or "servers", for our own
    needs: tuple = ()              # commands that have to be installed
    prepare: Callable | None = None  # (work folder, environment): once, untimed
    before: Callable | None = None   # (work folder): before each run, untimed
    run: Callable | None = None    # (runner, allocator) -> Measurement, in place of a plain run
    environment: dict | None = None
    forks: bool = False            # several processes at a time: sample their total too
    same_output: bool = True       # the output does not depend on the run
    series: bool | None = None     # memory over time, of one more run; None: unless it forks
    curve: dict | None = None      # where it lies on the curve of its family
    family: str = ""               # programs that differ in one number; empty: its name
    memory: str = ""               # what its own `rss_kib` lines are: the name of a metric

    def __post_init__(self):
        if self.series is None:
            self.series = not self.forks and not self.run
        self.family = self.family or self.name

    def stable_output(self, output):
        """The part of the output that every run has to give alike."""
        return MEMORY_LINE.sub(b"", output) if self.memory else output

    def more_samples(self, output):
        """(metric, unit, value) of what the program says itself of its resident memory. Where it
        says so several times, at night counts: when the load is low."""
        return self._memory(output, b"rss")

    def limits(self, output):
        """The same for the bytes that were live then, which no allocator can be below."""
        return self._memory(output, b"live")

    def _memory(self, output, what):
        if not self.memory:
            return []
        found = [(name, int(kib)) for name, kind, kib in MEMORY_LINE.findall(output)
                 if kind == what]
        nights = [kib for name, kib in found if name.startswith(b"night")] or \
            [kib for _, kib in found]
        return [(self.memory, "MiB", sum(nights) / len(nights) / 1024)] if nights else []


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


def run_redis(runner, allocator):
    """Time the benchmark, which keeps the C library's malloc; the memory is the server's."""
    (runner.work / "redis.sock").unlink(missing_ok=True)
    client = ["redis-cli", "-s", "redis.sock"]
    server = runner.start(["redis-server", "--port", "0", "--unixsocket", "redis.sock",
                           "--save", "", "--appendonly", "no"], allocator, own_allocator=True)
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

# Enough for five bursts of each of 10,000 threads; the same for all, so that times compare.
REQUESTS = 60000


def server(threads):
    return Program(
        f"server-{threads}", group="servers", family="server", memory="resident memory",
        curve={"by": "threads", "x": threads},
        about=f"{REQUESTS:,} requests by so many threads: headers parsed, shared sessions, pages "
              "built from rows, one in four responses freed by another thread. Good: no more time "
              "and hardly more memory than with few threads.",
        command=lambda work, runner: [runner.binary("server"), threads, REQUESTS])


def idle(name, *words, about):
    return Program(name, group="servers", memory="resident memory", about=about,
                   command=lambda work, runner: [runner.binary("server"), *words])


PROGRAMS = [
    Program("python-objects", **script("python3", "objects.py", environment=PYTHON),
            about="Trees of small Python objects, built, searched and dropped: hits of few small "
                  "sizes in one thread, with an interpreter between them. Good: under glibc's "
                  "time, peak close to it."),
    Program("python-text", **script("python3", "text.py", environment=PYTHON),
            about="Python strings as JSON, split, matched and joined: short lives, many sizes. "
                  "Good: under glibc's time."),
    Program("python-containers", **script("python3", "containers.py", environment=PYTHON),
            about="Python lists and dicts that grow and shrink: realloc through all sizes, also "
                  "large ones. Good: growth without copies, peak close to glibc's."),
    Program("gcc", needs=("gcc",), forks=True,
            prepare=lambda work, _: generate.c_source(work / "source.c"),
            command=lambda work, _: ["gcc", "-O2", "-c", "source.c", "-o", "source.o"],
            about="gcc -O2 on one C file: three processes that start, allocate and exit without "
                  "freeing. What a build pays. Good: within 1% of the best, small peak."),
    Program("g++", needs=("g++",), forks=True,
            prepare=lambda work, _: generate.cxx_source(work / "source.cc"),
            command=lambda work, _: ["g++", "-std=c++17", "-O2", "-c", "source.cc",
                                     "-o", "source.o"],
            about="g++ -O2 on templates: memory in large steps, hardly a free; page faults and "
                  "huge pages decide. Good: few faults, within 1% of the best."),
    Program("sqlite3", needs=("sqlite3",),
            command=lambda work, _: ["sqlite3", "-batch", ":memory:",
                                     f".read {HERE / 'tables.sql'}"],
            about="An in-memory database, filled, joined and sorted: pages of 4 KiB that stay and "
                  "cells of short lives, in one thread. Good: under glibc's time."),
    Program("redis", needs=("redis-server", "redis-benchmark", "redis-cli"), run=run_redis,
            command=lambda work, _: [], same_output=False,
            about="redis-server under redis-benchmark: values of 200 bytes in strings, lists and "
                  "hashes, one thread, mostly in the kernel. Time is the client's, memory the "
                  "server's. Good: a low peak, as memory is what redis costs."),
    Program("perl", **script("perl", "words.pl", environment={"PERL_HASH_SEED": "0"}),
            about="Perl hashes and strings: small objects that live and die in no order, strings "
                  "that grow by realloc. Good: under glibc's time."),
    Program("lua", **script("lua5.4", "trees.lua"),
            about="Lua trees under a garbage collector that frees in sweeps, all through realloc: "
                  "long rows of frees flush full sheaves. Good: well under glibc's time."),
    Program("git-gc", needs=("git",), forks=True,
            prepare=lambda work, env: generate.repository(work / "repository", env),
            before=fresh_repository,
            command=lambda work, _: ["git", "-C", "gc", "-c", "pack.threads=2", "gc",
                                     "--quiet", "--prune=now"],
            about="git gc with two threads: many short processes, delta windows of large blocks "
                  "that come and go. Good: a peak that does not keep the windows."),
    Program("bash-forks", **script("bash", "forks.sh", forks=True),
            about="A shell script with 1,000 forks: pages are copied after each fork, and start-up "
                  "is paid by each program. Good: within 2% of glibc."),
    Program("sort", needs=("sort",),
            prepare=lambda work, _: generate.lines(work / "lines", 500000),
            command=lambda work, _: ["sort", "--parallel=2", "-k2,2", "-k3,4", "lines"],
            about="sort of 500,000 lines in two threads: few and large allocations. The allocator "
                  "should not be seen. Good: equal."),
    Program("xz", needs=("xz",),
            prepare=lambda work, _: generate.lines(work / "lines", 500000),
            command=lambda work, _: ["xz", "-T2", "-1", "-k", "-c", "lines"],
            about="xz in two threads: some blocks of many MiB that move between threads. Good: "
                  "equal time, no memory beside the blocks."),
    Program("openssl-speed", needs=("openssl",), same_output=False,
            command=lambda work, _: ["openssl", "speed", "-seconds", "1", "-bytes", "1024",
                                     "sha256"],
            about="openssl speed for a second: start-up allocates some thousand objects, the work "
                  "none. Time says nothing here. Good: the smallest peak."),
    Program("threads", needs=("g++",),
            command=lambda work, runner: [runner.binary("threads"), 1000000],
            about="A C++ job with two producers and two workers: strings and vectors are freed by "
                  "another thread than they come from. Good: no lock waits, a queue's worth of "
                  "memory and no more."),
    Program("ssh-keygen", needs=("ssh-keygen",),
            prepare=lambda work, env: generate.authorized_keys(work / "keys", 150000, env),
            command=lambda work, _: ["ssh-keygen", "-l", "-f", "keys"],
            about="150,000 keys read and printed: small objects of short lives, "
                  "cleared before each free. Good: under glibc's time."),
    Program("ssh-keygen-new", needs=("ssh-keygen",), same_output=False,
            command=lambda work, _: ["bash", "-c", "for i in {1..40}; do rm -f key key.pub; "
                                     "ssh-keygen -q -t ed25519 -N '' -f key || exit 1; done"],
            forks=True,
            about="40 keys made by 40 processes: the start-up of a program with large libraries. "
                  "Good: within 2% of glibc."),
    Program("man", needs=("man", "groff"), forks=True,
            prepare=lambda work, _: generate.manual_page(work / "sample.1"),
            command=lambda work, _: ["man", "-P", "cat", "-l", "sample.1"],
            about="A long manual page: a pipe of C++ programs (groff), each with many small "
                  "objects. Good: under glibc's time, and a low sum of their memory."),
    Program("file", needs=("file",),
            prepare=lambda work, _: generate.file_list(work / "files", 800),
            command=lambda work, _: ["file", "-f", "files"],
            about="file(1) on 800 files: regular expressions compiled again and again, in short "
                  "bursts of mixed sizes. Good: under glibc's time."),
    *(server(threads) for threads in (1, 16, 256, 1000, 10000)),
    idle("server-idle-1000", 1000, 10000, "idle",
         about="1,000 threads that served 10 requests each and sleep: what is kept in caches of "
               "threads that do nothing. Good: the live bytes and the stacks (server-bare-1000)."),
    idle("server-idle-10000", 10000, 30000, "idle",
         about="The same with 10,000 threads and 3 requests each. Good: memory that does not grow "
               "with the threads."),
    idle("server-mix-1000", 1000, "mix",
         about="1,000 threads that each had 8 objects of 32 sizes up to 8 KiB, freed them and "
               "sleep: the worst for per-thread caches. Good: that of server-bare-1000."),
    idle("server-bare-1000", 1000, "bare",
         about="1,000 threads that allocate nothing: stacks, and what an allocator sets up for a "
               "thread that never calls it. Good: equal to glibc's."),
    Program("sessions", group="servers", memory="resident memory at night",
            command=lambda work, runner: [runner.binary("sessions"), 4, 20000],
            about="80,000 sessions a day in four threads, most short, few for good; at night half "
                  "of the memory is free, but in between what stays. Good: a night close to its "
                  "live bytes, and no growth from day to day."),
]
