#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tests/torture/suites and soak themselves: what only fails under the library is found and named, and nothing else;
memory that grows is told from memory that fills caches; a program that dies or says something else is told.

usage: test_real.py LIBRARY      LIBRARY: libkmalloc.so, preloaded into small shell scripts"""
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import debian  # noqa: E402  (found through the line above)
import jobs  # noqa: E402
import memory  # noqa: E402
import reading  # noqa: E402
import running  # noqa: E402
import table  # noqa: E402

LIBRARY = None

# A test suite in shell. Each test is a script; $LD_PRELOAD says whether the library is there, once marks a file that
# outlives a run's folder.
SCRIPTS = {
    "well": "echo ok 1 - a; echo ok 2 - b",
    "breaks": 'echo ok 1 - a; [ -z "$LD_PRELOAD" ] || { echo not ok 2 - b; exit 1; }; echo ok 2 - b',
    "dies": '[ -z "$LD_PRELOAD" ] || kill -SEGV $$',
    "own": "echo not ok 1 - a; exit 1",
    "own-and-more": 'echo not ok 1 - a; [ -z "$LD_PRELOAD" ] || echo not ok 2 - b; exit 1',
    "own-without-names": "exit 3",
    "flaky": '[ -z "$LD_PRELOAD" ] || [ -e ../once ] || { touch ../once; echo not ok 1 - a; exit 1; }; echo ok 1 - a',
    "report": '[ -z "$LD_PRELOAD" ] || [ -e ../once ] || { touch ../once; echo "libkmalloc: BUG in a child"; }; echo ok 1',
    "hangs": '[ -z "$LD_PRELOAD" ] || sleep 60; echo ok 1 - a',
    "skips": "echo '1..0 # SKIP not here'; exit 77",
    "clean": '[ -z "$(ls)" ] && echo ok 1 && touch left',
}
SHELL = table.Suite("shell", "", (), "", list=lambda _: sorted(SCRIPTS), read=reading.tap, timeout=5,
                    command=lambda _place, name, _folder, _slot: ["sh", "-c", SCRIPTS[name]])


class Judging(unittest.TestCase):
    def judge(self, test, mode="rseq"):
        with tempfile.TemporaryDirectory() as top:
            folder = Path(top) / "run"
            folder.mkdir()
            runner = running.Runner(folder, {"build": LIBRARY, "build-debug": LIBRARY})
            return runner.judge(SHELL, None, test, mode, 0)

    def test_all_well_passes_with_its_checks(self):
        verdict = self.judge("well")
        self.assertEqual((verdict.result, verdict.checks), ("passed", 2))

    def test_what_fails_under_the_library_alone_is_named(self):
        verdict = self.judge("breaks")
        self.assertEqual((verdict.result, verdict.names), ("failed", ["2 - b"]))

    def test_a_crash_under_the_library_is_the_whole_test(self):
        verdict = self.judge("dies")
        self.assertEqual((verdict.result, verdict.names, verdict.ending), ("failed", [running.WHOLE], "signal 11"))

    def test_a_hang_under_the_library_is_a_failure(self):
        verdict = self.judge("hangs")
        self.assertEqual((verdict.result, verdict.ending), ("failed", "not done in time"))

    def test_what_fails_without_it_too_does_not_count(self):
        self.assertEqual(self.judge("own").result, "own")
        self.assertEqual(self.judge("own-without-names").result, "own")

    def test_a_further_failure_among_known_ones_counts(self):
        verdict = self.judge("own-and-more")
        self.assertEqual((verdict.result, verdict.names), ("failed", ["2 - b"]))

    def test_what_is_well_the_second_time_is_flaky(self):
        self.assertEqual(self.judge("flaky").result, "flaky")

    def test_a_report_of_the_library_is_a_failure_even_once(self):
        verdict = self.judge("report")
        self.assertEqual((verdict.result, verdict.ending), ("failed", "libkmalloc: BUG in a child"))

    def test_a_test_that_skips_itself_is_no_pass(self):
        self.assertEqual(self.judge("skips").result, "skipped")

    def test_each_run_has_an_empty_folder(self):
        self.assertEqual(self.judge("clean", "locked").result, "passed")

    def test_a_program_without_the_library_is_no_witness(self):
        with tempfile.TemporaryDirectory() as top:
            runner = running.Runner(top, {"build": LIBRARY})
            suite = table.Suite("x", "", (), "", list=None, command=None, witness=("/bin/sh", ["-c", ":"]))
            runner.witness(suite)
            runner.libraries = {"build": Path("/nowhere/libkmalloc.so")}
            with self.assertRaises(running.compare.Failed):
                runner.witness(suite)


class Reading(unittest.TestCase):
    def check(self, read, text, checks, failed):
        said = read(text, Path("/nowhere"))
        self.assertEqual((said.checks, said.failed), (checks, set(failed)))

    def test_tap(self):
        self.check(reading.tap, "1..3\nok 1\nnot ok 2 - b\nnot ok 3 - c # TODO later\n    not ok 1 - inner\n", 3, ["2 - b"])
        self.check(reading.tap, "another form\n", 1, [])
        self.check(reading.tap, "1..0 # SKIP\n", 0, [])

    def test_sqlite(self):
        self.check(reading.sqlite, "a-1.1... Ok\n! a-1.2 expected: [1]\n! a-1.2 got: [2]\n1 errors out of 7 tests\n", 7, ["a-1.2"])
        self.check(reading.sqlite, "2 errors out of 7 tests\n", 7, ["2 errors"])

    def test_redis(self):
        self.check(reading.redis, "\x1b[32m[ok]\x1b[0m: set (1 ms)\n[err]: get in tests/unit/x.tcl\n", 2, ["get"])

    def test_tcltest(self):
        self.check(reading.tcltest, "==== a-1 does it FAILED\nall.tcl:\tTotal\t9\tPassed\t8\tSkipped\t0\tFailed\t1\n", 9, ["a-1"])

    def test_php(self):
        self.check(reading.php, "PASS one [t/a.phpt] \nFAIL two [t/b.phpt] \nSKIP three [t/c.phpt] reason: x\n", 2, ["t/b.phpt"])

    def test_mariadb(self):
        self.check(reading.mariadb, "main.a 'x'        [ pass ]     12\nmain.b  [ fail ]\nmain.c [ skipped ] no\n", 2, ["main.b"])

    def test_junit(self):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "results.xml").write_text('<t><testcase name="a"/><testcase name="b"><failure/></testcase></t>')
            said = reading.junit("", Path(folder))
        self.assertEqual((said.checks, said.failed), (2, {"b"}))


class Memory(unittest.TestCase):
    @staticmethod
    def series(size, count=200):
        return [(float(at), size(at)) for at in range(count)]

    def test_steady_memory_does_not_grow(self):
        self.assertFalse(memory.grows(self.series(lambda at: 50000)))

    def test_caches_that_fill_at_first_do_not_grow(self):
        self.assertFalse(memory.grows(self.series(lambda at: 50000 + min(at, 30) * 1000)))

    def test_memory_that_swings_does_not_grow(self):
        self.assertFalse(memory.grows(self.series(lambda at: 50000 + (at % 17) * 2000)))

    def test_a_steady_leak_grows(self):
        leaking = self.series(lambda at: 50000 + at * 100)
        self.assertTrue(memory.grows(leaking))
        self.assertEqual(round(memory.slope(leaking)), 100 * 3600)

    def test_too_few_samples_say_nothing(self):
        self.assertIsNone(memory.growth(self.series(lambda at: at * 1000, 11)))
        self.assertFalse(memory.grows(self.series(lambda at: at * 1000, 11)))


class Shell(jobs.Long):
    """A long-lived program of one line: it reads a line, runs it and prints the mark."""
    name = "sh"
    line = "echo said"

    def argv(self):
        return ["sh", "-c", 'while read -r line; do eval "$line"; echo == done; done']

    def script(self):
        return self.line + "\n"


class Soaking(unittest.TestCase):
    def test_a_long_lived_program_says_the_same_each_time(self):
        with tempfile.TemporaryDirectory() as folder:
            job = Shell(folder)
            job.start({"PATH": "/usr/bin:/bin", "LD_PRELOAD": str(LIBRARY)})
            try:
                self.assertEqual([job.cycle(), job.cycle()], [b"said\n"] * 2)
                self.assertGreater(job.resident()[0], 0)
            finally:
                job.stop()

    def test_one_that_dies_is_told_with_its_last_words(self):
        with tempfile.TemporaryDirectory() as folder:
            job = Shell(folder)
            job.line = "echo last words >&2; kill -ABRT $$"
            job.start({"PATH": "/usr/bin:/bin"})
            try:
                with self.assertRaisesRegex(jobs.Wrong, "ended with -6: last words"):
                    job.cycle()
            finally:
                job.stop()


class Sources(unittest.TestCase):
    def test_configured_packages_become_sources(self):
        self.assertEqual(debian.source_stanzas("# Types: x\nTypes: deb\nURIs: u\n"), "# Types: x\nTypes: deb-src\nURIs: u\n")
        self.assertEqual(debian.source_lines("# deb no\ndeb [signed-by=k] u s main\ndeb-src u s\n"),
                         "deb-src [signed-by=k] u s main\ndeb-src u s\n")

    def test_every_suite_is_whole(self):
        for name, suite in table.SUITES.items():
            self.assertEqual(name, suite.name)
            self.assertTrue(suite.packages and suite.about and suite.version, name)


if __name__ == "__main__":
    LIBRARY = Path(sys.argv.pop(1)).resolve()
    unittest.main()
