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
    # The exit status of the plain run.
    status: int = 0
    # How often the loader must open the library: about the number of programs started.
    opens: int = 1
    # For what only the library promises: no plain run, this text on stdout instead.
    expect: str = None
    # vm.overcommit_memory while the case runs.
    overcommit: int = None
    timeout: int = 120


def script(name, **more):
    return Case(["bash", "{cases}/" + name + ".sh"], **more)


def program(name, *args, **more):
    """One of our own: it looks itself whether its malloc is the library's."""
    return Case(["{progs}/" + name, *args], **more)


def limited(shell, name, *args, **more):
    """One of our own, started by a shell that first sets something up; exec must follow in the same process."""
    return Case(["bash", "-c", shell + ' && exec "$@"', "bash", "{progs}/" + name, *args], opens=2, **more)


VERSION = ["--version"]

CASES = {
    # Programs as they are installed.
    "python": Case(
        ["/usr/bin/python3", "-I", "-B", "{cases}/work.py"],
        programs={"/usr/bin/python3": ["-c", "import json, sqlite3"]},
        env={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"},
        opens=4,
    ),
    "gcc": script("gcc", programs={"gcc": VERSION, "as": VERSION}, outputs=["*.o", "*.s", "*.out"], opens=20),
    "gxx": script("gxx", programs={"g++": VERSION}, outputs=["*.o", "*.out"], opens=12),
    "clang": script("clang", programs={"clang": VERSION}, outputs=["*.o", "*.out"], opens=6),
    "sqlite": script("sqlite", programs={"sqlite3": VERSION}, opens=4),
    "redis": script(
        "redis",
        programs={"redis-server": VERSION, "redis-cli": VERSION, "redis-benchmark": VERSION},
        # Requests per second and latencies, at the end of each line of the benchmark.
        normalise=[(r": [0-9.]+ requests per second.*$", ": N requests per second")],
        opens=10,
    ),
    "perl": Case(["perl", "{cases}/work.pl"], programs={"perl": ["-e", "1"]}, env={"PERL_HASH_SEED": "0"}),
    "git": script("git", programs={"git": VERSION}, opens=30),
    "lua": Case(["lua5.4", "{cases}/work.lua"], programs={"lua5.4": ["-v"]}),
    "bash": script("forks", programs={"bash": VERSION, "cat": VERSION}, opens=200),
    "sort": script("sort", programs={"sort": VERSION, "uniq": VERSION, "join": VERSION}, opens=10),
    "xz": script("xz", programs={"xz": VERSION}, outputs=["*.xz", "*.lzma"], opens=6),
    "zstd": script("zstd", programs={"zstd": VERSION}, outputs=["*.zst"], opens=4),
    "openssl": script(
        "openssl",
        programs={"openssl": ["version"]},
        # Counts and speeds of `openssl speed`.
        normalise=[
            (r"(Doing \S+ ops) for .*$", r"\1"),
            (r"(Doing .*?) for .*$", r"\1"),
            (r"^(\S+) +[0-9. k]+$", r"\1 N"),
            (r"( +[0-9.]+[sk]?)+$", " N"),
        ],
        opens=12,
    ),
    "ssh-keygen": script(
        "ssh-keygen",
        programs={"ssh-keygen": ["-Q", "key", "/dev/null"]},
        # Keys are random, and so are their fingerprints and the pictures drawn of them.
        normalise=[
            (r"(SHA256|MD5):[0-9A-Za-z+/:]+", r"\1:N"),
            (r"^\|.{17}\|$", "|picture|"),
            (r"AAAA[0-9A-Za-z+/=]{20,}", "AAAAkey"),
        ],
        opens=10,
    ),
    "man": script("man", programs={"man": VERSION}, opens=10),
    "file": script("file", programs={"file": VERSION}, opens=5),
    "gdb": script("gdb", programs={"gdb": VERSION}, opens=2),
    "tools": script("tools", programs={"sed": VERSION, "grep": VERSION, "tar": VERSION}, outputs=["*.tar"], opens=30),
    # Programs of our own, in progs/.
    "results": program("results"),
    "alignment": program("alignment"),
    "zeroed": program("zeroed"),
    "growth": program("growth"),
    "lifetimes": program("lifetimes"),
    "dlopen": program("dlopen"),
    "handoff": program("handoff"),
    "vfork": program("vfork", opens=60),
    "forks": program("forks"),
    "exiting": program("exiting"),
    "affinity": program("affinity"),
    "one-cpu": limited('taskset -p -c "$(taskset -p -c $$ | sed "s/.*[: ]\\([0-9]*\\).*/\\1/")" $$ >/dev/null',
                       "affinity", programs={"taskset": VERSION}),
    "manythreads": program("manythreads"),
    "seccomp": program("seccomp"),
    "ulimit": limited("ulimit -v 262144", "limited", "ulimit"),
    "setrlimit": program("limited", "setrlimit"),
    # What glibc does not promise.
    "signals": program("signals", expect="signals: every object sound, nothing hung\n"),
    "foreign": program("foreign", expect="foreign pointers: ignored, nothing written, allocation goes on\n"),
    # The whole system's overcommit policy is changed meanwhile.
    "overcommit": script("overcommit", overcommit=2, opens=8),
}

if __name__ == "__main__":
    for name, case in CASES.items():
        print(name, "parallel" if case.overcommit is None else "alone")
