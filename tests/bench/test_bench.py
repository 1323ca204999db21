#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/bench: what it keeps, what it computes, and what it does with bad allocators and bad input.

Usage: test_bench.py SOURCE_ROOT BUILD_ROOT. No time is asserted."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1)).resolve()
BUILD = Path(sys.argv.pop(1)).resolve()
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "bench" / "lib"))

import report  # noqa: E402
from allocators import Allocator, BadArgument  # noqa: E402
from store import Store, Turn  # noqa: E402

# An allocator that is glibc's until it has been called LIMIT times; then END happens.
LATE = """
#include <stdlib.h>
#include <unistd.h>
extern void *__libc_malloc(size_t);
static volatile long calls;
void *malloc(size_t size)
{
	if (++calls > LIMIT)
		END;
	return __libc_malloc(size);
}
"""


class FakeUnit:
    def __init__(self, name, rounds, group="programs"):
        self.name = name
        self.rounds = rounds
        self.group = group

    def about(self, benchmark):
        return {"group": self.group, "family": self.name, "about": benchmark, "curve": None}


def config(**other):
    return dict({"command": "tools/bench", "quick": False, "host": {}, "date": "2026-01-01T00:00:00Z"}, **other)


class StoreTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "run"

    def tearDown(self):
        self.folder.cleanup()

    def open(self, **other):
        store = Store(self.path, config(**other))
        self.addCleanup(store.close)
        return store

    def close(self, store):
        store.close()

    def fill(self, turns):
        store = self.open()
        for number in range(turns):
            store.add(Turn("unit", number, "kmalloc", [["b", "time", "s", "kmalloc", 1.5]]))
        self.close(store)

    def test_reopened_has_all_turns(self):
        self.fill(3)
        self.assertEqual(sorted(self.open().turns), [("unit", n, "kmalloc") for n in range(3)])

    def test_cut_at_every_byte_loses_only_the_last_turn(self):
        self.fill(3)
        journal = self.path / "samples.jsonl"
        whole = journal.read_bytes()
        first_two = whole.rindex(b"\n", 0, len(whole) - 1) + 1
        for cut in range(first_two, len(whole)):
            journal.write_bytes(whole[:cut])
            store = self.open()
            self.assertEqual(len(store.turns), 2, cut)
            store.add(Turn("unit", 2, "kmalloc"))
            self.close(store)
            store = self.open()
            self.assertEqual(len(store.turns), 3, cut)
            self.close(store)

    def test_other_options_are_refused(self):
        self.fill(1)
        with self.assertRaisesRegex(BadArgument, "other quick"):
            self.open(quick=True)
        self.assertEqual(len(self.open().turns), 1)

    def test_two_at_a_time_are_refused(self):
        self.open()
        with self.assertRaisesRegex(BadArgument, "another run"):
            self.open()

    def test_foreign_folder_is_left_alone(self):
        self.path.mkdir()
        (self.path / "thesis.txt").write_text("mine")
        with self.assertRaisesRegex(BadArgument, "holds other files"):
            self.open()
        self.assertEqual((self.path / "thesis.txt").read_text(), "mine")

    def test_damaged_run_file_is_named(self):
        self.fill(1)
        (self.path / "run.json").write_text("{")
        with self.assertRaisesRegex(BadArgument, "damaged"):
            self.open()


