#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kmem leaks: exactly what is lost, nothing that can be reached; and the process goes on as before."""

import collections
import contextlib
import os
import signal
import statistics
import subprocess
import tempfile
import time
import unittest

from live import KMEM, LIBRARY, PROGRAMS, Program, kmem, kmem_json, wait_until


def names(leaks):
    """The text that each lost block begins with."""
    return collections.Counter(bytes.fromhex(leak["bytes"]).split(b"\0")[0].decode() for leak in leaks["objects"])


def wanted(more=0):
    return {"lost object": 7 + more, "lost chain, 1st": 1, "lost chain, 2nd": 1, "lost area": 1}


def traced_by(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("TracerPid:")).split()[1])


@contextlib.contextmanager
def recorded():
    """leaky while kmem records it: the program, the file, and kmem."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "live.data")
        with Program("leaky") as program, subprocess.Popen([KMEM, "record", "-p", str(program.pid), "-o", path],
                                                           stderr=subprocess.DEVNULL) as record:
            yield program, path, record


class Process(unittest.TestCase):
    def test_exactly_the_lost_blocks_are_shown(self):
        for cmdline in ("", "rseq=off"):
            with Program("leaky", cmdline=cmdline) as program:
                for _ in range(3):
                    leaks = kmem_json("leaks", program.pid)
                    self.assertEqual(names(leaks), wanted())
                    indirect = [leak for leak in leaks["objects"] if leak["indirect"]]
                    self.assertEqual(names({"objects": indirect}), {"lost chain, 2nd": 1})
                program.tell("more")
                self.assertEqual(names(kmem_json("leaks", program.pid)), wanted(1))

    def test_text_is_kmemleaks(self):
        with Program("leaky") as program:
            text = kmem("leaks", program.pid)
            self.assertEqual(text.count("unreferenced object 0x"), 10)
            self.assertRegex(text, r"(?m)^unreferenced object 0x[0-9a-f]+ \(size 112\):\n"
                                   rf'  comm "leaky", pid {program.pid}, kmalloc-112\n'
                                   r"  hex dump \(first 32 bytes\):\n"
                                   r"    6c 6f 73 74 20 6f 62 6a 65 63 74 00 00 00 00 00  lost object\.\.\.\.\.\n")
            self.assertRegex(text, r"(?m)^# 10 suspected memory leaks, [\d.]+ KiB allocated")
            self.assertIn("# and 8 more (-n 0 shows all)", kmem("leaks", program.pid, "-n", 2))
            self.assertEqual(kmem_json("leaks", program.pid)["bytes_are"], "allocated")

    def test_a_name_is_shown_without_control_characters(self):
        with tempfile.TemporaryDirectory(prefix="kmem-") as folder:
            evil = os.path.join(folder, "\x1b[31mEVIL")
            os.symlink(os.path.join(PROGRAMS, "leaky"), evil)
            with Program(evil) as program:
                text = kmem("leaks", program.pid)
        self.assertIn('  comm "?[31mEVIL", pid ', text)
        self.assertNotIn("\x1b", text)

    def test_nothing_of_a_busy_program_is_shown(self):
        with Program("live_busy", ready=False) as program:
            time.sleep(0.3)
            for _ in range(10):
                leaks = kmem_json("leaks", program.pid)
                self.assertEqual(leaks["objects"], [])
                self.assertEqual(leaks["threads"], 6)
                self.assertGreater(leaks["blocks"], 500)

    def test_attach_and_detach_in_a_loop(self):
        with Program("live_busy", ready=False) as program:
            def rates(count):
                return [int(program.process.stdout.readline()) for _ in range(count)]

            rates(3)
            before = statistics.median(rates(10))
            end, count = time.monotonic() + 6, 0
            while time.monotonic() < end:
                kmem("leaks", program.pid)
                count += 1
                self.assertEqual(traced_by(program.pid), 0)
            self.assertGreater(count, 20)
            while True:  # what it printed meanwhile
                start = time.monotonic()
                rates(1)
                if time.monotonic() - start > 0.05:
                    break
            # other programs take their share of the machine now and then
            self.assertTrue(any(statistics.median(rates(10)) > before / 2 for _ in range(5)))
        self.assertEqual(program.process.returncode, 0)

    def test_a_killed_kmem_leaves_the_process_running(self):
        with Program("live_busy", ready=False) as program:
            time.sleep(0.2)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                for wait in (0.002, 0.01, 0.02, 0.03):
                    with subprocess.Popen([KMEM, "leaks", str(program.pid)], stdout=subprocess.DEVNULL) as leaks:
                        time.sleep(wait)
                        leaks.send_signal(number)
                    self.assertTrue(wait_until(lambda: traced_by(program.pid) == 0))
                    program.process.stdout.readline()
        self.assertEqual(program.process.returncode, 0)

    def test_a_stopped_process_stays_stopped(self):
        with Program("leaky") as program:
            os.kill(program.pid, signal.SIGSTOP)
            self.assertEqual(names(kmem_json("leaks", program.pid)), wanted())
            time.sleep(0.1)
            with open(f"/proc/{program.pid}/stat", encoding="ascii") as file:
                self.assertEqual(file.read().rsplit(")", 1)[1].split()[0], "T")
            os.kill(program.pid, signal.SIGCONT)
            self.assertEqual(program.tell("x"), "done\n")

    def test_one_that_is_debugged_is_refused_in_one_line(self):
        with Program("leaky") as program:
            with subprocess.Popen(["strace", "-o", os.devnull, "-p", str(program.pid)], stderr=subprocess.DEVNULL) as other:
                self.assertTrue(wait_until(lambda: traced_by(program.pid) == other.pid))
                result = kmem("leaks", program.pid, status=None)
                self.assertEqual(result.returncode, 1)
                self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
                self.assertIn("can't be stopped", result.stderr)
                other.terminate()


class Recording(unittest.TestCase):
    def record(self, folder):
        path = os.path.join(folder, "leaky.data")
        process = subprocess.run([KMEM, "record", "-o", path, "--", os.path.join(PROGRAMS, "leaky")], input="quit\n",
                                 capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(process.returncode, 0, process.stderr)
        return path

    def test_of_a_file_all_that_was_never_freed(self):
        with tempfile.TemporaryDirectory() as folder:
            path = self.record(folder)
            leaks = kmem_json("leaks", path)
            sizes = collections.Counter(leak["size"] for leak in leaks["objects"]
                                        if "block+0x" in leak["function"])
            # seven lost, and eight that could still be reached at the end; the chain; the area and the one that is kept
            self.assertEqual(sizes, {100: 7 + 9, 200: 2, 300000: 2})
            text = kmem("leaks", path, "-n", 0)
            self.assertRegex(text, r'never freed object 0x[0-9a-f]+ \(size \d+\):\n  comm "leaky", pid \d+, time ')
            self.assertIn("  ... and 19 more object(s) with the same backtrace", text)
            self.assertRegex(text, rf"(?m)^# {leaks['leaks']} objects were never freed, [\d.]+ \wiB requested$")
            self.assertEqual(leaks["leaks"], len(leaks["objects"]))
            self.assertEqual((leaks["bytes"], leaks["bytes_are"]),
                             (sum(leak["size"] for leak in leaks["objects"]), "requested"))

    def test_functions_can_be_ignored(self):
        with tempfile.TemporaryDirectory() as folder:
            path, ignore = self.record(folder), os.path.join(folder, "ignore")
            with open(ignore, "w", encoding="ascii") as file:
                file.write("# what is known\n\n  ^blo[a-z]k$  \n")
            left = kmem_json("leaks", path, "--ignore", ignore)
            self.assertFalse([leak for leak in left["objects"] if "block+0x" in leak["function"]])
            self.assertLess(left["leaks"], kmem_json("leaks", path)["leaks"])
            with open(ignore, "w", encoding="ascii") as file:
                file.write("ok\n(\n")
            result = kmem("leaks", path, "--ignore", ignore, status=None)
            self.assertEqual(result.returncode, 1)
            self.assertIn("ignore:2: '(' is no regular expression", result.stderr)

    def test_a_process_gets_its_call_sites_from_a_recording(self):
        with recorded() as (program, path, record):
            time.sleep(1)
            for _ in range(5):
                program.tell("more")
            record.send_signal(signal.SIGINT)
            record.wait()
            leaks = kmem_json("leaks", program.pid, "--recording", path)
            self.assertEqual(names(leaks), wanted(5))
            known = [leak for leak in leaks["objects"] if "call_site" in leak]
            self.assertEqual([leak["size"] for leak in known], [100] * 5)
            self.assertTrue(all("block+0x" in leak["function"] for leak in known))
            text = kmem("leaks", program.pid, "--recording", path)
            self.assertIn("  ... and 4 more object(s) with the same backtrace", text)
            self.assertIn("it was allocated when nothing was recorded", text)

    def test_a_recording_that_is_still_written_may_not_have_a_block_yet(self):
        with recorded() as (program, path, record):
            self.assertTrue(wait_until(lambda: kmem_json("status", program.pid)["tracing_wanted"] != "off"))
            program.tell("more")
            for command in (["leaks", program.pid, "--recording", path], ["report", path]):
                result = kmem(*command, status=None)
                self.assertRegex(result.stderr, r"^kmem: \S+: it is still being written, and ends now at byte \d+: "
                                                r"what is before that is shown\n$")
                if command[0] == "leaks":
                    self.assertIn("  backtrace: it is not in the recording yet, or was allocated when nothing was "
                                  "recorded\n", result.stdout)
            record.kill()
            record.wait()
            result = kmem("leaks", program.pid, "--recording", path, status=None)
            self.assertIn("the recording was cut off at byte", result.stderr)
            self.assertIn("  backtrace: it is in what is missing of the recording, or was allocated when", result.stdout)

    def test_foreign_and_missing_files_are_one_line(self):
        for path in ("/etc/passwd", "/nonexistent", LIBRARY, "/tmp"):
            result = kmem("leaks", path, status=None)
            self.assertEqual(result.returncode, 1)
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)


if __name__ == "__main__":
    unittest.main()
