#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What tools/torture makes of programs that pass, fail, skip, crash, hang, and of an interruption."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))

# The runner on a table of this test's own, with less patience.
DRIVER = """
import os, sys
sys.path.insert(0, {here!r})
sys.argv[0] = "torture"
import evidence, table, torture
def path(self, mode):
    name = os.path.join({folder!r}, self.name)
    return name if os.path.exists(name) else None
table.Program.path = path
programs = [table.Program(name, "a test", ("rseq",), preload=False) for name in {names!r}]
table.PROGRAMS[:] = programs
torture.HANG_SECONDS = 1
torture.LEAST_SECONDS = 1
evidence.GDB_SECONDS = 30
sys.exit(torture.main())
"""

PROGRAMS = {
    "passes": "#!/bin/sh\necho some progress >&2\necho \"covered: $*\"\n",
    "fails": "#!/bin/sh\necho it is broken\nexit 3\n",
    "skips": "#!/bin/sh\necho no such kernel here\nexit 77\n",
    "crashes": "#!/bin/sh\necho last words\nkill -SEGV $$\n",
    # What it leaves running has another session, and outlives it.
    "hangs": "#!/bin/sh\nsetsid sleep 1000 &\necho waiting\nsleep 1000\n",
    "slow": "#!/bin/sh\nsleep 1000 &\ntouch \"$STARTED\"\nwait\n",
}


class Torture(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="torture-test-")
        self.addCleanup(self.folder.cleanup)
        self.out = os.path.join(self.folder.name, "out")
        for name, text in PROGRAMS.items():
            path = os.path.join(self.folder.name, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(path, 0o755)

    def start(self, names, *arguments):
        driver = DRIVER.format(here=HERE, folder=self.folder.name, names=names)
        environment = dict(os.environ, STARTED=os.path.join(self.folder.name, "started"), TMPDIR=self.folder.name)
        return subprocess.Popen([sys.executable, "-B", "-c", driver, *arguments], env=environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def torture(self, names, *arguments):
        process = self.start(names, "--minutes", "0.02", "--out", self.out, *arguments)
        said, errors = process.communicate(timeout=150)
        return process.returncode, said.splitlines(), errors

    def results(self):
        with open(os.path.join(self.out, "results.json"), encoding="utf-8") as file:
            return json.load(file)

    def left_running(self):
        done = subprocess.run(["pgrep", "-f", "^sleep 1000$"], stdout=subprocess.PIPE, text=True, check=False)
        ours = []
        for pid in done.stdout.split():
            try:
                with open(f"/proc/{pid}/environ", encoding="utf-8", errors="replace") as file:
                    if self.folder.name in file.read():
                        ours.append(pid)
            except OSError:
                pass
        return ours

    def test_all_that_passes_is_success(self):
        status, said, errors = self.torture(["passes"], "--seed", "7")
        self.assertEqual((status, said[-1]), (0, "1 passed, 0 failed"), errors)
        run = self.results()["runs"][0]
        self.assertRegex(run["said"], r"^covered: --seconds \d+ --seed \d+$")
        self.assertEqual(sorted(os.listdir(self.out)), ["results.json", "results.md"])

    def test_failures_skips_and_absences_are_told_apart(self):
        status, said, _ = self.torture(["passes", "fails", "skips", "absent"])
        self.assertEqual((status, said[-1]), (1, "1 passed, 2 failed, 1 skipped"))
        by_name = {run["program"]: run for run in self.results()["runs"]}
        self.assertEqual(by_name["skips"]["said"], "no such kernel here")
        self.assertEqual(by_name["absent"]["said"], "it is not built")
        with open(os.path.join(self.out, "results.md"), encoding="utf-8") as file:
            self.assertIn("| fails | rseq | failed |", file.read())

    def test_failure_leaves_what_repeats_it(self):
        self.torture(["fails"], "--only", "fails", "--seed", "99")
        folder = self.results()["runs"][0]["evidence"]
        with open(os.path.join(folder, "again.sh"), encoding="utf-8") as file:
            self.assertIn("--seed 99", file.read())
        again = subprocess.run([os.path.join(folder, "again.sh")], stdout=subprocess.PIPE, text=True, check=False)
        self.assertEqual((again.returncode, again.stdout), (3, "it is broken\n"))
        with open(os.path.join(folder, "output.txt"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "it is broken\n")
        with open(os.path.join(folder, "environment.txt"), encoding="utf-8") as file:
            told = file.read()
        for limit in ("address space", "data size", "locked memory", "processes", "stack size", "open files"):
            self.assertRegex(told, rf"(?m)^Max {limit} +\w+ +\w+ ")

    def test_crash_is_a_failure(self):
        status, _, _ = self.torture(["crashes"])
        self.assertEqual(status, 1)
        self.assertEqual(self.results()["runs"][0]["said"], "died by SIGSEGV: last words")

    def test_hang_is_a_failure_with_stacks_and_nothing_left(self):
        status, said, _ = self.torture(["hangs", "passes"])
        self.assertEqual((status, said[-1]), (1, "1 passed, 1 failed"))
        run = self.results()["runs"][0]
        self.assertRegex(run["said"], "^hung: no end after .*: waiting$")
        with open(os.path.join(run["evidence"], "stacks.txt"), encoding="utf-8") as file:
            self.assertIn("sleep 1000", file.read())
        self.assertEqual(self.left_running(), [])

    def test_interruption_sums_up_what_was_done(self):
        process = self.start(["passes", "slow"], "--minutes", "1", "--out", self.out)
        started = os.path.join(self.folder.name, "started")
        while not os.path.exists(started):
            self.assertIsNone(process.poll())
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(said.splitlines(), ["interrupted: 1 of 2 runs were done", "1 passed, 0 failed"])
        self.assertEqual(self.left_running(), [])
        self.assertEqual(len(self.results()["runs"]), 1)

    def test_unknown_programs_are_refused(self):
        status, _, errors = self.torture(["passes"], "--only", "nonsense")
        self.assertEqual(status, 2)
        self.assertIn("no program 'nonsense'", errors)

    def test_list_names_what_is_missing(self):
        status, said, errors = self.torture(["passes", "absent"], "--list")
        self.assertEqual(status, 1)
        self.assertEqual(len(said), 2)
        self.assertIn("absent is not built for rseq", errors)


if __name__ == "__main__":
    unittest.main()
