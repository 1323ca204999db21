#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kmem stat of a process: exact counts of what it does meanwhile, and of what is older; names when its files are gone."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from live import KMEM, LIBRARY, PROGRAMS, Program, kmem, kmem_json, wait_until

OBJECTS, LARGE, AREAS = 1000, 24, 3
ALL = OBJECTS + LARGE + AREAS
OLDER = f"kmem: {ALL} objects were freed that had been allocated before, or whose allocation was lost: no table counts them\n"


class Stat:
    """kmem stat PID, from when the process is traced until Ctrl-C or the end of the process."""

    def __init__(self, pid, *words):
        self.pid = pid
        self.folder = tempfile.TemporaryDirectory(prefix="kmem-")
        self.process = subprocess.Popen([KMEM, "stat", str(pid), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, env=dict(os.environ, TMPDIR=self.folder.name, LC_ALL="C"))

    def __enter__(self):
        if not wait_until(lambda: kmem_json("status", self.pid)["tracing_wanted"] != "off"):
            self.process.kill()
            self.folder.cleanup()
            raise AssertionError(self.process.communicate())
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.communicate()
        self.folder.cleanup()

    def end(self, number=signal.SIGINT):
        if number:
            self.process.send_signal(number)
        out, said = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, said
        assert not os.listdir(self.folder.name), "it left a file behind"
        return out, said


def is_off(pid):
    return wait_until(lambda: kmem_json("status", pid)["tracing_wanted"] == "off")


class Counts(unittest.TestCase):
    def check(self, stat, program):
        sizes = {row["name"]: row["objsize"] for row in kmem_json("slabinfo", program.pid)["caches"]}
        sums = {}
        for site in stat["sites"]:
            # a compiler may have made several of one
            of = sums.setdefault(site["bytes_req"] // site["hit"], [0, 0])
            of[0] += site["hit"]
            of[1] += site["bytes_alloc"]
        self.assertEqual(sums, {1000000: [AREAS, AREAS * 1003520], 100000: [LARGE, LARGE * sizes["kmalloc-112k"]],
                                200: [OBJECTS, OBJECTS * sizes["holds"]]})
        self.assertEqual(sum(share["objects"] for share in stat["by_size"]), ALL)
        self.assertEqual((stat["total"]["allocs"], stat["lost"]), (ALL, 0))

    def test_what_came_and_went_meanwhile(self):
        with Program("holds", preload=False) as program, Stat(program.pid, "--json") as stat:
            program.tell("hold")
            program.tell("drop")
            out, said = stat.end()
            result = json.loads(out)
            self.assertEqual(said, "")
            self.check(result, program)
            self.assertEqual((result["total"]["frees"], result["total"]["live_objects"], result["unknown_frees"]),
                             (ALL, 0, 0))
            self.assertTrue(is_off(program.pid))

    def test_what_is_older_is_told_of_and_not_counted(self):
        with Program("holds", preload=False) as program:
            program.tell("hold")
            with Stat(program.pid, "--json") as stat:
                program.tell("drop")
                program.tell("hold")
                out, said = stat.end()
            result = json.loads(out)
            self.check(result, program)
            self.assertEqual((result["total"]["frees"], result["total"]["live_objects"], result["unknown_frees"]),
                             (0, ALL, ALL))
            self.assertEqual(said, OLDER)

    def test_tables(self):
        with Program("holds", preload=False) as program:
            program.tell("hold")
            with Stat(program.pid) as stat:
                program.tell("drop")
                program.tell("hold")
                out, said = stat.end()
            self.assertEqual(said, OLDER)
            self.assertRegex(out, r"(?m)^ main\S* \[holds\] +\| .*\| +1000 \|")
            for words in ("Callsite", "BY SIZE", "SUMMARY (SLAB allocator)", "Cross CPU allocations: 0/1027",
                          "Total bytes requested: 5600000"):
                self.assertIn(words, out)

    def test_until_the_process_ends(self):
        with Program("holds", preload=False) as program, Stat(program.pid, "--json") as stat:
            program.tell("hold")
            program.process.stdin.close()
            out, said = stat.end(None)
            self.assertEqual((json.loads(out)["total"]["allocs"], said), (ALL, ""))

    def test_killed_process(self):
        with Program("holds", preload=False) as program, Stat(program.pid, "--json") as stat:
            program.tell("hold")
            wait_until(lambda: False, 0.3)
            program.process.kill()
            out, said = stat.end(None)
            self.assertEqual(json.loads(out)["total"]["allocs"], ALL)
            self.assertRegex(said, r"^kmem: the program was killed[^\n]*\n$")

    def test_for_seconds_and_sample(self):
        with Program("live_busy", ready=False) as program:
            for words in (("--for", 0.3), ("--for", 0.3, "--sample=64K")):
                result = kmem("stat", program.pid, "--json", *words, status=None)
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertGreater(json.loads(result.stdout)["total"]["allocs"], 1000)
                self.assertTrue(is_off(program.pid))
                self.assertEqual("sampled" in result.stderr, "--sample=64K" in words)

    def test_killed_outright_leaves_no_file(self):
        with Program("holds", preload=False) as program, Stat(program.pid) as stat:
            program.tell("hold")
            stat.process.kill()
            stat.process.wait()
            self.assertEqual(os.listdir(stat.folder.name), [])
            # another may come
            program.tell("drop")
            with Stat(program.pid, "--json") as second:
                # the process is traced already, so that does not say when the second is there
                wait_until(lambda: False, 2)
                program.tell("hold")
                out, said = second.end()
            self.assertEqual(json.loads(out)["total"]["allocs"], ALL)
            self.assertRegex(said, r"^kmem: process \d+ was being recorded, by a kmem that runs or was killed: "
                                   r"from now on here\n$")


class NoRoom(unittest.TestCase):
    def check(self, result, folder, error):
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("Total bytes requested:", result.stdout)
        self.assertRegex(result.stdout, r"(?m)^ work\+0x[0-9a-f]+ \[live_busy\]")
        said = [line for line in result.stderr.splitlines() if "freed that had been" not in line and "were lost" not in line]
        self.assertEqual(said, [f"kmem: the events could not be held in {folder}: {error}; what came after that is not counted "
                                "(--sample takes fewer, TMPDIR chooses another folder)"])

    def test_limit_of_a_file(self):
        """The tables are of what there was room for."""
        limit = (4 << 20, 4 << 20)
        with Program("live_busy", ready=False) as program:
            result = subprocess.run([KMEM, "stat", "--for=10", str(program.pid)], capture_output=True, text=True, check=False,
                                    timeout=60, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
            self.check(result, os.environ.get("TMPDIR") or "/tmp", "File too large")
            self.assertTrue(is_off(program.pid))

    def test_disk_that_fills_up(self):
        if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
            self.skipTest("no mount namespaces here")
        # somebody else takes the rest when there is something
        script = 'mount -t tmpfs -o size=32m none /mnt; (until [ "$(df --output=used /mnt | tail -n1)" -ge 4000 ]; do ' \
                 'sleep 0.05; done; head -c 32M /dev/zero >/mnt/else) 2>/dev/null & ' \
                 f'TMPDIR=/mnt exec "{KMEM}" stat --for=20 "$0"'
        with Program("live_busy", ready=False) as program:
            result = subprocess.run(["unshare", "-m", "sh", "-c", script, str(program.pid)], capture_output=True, text=True,
                                    timeout=60, check=False)
            if "mount:" in result.stderr:
                self.skipTest(result.stderr)
            self.check(result, "/mnt", "No space left on device")

    def test_no_room_at_all(self):
        """The process is left alone then."""
        limit = (1000, 1000)
        with Program("live_busy", ready=False) as program:
            result = subprocess.run([KMEM, "stat", "--for=10", str(program.pid)], capture_output=True, text=True, check=False,
                                    timeout=60, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
                                    env=dict(os.environ, TMPDIR="/var/tmp"))
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertEqual(result.stderr, "kmem: the events can't be held in /var/tmp: File too large (TMPDIR chooses another "
                                            "folder)\n")
            self.assertEqual(kmem_json("status", program.pid)["tracing_wanted"], "off")

    def test_signals_that_are_ignored_meanwhile_are_not_when_tables_are_printed(self):
        with Program("live_busy", ready=False) as program:
            # a pipe that nobody reads any more: as `| head` with a recording, it ends without a word
            result = subprocess.run(["bash", "-c", '"$0" stat --for=0.3 "$1" | true; echo ${PIPESTATUS[0]}', KMEM,
                                     str(program.pid)], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(result.stdout, f"{128 + signal.SIGPIPE}\n")


class Gone(unittest.TestCase):
    """Files that were deleted while the process runs."""

    def sites(self, words, prefix=()):
        with tempfile.TemporaryDirectory(prefix="kmem-") as folder:
            copy = shutil.copy(os.path.join(PROGRAMS, "live_busy"), os.path.join(folder, "mine"))
            with Program(copy, ready=False) as program:
                os.unlink(copy)
                result = subprocess.run([*prefix, KMEM, *words, str(program.pid)], capture_output=True, text=True,
                                        timeout=60, check=False)
                self.assertEqual(result.returncode, 0, result.stderr)
                return result.stdout

    def test_names_of_a_deleted_program(self):
        out = self.sites(["stat", "--for=0.3"])
        self.assertRegex(out, r"(?m)^ work\+0x[0-9a-f]+ \[mine \(deleted\)\]")

    def test_names_in_top(self):
        out = self.sites(["top", "--batch", "--events", "-n2", "-d0.3"])
        self.assertRegex(out, r" work\+0x[0-9a-f]+ \[mine \(deleted\)\]")

    def test_names_after_the_end(self):
        with tempfile.TemporaryDirectory(prefix="kmem-") as folder:
            copy = shutil.copy(os.path.join(PROGRAMS, "live_busy"), os.path.join(folder, "mine"))
            with Program(copy, ready=False) as program:
                os.unlink(copy)
                with Stat(program.pid) as stat:
                    program.process.stdin.close()
                    program.process.wait(20)
                    out, _ = stat.end(None)
        self.assertRegex(out, r"(?m)^ work\+0x[0-9a-f]+ \[mine \(deleted\)\]")


    def test_names_of_a_deleted_library_without_privileges(self):
        """Nobody may open its file then: its names come from the process' memory."""
        plain = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")
        if not shutil.which("cc") or subprocess.run([*plain, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no cc, or no setpriv")
        with tempfile.TemporaryDirectory(prefix="kmem-") as folder:
            library = os.path.join(folder, "libgone.so")
            subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-fno-builtin", "-x", "c", "-o", library, "-"], check=True,
                           text=True, input="#include <stdlib.h>\nvoid *volatile kept;\n"
                                 "void from_gone(void) { kept = malloc(100); free(kept); }\n")
            script = f"import ctypes, os, time\ngone = ctypes.CDLL({library!r})\nos.unlink({library!r})\n" \
                     "print('ready', flush=True)\nwhile True:\n    gone.from_gone()\n    time.sleep(0.001)\n"
            with subprocess.Popen([*plain, sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
                                  env=dict(os.environ, LD_PRELOAD=LIBRARY)) as process:
                try:
                    self.assertEqual(process.stdout.readline(), "ready\n")
                    out = subprocess.run([*plain, KMEM, "stat", "--for=0.3", str(process.pid)], check=True, text=True,
                                         capture_output=True, timeout=60).stdout
                finally:
                    process.kill()
        self.assertRegex(out, r"(?m)^ from_gone\+0x[0-9a-f]+ \[libgone.so \(")


class Refusals(unittest.TestCase):
    def test_wrong_words(self):
        for words in (("1", "kmem.data"), ("-i", "kmem.data", "1"), ("--for=1",), ("--sample",), ("--for=x", "1"), ("0",)):
            result = kmem("stat", *words, status=None)
            self.assertEqual(result.returncode, 2, words)

    def test_no_such_process(self):
        for pid, words in ((os.getpid(), "does not run libkmalloc"), (4194304 + 5, "there is no process")):
            result = kmem("stat", pid, status=None)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertRegex(result.stderr, rf"^kmem: [^\n]*{re.escape(words)}[^\n]*\n$")

    def test_no_folder_for_its_file(self):
        with Program("holds", preload=False) as program:
            result = subprocess.run([KMEM, "stat", str(program.pid)], capture_output=True, text=True, check=False,
                                    env=dict(os.environ, TMPDIR="/nowhere"))
            self.assertEqual(result.returncode, 1)
            self.assertRegex(result.stderr, r"^kmem: /nowhere/kmem-\w+ can't be written: No such file or directory \(TMPDIR chooses "
                                            r"another folder\)\n$")


if __name__ == "__main__":
    unittest.main()
