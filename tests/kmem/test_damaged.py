#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_damaged.py - recordings that were cut, changed, or are none: one clear line each, and no crash. Environment: see
recorder.py; KMALLOC_SEED is the seed of what is chosen by chance.
"""
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
import hostile  # noqa: E402
from recorder import KMEM, PROGS, KmemTest, environment, prog  # noqa: E402

SEED = int(os.environ.get("KMALLOC_SEED", "20240229"), 0)
COMMANDS = ("report", "stat", "script")
HEADER, CHUNK = 16, 24
GAP = r"^kmem: \S+: the recording is damaged{} from byte {} to byte {}: {} events there can't be read, the rest is shown: " \
      r"numbers are too small, and what seems live may have been freed$"


def chunks(data):
    """Where each chunk starts, and where the last one ends."""
    at, starts = HEADER, []
    while at < len(data):
        starts.append(at)
        at += CHUNK + struct.unpack_from("<I", data, at + 8)[0]
    return starts + [at]


class Damaged(KmemTest):
    def setUp(self):
        super().setUp()
        self.record_all("calls", "40")
        with open(self.data, "rb") as file:
            self.whole = file.read()
        self.random = random.Random(SEED)

    def record_all(self, *words):
        """Without a loss, of which each command would say a line more. On a busy machine there may be one: what is told of under a lock
        does not wait, nor a program for long."""
        for _ in range(10):
            if re.fullmatch(r"kmem: \d+ events[^\n]*\n", self.record("--", prog("known"), *words)):
                return
        self.fail("something was lost, each time")

    def show(self, data, commands=COMMANDS, status=None):
        """Each command on it; what it said."""
        path = self.path("damaged")
        with open(path, "wb") as file:
            file.write(data)
        for command in commands:
            done = subprocess.run([KMEM, command, path], capture_output=True, text=True, env=environment(), timeout=60,
                                  check=False, errors="replace")
            with self.subTest(command=command, size=len(data)):
                self.assertIn(done.returncode, (0, 1) if status is None else (status,), done.stderr)
                for line in done.stderr.splitlines():
                    self.assertRegex(line, r"^kmem: ")
            yield done.stderr.splitlines()

    def test_whole(self):
        self.assertEqual(list(self.show(self.whole, status=0)), [[], [], []])
        self.assertTrue(self.report()["whole"])

    def test_cut_at_each_chunk(self):
        starts = chunks(self.whole)
        self.assertEqual(starts[-1], len(self.whole))
        self.assertGreater(len(starts), 4)
        for at in starts[:-1]:
            for said in self.show(self.whole[:at], status=0):
                self.assertEqual(len(said), 1)
                self.assertIn(f"cut off at byte {at}: what is before that is shown", said[0])

    def test_cut_anywhere(self):
        for _ in range(40):
            at = self.random.randrange(HEADER, len(self.whole))
            for said in self.show(self.whole[:at], commands=("report",), status=0):
                self.assertEqual(len(said), 1)
                self.assertIn("was cut off at byte", said[0])

    def test_flipped_bits(self):
        for _ in range(60):
            data = bytearray(self.whole)
            data[self.random.randrange(HEADER, len(data))] ^= 1 << self.random.randrange(8)
            for said in self.show(bytes(data), commands=("report",), status=0):
                self.assertEqual(len(said), 1)

    def test_each_byte_of_a_header(self):
        for start in chunks(self.whole)[:-1]:
            for at in range(start, start + CHUNK):
                data = bytearray(self.whole)
                data[at] ^= 1 << self.random.randrange(8)
                for said in self.show(bytes(data), commands=("report",), status=0):
                    with self.subTest(byte=at - start):
                        self.assertEqual(len(said), 1)
                        self.assertRegex(said[0], "the recording is damaged at byte")

    def test_one_chunk_is_passed_over(self):
        """The others are shown; how much it was is known by what they have."""
        def events(part, count=1000):
            far = b"".join(hostile.varint((part * count + i + 1) * 64) for i in range(count))
            return hostile.events(count, (1, count), hostile.kind(hostile.KMALLOC), (hostile.ODD, count), far=far)

        parts = [events(part) for part in range(4)]
        whole = hostile.recording(*parts)
        starts = chunks(whole)[1:]
        for places in ([1], [0], [3], [0, 2], [0, 1, 2, 3]):
            data = bytearray(whole)
            for place in places:
                data[(starts[place] + CHUNK + starts[place + 1]) // 2] ^= 1
            about = f"up to {4 << 18}" if len(places) == 4 else r"about (\d+)"
            several = f" in {len(places)} places" if len(places) > 1 else ""
            line = GAP.format(several, starts[places[0]], starts[places[-1] + 1], about)
            for said in self.show(bytes(data), commands=COMMANDS + ("leaks",), status=0):
                self.assertEqual(len(said), 1)
                self.assertRegex(said[0], line)
                if len(places) < 4:
                    self.assertAlmostEqual(int(re.search(line, said[0])[1]), 1000 * len(places), delta=100)
            report = self.report(data=self.path("damaged"))
            self.assertEqual((report["total"]["live_objects"], report["whole"]), (1000 * (4 - len(places)), False))

    def test_a_byte_in_the_middle_of_a_real_one(self):
        self.record_all("calls", "100000")
        with open(self.data, "rb") as file:
            data = bytearray(file.read())
        whole = self.report()["total"]["allocs"]
        parts = [(at, end) for at, end in zip(chunks(data), chunks(data)[1:]) if data[at + 4] == hostile.EVENTS]
        self.assertGreater(len(parts), 2)
        at, end = parts[len(parts) // 2]
        data[(at + CHUNK + end) // 2] ^= 0x10
        for said in self.show(bytes(data), status=0):
            self.assertEqual(len(said), 1)
            self.assertRegex(said[0], GAP.format("", at, end, r"about \d+"))
            lost = int(re.search(r"about (\d+)", said[0])[1])
        self.assertTrue(100000 < lost <= 1 << 18, lost)
        left = self.report(data=self.path("damaged"))["total"]["allocs"]
        self.assertTrue(whole - (1 << 18) <= left < whole, (whole, left))

    def test_what_others_can_not_do_without_ends_the_reading(self):
        stacks = hostile.chunk(hostile.STACKS, bytes(2))
        some = hostile.events(1, b"\1", hostile.kind(hostile.KMALLOC), (hostile.ODD, 1), far=hostile.varint(64))
        whole = hostile.recording(some, hostile.chunk(hostile.IMAGE, b"\0"), some, stacks, some)
        starts = chunks(whole)
        kinds = [whole[at + 4] for at in starts[:-1]]
        self.assertEqual(kinds, [hostile.INFO, hostile.EVENTS, hostile.IMAGE, hostile.EVENTS, hostile.STACKS, hostile.EVENTS,
                                 hostile.END])
        for kind, at, end in zip(kinds, starts, starts[1:]):
            data = bytearray(whole)
            data[end - 1] ^= 1
            for said in self.show(bytes(data), status=0):
                self.assertEqual(len(said), 1, said)
                if kind == hostile.EVENTS:
                    self.assertRegex(said[0], GAP.format("", at, end, "about 1"))
                else:
                    self.assertIn(f"is damaged at byte {end}: what is before that is shown", said[0])

    def test_none_at_all(self):
        for data, why in ((b"", "no recording of kmem"), (b"\x7fELF" + bytes(1000), "no recording of kmem"),
                          (b"PERFILE2" * 100, "no recording of kmem"), (self.whole[:HEADER - 1], "no recording of kmem"),
                          (self.whole[:10] + b"\1\0" + self.whole[12:], "a recording of another version of kmem")):
            for said in self.show(data, status=1):
                self.assertEqual(said, [f"kmem: {self.path('damaged')} is {why}"])
        for command in COMMANDS:
            for path, why in (("/", "/ is a directory, not a recording of kmem"),
                              ("/dev/null", "/dev/null is no recording of kmem"),
                              ("/nowhere", "/nowhere can't be read: No such file or directory")):
                self.assertEqual(self.kmem(command, path, status=1), ("", f"kmem: {why}\n"))
        for command in COMMANDS:
            done = subprocess.run([KMEM, command], cwd=self.path("."), capture_output=True, text=True,
                                  env=environment(), check=False)
            self.assertEqual(done.returncode, 0)
            os.rename(self.data, self.path("elsewhere"))
            done = subprocess.run([KMEM, command], cwd=self.path("."), capture_output=True, text=True,
                                  env=environment(), check=False)
            os.rename(self.path("elsewhere"), self.data)
            self.assertEqual((done.returncode, done.stderr),
                             (1, "kmem: kmem.data can't be read: No such file or directory\n"))

    def test_diff_of_damaged(self):
        with open(self.path("other"), "wb") as file:
            file.write(self.whole[:chunks(self.whole)[2]])
        said = self.kmem("diff", self.data, self.path("other"))[1]
        self.assertRegex(said, r"^kmem: [^\n]* was cut off at byte \d+[^\n]*\n$")
        self.assertEqual(self.kmem("diff", self.data, "/", status=1)[1],
                         "kmem: / is a directory, not a recording of kmem\n")

    def mutate(self, count):
        done = subprocess.run([prog("mutate"), self.data, str(SEED), str(count)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace", timeout=250, check=False,
                              env=environment(ASAN_OPTIONS="allocator_may_return_null=1"))
        lines = [line for line in done.stderr.splitlines() if not line.startswith("kmem: ")]
        if (done.returncode, lines, done.stdout) != (0, [], f"{count}\n"):
            # no recording is like another: without this one it can't be done again
            kept = shutil.copy(self.data, os.path.join(tempfile.gettempdir(), f"kmem-damaged-{os.getpid()}.data"))
            self.fail("\n".join([f"mutate {kept} {SEED} {count}: status {done.returncode}, output {done.stdout!r}", *lines[:40],
                                 "the last lines:", *done.stderr.splitlines()[-5:]]))

    def test_mutations(self):
        """Thousands of damaged ones, with right checksums and wrong ones, read by a program with the compiler's checks."""
        self.mutate(1500)

    def test_mutations_with_stacks(self):
        self.record("--sample=64", "--stacks", "--", prog("known"), "calls", "40")
        self.mutate(1500)

    def test_mutations_with_modules(self):
        """What an address means changes, and what its maps say is damaged."""
        self.record("--stacks", "--", prog("plugs"), PROGS, "6")
        self.mutate(1500)

    def test_what_is_written_is_read(self):
        done = subprocess.run([prog("roundtrip"), self.path("round"), str(SEED)], capture_output=True, text=True, timeout=120,
                              check=False, env=environment())
        self.assertEqual((done.returncode, done.stderr, done.stdout), (0, "", "700000\n"))

    def test_a_reader_that_goes(self):
        """kmem script | head"""
        self.record_all("calls", "400")
        done = subprocess.run(f'"{KMEM}" script "{self.data}" | head -1', shell=True, capture_output=True, text=True,
                              env=environment(), check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"^ +\d+ \[\d+\] .*: kmem:\w+: .*\n$")
        done = subprocess.run(f'"{KMEM}" report "{self.data}" > /dev/full', shell=True, capture_output=True, text=True,
                              env=environment(), check=False)
        self.assertEqual((done.returncode, done.stderr), (1, "kmem: standard output: No space left on device\n"))
        # that there was no room is found before a line is said
        self.record("--sample=64", "--", prog("known"), "calls", "400")
        done = subprocess.run(f'"{KMEM}" report "{self.data}" > /dev/full', shell=True, capture_output=True, text=True,
                              env=environment(), check=False)
        self.assertRegex(done.stderr, r"^kmem: a sampled [^\n]*\nkmem: standard output: No space left on device\n$")
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
