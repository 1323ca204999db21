#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kmem slabinfo, vmallocinfo, status, trim and top, of a program with exactly known objects and areas."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
import unittest

from live import KMEM, LIBRARY, Program, kmem, kmem_json, wait_until

OBJECTS, LARGE, AREAS = 1000, 24, 3
SLABINFO = re.compile(r"^(\S+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) : tunables +0 +0 +0 : slabdata +(\d+) +(\d+) +0$")


def slabinfo(pid, *words):
    """The caches by name, in order: active, total, size, per slab, pages per slab, slabs."""
    lines = kmem("slabinfo", pid, *words).splitlines()
    assert lines[0] == "slabinfo - version: 2.1" and lines[1].startswith("# name "), lines[:2]
    caches = {}
    for line in lines[2:]:
        match = SLABINFO.match(line)
        assert match and match[7] == match[8], line
        caches[match[1]] = [int(word) for word in match.groups()[1:7]]
    return caches


def busy_areas(pid):
    return [area for area in kmem_json("vmallocinfo", pid)["areas"] if area["state"] == "busy"]


class Slabinfo(unittest.TestCase):
    def test_live_is_what_the_program_holds(self):
        with Program("holds", preload=False) as program:
            for _ in range(3):
                program.tell("hold")
                caches = slabinfo(program.pid, "--live")
                self.assertEqual(caches["holds"][0], OBJECTS)
                self.assertEqual(caches["kmalloc-112k"][0], LARGE)
                program.tell("drop")
                caches = slabinfo(program.pid, "--live")
                self.assertEqual(caches["holds"][0], 0)
                self.assertEqual(caches.get("kmalloc-112k", [0])[0], 0)

    def test_live_in_locked_mode(self):
        with Program("holds", preload=False, cmdline="rseq=off") as program:
            program.tell("hold")
            self.assertEqual(slabinfo(program.pid, "--live")["holds"][0], OBJECTS)
            program.tell("drop")
            self.assertEqual(slabinfo(program.pid, "--live")["holds"][0], 0)

    def test_default_counts_sheaves_as_the_kernel_does(self):
        with Program("holds", preload=False) as program:
            program.tell("hold")
            program.tell("drop")
            self.assertGreater(slabinfo(program.pid)["holds"][0], 0)
            program.tell("trim")
            self.assertEqual(slabinfo(program.pid)["holds"][0], 0)

    def test_order_is_classes_by_size_then_created_ones(self):
        with Program("holds", preload=False) as program:
            program.tell("hold")
            caches = slabinfo(program.pid)
            names = list(caches)
            self.assertEqual(names[-1], "holds")
            self.assertTrue(all(name.startswith("kmalloc-") for name in names[:-1]), names)
            sizes = [caches[name][2] for name in names[:-1]]
            self.assertEqual(sizes, sorted(sizes))

    def test_json_says_the_same(self):
        with Program("holds", preload=False) as program:
            program.tell("hold")
            text, rows = slabinfo(program.pid), kmem_json("slabinfo", program.pid)["caches"]
            self.assertEqual(list(text), [row["name"] for row in rows])
            for row in rows:
                self.assertEqual(text[row["name"]],
                                 [row[key] for key in ("active_objs", "num_objs", "objsize", "objperslab",
                                                       "pagesperslab", "num_slabs")])
                self.assertEqual(row["live_objs"] + row["in_sheaves"], row["active_objs"])


