# SPDX-License-Identifier: MIT
"""The torture programs: what each is about, in which modes it runs, and how the time is shared.

A program takes --seconds N and --seed S, ends with a line on stdout that says what was covered, and exits with 0
when it found nothing, 77 when it could not run here, anything else when it found something. The stress and fork
programs are older: NAME THREADS SECONDS, the seed in STRESS_SEED.

test_table.py checks that each program in tests/torture has an entry, and each entry a program.
"""
import os
from dataclasses import dataclass

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))

# Mode -> the build directory, and KMALLOC_CMDLINE.
MODES = {
    "rseq": ("build", ""),
    "cpu_id": ("build", "rseq=cpu_id"),
    "locked": ("build", "rseq=off"),
    "debug": ("build-debug", ""),
    "debug-locked": ("build-debug", "rseq=off"),
}

ALL = ("rseq", "cpu_id", "locked", "debug", "debug-locked")
BOTH = ("rseq", "locked", "debug", "debug-locked")
OWN = ("rseq",)  # it chooses its modes, or its build, itself
STANDARD = ("--seconds", "{seconds}", "--seed", "{seed}")


@dataclass
class Program:
    name: str  # its file in tests/torture, or FOLDER/FILE elsewhere under tests
    about: str
    modes: tuple = ALL
    weight: int = 2  # its share of the time, in each mode
    preload: bool = True  # the library is preloaded; else it is linked, or the program preloads it
    arguments: tuple = STANDARD
    fixed: int = 0  # seconds at worst, on a slow machine, of what it does besides what --seconds is about

    def candidates(self, mode):
        """Where it may be, the likeliest first."""
        build = os.path.join(ROOT, MODES[mode][0], "tests")
        folder, _, file = self.name.rpartition("/")
        if folder:
            # both of these are built by tests/stress/meson.build
            return [os.path.join(build, "stress", f"{folder}_{file}")]
        return [os.path.join(build, "torture", "torture_" + file), os.path.join(build, "torture", file),
                os.path.join(ROOT, "tests", "torture", file)]

    def path(self, mode):
        """None: it is not there."""
        for path in self.candidates(mode):
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        return None

    def command(self, mode, seconds, seed):
        path = self.path(mode) or self.candidates(mode)[0]
        return [path] + [word.format(seconds=seconds, seed=seed) for word in self.arguments]

    def environment(self, mode, seed):
        """What is set for it beyond what the caller has."""
        build, cmdline = MODES[mode]
        setting = {"KMALLOC_CMDLINE": cmdline}
        if self.preload:
            setting["LD_PRELOAD"] = os.path.join(ROOT, build, "libkmalloc.so")
        if self.arguments is not STANDARD:
            setting["STRESS_SEED"] = str(seed)
        return setting


def older(name, threads, about, modes=BOTH):
    return Program(name, about, modes, weight=1, arguments=(str(threads), "{seconds}"))


PROGRAMS = [
    Program("rseq_step", "each restartable sequence, interrupted at each of its instructions", ("rseq", "cpu_id", "debug")),
    Program("slow_step", "a handler that allocates at every instruction of the slow paths", BOTH, preload=False),
    Program("oracle", "2 to 512 threads and an oracle of addresses: no byte is two blocks' at once", weight=4),
    Program("signals", "handlers that allocate, thousands a second, whatever they interrupt", weight=3),
    Program("spawn", "fork, vfork, posix_spawn, clone, popen, system from many threads", weight=3),
    Program("life", "100,000 threads, their destructors, cancellation, libraries that come and go", BOTH),
    Program("exits", "programs that end in every way while their threads allocate", BOTH),
    Program("fault", "each system call fails at each of its occurrences", OWN, preload=False),
    Program("limits", "address space, VMAs, memory groups, locked memory, stacks at their limits", ("rseq", "locked"),
            preload=False),
    Program("account", "every reserved byte is accounted for, again and again", ("rseq", "cpu_id", "locked"), preload=False),
    Program("model", "random operations against a plain model, shrunk when they fail", ("rseq", "locked", "debug")),
    Program("fuzz", "coverage-guided: operations, parameters, the formatter", OWN, preload=False),
    Program("fuzz_formats", "damaged, cut and foreign files for what the tools read", OWN, weight=1, preload=False),
    Program("sanitize", "the rooms under UBSan and TSan", OWN, weight=1, preload=False, fixed=1800),
    Program("valgrind", "programs under the library under valgrind", OWN, weight=1, preload=False, fixed=600),
    Program("suites", "test suites of real programs", OWN, weight=4, preload=False, fixed=1200),
    Program("soak", "real programs in rotation, their memory watched", OWN, weight=4, preload=False),
    older("stress/large", 4, "areas that grow, shrink and change hands"),
    older("stress/oom", 4, "threads at a limit of the address space that moves"),
    older("fork/threads", 6, "fork from threads while others allocate; children fork again"),
    older("fork/handler", 4, "fork in handlers that interrupted the allocator"),
    older("fork/vfork", 8, "vfork storms whose children allocate"),
]


def find(names):
    """The entries named; KeyError names the first that there is none of."""
    by_name = {program.name: program for program in PROGRAMS}
    return [by_name[name] for name in names]
