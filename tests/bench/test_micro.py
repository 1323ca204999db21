#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every micro-benchmark runs under the library, and --describe tells of each of them what a report needs.
No time is asserted.

usage: test_micro.py MICRO LIBRARY
"""
import json
import os
import subprocess
import sys
import unittest

MICRO, LIBRARY = (os.path.realpath(path) for path in sys.argv[1:3])
GROUPS = {"pair", "batch", "threads", "calls", "slow", "large", "memory", "kernel"}
DOCUMENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/benchmarks.md")
CONTROLS = ("limit", "empty")
BYTES = ("live_bytes", "peak_live_bytes", "resident_bytes", "peak_resident_bytes")


def output(*options, library=LIBRARY):
    return subprocess.run([MICRO, *options], env=dict(os.environ, LD_PRELOAD=library), stdout=subprocess.PIPE,
                          text=True, check=True, timeout=60).stdout


def run(pattern, library=LIBRARY):
    """The results of the instances that match, by name."""
    report = json.loads(output(f"--benchmark_filter={pattern}", "--benchmark_min_time=0.0001",
                               "--benchmark_format=json", library=library))
    entries = report["benchmarks"]
    results = {entry["name"]: entry for entry in entries}
    if len(results) != len(entries):
        raise AssertionError("a benchmark is there twice")
    return results


def parts(instance):
    """Kind of control or "", family, and the rest of an instance's name."""
    family, slash, rest = instance.partition("/")
    kind, colon, name = family.partition(":")
    return (kind, name, slash + rest) if colon else ("", family, slash + rest)


class Micro(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.described = json.loads(output("--describe"))
        cls.listed = output("--benchmark_list_tests=true").split()
        cls.alone = [entry["family"] for entry in cls.described if entry["alone"]]

    def test_which(self):
        self.assertEqual(os.path.realpath(output("--which").strip()), LIBRARY)

    def test_description_has_what_a_report_needs(self):
        for entry in self.described:
            self.assertEqual(list(entry), ["family", "group", "item", "curve", "alone", "about"])
            self.assertIn(entry["group"], GROUPS)
            self.assertTrue(entry["item"])
            self.assertRegex(entry["about"], r"\A[^\n]+ Good: [^\n]+\.\Z", entry["family"])
        self.assertEqual({entry["group"] for entry in self.described}, GROUPS)

    def test_description_covers_every_family(self):
        families = [entry["family"] for entry in self.described]
        self.assertEqual(len(set(families)), len(families))
        self.assertEqual(set(families), {parts(instance)[1] for instance in self.listed})

    def test_the_kernels_calls_need_the_library(self):
        kernel = {entry["family"] for entry in self.described if entry["group"] == "kernel"}
        others = {entry["family"] for entry in self.described} - kernel
        self.assertEqual({entry["family"] for entry in json.loads(output("--describe", library=""))}, others)
        with open(DOCUMENT, encoding="utf-8") as document:
            text = document.read()
        for entry in self.described:
            if entry["group"] == "kernel":
                self.assertIn(f"| `{entry['family']}` | {entry['about']} |\n", text)

    def test_curves_are_over_an_argument_of_every_instance(self):
        for entry in self.described:
            rests = [parts(instance)[2] for instance in self.listed if parts(instance)[1] == entry["family"]]
            for rest in rests if entry["curve"] else ():
                self.assertIn(f"/{entry['curve']}:", rest, entry["family"])

    def test_controls_have_the_same_instances(self):
        for kind in CONTROLS:
            families = {parts(instance)[1] for instance in self.listed if parts(instance)[0] == kind}
            self.assertIn("pair", families)
            for family in families:
                self.assertEqual([parts(name)[2] for name in self.listed if parts(name)[:2] == (kind, family)],
                                 [parts(name)[2] for name in self.listed if parts(name)[:2] == ("", family)])

    def test_every_instance_runs(self):
        results = run(f"-^({'|'.join(self.alone)})/")
        self.assertEqual(sorted(results), sorted(name for name in self.listed if parts(name)[1] not in self.alone))
        for name, entry in results.items():
            self.assertFalse(entry.get("error_occurred"), name)
            self.assertGreater(entry["items_per_second"], 0, name)

    def test_memory_is_counted_and_the_same_for_every_allocator(self):
        for family in self.alone:
            results = run(f"^{family}/")
            self.assertEqual(list(results), [name for name in self.listed if parts(name)[1] == family])
            other = run(f"^{family}/", library="")
            for name, entry in results.items():
                live, peak_live, resident, peak = (entry[key] for key in BYTES)
                self.assertTrue(0 < live <= peak_live, name)
                self.assertTrue(0 < resident <= peak, name)
                self.assertGreater(entry["items_per_second"], 0, name)
                for key in BYTES[:2]:
                    self.assertEqual(entry[key], other[name][key], name)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
