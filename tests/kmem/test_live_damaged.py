#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Processes whose memory is damaged: kmem says so, a line or a few, and neither crashes nor hangs. Environment: see live.py;
KMALLOC_SEED is the seed of what is chosen by chance, KMEM_MUTATIONS how many.
"""

import os
import re
import subprocess
import tempfile
import unittest

from live import LIBRARY, PROGRAMS, Program, kmem

SEED = int(os.environ.get("KMALLOC_SEED", "20240229"), 0)
COUNT = os.environ.get("KMEM_MUTATIONS", "500")
LINES = 4  # that a command says of one process, at most


class Damaged(unittest.TestCase):
    def runs(self, program):
        """What each run said: {number and command: lines}."""
        with tempfile.TemporaryDirectory(prefix="kmem-") as folder:
            done = subprocess.run([os.path.join(PROGRAMS, "mutate_live"), str(program.pid), str(SEED), COUNT],
                                  capture_output=True, text=True, errors="replace", timeout=1000, check=False,
                                  env=dict(os.environ, TMPDIR=folder, LC_ALL="C"))
        said, run = {}, None
        for line in done.stderr.splitlines():
            if re.match(r"# \d+ ", line):
                run = line
                said[run] = []
            else:
                said[run].append(line)
        self.assertEqual(done.returncode, 0, (done.stdout, run, said[run][:60] if run else done.stderr))
        self.assertEqual(len(said), int(COUNT))
        return said

    def check(self, program):
        lines = 0
        for run, said in self.runs(program).items():
            self.assertLessEqual(len(said), LINES, (run, said[:20]))
            for line in said:
                self.assertRegex(line, r"^kmem: [ -~]*$", run)
            lines += len(said)
        self.assertGreater(lines, 0)

    def test_a_process_that_holds(self):
        with Program("holds", preload=False) as program:
            program.tell("hold")
            # so it has rings, and stacks
            with subprocess.Popen([os.environ["KMEM"], "record", "-o", "/dev/null", "--for=1", "--stacks", "-p",
                                   str(program.pid)], stderr=subprocess.DEVNULL) as recorder:
                while recorder.poll() is None:
                    program.tell("drop")
                    program.tell("hold")
            self.check(program)
            # it has noticed nothing
            self.assertEqual(program.tell("drop"), "done\n")

    def test_a_process_that_is_being_traced(self):
        with Program("holds", preload=False, cmdline="") as program:
            with subprocess.Popen([os.environ["KMEM"], "record", "-o", "/dev/null", "--stacks", "-p", str(program.pid)],
                                  stderr=subprocess.DEVNULL) as recorder:
                for _ in range(20):
                    program.tell("hold")
                    program.tell("drop")
                program.tell("hold")
                recorder.kill()
            self.check(program)


if __name__ == "__main__":
    assert LIBRARY
    unittest.main()
