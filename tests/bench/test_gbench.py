#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The C shim over Google Benchmark does what bench/gbench/gbench.h says, and the example in that header compiles
as C11 and runs. No time is asserted; where a number comes from a time, the time is one that the program sets.

usage: test_gbench.py PROGRAM GBENCH-DIRECTORY    (PROGRAM is gbench_program.c)
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

PROGRAM, SHIM = sys.argv[1:3]
QUICK = "--benchmark_min_time=0.0001"


def call(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **more)


def report(program, *options):
    done = call([program, QUICK, "--benchmark_format=json", *options])
    if done.returncode:
        raise AssertionError(f"{program} ends with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


class Shim(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.report = report(PROGRAM)
        cls.runs = {entry["name"]: entry for entry in cls.report["benchmarks"]}

    def instances(self, family):
        return [name for name in self.runs if name.split("/")[0] == family]

    def test_loop_runs_as_often_as_reported(self):
        for name in ("for", "for_continue", "for_threads/threads:2", "for_threads/threads:4", "batch", "real/real_time",
                     "process/process_time"):
            run = self.runs[name]
            self.assertGreater(run["iterations"], 0, name)
            self.assertEqual(run["counted"], run["iterations"], name)
            self.assertEqual(run.get("told", run["counted"]), run["iterations"], name)
        self.assertEqual(self.runs["batch"]["bodies"], 1)
        self.assertGreater(self.runs["paused"]["iterations"], 0)

    def test_arguments_and_their_names(self):
        self.assertEqual(self.instances("one"), ["one/size:5", "one/size:7"])
        self.assertEqual(self.instances("two"), ["two/x:1/y:2", "two/x:3/y:4"])
        self.assertEqual(self.instances("range"), ["range/4", "range/16", "range/64", "range/100"])
        self.assertEqual(self.instances("dense"), ["dense/1", "dense/4", "dense/7"])
        self.assertEqual(sorted(self.instances("product")),
                         sorted(f"product/{a}/{b}" for a in (1, 2) for b in (10, 20, 30)))
        for family in ("one", "two", "range", "dense", "product"):
            for name in self.instances(family):
                values = [int(number) for number in re.findall(r"\d+", name)]
                found = [self.runs[name][key] for key in ("first", "second") if key in self.runs[name]]
                self.assertEqual(found, values, name)

    def test_threads(self):
        self.assertEqual(self.instances("threads"), ["threads/threads:1", "threads/threads:3"])
        self.assertEqual(self.instances("thread_range"), [f"thread_range/threads:{n}" for n in (1, 2, 4)])
        self.assertEqual(self.instances("dense_threads"), [f"dense_threads/threads:{n}" for n in (1, 3, 5)])
        self.assertEqual(len(self.instances("per_cpu")), 1)
        for family in ("threads", "thread_range", "dense_threads", "per_cpu"):
            for name in self.instances(family):
                run, count = self.runs[name], int(name.rpartition(":")[2])
                self.assertEqual(run["threads"], count)
                self.assertEqual(run["index_sum"], count * (count - 1) / 2)
                self.assertEqual(run["threads_sum"], count * count)
                # All of them see the same span.
                self.assertEqual(len({run[f"span{i}"] for i in range(count)}), 1, name)
                self.assertGreaterEqual(run["span0"], 0, name)

    def test_manual_time_and_counters(self):
        for count in (1, 2):
            run = self.runs[f"counters/iterations:4/manual_time/threads:{count}"]
            # Four iterations of half a second in each thread, side by side.
            total = count * 4
            self.assertEqual(run["iterations"], total)
            self.assertEqual(run["time_unit"], "ms")
            self.assertAlmostEqual(run["real_time"] * total, 2000)
            self.assertAlmostEqual(run["items_per_second"], 8 * total / 2)
            self.assertAlmostEqual(run["bytes_per_second"], 1024 * total / 2)
            self.assertEqual(run["label"], "a label")
            self.assertAlmostEqual(run["plain"], 12 * count)
            self.assertAlmostEqual(run["rate"], 12 * count / 2)
            self.assertAlmostEqual(run["mean"], 12)
            self.assertAlmostEqual(run["each"], 12 * count * total)
            self.assertAlmostEqual(run["per"], 12 * count / total)
            self.assertAlmostEqual(run["seconds"], 2 / (12 * count))

    def test_one_k(self):
        shown = call([PROGRAM, "--benchmark_filter=^counters/.*threads:1$"]).stdout
        self.assertIn("bytes_per_second=2k/s", shown)
        self.assertIn("by_1000=2.048k", shown)
        self.assertIn("by_1024=2k", shown)

    def test_how_often_and_how_long(self):
        self.assertEqual(self.instances("min"), ["min/min_time:0.001/min_warmup_time:0.001"])
        runs = [entry for entry in self.report["benchmarks"] if entry["run_name"].startswith("repeated/")]
        self.assertEqual([entry["counted"] for entry in runs if entry["run_type"] == "iteration"], [7, 7, 7])
        self.assertIn("median", [entry.get("aggregate_name") for entry in runs])
        runs = [entry for entry in self.report["benchmarks"] if entry["run_name"].startswith("aggregates/")]
        self.assertEqual({entry["run_type"] for entry in runs}, {"aggregate"})

    def test_errors(self):
        expected = {"error_before": "before the loop", "error_inside": "in the loop",
                    "error_in_one/threads:3": "in the loop",
                    "left_early": "the timed loop was left before its last iteration",
                    "two_loops": "a benchmark has one timed loop"}
        failed = {name: run["error_message"] for name, run in self.runs.items() if run.get("error_occurred")}
        self.assertEqual(failed, expected)

    def test_hooks_run_around_each_run(self):
        for count in (1, 2):
            run = self.runs[f"hooks/{40 + count}/threads:{count}"]
            self.assertEqual((run["open"], run["range"], run["hook_threads"]), (1, 40 + count, count))

    def test_options(self):
        self.assertEqual(self.report["context"]["what"], "a test")
        listed = call([PROGRAM, "--benchmark_list_tests=true"]).stdout.split()
        self.assertEqual(set(listed), {entry["run_name"] for entry in self.report["benchmarks"]})
        chosen = report(PROGRAM, "--benchmark_filter=^one/size:7$")["benchmarks"]
        self.assertEqual([entry["name"] for entry in chosen], ["one/size:7"])
        self.assertEqual(call([PROGRAM, "--no-such-option"]).returncode, 1)


class Example(unittest.TestCase):
    """What the header shows, compiled by someone who has only the two files."""

    def compile(self, place, compiler, flags, source):
        made = os.path.join(place, os.path.basename(source) + ".o")
        done = call([compiler, *flags, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2", f"-I{SHIM}", "-c", source,
                     "-o", made])
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return made

    def test_example_compiles_and_runs(self):
        with open(os.path.join(SHIM, "gbench.h"), encoding="utf-8") as file:
            head = file.read().split("*/")[0]
        lines = re.findall(r"^ \*(?:\t(.*))?$", head, re.MULTILINE)
        start = next(i for i, line in enumerate(lines) if line.startswith("#include"))
        cc, cxx = os.environ.get("CC", "cc"), os.environ.get("CXX", "c++")
        with tempfile.TemporaryDirectory() as place:
            source = os.path.join(place, "example.c")
            with open(source, "w", encoding="utf-8") as file:
                file.write("\n".join(lines[start:]) + "\n")
            program = os.path.join(place, "example")
            done = call([*cxx.split(), "-o", program, self.compile(place, cc, ["-std=c11"], source),
                         self.compile(place, cxx, ["-std=c++17"], os.path.join(SHIM, "gbench.cc")),
                         "-lbenchmark", "-lpthread"])
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            runs = report(program)["benchmarks"]
        self.assertEqual([run["name"] for run in runs],
                         [f"pair/size:{size}/real_time/threads:{threads}"
                          for size in (16, 64, 256, 1024) for threads in (1, 2, 4)])
        self.assertTrue(all(run["items_per_second"] > 0 for run in runs))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
