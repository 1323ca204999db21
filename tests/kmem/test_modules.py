#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_modules.py - modules and programs that come to where others were: whatever they allocated has the name of who was there then.
Environment: see recorder.py.
"""
import collections
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
from recorder import KMEM, PROGS, KmemTest, environment, prog  # noqa: E402

NUMBERS = (1, 2, 3)


def expected(rounds=1):
    """Allocations of each function, by the bytes that they asked for."""
    counts = {}
    for number in NUMBERS:
        counts[f"plug_work{number}", number * 100] = 10 * number * rounds
        counts[f"plug_come{number}", number * 100 + 1] = rounds
        counts[f"plug_go{number}", number * 100 + 2] = rounds
    return counts


class Modules(KmemTest):
    def record_seen(self, *words, output=None):
        """With all modules seen. On a busy machine a program may wait for that in vain."""
        for _ in range(10):
            self.record(*words, output=output)
            if "came and went" not in self.kmem("report", output or self.data)[1]:
                return
        self.fail("not all modules were seen, each time")

    def sites(self, prefix, *words):
        return [site for site in self.report(*words)["sites"] if site["frames"][-1].get("function", "").startswith(prefix)]

    def reported(self, prefix, *words):
        counts = collections.Counter()
        for site in self.sites(prefix, *words):
            counts[site["frames"][-1]["function"], site["bytes_req"] // site["allocs"]] += site["allocs"]
        return dict(counts)

    def scripted(self, prefix):
        counts = collections.Counter()
        for line in self.kmem("script", "--json", self.data)[0].splitlines():
            event = json.loads(line)
            name = re.match(rf"({prefix}\w*)\+0x[0-9a-f]+ \[\w*?(\d)(?:\.so)?\]$", event["call_site"])
            if name and "bytes_req" in event:
                self.assertEqual(name[1][-1], name[2], event)
                counts[name[1], int(event["bytes_req"])] += 1
        return dict(counts)

    def check_plugs(self, rounds=1):
        self.assertEqual(self.reported("plug_"), expected(rounds))
        self.assertEqual(self.scripted("plug_"), expected(rounds))

    def test_one_after_the_other(self):
        for wait in ("0", "3000"):
            with self.subTest(wait=wait):
                self.record_seen("--", prog("plugs"), PROGS, "1", wait)
                self.check_plugs()
                places = {site["address"] for site in self.sites("plug_work")}
                self.assertEqual(len(places), 1, "they are not at one place: this tests nothing")

    def test_again_and_again(self):
        self.record_seen("--", prog("plugs"), PROGS, "150")
        self.check_plugs(150)
        self.assertEqual(len(self.sites("plug_work")), 3)

    def test_elsewhere_each_time(self):
        """One module at several places, which no other one is between."""
        self.record_seen("--", prog("plugs"), PROGS, "8", "0", "alone")
        whole = {key: count * 3 for key, count in expected(8).items() if key[1] < 200}
        self.assertEqual(self.reported("plug_"), whole)
        self.assertEqual(self.scripted("plug_"), whole)
        self.assertGreater(len(self.sites("plug_work1")), 1, "it is at one place: this tests nothing")

    def test_with_stacks(self):
        self.record_seen("--stacks", "--", prog("plugs"), PROGS, "100")
        self.assertEqual(self.reported("plug_", "--stacks"), expected(100))
        self.check_plugs(100)
        sites = self.sites("plug_", "--stacks")
        self.assertEqual(len(self.sites("plug_work", "--stacks")), 3)
        for site in sites:
            number = site["frames"][-1]["function"][-1]
            modules = {call["module"] for call in site["stack"] if "libplug" in call.get("module", "")}
            self.assertEqual(modules, {f"libplug{number}.so"}, site)
            self.assertEqual(site["stack"][-1]["address"], site["address"])
            self.assertEqual(site["stack"][0]["function"], "_start")
            for call in site["stack"]:
                self.assertLess(int(call["address"], 16), 1 << 47)
        for number in NUMBERS:
            of_one = self.reported("plug_", "--stacks", f"--function=^plug_call$", f"--min-size={number}00",
                                   f"--max-size={number}00")
            self.assertEqual(of_one, {(f"plug_work{number}", number * 100): 1000 * number})

    def test_other_commands(self):
        self.record_seen("--stacks", "--", prog("plugs"), PROGS, "2")
        stat = self.kmem("stat", "-l", "0", self.data)[0]
        leaks = self.kmem("leaks", self.data)[0]
        folded = self.kmem("export", "--collapsed", "--unit=objects", "--value=alloc", self.data)[0]
        other = self.path("other.data")
        self.record_seen("--stacks", "--", prog("plugs"), PROGS, "3", output=other)
        diff = json.loads(self.kmem("diff", "--json", "-n", "0", self.data, other)[0])
        for number in NUMBERS:
            self.assertRegex(stat, rf"plug_work{number}\+\S+ \[libplug{number}.so\] +\|.* {20 * number} \|")
            self.assertIn(f"plug_work{number}", leaks)
            self.assertRegex(folded, rf";plug_call;plug_work{number} {20 * number}\n")
            self.assertIn(f"plug_work{number}", json.dumps(diff))
        for name in ("pprof", "perfetto", "dhat", "html", "chrome"):
            self.kmem("export", f"--{name}", "-o", self.path(name), self.data)

    def test_samples(self):
        self.record_seen("--sample=1", "--", prog("plugs"), PROGS, "50")
        named = self.scripted("plug_")
        self.assertEqual(set(named), set(expected()))
        for key, count in expected(50).items():
            self.assertGreaterEqual(named[key], count * 0.9)
            self.assertLessEqual(named[key], count)

    def test_attached(self):
        child = self.preloaded(prog("plugs"), PROGS, "1000000", "100")
        time.sleep(0.2)
        self.record("--for=0.5", "--full=wait", "-p", str(child.pid))
        named = self.scripted("plug_")
        self.assertEqual(set(named), set(expected()))
        self.assertEqual(set(self.reported("plug_")), set(expected()))

    def test_killed(self):
        self.record("--", prog("plugs"), PROGS, "5", "1000", "killed", status=128 + signal.SIGKILL)
        self.assertEqual(set(self.reported("plug_")), set(expected()))

    def test_a_reader_that_does_not_answer_makes_no_wrong_names(self):
        words = [KMEM, "record", "-o", self.data, "--", prog("plugs"), PROGS, "60", "5000"]
        with subprocess.Popen(words, env=environment(), stderr=subprocess.DEVNULL) as kmem:
            time.sleep(0.2)
            kmem.send_signal(signal.SIGSTOP)
            time.sleep(0.5)
            kmem.send_signal(signal.SIGCONT)
        named, whole = self.scripted("plug_"), expected(60)
        for key, count in named.items():
            self.assertIn(key, whole)
            self.assertLessEqual(count, whole[key])
        self.assertGreater(sum(named.values()), sum(whole.values()) / 4)
        # what has no name is there
        sizes = collections.Counter()
        for line in self.kmem("script", "--json", self.data)[0].splitlines():
            event = json.loads(line)
            if event.get("bytes_req") in (100, 200, 300) and re.match(r"plug_|0x", event["call_site"]):
                sizes[event["bytes_req"]] += 1
        self.assertEqual(sizes, {100: 600, 200: 1200, 300: 1800})

    def test_a_reader_that_was_killed_holds_nobody_up(self):
        words = [KMEM, "record", "-o", self.data, "--full=drop", "-p"]
        child = self.preloaded(prog("plugs"), PROGS, "400", "1000")
        time.sleep(0.1)
        with subprocess.Popen([*words, str(child.pid)], env=environment(), stderr=subprocess.DEVNULL) as kmem:
            time.sleep(0.3)
            kmem.kill()
        self.assertEqual(child.wait(30), 0)

    def test_programs_that_replace_each_other(self):
        way = [prog("image1"), prog("image2"), prog("image3")]
        whole = {(f"image_work{number}", number * 100): number * 10 for number in NUMBERS}
        for how in ([], ["--stacks"]):
            with self.subTest(how=how):
                self.record(*how, "--", *way)
                self.assertEqual(self.reported("image_work", *how), whole)
                self.assertEqual(self.scripted("image_work"), whole)
                for site in self.sites("image_work", *how):
                    self.assertEqual(site["frames"][-1]["module"], "image" + site["frames"][-1]["function"][-1])

    def test_a_module_that_is_built_anew(self):
        """What the old file allocated has none of the new one's names."""
        folder = self.path("new")
        os.mkdir(folder)
        for number in (1, 2):
            shutil.copy(os.path.join(PROGS, f"libplug{number}.so"), os.path.join(folder, f"{number}.so"))
        script = ("import ctypes, os, _ctypes, sys\n"
                  "for number in '1', '2':\n"
                  "    os.rename(f'{sys.argv[1]}/{number}.so', f'{sys.argv[1]}/plug.so')\n"
                  "    plug = ctypes.CDLL(f'{sys.argv[1]}/plug.so')\n"
                  "    for _ in range(10): plug.plug_call()\n"
                  "    _ctypes.dlclose(plug._handle)\n")
        self.record_seen("--", sys.executable, "-c", script, folder)
        for site in self.sites("plug_"):
            self.assertEqual(site["frames"][-1]["function"][-1], "2")
        events = [json.loads(line) for line in self.kmem("script", "--json", self.data)[0].splitlines()]
        names = collections.Counter(re.sub(r"\+0x.*? \[|\+0x.*", " [", event["call_site"]) for event in events
                                    if "plug" in event["call_site"] and event.get("bytes_req") in (100, 200))
        self.assertEqual(names, {"plug.so (deleted) [": 10, "plug_work2 [plug.so]": 10})

    def test_through_a_pipe(self):
        self.record_seen("--", prog("plugs"), PROGS)
        with open(self.data, "rb") as file:
            done = subprocess.run(["sh", "-c", f"cat | {KMEM} report /dev/stdin"], stdin=file, env=environment(),
                                  capture_output=True, text=True, check=True)
        for number in NUMBERS:
            self.assertIn(f"plug_work{number}", done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
