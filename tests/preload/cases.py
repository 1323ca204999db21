#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The cases that compare.py knows: a table of what is run, and what of it is compared.

Run as a program it prints a line for each: its name, and "parallel" or "alone".
"""

from dataclasses import dataclass, field


@dataclass
class Case:
    # The command; {progs} is the folder of compiled programs, {cases} that of the scripts.
    argv: list
    # Programs that the case is about: each must exist and be seen to bind malloc to the library, with these arguments.
    programs: dict = field(default_factory=dict)
    # Files the command leaves in its folder that must be the same byte by byte.
    outputs: list = field(default_factory=list)
    # Substitutions in stdout and stderr, for what no two runs have in common. Each says why.
    normalise: list = field(default_factory=list)
    env: dict = field(default_factory=dict)
    # For what only the library promises: no plain run, this text on stdout instead.
    expect: str = None
    # Further parameters of the library.
    cmdline: str = ""
    # vm.overcommit_memory while the case runs under the library.
    overcommit: int = None
    timeout: int = 120


def script(name, **more):
    return Case(["bash", "{cases}/" + name + ".sh"], **more)


def program(name, *args, **more):
    """One of our own: it looks itself whether its malloc is the library's."""
    return Case(["{progs}/" + name, *args], **more)


def limited(shell, name, *args, **more):
    """One of our own, started by a shell that first sets something up; exec must follow in the same process."""
    return Case(["bash", "-c", shell + ' && exec "$@"', "bash", "{progs}/" + name, *args], **more)


VERSION = ["--version"]

SECURE = """plain: parameters heeded
setuid: the library is there, the parameters are ignored
"""

CASES = {
    # Programs as they are installed.
    "python": Case(
        ["/usr/bin/python3", "-I", "-B", "{cases}/work.py"],
        programs={"/usr/bin/python3": ["-c", "import json, sqlite3"]},
        env={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"},
    ),
    "gcc": script("gcc", programs={"gcc": VERSION, "as": VERSION}, outputs=["*.o", "*.s", "*.out"]),
    "gxx": script("gxx", programs={"g++": VERSION}, outputs=["*.o", "*.out"]),
    "clang": script("clang", programs={"clang": VERSION}, outputs=["*.o", "*.out"]),
    "sqlite": script("sqlite", programs={"sqlite3": VERSION}),
    "redis": script(
        "redis",
        programs={"redis-server": VERSION, "redis-cli": VERSION, "redis-benchmark": VERSION},
        # Requests per second and latencies, at the end of each line of the benchmark.
        normalise=[(r": [0-9.]+ requests per second.*$", ": N requests per second")],
    ),
    "perl": Case(["perl", "{cases}/work.pl"], programs={"perl": ["-e", "1"]}, env={"PERL_HASH_SEED": "0"}),
    "git": script("git", programs={"git": VERSION}),
    "lua": Case(["lua5.4", "{cases}/work.lua"], programs={"lua5.4": ["-v"]}),
    "bash": script("forks", programs={"bash": VERSION, "cat": VERSION}),
    "sort": script("sort", programs={"sort": VERSION, "uniq": VERSION, "join": VERSION}),
    "xz": script("xz", programs={"xz": VERSION}, outputs=["*.xz", "*.lzma"]),
    "zstd": script("zstd", programs={"zstd": VERSION}, outputs=["*.zst"]),
    "openssl": script("openssl", programs={"openssl": ["version"]}),
    "ssh-keygen": script(
        "ssh-keygen",
        programs={"ssh-keygen": ["-Q", "key", "/dev/null"]},
        # Keys are random, and so are their fingerprints and the pictures drawn of them.
        normalise=[
            (r"(SHA256|MD5):[0-9A-Za-z+/:]+", r"\1:N"),
            (r"^\|.{17}\|$", "|picture|"),
            (r"AAAA[0-9A-Za-z+/=]{20,}", "AAAAkey"),
        ],
    ),
    "man": script("man", programs={"man": VERSION}),
    "file": script("file", programs={"file": VERSION}),
    "gdb": script("gdb", programs={"gdb": VERSION}),
    "tools": script("tools", programs={"sed": VERSION, "grep": VERSION, "tar": VERSION}, outputs=["*.tar"]),
    # Programs of our own, in progs/.
    "results": program("results"),
    "alignment": program("alignment"),
    "zeroed": program("zeroed"),
    "growth": program("growth"),
    "lifetimes": program("lifetimes"),
    "dlopen": program("dlopen"),
    "handoff": program("handoff"),
    "vfork": program("vfork"),
    "forks": program("forks"),
    "exiting": program("exiting"),
    "affinity": program("affinity"),
    "one-cpu": limited('taskset -p -c "$(taskset -p -c $$ | sed "s/.*[: ]\\([0-9]*\\).*/\\1/")" $$ >/dev/null',
                       "affinity", programs={"taskset": VERSION}),
    "manythreads": program("manythreads"),
    "seccomp": program("seccomp"),
    "shrink": program("shrink", "trim"),
    "ulimit": limited("ulimit -v 262144", "limited", "ulimit"),
    "setrlimit": program("limited", "setrlimit"),
    # What glibc does not promise.
    "signals": program("signals", expect="signals: every object sound, nothing hung\n"),
    "foreign": program("foreign", expect="foreign pointers: ignored, nothing written, allocation goes on\n"),
    "shrink-age": program("shrink", "age", cmdline="reclaim.age_ms=200", expect="age: small again\n"),
    "shrink-idle": program("shrink", "idle", cmdline="reclaim.age_ms=200 kswapd", expect="idle: small again\n"),
    "stat": Case(["/usr/bin/python3", "-I", "{cases}/stat.py"], expect="statistics: every number exact\n"),
    "secure": script("secure", programs={"gcc": VERSION}, expect=SECURE),
    # The whole system's overcommit policy is changed meanwhile.
    "overcommit": script("overcommit", overcommit=2),
}

if __name__ == "__main__":
    for name, case in CASES.items():
        print(name, "parallel" if case.overcommit is None else "alone")
