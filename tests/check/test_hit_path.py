#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The hit paths have exactly as many instructions, branches, loads and stores as stand in EXPECTED, and a pair of
malloc and free in locked mode takes exactly LOCKED_PAIR instructions. Times vary, these numbers do not.

usage: test_hit_path.py LIBRARY      LIBRARY: libkmalloc.so in its build directory

How a path is found is in bench/perf/hitpath.py. It is the one of both indexes of rseq, mm_cid and cpu_id, which differ
in the contents of a variable only. Locked mode leaves it at the test of the index; what it does instead is counted by
callgrind: valgrind runs no restartable sequences, so the library is in locked mode there.

The numbers are those of gcc 12, Debian 12's compiler, with the options of a release build. With another compiler or
other options the numbers found are printed and not compared (exit status 77); that each path can be walked, and so
holds no call and no lock, is tested all the same.

A change that makes a path longer or shorter on purpose changes the table in the same commit.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench" / "perf"))
import callgrind  # noqa: E402  (found through the line above)
import disasm  # noqa: E402
import hitpath  # noqa: E402

SKIP = 77
ALLOC = (23, 3, 8, 2)
FREE = (26, 3, 11, 3)

# Entry point: instructions, of them conditional branches; loads and stores of memory (the stack's included).
EXPECTED = {
    "malloc": ALLOC,
    "free": FREE,
    "free_sized": FREE,
    "calloc": (36, 4, 12, 4),            # memset counts as the one jump that leads there
    "_Znwm": ALLOC,                      # operator new(size_t)
    "_Znam": ALLOC,                      # operator new[](size_t)
    "_ZnwmRKSt9nothrow_t": ALLOC,        # operator new(size_t, nothrow_t const &)
    "_ZdlPv": FREE,                      # operator delete(void *)
    "_ZdaPv": FREE,                      # operator delete[](void *)
    "_ZdlPvm": FREE,                     # operator delete(void *, size_t)
    "_ZdaPvm": FREE,                     # operator delete[](void *, size_t)
    "_ZdlPvmSt11align_val_t": FREE,      # operator delete(void *, size_t, align_val_t)
}
LOCKED_PAIR = 589                        # malloc(64) and free of it: the library's own instructions

# Calls on the way of an entry point: followed, and stepped over.
THROUGH = {}
OVER = {"calloc": ("memset",)}

PAIRS = """
#include <stdlib.h>
int main(int argc, char **argv)
{
	(void)argc;
	for (long left = atol(argv[1]); left > 0; left--)
		free(malloc(64));
	return 0;
}
"""

# A path with each of its parts; {} stands for what a test adds.
MADE_UP = """
	.text
	.globl entry, try_slow
	.type entry, @function
	.type try_slow, @function
try_slow:
	ret
	.size try_slow, . - try_slow
entry:
	cmpq $9, %rdi
	ja 1f
	movq (%rsp), %rax
	{}
	ret
1:
	xorl %esi, %esi
	jmp try_slow
3:
	ret
	.size entry, . - entry
	.section .note.GNU-stack, "", @progbits
"""


def why_not_comparable(library):
    """Why the numbers of EXPECTED are not this library's, or None."""
    compilers = set(re.findall(r"(GCC: [^\n]*|\S* ?clang version [^\n]*)",
                               disasm.run("readelf", "-p", ".comment", str(library))))
    other = sorted(name for name in compilers if not re.search(r"GCC: .* 12\.\d+\.\d+$", name))
    if other or not compilers:
        return f"compiled by {other[0] if other else 'an unknown compiler'}, not by gcc 12 alone"
    try:
        options = json.loads((library.parent / "meson-info" / "intro-buildoptions.json").read_text())
    except (OSError, ValueError):
        return "its build directory does not tell the options it was built with"
    values = {option["name"]: option["value"] for option in options}
    for name, value in (("buildtype", "release"), ("debug_checks", False), ("b_lto", False), ("b_sanitize", "none"),
                        ("b_coverage", False), ("c_args", [])):
        if values.get(name) != value:
            return f"built with {name}={values.get(name)}"
    return None


def in_words(counts):
    return "%d instructions, %d branches, %d loads, %d stores" % counts


