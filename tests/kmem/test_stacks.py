#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whole call stacks: `kmem record --stacks`, of samples and of all, and `kmem report --stacks`, on a program whose ways are known.

usage: test_stacks.py KMEM PROGRAM      PROGRAM: stacks.c, built. KMEM stands beside the library.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

KMEM, PROGRAM = (Path(argument).resolve() for argument in sys.argv[1:3])
COUNT = 400

# bytes of an allocation: the way it comes by, outermost first, without what is above the first
WAYS = {
    1000: ["near", "down", "down", "leaf"],
    2000: ["far"] + ["down"] * 39 + ["leaf"],
    4000: ["thread", "leaf"],
    5000: ["switched", "leaf"],
    6000: ["handler", "leaf"],
    7000: ["edge", "leaf"],
}
CUT = 3000


class Stacks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.data = Path(folder.name) / "kmem.data"

    def record(self, *words, **more):
        words = [KMEM, "record", "-o", self.data, *map(str, words)]
        done = subprocess.run(words, capture_output=True, text=True, **more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr

    def report(self, *words):
        done = subprocess.run([KMEM, "report", *words, self.data], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def sites(self, size):
        report = json.loads(self.report("--stacks", "--json", "-n", "0", f"--min-size={size}", f"--max-size={size}"))
        return report["sites"]

    def check_ways(self, missing=0):
        for size, way in WAYS.items():
            with self.subTest(size=size, way=way[0]):
                # a byte between samples: each allocation is one
                sites = self.sites(size)
                self.assertGreaterEqual(sum(site["allocs"] for site in sites), COUNT - missing)
                for site in sites:
                    names = [call.get("function") for call in site["stack"]]
                    self.assertEqual(names[-len(way):], way, names)
                    self.assertEqual(site["stack"][-1]["address"], site["address"])
        for site in self.sites(2000):
            names = [call.get("function") for call in site["stack"]]
            self.assertIn("main", names)
            self.assertIn("_start", names)
        for site in self.sites(4000):
            self.assertIn("start_thread", [call.get("function") for call in site["stack"]])
        for site in self.sites(6000):
            # through the frame that the kernel made for the signal, to what it interrupted, whose stack is another
            names = [call.get("function") or "" for call in site["stack"]]
            self.assertEqual(names[0], "_start")
            self.assertTrue(any("kill" in name for name in names), names)
        cut = self.sites(CUT)
        self.assertEqual(sum(site["allocs"] for site in cut), COUNT)
        for site in cut:
            names = [call.get("function") for call in site["stack"]]
            self.assertEqual(set(names), {"down", "leaf"})
            self.assertEqual(len(names), 512)

    def test_each_way_is_told_exactly(self):
        for how in ("--sample=1", "--all"):
            with self.subTest(how=how):
                said = self.record(how, "--stacks", "--", PROGRAM)
                self.assertNotIn("lost", said)
                self.assertNotIn("no call stack", said)
                self.check_ways()

    def test_in_locked_mode(self):
        for how in ("--sample=1", "--all"):
            with self.subTest(how=how):
                self.record(how, "--stacks", "--", PROGRAM, env=dict(os.environ, KMALLOC_CMDLINE="rseq=off"))
                self.check_ways()

    def test_list_and_tree(self):
        self.record("--sample=1", "--stacks", "--", PROGRAM)
        text = self.report("--stacks", "-n", "0")
        self.assertRegex(text, r"    leaf\+0x\w+ stacks\.c:")
        # calls that differ in their place alone do not look alike
        stacks = re.findall(r"(?m)^ .*%\n((?:    .*\n)+)", text)
        self.assertEqual(len(stacks), len(set(stacks)))
        self.assertIn("... (the stack goes on)", text)
        tree = self.report("--stacks=tree")
        lines = tree.splitlines()
        far = next(line for line in lines if " far " in line)
        # 2048 bytes each
        self.assertIn("800.0 KiB", far)
        self.assertIn("some stacks were longer", tree)

    def test_without_stacks_the_site_stands_alone(self):
        self.record("--sample=1", "--", PROGRAM)
        for site in self.sites(2000):
            self.assertEqual([call["function"] for call in site["stack"]], ["leaf"])
        self.assertIn("its stack is not known", self.report("--stacks"))

    def test_a_process_that_ends_at_once(self):
        """What was taken of its events has its stacks, however long that takes to be merged and written."""
        events = nowhere = 0
        for _ in range(16):
            self.record("--all", "--stacks", "--", PROGRAM, "0", "40000")
            report = json.loads(self.report("--json", "-n", "0"))
            events += report["events"]
            nowhere += sum(site["allocs"] for site in report["sites"] if site["address"] == "0x0")
        self.assertGreater(events, 200_000)
        # but for what came in the moment between the two, which is longer where others have the CPUs
        self.assertLess(nowhere, 12_000)

    def test_attached_to_a_process_that_runs(self):
        library = KMEM.parent / "libkmalloc.so"
        for how in ("--sample=1", "--all"):
            with self.subTest(how=how):
                process = subprocess.Popen([PROGRAM, "2"], env=dict(os.environ, LD_PRELOAD=str(library)))
                time.sleep(0.3)
                self.record(how, "--stacks", "--full=wait", "-p", process.pid)
                self.assertEqual(process.wait(), 0)
                # the call that finds the wish may be from a cache whose objects are not samples
                self.check_ways(missing=1)

    def test_attached_again_and_again(self):
        """Stacks of a session that has ended are not met in the next."""
        process = subprocess.Popen([sys.executable, "-c", "while True: [bytes(1000 + i) for i in range(100)]"],
                                   env=dict(os.environ, LD_PRELOAD=str(KMEM.parent / "libkmalloc.so"),
                                            PYTHONMALLOC="malloc"))
        try:
            time.sleep(0.5)
            for _ in range(5):
                self.record("--all", "--stacks", "--for=0.2", "-p", process.pid)
                sites = json.loads(self.report("--stacks", "--json", "-n", "0"))["sites"]
                self.assertTrue(sites)
                for site in sites:
                    self.assertEqual(site["stack"][0].get("function"), "_start", site)
        finally:
            process.kill()
            process.wait()

    def test_a_recording_that_was_cut_off_keeps_its_stacks(self):
        self.record("--sample=1", "--stacks", "--", PROGRAM)
        whole = self.data.read_bytes()
        for size in range(len(whole) - 1, 40, -997):
            self.data.write_bytes(whole[:size])
            done = subprocess.run([KMEM, "report", "--stacks", self.data], capture_output=True, text=True)
            self.assertIn(done.returncode, (0, 1))
            self.assertLessEqual(len([line for line in done.stderr.splitlines() if "cut off" in line]), 1)

    def test_python(self):
        for how in ("--sample=16K", "--all"):
            with self.subTest(how=how):
                self.record(how, "--stacks", "--", sys.executable, "-c",
                            "import json; print(len(json.loads(json.dumps([{str(i): [i] * 20} for i in range(20000)]))))",
                            env=dict(os.environ, PYTHONMALLOC="malloc"))
                sites = json.loads(self.report("--stacks", "--json", "-n", "0"))["sites"]
                whole = sum(site["bytes_alloc"] for site in sites)
                rooted = sum(site["bytes_alloc"] for site in sites if site["stack"][0].get("function") == "_start")
                # the rest: the dynamic linker's own start
                self.assertGreater(rooted / whole, 0.99)


if __name__ == "__main__":
    del sys.argv[1:3]
    unittest.main(verbosity=2)