class ReportTest(unittest.TestCase):
    def results(self, samples, units, failed=(), rounds=3):
        """samples: {unit: {allocator: values of the metric `time`}}"""
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder) / "run", config())
            for unit, columns in samples.items():
                for column, values in columns.items():
                    for number, value in enumerate(values):
                        store.add(Turn(unit, number, column, [[unit, "time", "s", column, value]]))
            for unit, column, reason in failed:
                store.add(Turn(unit, 0, column, failed=reason))
            found = report.report(store, units, [Allocator("kmalloc", None), Allocator("other", None)],
                                  {"cpu": "c", "cpus": 2, "kernel": "k", "libc": "l"}, rounds)
            store.close()
        return found

    def test_ratio_is_of_medians(self):
        found = self.results({"a": {"kmalloc": [2, 1, 9], "other": [4, 4, 5]}}, [FakeUnit("a", 3)])
        other = found["benchmarks"][0]["metrics"][0]["results"]["other"]
        self.assertEqual((other["median"], other["ratio"]), (4, 0.5))
        self.assertLessEqual(other["ratio_low"], other["ratio"])
        self.assertLessEqual(other["ratio"], other["ratio_high"])
        self.assertTrue(found["complete"])

    def test_mean_is_geometric(self):
        found = self.results({"a": {"kmalloc": [1, 1, 1], "other": [2, 2, 2]},
                              "b": {"kmalloc": [8, 8, 8], "other": [1, 1, 1]}},
                             [FakeUnit("a", 3), FakeUnit("b", 3)])
        mean = [line for line in found["summary"] if line["metric"] == "time"][0]["results"]["other"]
        self.assertAlmostEqual(mean["ratio"], 2.0)
        self.assertEqual(mean["count"], 2)

    def test_failure_is_listed_and_counts_as_done(self):
        found = self.results({"a": {"kmalloc": [1, 1, 1]}}, [FakeUnit("a", 3)],
                             [("a", "other", "crashes: SIGABRT")])
        self.assertEqual(found["failures"], [{"benchmark": "a", "allocator": "other",
                                              "reason": "crashes: SIGABRT"}])
        self.assertTrue(found["complete"])
        self.assertIn("a under other: crashes: SIGABRT", report.as_text(found))

    def test_missing_round_is_not_complete(self):
        found = self.results({"a": {"kmalloc": [1, 1], "other": [1, 1, 1]}}, [FakeUnit("a", 3)])
        self.assertFalse(found["complete"])
        self.assertIn("cut off", report.as_text(found))

    def test_zero_gives_no_ratio(self):
        found = self.results({"a": {"kmalloc": [0, 0, 0], "other": [1, 1, 1]}}, [FakeUnit("a", 3)])
        self.assertNotIn("ratio", found["benchmarks"][0]["metrics"][0]["results"]["other"])

    def test_numbers_have_three_digits(self):
        for value, text in ((0, "0"), (4.5678, "4.57"), (45.678, "45.7"), (456.78, "457"),
                            (0.0123, "0.012"), (123456, "123k"), (1234567890, "1235M")):
            self.assertEqual(report.number(value), text)


