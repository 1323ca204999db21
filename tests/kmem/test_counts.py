#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_counts.py - a recording of all events has exactly the calls that known.c makes, whatever the process does around
them; one of samples estimates them within bounds. Environment: see recorder.py.
"""
import itertools
import json
import math
import os
import re
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
from recorder import KmemTest, by_function, environment, prog  # noqa: E402

THREADS = 4
# Calls per round and thread, bytes asked for, bytes that the object takes, and how many of those calls are never freed.
# known_keep and known_large are made in each tenth round.
CALLS = {
    "known_malloc": (1, 100, 112, 0),
    "known_keep": (0.1, 1000, 1024, 0.1),
    "known_calloc": (1, 150, 160, 0),
    "known_realloc_null": (1, 64, 64, 0),
    "known_realloc_move": (1, 5000, 5120, 0),
    "known_reallocarray": (1, 77, 80, 0),
    "known_aligned": (1, 512, 512, 0),
    "known_memalign": (1, 10, 4096, 0),
    "known_new": (1, 77, 80, 0),
    "known_large": (0.1, 1 << 20, 1 << 20, 0),
}
KERNEL = {
    "known_kmalloc": (1, 200, 208, 0),
    "known_kzalloc": (1, 300, 320, 0),
    "known_cache": (1, 120, None, 0),
    "known_vmalloc": (1, 300000, 303104, 0),
}
EVENT = {"known_large": "vmalloc", "known_vmalloc": "vmalloc", "known_cache": "kmem_cache_alloc"}


class Counts(KmemTest):
    def assert_calls(self, rounds, calls, times=1, report=None):
        """Each function has its calls: times as many as one program makes."""
        report = report or self.report()
        self.assertEqual(report["lost"], 0)
        found = by_function(report, "known_")
        self.assertEqual(sorted(found), sorted(calls))
        for name, (each, req, alloc, kept) in calls.items():
            count = round(times * THREADS * rounds * each)
            live = round(times * THREADS * rounds * kept)
            with self.subTest(name=name):
                self.assertEqual(found[name]["allocs"], count)
                self.assertEqual(found[name]["bytes_req"], count * req)
                self.assertEqual(found[name]["frees"], count - live)
                self.assertEqual(found[name]["live_objects"], live)
                if alloc:
                    self.assertEqual(found[name]["bytes_alloc"], count * alloc)
                    self.assertEqual(found[name]["live_bytes"], live * alloc)
        return report

    def assert_same_everywhere(self, report):
        """stat, report and script say the same."""
        stat = json.loads(self.kmem("stat", "--json", "-l", "0", self.data)[0])
        self.assertEqual(stat["total"], report["total"])
        for key, name in (("hit", "allocs"), ("bytes_alloc", "bytes_alloc"), ("bytes_req", "bytes_req"),
                          ("ping_pong", "cross_cpu_frees")):
            self.assertEqual(sum(site[key] for site in stat["sites"]), report["total"][name])
        for key in report["total"]:
            self.assertEqual(sum(site[key] for site in report["sites"]), report["total"][key], key)
        text = self.kmem("stat", self.data)[0]
        total = {name: int(value) for name, value in re.findall(r"^Total bytes (\w+): +(\d+)$", text, re.MULTILINE)}
        self.assertEqual(total, {"requested": report["total"]["bytes_req"], "freed": report["total"]["bytes_freed"],
                                 "allocated": report["total"]["bytes_alloc"]})
        events = [json.loads(line) for line in self.kmem("script", "--json", self.data)[0].splitlines()]
        allocs = [event for event in events if event["event"] in ("kmalloc", "kmem_cache_alloc", "vmalloc")]
        self.assertEqual(len(allocs), report["total"]["allocs"])
        self.assertEqual(sum(event["bytes_req"] for event in allocs), report["total"]["bytes_req"])
        self.assertEqual(sum(event["bytes_alloc"] for event in allocs), report["total"]["bytes_alloc"])
        self.assertEqual(len(self.kmem("script", self.data)[0].splitlines()), report["events"])
        times = [event["ns"] for event in events]
        self.assertEqual(times, sorted(times))
        return events

    def test_calls(self):
        said = self.record("--all", "--", prog("known"), "calls", "500")
        self.assertRegex(said, r"^kmem: \d+ events, [\d.]+ MB, in .*\n$")
        report = self.assert_calls(500, CALLS)
        self.assert_same_everywhere(report)
        self.assertGreaterEqual(report["total"]["peak_bytes"], report["total"]["live_bytes"])

    def test_clock(self):
        """Coarse time stamps: as few of them as that takes, and all else as it is; the file is smaller."""
        self.record("--clock=100000", "--", prog("known"), "calls", "2000")
        times = {event["ns"] for event in self.assert_same_everywhere(self.assert_calls(2000, CALLS))}
        coarse = os.path.getsize(self.data)
        self.record("--", prog("known"), "calls", "2000")
        finer = {event["ns"] for event in self.assert_same_everywhere(self.assert_calls(2000, CALLS))}
        self.assertLess(len(times) * 4, len(finer))
        self.assertLess(coarse, os.path.getsize(self.data))
        # the next power of two of the counter's ticks, which is more than half of it
        steps = [after - before for before, after in itertools.pairwise(sorted(times)) if before]
        self.assertGreater(min(steps), 49_900)
        # coarser ones would make lives longer and shorter than the millisecond that "short" is
        for wrong in "0", "100001":
            self.assertRegex(self.kmem("record", f"--clock={wrong}", "true", status=2)[1], "--clock")

    def test_calls_of_the_kernel(self):
        # kfree() may not wait: where it comes first on a CPU there is no ring yet, and its event is lost, as is told
        for _ in range(5):
            self.record("--all", "--", prog("known"), "kernel", "300")
            report = self.report()
            if not report["lost"]:
                break
        self.assert_calls(300, dict(CALLS, **KERNEL), report=report)
        for event in self.assert_same_everywhere(report):
            if event["event"] in ("kfree", "kmem_cache_free", "vfree"):
                continue
            name = event["call_site"].split("+")[0].split(".")[0]
            if name in CALLS or name in KERNEL:
                self.assertEqual(event["event"], EVENT.get(name, "kmalloc"))
            if name == "known_cache":
                self.assertEqual(event["name"], "known")
            if name == "known_kzalloc":
                self.assertEqual(event["gfp_flags"], "GFP_KERNEL|__GFP_ZERO")

    def test_a_cache_that_is_made_while_events_are_many(self):
        """Its size and name are there for its first events, though their chunk is full long before kmem looks around."""
        rounds = 300_000
        self.record("--all", "--", prog("known"), "late", str(rounds))
        found = by_function(self.report(), "known_cache")["known_cache"]
        self.assertEqual((found["allocs"], found["bytes_alloc"]), (rounds, 128 * rounds))
        script = self.kmem("script", "--json", "--function", "known_cache", self.data)[0].splitlines()
        self.assertEqual({json.loads(line)["name"] for line in script if "_alloc" in line}, {"late"})

    def test_nothing_is_lost_by_who_waits(self):
        for parameters in ("", "rseq=off"):
            with self.subTest(parameters=parameters):
                self.record("--all", "--full=wait", "--ring=128", "--", prog("known"), "calls", "1000",
                            env=environment(KMALLOC_CMDLINE=parameters))
                self.assert_calls(1000, CALLS)

    def test_what_is_lost_is_counted(self):
        """By who drops: what is there and what was lost is all that there was, but for refills of slabs, whose number differs a little."""
        self.record("--all", "--", prog("known"), "calls", "2000")
        whole = self.report()["events"]
        said = self.record("--all", "--full=drop", "--ring=128", "--", prog("known"), "calls", "2000")
        report = self.report()
        self.assertGreater(report["lost"], 0)
        self.assertAlmostEqual(report["events"] + report["lost"], whole, delta=whole // 500)
        self.assertIn(f"kmem: {report['lost']} events were lost: the rings were full", said)
        self.assertIn(f"kmem: {report['lost']} events were lost", self.kmem("report", self.data)[1])
        said = self.record("--all", "--full=overwrite", "--ring=128", "--", prog("known"), "calls", "2000")
        report = self.report()
        self.assertGreater(report["lost"], 0)
        self.assertAlmostEqual(report["events"] + report["lost"], whole, delta=whole // 500)

    def test_a_forked_child_is_not_recorded(self):
        self.record("--all", "--", prog("known"), "fork", "300")
        self.assert_calls(300, CALLS)

    def test_a_program_that_replaces_itself(self):
        said = self.record("--all", "--", "setarch", "-R", prog("known"), "exec", "300")
        self.assertIn("replaced itself", said)
        report = self.report()
        found = by_function(report, "known_")
        self.assertEqual(found["known_malloc"]["allocs"], 2 * THREADS * 300)
        self.assertEqual(found["known_malloc"]["frees"], 2 * THREADS * 300)
        self.assertEqual(found["known_keep"]["allocs"], 2 * THREADS * 30)
        # what was live in the first program is gone with it
        self.assertEqual(found["known_keep"]["live_objects"], THREADS * 30)
        self.assertEqual(found["known_keep"]["frees"], 0)

    def test_an_end_without_exit(self):
        said = self.record("--all", "--", prog("known"), "exit", "300", status=3)
        self.assertIn("its last milliseconds before are not recorded", said)
        self.assert_calls(300, CALLS)
        said = self.record("--all", "--", prog("known"), "kill", "300", status=128 + 9)
        self.assertIn("killed by signal 9", said)
        self.assert_calls(300, CALLS)
        self.assertIn("last milliseconds", self.kmem("report", self.data)[1])

    def test_samples_estimate(self):
        """Of each class of sizes, within five deviations: n^2 (1 - p) / p for each allocation of n bytes."""
        mean = 65536
        self.record("--all", "--", prog("known"), "sizes", "200000")
        truth = json.loads(self.kmem("stat", "--json", "--function", "known_size", self.data)[0])
        self.record(f"--sample={mean}", "--", prog("known"), "sizes", "200000")
        guess = json.loads(self.kmem("stat", "--json", "--function", "known_size", self.data)[0])
        found = {share["from"]: share for share in guess["by_size"]}
        for share in truth["by_size"]:
            size, count = share["from"], share["objects"]
            if size < 16:
                continue  # the C library's own
            chance = 1 - math.exp(-size / mean)
            deviation = math.sqrt(count * (1 - chance) / chance) + 1
            self.assertLess(abs(found.get(size, {"objects": 0})["objects"] - count), 5 * deviation + 0.02 * count, size)
        for key in ("bytes_req", "bytes_alloc", "bytes_freed", "live_bytes"):
            # five deviations of the number of samples
            tolerance = 0.02 + 5 / math.sqrt(truth["total"][key] / mean)
            self.assertLess(abs(guess["total"][key] / truth["total"][key] - 1), tolerance, key)
        text, said = self.kmem("report", self.data)
        self.assertIn("a sampled recording: numbers are estimates", said)
        # what was never freed is as much in every command, as far as its bytes are those asked for
        lost = json.loads(self.kmem("leaks", "--json", self.data)[0])
        self.assertAlmostEqual(lost["leaks"], self.report()["total"]["live_objects"], delta=1)
        self.assertNotIn("-0", re.sub(r"[\w./-]*known[\w./-]*|0x\w+", "", text))

    def test_lines_of_an_argument_say_nothing_of_the_recording(self):
        self.record("--", "sh", "-c", "exit\nsample_bytes 4096\nstart 5\n# \u00e4")
        report = self.report()
        self.assertEqual((report["sampled"], report["command"]), (False, "sh -c exit?sample_bytes 4096?start 5?# \u00e4"))

    def test_limits(self):
        said = self.record("--max-size=100K", "--", prog("known"), "calls", "20000")
        self.assertIn("recording ended; the program runs on", said)
        part = self.report()
        self.assertGreater(part["events"], 1000)
        self.assertLess(part["total"]["allocs"], 8 * 20000 * THREADS)
        # and a little more: what the maps take, too
        self.assertLess(os.path.getsize(self.data), (100 + 64 + 16) << 10)
        said = self.record("--for=0.05", "--", prog("known"), "exit", "10", status=3)
        self.assertIn("recording ended; the program runs on", said)
        for _ in range(5):
            said = self.record("--for=0.02", "--", prog("known"), "calls", "20000")
            self.assertNotIn("lost", said)

    def test_what_can_not_be_run_replaces_no_recording(self):
        self.record("--", prog("known"), "calls", "10")
        with open(self.data, "rb") as file:
            before = file.read()
        self.assertIn("can't be run", self.record("--", "/nowhere/known", status=127))
        self.assertIn("can't be run", self.record("--", "no-such-program", status=127))
        self.assertIn("can't be run", self.record("--", "/etc/passwd", status=126))
        with open(self.data, "rb") as file:
            self.assertEqual(file.read(), before)

    def test_replay_on_what_is_no_library(self):
        self.record("--", prog("known"), "calls", "10")
        self.assertIn("can't be preloaded", self.kmem("replay", "-p", "/etc/passwd", self.data, status=1)[1])


class Order(KmemTest):
    """Events of several CPUs that lie nearer to each other than their time stamps tell the order."""

    def live(self, *events):
        """How many of each thread's objects are live at the end, and how many frees were of nothing."""
        text = "".join(f"{ns * 64} {' '.join(map(str, event))}\n" for ns, *event in events)
        subprocess.run([prog("events"), self.data], input=text, text=True, check=True, timeout=60)
        live = {int(site["address"], 0): site["live_objects"] for site in self.report()["sites"]}
        return live, json.loads(self.kmem("stat", "--json", self.data)[0])["unknown_frees"]

    def test_a_free_before_its_allocation(self):
        self.assertEqual(self.live((1, "free", 5, 2, 1), (2, "alloc", 5, 1, 0), (3, "alloc", 6, 1, 0)), ({1: 1}, 0))

    def test_the_next_owners_allocation_before_the_free(self):
        self.assertEqual(self.live((1, "alloc", 5, 1, 0), (100, "alloc", 5, 2, 1), (101, "free", 5, 1, 0)), ({1: 0, 2: 1}, 0))
        self.assertEqual(self.live((1, "alloc", 5, 1, 0), (100, "alloc", 5, 2, 1), (101, "free", 5, 1, 0), (102, "free", 5, 3, 0)),
                         ({1: 0, 2: 0}, 0))

    def test_both(self):
        self.assertEqual(self.live((1, "alloc", 5, 1, 0), (100, "free", 5, 1, 0), (101, "free", 5, 3, 1), (102, "alloc", 5, 2, 0),
                                   (103, "alloc", 5, 1, 0)), ({1: 1, 2: 0}, 0))

    def test_what_is_far_apart_or_of_one_thread_is_as_it_stands(self):
        self.assertEqual(self.live((1, "free", 5, 2, 1), (2 + 16, "alloc", 5, 1, 0)), ({1: 1}, 1))
        self.assertEqual(self.live((1, "free", 5, 1, 1), (2, "alloc", 5, 1, 0)), ({1: 1}, 1))
        self.assertEqual(self.live((1, "alloc", 5, 1, 0), (100, "alloc", 5, 2, 1), (120, "free", 5, 1, 0)), ({1: 0, 2: 0}, 0))
        self.assertEqual(self.live((1, "alloc", 5, 1, 0), (100, "alloc", 5, 2, 1), (101, "free", 5, 2, 0)), ({1: 0, 2: 0}, 0))

if __name__ == "__main__":
    unittest.main()