class HitPath(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.library = disasm.Library(LIBRARY)
        cls.walker = hitpath.Walker(cls.library)

    def walk(self, entry):
        try:
            return self.walker.walk(entry, THROUGH.get(entry, ()), OVER.get(entry, ()))
        except disasm.CannotRead as error:
            self.fail(str(error))

    def test_each_path_has_its_exact_length(self):
        for entry, expected in EXPECTED.items():
            with self.subTest(entry=entry):
                path = self.walk(entry)
                counts = path.counts()
                if REASON:
                    print(f"{entry}: {in_words(counts)}")
                elif counts != expected:
                    self.fail(f"\nthe hit path of {entry} was {in_words(expected)};\nit is now     {in_words(counts)}:"
                              f"\n{path.listing()}\nIf that is meant, change EXPECTED in {Path(__file__).name}.")

    def test_each_sequence_starts_over_on_the_path(self):
        """The kernel's way in: the abort handler of the path's sequence jumps to where it begins."""
        handlers = hitpath.abort_handlers(self.library)
        self.assertTrue(handlers)
        for entry in EXPECTED:
            with self.subTest(entry=entry):
                on_path = {step.address: step for step in self.walk(entry).steps}
                starts = {target for target in handlers.values() if target in on_path}
                self.assertEqual(len(starts), 1, [hex(start) for start in starts])
                self.assertEqual(on_path[starts.pop()].name, "lea")

    def test_aliases_are_the_same_code(self):
        for name in ("malloc", "free", "calloc", "realloc"):
            self.assertEqual(self.library.names[name].address, self.library.names["__libc_" + name].address)


class LockedMode(unittest.TestCase):
    """By difference: what a thousand more pairs cost. Start and end are in both and cancel."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "pairs.c").write_text(PAIRS)
        subprocess.run(["gcc", "-O1", "-fno-builtin", "-o", "pairs", "pairs.c"], cwd=self.folder, check=True)

    def cost(self, pairs):
        # no look at the clock may fall into the longer run only
        environment = dict(os.environ, LD_PRELOAD=str(LIBRARY), KMALLOC_CMDLINE="reclaim.age_ms=3600000")
        try:
            costs, status = callgrind.count([str(self.folder / "pairs"), str(pairs)], environment, str(self.folder),
                                            {"stdin": subprocess.DEVNULL})
        except callgrind.CallgrindFailed as error:
            self.skipTest(str(error))
        self.assertEqual(status, 0)
        return sum(costs.of_object(LIBRARY).values())

    def pair(self):
        cost, rest = divmod(self.cost(2000) - self.cost(1000), 1000)
        self.assertEqual(rest, 0, "the pairs do not all cost the same")
        return cost

    def test_pair_has_its_exact_cost_twice(self):
        first, second = self.pair(), self.pair()
        self.assertEqual(first, second, "not repeatable")
        self.assertGreater(first, 0, "the library was not there")
        if REASON:
            print(f"malloc and free in locked mode: {first} instructions")
        else:
            self.assertEqual(first, LOCKED_PAIR, f"malloc(64) and free in locked mode took {LOCKED_PAIR} instructions, "
                                                 f"now {first}. If that is meant, change LOCKED_PAIR.")


class WalkerTest(unittest.TestCase):
    """The walk itself, on made-up code."""

    def walk(self, added):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "x.S").write_text(MADE_UP.format(added))
            subprocess.run(["gcc", "-shared", "-nostdlib", "-Wl,-Bsymbolic", "-o", "x.so", "x.S"], cwd=folder,
                           check=True)
            return hitpath.Walker(disasm.Library(Path(folder) / "x.so")).walk("entry")

    def assert_refused(self, added, text):
        with self.assertRaises(disasm.CannotRead) as caught:
            self.walk(added)
        self.assertIn(text, str(caught.exception))

    def test_counts(self):
        path = self.walk("")
        self.assertEqual(path.counts(), (4, 1, 2, 0))
        self.assertIn("a miss goes to", path.listing())

    def test_an_added_instruction_counts(self):
        for added, counts in (("nop", (5, 1, 2, 0)), ("lock incq (%rdi)", (5, 1, 3, 1)),
                              ("pushq %rax\npopq %rax", (6, 1, 3, 1)), ("movq %rax, %fs:8", (5, 1, 2, 1)),
                              ("jmp 4f\nnop\n4:", (5, 1, 2, 0)), ("leaq (%rax), %rdx", (5, 1, 2, 0)),
                              ("testq %rax, %rax\nje 1f", (6, 2, 2, 0))):
            with self.subTest(added=added):
                self.assertEqual(self.walk(added).counts(), counts)

    def test_a_call_is_refused(self):
        self.assert_refused("call try_slow", "both sides miss")
        self.assert_refused("call 3f", "is on the hit path")
        self.assert_refused("call *(%rax)", "is on the hit path")
        self.assert_refused("jmp *%rax", "is on the hit path")

    def test_a_branch_that_cannot_be_told_is_named(self):
        self.assert_refused("testq %rax, %rax\nje 3f", "`je ")
        self.assert_refused("testq %rax, %rax\nje 3f", "neither side")
        self.assert_refused("testq %rax, %rax\nje 4f\nnop\n4:", "neither side")
        self.assert_refused("testq %rax, %rax\nje 1f\njmp 1f", "both sides miss")

    def test_a_side_that_may_come_back_is_no_miss(self):
        self.assert_refused("testq %rax, %rax\nje 5f\n4:\nret\n5:\ntestq %rdx, %rdx\nje 1f\njmp 4b", "neither side")

    def test_a_loop_on_the_path_is_refused(self):
        self.assert_refused("4:\njmp 4b", "both sides miss")

    def test_class_0_misses(self):
        join = "testq %rax, %rax\nje 5f\nmovl %eax, %esi\n4:\nmovq (%r8,%rsi,8), %r9\ntestb $1, (%r9)\njne 1f\nret\n" \
               "5:\n{}\njmp 4b"
        self.assertEqual(self.walk(join.format("xorl %esi, %esi")).counts(), (10, 3, 4, 0))
        self.assert_refused(join.format("movl $1, %esi"), "neither side")
        self.assert_refused(join.format("xorl %esi, %esi\nincl %esi"), "neither side")
        self.assert_refused(join.format("xorl %edx, %edx"), "neither side")

    def test_an_unknown_instruction_on_memory_is_named(self):
        self.assert_refused_count("fildl (%rax)", "fildl")

    def assert_refused_count(self, added, text):
        with self.assertRaises(disasm.CannotRead) as caught:
            self.walk(added).counts()
        self.assertIn(text, str(caught.exception))


if __name__ == "__main__":
    LIBRARY = Path(sys.argv.pop(1)).resolve()
    REASON = why_not_comparable(LIBRARY)
    if REASON:
        print(f"the numbers are printed, not compared: {LIBRARY.name} is {REASON}")
    program = unittest.main(exit=False)
    if not program.result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIP if REASON else 0)
