# SPDX-License-Identifier: MIT
"""What the soak runs at once: programs that live long and do the same again and again, and short ones in rotation.

Both are programs of the benchmarks (bench/programs, bench/lib/programs.py) and say the same each time: what they say
without the library is what they must say under it.

A long-lived one is sent a script on its standard input, runs it in its own process and prints a mark; then its
resident size is sampled. redis is asked by its own clients, which run under the library too.
"""
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from memory import resident_kib

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = ROOT / "bench/programs"
sys.path.insert(0, str(ROOT / "bench/lib"))
import programs  # noqa: E402  (found through the line above)

MARK = b"== done"


class Wrong(Exception):
    """The program did not do what it does without the library."""


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Long:
    """A program that runs scripts from its standard input."""
    name = ""
    environment = {}

    def argv(self):
        raise NotImplementedError

    def script(self):
        raise NotImplementedError

    def __init__(self, folder):
        self.folder = Path(folder)
        self.process = None

    def start(self, env):
        self.errors = open(self.folder / "stderr", "ab")
        self.process = subprocess.Popen(self.argv(), cwd=self.folder, env=dict(env, **self.environment),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        start_new_session=True)

    def cycle(self):
        """Runs the script once: what it printed."""
        try:
            self.process.stdin.write(self.script().encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        seen = []
        for line in self.process.stdout:
            if line.strip() == MARK:
                return b"".join(seen)
            seen.append(line)
        raise Wrong(f"{self.name} ended with {self.process.wait()}: {self.last_words()}")

    def last_words(self):
        lines = (self.folder / "stderr").read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "nothing on stderr"

    def resident(self):
        return resident_kib(self.process.pid)

    def stop(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            try:
                stream.close()
            except BrokenPipeError:
                pass
        self.process = None


class Python(Long):
    name = "python3"
    environment = {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}

    def argv(self):
        return ["/usr/bin/python3", "-c", "import sys, runpy\nfor line in sys.stdin:\n"
                " runpy.run_path(line.strip(), run_name='__main__')\n print('== done', flush=True)"]

    scripts = ("objects.py", "text.py", "containers.py")

    def script(self):
        return f"{PROGRAMS / self.scripts[0]}\n"

    def cycle(self):
        """All the scripts in turn, as one cycle."""
        out = []
        for name in type(self).scripts:
            self.scripts = (name,)
            out.append(super().cycle())
        return b"".join(out)


class Perl(Long):
    name = "perl"
    environment = {"PERL_HASH_SEED": "0"}

    def argv(self):
        return ["/usr/bin/perl", "-e", '$| = 1; while (<STDIN>) { chomp; do $_; die $@ if $@; print "== done\\n" }']

    def script(self):
        return f"{PROGRAMS / 'words.pl'}\n"


class Lua(Long):
    name = "lua5.4"

    def argv(self):
        return ["lua5.4", "-e", "for f in io.lines() do dofile(f) print('== done') io.flush() end"]

    def script(self):
        return f"{PROGRAMS / 'trees.lua'}\n"


class Sqlite(Long):
    """The shell keeps what it prints until it is full; a file is closed, so its content is there to be shown."""
    name = "sqlite3"

    def argv(self):
        return ["sqlite3", "-batch"]

    def script(self):
        return f".output shown\n.open :memory:\n.read {PROGRAMS / 'tables.sql'}\n.output\n.shell cat shown; echo == done\n"


class Redis(Long):
    """A server that is filled, read and emptied, always to the same digest; snapshots fork it while it is written."""
    name = "redis"
    FILL = ('for i = 1, 8000 do redis.call("set", "k" .. i, string.rep("v", i % 700)) redis.call("rpush", "l" .. i % 50, i) '
            'redis.call("hset", "h" .. i % 20, "f" .. i, i) redis.call("zadd", "z" .. i % 7, i * 37 % 101, "m" .. i) end return 1')

    def argv(self):
        return ["redis-server", "--port", "0", "--unixsocket", str(self.folder / "r.sock"), "--dir", str(self.folder),
                "--save", "", "--appendonly", "no", "--io-threads", "2", "--enable-debug-command", "yes",
                "--logfile", "server.log"]

    def start(self, env):
        super().start(env)
        self.env = env
        for _ in range(600):
            if self._client("redis-cli", "ping", check=False).strip() == b"PONG":
                return
            time.sleep(0.1)
        raise Wrong(f"redis does not answer: {self.last_words()}")

    def _client(self, program, *words, check=True):
        done = subprocess.run([program, "-s", str(self.folder / "r.sock"), *words], env=self.env, cwd=self.folder,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)
        if check and done.returncode:
            raise Wrong(f"{program} {words[0]} ended with {done.returncode}: {done.stdout[-200:]!r}")
        return done.stdout

    def cycle(self):
        self._client("redis-benchmark", "-q", "-n", "5000", "-c", "20", "-P", "8", "-r", "5000", "-d", "200", "--threads", "2",
                     "-t", "set,get,incr,lpush,lpop,sadd,hset,zadd,mset,lrange_100")
        self._client("redis-cli", "flushall")
        self._client("redis-cli", "eval", self.FILL, "0")
        self._client("redis-cli", "bgsave")
        said = self._client("redis-cli", "debug", "digest")
        while b"rdb_bgsave_in_progress:1" in self._client("redis-cli", "info", "persistence"):
            time.sleep(0.05)
        if b"rdb_last_bgsave_status:ok" not in self._client("redis-cli", "info", "persistence"):
            raise Wrong("redis: the snapshot failed")
        if self.process.poll() is not None:
            raise Wrong(f"redis ended with {self.process.returncode}: {self.last_words()}")
        self._client("redis-cli", "flushall")
        return said


LONG = (Redis, Python, Sqlite, Perl, Lua)


class Short:
    """The benchmarks' programs that end by themselves and say the same each time, one after the other."""
    name = "short programs"

    def __init__(self, folder, seed):
        self.folder = Path(folder)
        self.random = random.Random(seed)
        self.environment = dict(PATH="/usr/bin:/bin", HOME=str(folder), TMPDIR=str(folder), LC_ALL="C.UTF-8",
                                GIT_CONFIG_NOSYSTEM="1")
        self.known = [one for one in programs.PROGRAMS if self._fits(one)]
        self.want = {}
        self.queue = []
        for one in self.known:
            if one.prepare:
                one.prepare(self.folder, self.environment)

    @staticmethod
    def _fits(one):
        needs_no_binary = one.group == "programs" and "g++" != one.needs[0] or one.name == "g++"
        return (needs_no_binary and one.same_output and one.run is None and all(shutil.which(name) for name in one.needs))

    def _run(self, one, env):
        """(output, peak KiB) of the program and of the file that it makes."""
        if one.before:
            one.before(self.folder)
        argv = [str(word) for word in one.command(self.folder, SimpleNamespace(binary=str))]
        made = self.folder / argv[argv.index("-o") + 1] if "-o" in argv[:-1] else None
        with open(self.folder / "stdout", "w+b") as out, open(self.folder / "stderr", "w+b") as err:
            process = subprocess.Popen(argv, cwd=self.folder, env=dict(env, **(one.environment or {})), stdout=out, stderr=err,
                                       stdin=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            if process.returncode:
                raise Wrong(f"{one.name} ended with {process.returncode}: {err.read()[-300:]!r}")
            return digest(out.read() + (made.read_bytes() if made and made.exists() else b"")), usage.ru_maxrss

    def cycle(self, env):
        """The next program: (name, peak KiB)."""
        if not self.queue:
            self.queue = self.random.sample(self.known, len(self.known))
        one = self.queue.pop()
        if one.name not in self.want:
            self.want[one.name], _ = self._run(one, self.environment)
        said, peak = self._run(one, dict(self.environment, **env))
        if said != self.want[one.name]:
            raise Wrong(f"{one.name} says something else than without the library")
        return one.name, peak


def parameters(mode_cmdline):
    return re.sub(r"\s+", " ", f"{mode_cmdline} foreign_free=panic").strip()