class Vmallocinfo(unittest.TestCase):
    def test_lines_are_the_kernels(self):
        with Program("holds", preload=False) as program:
            program.tell("hold")
            lines = kmem("vmallocinfo", program.pid).splitlines()
            end = 0
            for line in lines:
                match = re.match(r"^0x([0-9a-f]{16})-0x([0-9a-f]{16}) +(\d+) "
                                 r"(pages=(\d+) vmalloc guard=(none|mark|gap)|unpurged vm_area)$", line)
                self.assertTrue(match, line)
                start, stop, size = int(match[1], 16), int(match[2], 16), int(match[3])
                self.assertEqual(stop - start, size)
                self.assertGreaterEqual(start, end)
                end = stop
                if match[5]:
                    self.assertEqual((int(match[5]) + 1) * 4096, size)

    def test_areas_are_exactly_those_that_it_holds(self):
        with Program("holds", preload=False) as program:
            before = len(busy_areas(program.pid))
            program.tell("hold")
            areas = busy_areas(program.pid)
            self.assertEqual(len(areas), before + AREAS)
            self.assertEqual(sum(area["pages"] == 245 for area in areas), AREAS)
            program.tell("drop")
            self.assertEqual(len(busy_areas(program.pid)), before)
            self.assertEqual(kmem("vmallocinfo", program.pid).count("unpurged vm_area"),
                             kmem_json("status", program.pid)["lazy_areas"])
            program.tell("trim")
            self.assertNotIn("unpurged", kmem("vmallocinfo", program.pid))


class Status(unittest.TestCase):
    def test_counts_follow_what_it_holds(self):
        with Program("holds", preload=False) as program:
            before = kmem_json("status", program.pid)
            program.tell("hold")
            held = kmem_json("status", program.pid)
            self.assertEqual(held["live_objects"] - before["live_objects"], OBJECTS + LARGE)
            self.assertEqual(held["live_bytes"] - before["live_bytes"], OBJECTS * 208 + LARGE * 114688)
            self.assertEqual(held["areas"] - before["areas"], AREAS)
            self.assertEqual(held["area_bytes"] - before["area_bytes"], AREAS * 245 * 4096)
            program.tell("drop")
            dropped = kmem_json("status", program.pid)
            self.assertEqual(dropped["live_objects"], before["live_objects"])
            self.assertEqual(dropped["areas"], before["areas"])
            program.tell("trim")
            trimmed = kmem_json("status", program.pid)
            self.assertEqual(trimmed["lazy_bytes"], 0)
            self.assertGreater(trimmed["returned_page_bytes"] + trimmed["returned_area_bytes"],
                               dropped["returned_page_bytes"] + dropped["returned_area_bytes"])

    def test_names_the_library_and_the_mode(self):
        notes = subprocess.run(["readelf", "-n", LIBRARY], capture_output=True, text=True, check=True).stdout
        with Program("leaky", cmdline="rseq=off page.dirty_max=12345678") as program:
            status = kmem_json("status", program.pid)
            self.assertEqual(status["library"], os.path.realpath(LIBRARY))
            self.assertIn(status["build_id"], notes)
            self.assertEqual(status["mode"], "locked")
            self.assertEqual(status["mode_reason"], "rseq=off in KMALLOC_CMDLINE")
            self.assertEqual(status["parameters"], {"rseq": "off", "page.dirty_max": "12345678"})
            self.assertEqual(status["tracing"], "off")
            text = kmem("status", program.pid)
            self.assertIn("mode:         locked (rseq=off in KMALLOC_CMDLINE)", text)
            self.assertIn("parameters:   rseq=off page.dirty_max=12345678\n", text)

    def test_without_parameters_says_so(self):
        with Program("leaky") as program:
            self.assertIn("all as they are by default", kmem("status", program.pid))


class Trim(unittest.TestCase):
    def test_a_program_that_calls_trims_at_once(self):
        with Program("live_busy", ready=False) as program:
            time.sleep(0.3)
            result = kmem("trim", program.pid, status=None)
            self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_an_idle_program_trims_with_its_next_call(self):
        with Program("holds", preload=False) as program:
            program.tell("hold")
            program.tell("drop")
            for _ in range(2):
                result = kmem("trim", program.pid, status=None)
                self.assertEqual(result.returncode, 0)
                self.assertIn("has not called the allocator since", result.stderr)
            self.assertGreater(kmem_json("status", program.pid)["lazy_areas"], 0)
            program.tell("hold")
            program.tell("drop")
            # it trimmed before it took them: what waits is what it dropped since, and it is fast again
            self.assertEqual(slabinfo(program.pid, "--live")["holds"][0], 0)
            self.assertEqual(kmem("vmallocinfo", program.pid).count("unpurged"), AREAS)