class RunTest(unittest.TestCase):
    """The whole command, on few and short benchmarks."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.work = Path(self.folder.name)
        self.out = self.work / "out"

    def tearDown(self):
        self.folder.cleanup()

    def command(self, *words):
        return [sys.executable, "-B", str(ROOT / "bench" / "lib" / "bench.py"), "--warm", "0", "--build", str(BUILD), *words]

    def bench(self, *words):
        return subprocess.run(self.command(*words), cwd=self.work, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=300)

    def late(self, name, end, limit):
        path = self.work / f"lib{name}.so"
        (self.work / f"{name}.c").write_text(LATE)
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-fno-builtin", f"-DLIMIT={limit}",
                        f"-DEND={end}", "-o", path, self.work / f"{name}.c"], check=True)
        return f"{name}={path}"

    def only_these(self, *peers):
        """Options that leave only the library, glibc and PEERS: the others count as broken."""
        words = []
        for name in ("jemalloc", "mimalloc", "tcmalloc", "tbbmalloc"):
            if not any(peer.startswith(f"{name}=") for peer in peers):
                words += ["--peer", self.late(name, "abort()", 0)]
        for peer in peers:
            words += ["--peer", peer]
        return words

    def test_bad_peers_are_reported_and_the_rest_goes_on(self):
        words = ["--quick", "--rounds", "2", "--timeout", "12", "--only", "micro/pair_wide",
                 "--out", str(self.out),
                 *self.only_these(self.late("crash", "abort()", 100000),
                                  self.late("hang", "for (;;) pause()", 100000))]
        done = self.bench(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        results = json.loads((self.out / "results.json").read_text())
        reasons = {failure["allocator"]: failure["reason"] for failure in results["failures"]}
        self.assertEqual(set(reasons), {"crash", "hang"})
        self.assertIn("SIGABRT", reasons["crash"])
        self.assertIn("hangs", reasons["hang"])
        broken = {entry["name"] for entry in results["allocators"] if entry["broken"]}
        self.assertEqual(broken, {"jemalloc", "mimalloc", "tcmalloc", "tbbmalloc"})
        self.assertTrue(results["complete"])
        for benchmark in results["benchmarks"]:
            columns = benchmark["metrics"][0]["results"]
            self.assertTrue({"kmalloc", "glibc"} <= set(columns))
            for column in ("kmalloc", "glibc"):
                self.assertEqual(len(columns[column]["samples"]), 2)
        self.assertEqual(done.stdout.strip(), (self.out / "results.md").read_text().strip())
        self.assertIn("crash", done.stderr)

    def test_killed_run_goes_on_and_loses_nothing(self):
        words = ["--quick", "--rounds", "4", "--only", "startup", "--only", "micro/pair_wide",
                 "--out", str(self.out), *self.only_these()]
        journal = self.out / "samples.jsonl"
        with subprocess.Popen(self.command(*words), cwd=self.work, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True) as process:
            for _ in range(3000):
                if journal.exists() and journal.read_bytes().count(b"\n") >= 3:
                    break
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGKILL)
        before = journal.read_bytes()
        before = before[:before.rindex(b"\n") + 1]
        done = self.bench("--out", str(self.out))
        self.assertEqual(done.returncode, 0, done.stderr)
        after = journal.read_bytes()
        self.assertEqual(after[:len(before)], before)
        keys = [tuple(json.loads(line)[name] for name in ("unit", "round", "allocator"))
                for line in after.splitlines()]
        self.assertEqual(len(keys), len(set(keys)))
        results = json.loads((self.out / "results.json").read_text())
        self.assertTrue(results["complete"])
        self.assertFalse(results["failures"])
        # Nothing is left to do: the reports are written again, nothing is measured.
        self.assertEqual(self.bench("--out", str(self.out)).returncode, 0)
        self.assertEqual(journal.read_bytes(), after)

    def test_interrupt_writes_what_there_is(self):
        words = ["--quick", "--rounds", "9", "--only", "startup", "--out", str(self.out),
                 *self.only_these()]
        journal = self.out / "samples.jsonl"
        with subprocess.Popen(self.command(*words), cwd=self.work, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as process:
            for _ in range(3000):
                if journal.exists() and journal.read_bytes().count(b"\n") >= 3:
                    break
                time.sleep(0.02)
            process.terminate()
            out, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn("go on with: tools/bench --out", errors)
        self.assertIn("Not complete", out)
        self.assertFalse(json.loads((self.out / "results.json").read_text())["complete"])

    def test_description_is_the_document(self):
        """Each benchmark stands in docs/benchmarks.md as it describes itself."""
        done = self.bench("--describe")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(done.stdout.count("| `micro/"), 20)
        document = (ROOT / "docs" / "benchmarks.md").read_text()
        self.assertIn(done.stdout.strip(), document)

    def test_bad_input_gets_one_line(self):
        (self.work / "file").write_text("no library")
        for words, text in ((["--only", "no-such-thing"], "no benchmark has such a name"),
                            (["--peer", "x"], "not NAME=PATH"),
                            (["--peer", "x=/no/such.so"], "there is no file"),
                            (["--peer", f"limit={self.work}/file"], "is taken"),
                            (["--peer", f"kmalloc={self.work}/file"], "is taken"),
                            (["--against", "no-such-revision"], "no such revision"),
                            (["--library", "/no/such.so"], "there is no"),
                            (["--out", str(self.work)], "holds other files"),
                            (["--library", str(self.work / "file"), "--only", "startup", "--out",
                              str(self.out)], "cannot be preloaded")):
            done = self.bench(*words)
            self.assertEqual(done.returncode, 2, (words, done.stderr))
            lines = [line for line in done.stderr.splitlines() if "left out" not in line]
            self.assertEqual(len(lines), 1, (words, done.stderr))
            self.assertIn(text, lines[0])


if __name__ == "__main__":
    unittest.main()
