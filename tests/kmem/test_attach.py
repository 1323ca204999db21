#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_attach.py - kmem comes to a program that runs and is busy, and goes again: the program notices nothing, and is on its hit
paths again afterwards, however the recording ended. Environment: see recorder.py.
"""
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
from recorder import KMEM, KmemTest, environment, prog  # noqa: E402

PATIENCE = 30  # seconds for what takes milliseconds on an idle machine


class Attach(KmemTest):
    def busy(self):
        child = self.preloaded(prog("busy"))
        where = re.fullmatch(r"hit_table (\d+) hit_free_table (\d+) (\d+) divert (\d+)\n", child.stdout.readline())
        self.assertTrue(where)
        child.hit_table, child.hit_free_table, child.entries, child.divert = (int(number) for number in where.groups())
        return child

    def switches(self, child):
        """How many CPUs are on the hit paths, of allocations and of frees, and whether a reader keeps them off."""
        with open(f"/proc/{child.pid}/mem", "rb", buffering=0) as memory:
            tables = []
            for address in (child.hit_table, child.hit_free_table):
                memory.seek(address)
                table = memory.read(8 * 64)
                tables.append([table[i:i + 8] != bytes(8) for i in range(0, len(table), 8)])
            memory.seek(child.divert)
            return sum(map(all, zip(*tables))), memory.read(1) != b"\0"

    def assert_full_speed(self, child):
        end = time.monotonic() + PATIENCE
        while self.switches(child) == (0, False) or self.switches(child)[1]:
            self.assertLess(time.monotonic(), end, "the program did not come back to its hit path")
            time.sleep(0.01)

    def assert_well(self, child):
        child.send_signal(signal.SIGTERM)
        self.assertRegex(child.communicate(timeout=PATIENCE)[0], r"^ok \d+\n$")
        self.assertEqual(child.returncode, 0)

    def record_a_while(self, child, *words, seconds="0.1"):
        said = self.record("-p", str(child.pid), "--for", seconds, *words)
        self.assertRegex(said, r"^kmem: \d+ events")
        self.assertNotIn("killed", said)

    def test_attach_and_detach_in_a_loop(self):
        child = self.busy()
        self.assert_full_speed(child)
        for i in range(12):
            full = ("drop", "overwrite", "wait")[i % 3]
            what = "--sample=64K" if i % 4 == 3 else "--all"
            with self.subTest(full=full, what=what):
                self.record_a_while(child, f"--full={full}", what)
                report = self.report()
                self.assertGreater(report["total"]["allocs"], 0)
                if full == "wait":
                    # but for what slabs and pages tell of under locks before their CPU has a ring
                    self.assertLess(report["lost"], 100)
                self.assert_full_speed(child)
        self.assert_well(child)

    def test_interrupted(self):
        child = self.busy()
        for number in (signal.SIGINT, signal.SIGTERM):
            recorder = self.start_recorder(child)
            recorder.send_signal(number)
            _, said = recorder.communicate(timeout=PATIENCE)
            self.assertEqual(recorder.returncode, 0)
            self.assertRegex(said, r"^kmem: \d+ events")
            self.assertGreater(self.report()["events"], 0)
            self.assert_full_speed(child)
        self.assert_well(child)

    def start_recorder(self, child, *words, output=None):
        recorder = subprocess.Popen([KMEM, "record", "-p", str(child.pid), "-o", output or self.data, *words],
                                    env=environment(), stderr=subprocess.PIPE, text=True)
        self.addCleanup(recorder.stderr.close)
        self.addCleanup(recorder.wait)
        self.addCleanup(recorder.kill)
        end = time.monotonic() + PATIENCE
        while not self.switches(child)[1]:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        time.sleep(0.2)
        return recorder

    def test_killed_recorder(self):
        """Nobody tells the program: it finds out by itself. Until then another kmem may come."""
        children = {full: self.busy() for full in ("drop", "overwrite", "wait")}
        for full, child in children.items():
            recorder = self.start_recorder(child, f"--full={full}", "--ring=128", output=self.path(full))
            recorder.kill()
            recorder.wait()
        said = self.record("-p", str(children["drop"].pid), "--for=0.1")
        self.assertIn("was being recorded", said)
        for child in children.values():
            self.assert_full_speed(child)
            self.assert_well(child)

    def test_killed_sampler(self):
        """Its rings never fill: it is told by the recorder's silence. One that is only stopped for a while goes on."""
        words = ("--sample=256M",)
        killed, stopped = self.busy(), self.busy()
        recorders = [self.start_recorder(child, *words, output=self.path(str(child.pid))) for child in (killed, stopped)]
        recorders[0].kill()
        recorders[0].wait()
        recorders[1].send_signal(signal.SIGSTOP)
        time.sleep(12)  # longer than a ring may be full
        recorders[1].send_signal(signal.SIGCONT)
        self.assertTrue(self.switches(killed)[1])
        end = time.monotonic() + 60
        while self.switches(killed)[1]:
            self.assertLess(time.monotonic(), end, "it was not noticed that nobody reads")
            time.sleep(0.1)
        self.assert_full_speed(killed)
        self.assertIsNone(recorders[1].poll())
        self.assertTrue(self.switches(stopped)[1])
        recorders[1].send_signal(signal.SIGINT)
        _, said = recorders[1].communicate(timeout=PATIENCE)
        self.assertRegex(said, r"^kmem: \d+ events[^\n]*\n$")
        for child in (killed, stopped):
            self.assert_full_speed(child)
            self.assert_well(child)

    def test_stopped_together(self):
        """Ctrl-Z stops both for longer than a ring may be full; the program goes on first."""
        recorder = subprocess.Popen([KMEM, "record", "-o", self.data, "--full=wait", "--ring=128", "--", prog("busy")],
                                    env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(recorder.communicate)
        self.addCleanup(recorder.kill)
        self.assertRegex(recorder.stdout.readline(), r"^hit_table ")
        with open(f"/proc/{recorder.pid}/task/{recorder.pid}/children", encoding="ascii") as children:
            child = int(children.read().split()[0])
        # the recorder first, so that rings are full
        for pid in (recorder.pid, child):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.3)
        time.sleep(12)
        for pid in (child, recorder.pid):
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.3)
        os.kill(child, signal.SIGTERM)
        out, said = recorder.communicate(timeout=PATIENCE)
        self.assertEqual(recorder.returncode, 0, said)
        self.assertRegex(out, r"^ok \d+\n$")
        self.assertRegex(said, r"^kmem: \d+ events[^\n]*\n$")
        self.assertEqual(self.report()["lost"], 0)

    def start_and_record(self, *words):
        """kmem, and what it records; the program is killed at the end of the test, should it be there still."""
        recorder = subprocess.Popen([KMEM, "record", "-o", self.data, *words], env=environment(), stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True)
        self.addCleanup(recorder.communicate)
        self.addCleanup(recorder.terminate)  # it passes that on
        return recorder

    def test_a_recording_is_whole_when_it_ended_though_the_program_runs_on(self):
        recorder = self.start_and_record("--for=0.3", "--", prog("busy"))
        self.assertEqual(recorder.stderr.readline(), "kmem: recording ended; the program runs on\n")
        time.sleep(1)
        out, said = self.kmem("report", "--json", self.data)
        self.assertNotIn("cut off", said)
        self.assertGreater(json.loads(out)["events"], 1000)
        self.assertIsNone(recorder.poll())
        recorder.terminate()
        self.assertRegex(recorder.stdout.read(), r"\nok \d+\n$")
        self.assertRegex(recorder.stderr.read(), r"^kmem: \d+ events, ")
        self.assertEqual(recorder.wait(PATIENCE), 0)
        # its end is when it ended
        self.assertLess(self.report()["duration_ns"], 1e9)

    def test_what_came_before_a_program_without_the_library_is_in_the_file(self):
        """exec() into it: nothing more comes, for as long as that runs."""
        recorder = self.start_and_record("--", "sh", "-c", "sleep 0.3; unset LD_PRELOAD; exec sleep 3")
        end = time.monotonic() + 2
        events = 0
        while not events and time.monotonic() < end:
            time.sleep(0.1)
            events = json.loads(self.kmem("report", "--json", self.data, status=None)[0] or '{"events": 0}')["events"]
        self.assertGreater(events, 10)
        self.assertIsNone(recorder.poll())
        recorder.communicate(timeout=PATIENCE)

    def test_interrupted_alone(self):
        """Whoever sends SIGINT to kmem alone is told what becomes of it; SIGTERM is passed on."""
        recorder = self.start_and_record("--", prog("busy"))
        self.assertRegex(recorder.stdout.readline(), r"^hit_table ")
        for number in (signal.SIGINT, signal.SIGHUP):
            recorder.send_signal(number)
            self.assertEqual(recorder.stderr.readline(),
                             "kmem: the program is recorded until it ends; SIGTERM is passed on to it\n")
        self.assertIsNone(recorder.poll())
        recorder.terminate()
        out, said = recorder.communicate(timeout=PATIENCE)
        self.assertEqual(recorder.returncode, 0)
        self.assertRegex(out, r"^ok \d+\n$")
        self.assertRegex(said, r"^kmem: \d+ events[^\n]*\n$")

    def test_other_programs_that_were_started(self):
        """They are not recorded, and that is said; a program that takes the first one's place is, and one without children has none."""
        hint = "kmem: the program started others, which are not recorded: "
        for program, started in (("sort /etc/passwd; true", True), ("exec sort /etc/passwd", False), (":", False)):
            with self.subTest(program=program):
                said = self.record("--", "sh", "-c", program)
                self.assertEqual(hint in said, started, said)
        said = self.record("--for=0.1", "--", "sh", "-c", "sleep 0.5; true")
        self.assertIn("the program runs on\n", said)
        self.assertIn(hint, said)

    def test_two_recorders(self):
        """The second takes over, and the first says so."""
        child = self.busy()
        first = self.start_recorder(child)
        self.kmem("record", "-p", str(child.pid), "--for=0.2", "-o", self.path("second"))
        _, said = first.communicate(timeout=PATIENCE)
        self.assertIn(f"process {child.pid}: another kmem records it now", said)
        self.assert_full_speed(child)
        self.assertGreater(self.report(data=self.path("second"))["events"], 0)
        self.assert_well(child)

    def test_unknown_frees_are_told(self):
        """What the process had from before, and frees now: not where a filter leaves out what they may be of."""
        child = self.preloaded(sys.executable, "-c", "import os\nold = [bytes(1000) for i in range(500)]\n"
                               "os.write(1, b'ready\\n')\nos.read(0, 1)\nold.clear()\nos.write(1, b'done\\n')\nos.read(0, 1)",
                               stdin=subprocess.PIPE)
        self.assertEqual(child.stdout.readline(), "ready\n")
        recorder = self.start_and_record("-p", str(child.pid))
        end = time.monotonic() + PATIENCE
        while json.loads(self.kmem("status", "--json", str(child.pid))[0])["tracing_wanted"] == "off":
            self.assertLess(time.monotonic(), end, "it is not recorded")
            time.sleep(0.01)
        child.stdin.write("x")
        child.stdin.flush()
        self.assertEqual(child.stdout.readline(), "done\n")
        recorder.send_signal(signal.SIGINT)
        recorder.communicate(timeout=PATIENCE)
        child.communicate("x", timeout=PATIENCE)
        count = self.report()["unknown_frees"]
        self.assertGreaterEqual(count, 500)
        line = f"# {count} objects were freed that had been allocated before, or whose allocation was lost: no table counts them\n"
        self.assertIn(line, self.kmem("report", self.data)[0])
        self.assertIsNone(self.report("--min-size=1")["unknown_frees"])
        self.assertNotIn("objects were freed", self.kmem("report", "--min-size=1", self.data)[0])

    def test_killed_program(self):
        child = self.busy()
        recorder = self.start_recorder(child)
        child.kill()
        _, said = recorder.communicate(timeout=PATIENCE)
        self.assertEqual(recorder.returncode, 0)
        self.assertIn("its last milliseconds before are not recorded", said)
        self.assertGreater(self.report()["events"], 0)
        # which was asked for while it was there
        self.assertEqual(self.report()["command"], prog("busy"))

    def test_a_recording_that_is_cut_says_what_it_is_of(self):
        """Before the first events are in the file, too."""
        child = self.busy()
        recorder = self.start_recorder(child, "--sample=1G")
        recorder.kill()
        recorder.wait()
        out, said = self.kmem("report", "--json", self.data)
        self.assertIn("cut off", said)
        self.assertEqual(json.loads(out)["command"], prog("busy"))

    def test_disk_full(self):
        child = self.busy()
        said = self.record("-p", str(child.pid), output="/dev/full", status=1)
        self.assertEqual(said, "kmem: /dev/full can't be written: No space left on device\n")
        self.assert_full_speed(child)
        self.assert_well(child)

    def test_limit_of_a_file(self):
        """It says how many events are in it: none, where there was no room for a chunk of them."""
        for limit, some in ((2048, False), (1 << 20, True)):
            with self.subTest(limit=limit):
                done = subprocess.run([KMEM, "record", "-o", self.data, "--", prog("known"), "calls", "100000"], text=True,
                                      env=environment(), capture_output=True, timeout=PATIENCE, check=False,
                                      preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
                self.assertEqual(done.returncode, 1)
                events = json.loads(self.kmem("report", "--json", self.data)[0])["events"]
                self.assertEqual(events > 0, some)
                what = f"the first {events} events are in it" if some else "no event is in it"
                self.assertEqual(done.stderr, f"kmem: {self.data}: File too large; {what}\n")

    def test_limit_of_open_files(self):
        """That the library was not found is no reason to say that it is not there."""
        child = self.busy()

        def kmem(*words):
            done = subprocess.run([KMEM, *words], text=True, env=environment(), capture_output=True, timeout=PATIENCE, check=False,
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5)))
            return done.returncode, done.stderr

        line = f"kmem: process {child.pid}: the files that it runs can't be opened: Too many open files\n"
        self.assertEqual(kmem("record", "-o", self.data, "-p", str(child.pid)), (1, line))
        status, said = kmem("record", "-o", self.data, "--", prog("known"), "calls", "10")
        self.assertEqual(status, 1)
        self.assertRegex(said, r"^kmem: process \d+ can't be recorded: Too many open files\n$")
        self.assert_well(child)

    def test_small_disk(self):
        """What there is room for is readable."""
        if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
            self.skipTest("no mount namespaces here")
        copy = self.path("copy")
        script = f'mount -t tmpfs -o size=1m none /mnt && "{KMEM}" record -o /mnt/kmem.data -- "{prog("known")}" calls ' \
                 f'100000; status=$?; cp /mnt/kmem.data "{copy}"; exit $status'
        done = subprocess.run(["unshare", "-m", "sh", "-c", script], env=environment(), capture_output=True, text=True,
                              timeout=PATIENCE, check=False)
        if "mount:" in done.stderr:
            self.skipTest(done.stderr)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^kmem: /mnt/kmem.data: No space left on device; the first \d+ events are in it\n$")
        out, said = self.kmem("report", copy)
        self.assertIn("known_malloc", out)
        self.assertRegex(said, r"^kmem: .*: the recording was cut off at byte \d+: what is before that is shown\n$")

    def test_refusals(self):
        """One clear line for each."""
        for words, line in ((("-p", "999999999"), "there is no process 999999999"),
                            (("-p", str(os.getpid())), f"process {os.getpid()} does not run libkmalloc: start it with "
                                                       "LD_PRELOAD, or tools/run"),
                            (("-o", "/nowhere/x", "--", "true"), "/nowhere/x can't be written: No such file or directory"),
                            (("-o", "/", "--", "true"), "/ can't be written: Is a directory")):
            with self.subTest(words=words):
                _, said = self.kmem("record", *words, status=1)
                self.assertEqual(said, f"kmem: {line}\n")
        for words in ((), ("--full=never", "true"), ("--ring=3", "true"), ("--sample=x", "true"), ("-p", "x"),
                      ("-p", "1", "true"), ("--for=-1", "true")):
            with self.subTest(words=words):
                self.kmem("record", *words, status=2)
        for words, line in ((("-p", "1", "true"), "a PROGRAM to run or -p PID, not both"),
                            (("-o", "-", "true"), "-o wants a file, and can't be standard output: ./- is one of that name")):
            self.assertIn(f"kmem record: {line}\n", self.kmem("record", *words, status=2)[1])
        _, said = self.kmem("record", "-o", self.data, "--", "/etc/passwd", status=126)
        self.assertEqual(said, "kmem: /etc/passwd can't be run: Permission denied\n")
        _, said = self.kmem("record", "-o", self.data, "--", "/nowhere/program", status=127)
        self.assertIn("kmem: /nowhere/program can't be run: No such file or directory\n", said)


if __name__ == "__main__":
    unittest.main()