class Top(unittest.TestCase):
    def test_batch_has_totals_and_a_line_for_each_cache(self):
        with Program("holds", preload=False) as program:
            program.tell("hold")
            text = kmem("top", program.pid, "-n", 2, "-d", 0.2, "-s", "n")
            first, second = [part.splitlines() for part in text.strip().split("\n\nkmem top")]
            self.assertTrue(first[0].startswith("kmem top - ") and f"process {program.pid} " in first[0], first[0])
            row = next(line.split() for line in second if line.endswith(" holds"))
            self.assertEqual(row[1], str(OBJECTS))
            self.assertIn("+0", row)
            self.assertTrue(any(line.endswith(" vmalloc") for line in second))
            self.assertNotIn("\x1b", text)

    def test_events_show_rates_and_sites_and_are_off_afterwards(self):
        with Program("live_busy", ready=False) as program:
            time.sleep(0.3)
            text = kmem("top", program.pid, "-n", 3, "-d", 0.5, "--events")
            self.assertRegex(text, r"Allocations / Frees per second +: [1-9]\d+ / [1-9]")
            self.assertRegex(text, r"ALLOCS/s  REQUESTED/s  CALL SITE\n.* work\+0x[0-9a-f]+ \[live_busy\]")
            self.assertTrue(wait_until(lambda: kmem_json("status", program.pid)["tracing"] == "off"))

    def test_events_are_off_after_a_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with Program("live_busy", ready=False) as program:
                with subprocess.Popen([KMEM, "top", str(program.pid), "--events", "-d", "0.2"],
                                      stdout=subprocess.DEVNULL) as top:
                    self.assertTrue(wait_until(lambda: kmem_json("status", program.pid)["tracing"] == "all"))
                    top.send_signal(number)
                    self.assertEqual(top.wait(10), 0)
                self.assertTrue(wait_until(lambda: kmem_json("status", program.pid)["tracing"] == "off"))

    def test_events_are_off_when_its_output_ends(self):
        with Program("live_busy", ready=False) as program:
            with subprocess.Popen([KMEM, "top", str(program.pid), "--events", "-d", "0.1", "-n", "0"],
                                  stdout=subprocess.PIPE) as top:
                top.stdout.readline()
                top.stdout.close()
                self.assertEqual(top.wait(10), 0)
            self.assertTrue(wait_until(lambda: kmem_json("status", program.pid)["tracing"] == "off"))

    def test_the_end_of_the_process_is_one_line(self):
        with Program("leaky") as program:
            with subprocess.Popen([KMEM, "top", str(program.pid), "-d", "0.1"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True) as top:
                time.sleep(0.4)
                program.process.kill()
                program.process.wait()
                self.assertEqual(top.stderr.read(), f"kmem: process {program.pid} has ended\n")
                self.assertEqual(top.wait(10), 0)


    def test_a_narrow_terminal_shows_the_names(self):
        shown = b""
        with Program("holds", preload=False) as program:
            program.tell("hold")
            pid, terminal = pty.fork()
            if not pid:
                os.execve(KMEM, [KMEM, "top", str(program.pid), "-d", "0.1"], dict(os.environ, TERM="vt100"))
            try:
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
                end = time.monotonic() + 20
                while not re.search(rb"(?s)ALLOCS/s NAME.* vmalloc", shown) and time.monotonic() < end:
                    shown += os.read(terminal, 65536)
                os.write(terminal, b"q")
            finally:
                os.close(terminal)
                os.waitpid(pid, 0)
        self.assertRegex(shown, rb"(?s)ALLOCS/s NAME.* vmalloc")


class Refusals(unittest.TestCase):
    def test_what_is_no_such_process_is_one_line(self):
        with subprocess.Popen(["sleep", "60"]) as other:
            time.sleep(0.1)
            for command in ("slabinfo", "vmallocinfo", "status", "trim", "top", "leaks"):
                for pid, words in ((other.pid, "does not run libkmalloc"), (4194304 + 5, "there is no process")):
                    result = kmem(command, pid, status=None)
                    self.assertEqual(result.returncode, 1, command)
                    self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
                    self.assertIn(words, result.stderr)
                result = kmem(command, status=None)
                self.assertEqual(result.returncode, 2, command)
            other.kill()


if __name__ == "__main__":
    unittest.main()
