#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_hostile.py - small recordings that are made to take all memory or all time of those who read them, or to write to their
terminal. Environment: see recorder.py.
"""
import os
import resource
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
import hostile  # noqa: E402
from recorder import KMEM, KmemTest, environment, prog  # noqa: E402

DAMAGED = r"^kmem: \S+: the recording is damaged at byte \d+: what is before that is shown\n$"


def within(gib):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (gib << 30, gib << 30))
    return limit


class Hostile(KmemTest):
    def write(self, *chunks, **more):
        with open(self.data, "wb") as file:
            file.write(hostile.recording(*chunks, **more))
        return os.path.getsize(self.data)

    def run_on(self, command, *words, seconds=60, gib=2):
        return subprocess.run([KMEM, command, *words, self.data], capture_output=True, timeout=seconds, check=False,
                              env=environment(), preexec_fn=within(gib))

    def assert_damaged(self, commands=("report", "stat", "script")):
        for command in commands:
            done = self.run_on(command)
            with self.subTest(command=command):
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertRegex(done.stderr.decode(), DAMAGED)


class Memory(Hostile):
    def test_a_chunk_of_more_events_than_there_can_be(self):
        many = 20 << 20
        self.write(hostile.events(many, (1, many), hostile.kind(hostile.KMALLOC), (hostile.NEXT, many)))
        self.assert_damaged()

    def test_a_chunk_of_more_bytes_than_there_can_be(self):
        for kind in hostile.EVENTS, hostile.STACKS:
            self.write(hostile.chunk(kind, (0, 60 << 20)))
            self.assert_damaged()
        # a column of more than its events can have
        self.write(hostile.events(1, (1, 3 << 20), hostile.kind(hostile.KMALLOC), (hostile.NEXT, 1)))
        self.assert_damaged()

    def test_calls_beyond_all_bounds(self):
        """200 chunks of a million calls each, each of them a byte, in a file of 50 KB."""
        stack = hostile.varint(4096 * 2) + b"\0"
        stacks = hostile.chunk(hostile.STACKS, *[stack + b"\0\2", (0, 4095)], *[stack, (0, 4096)] * 255)
        self.assertLess(self.write(*[stacks] * 200), 1 << 20)
        self.assert_damaged()

    def test_stacks_beyond_all_bounds(self):
        """Empty ones, of two bytes each."""
        self.assertLess(self.write(*[hostile.chunk(hostile.STACKS, (0, 1 << 20))] * 600), 100 << 10)
        self.assert_damaged()

    def test_a_stack_that_ends_in_its_middle(self):
        self.write(hostile.chunk(hostile.STACKS, hostile.varint(20) + b"\0\0\2\0"))
        self.assert_damaged()


class Time(Hostile):
    def addresses(self, count, places):
        """Those that have one place in a table of so many, were each multiplied by the golden ratio."""
        golden, width = 0x9e3779b97f4a7c15, (1 << 64) // places
        up = next(n for n in range(1, 1 << 48) if n * golden % (1 << 64) < width)
        down = next(n for n in range(1, 1 << 48) if -n * golden % (1 << 64) < width)
        rise, fall = up * golden % (1 << 64), -down * golden % (1 << 64)
        at, value = 0, 0
        while count:
            step = min((n for n, fits in ((up, value + rise < width), (down, value >= fall)) if fits), default=up + down)
            at += step
            value = at * golden % (1 << 64)
            count -= 1
            yield at

    def test_objects_that_are_chosen_to_have_one_place(self):
        each, chunks = 250000, []
        addresses = list(self.addresses(2 * each, 1 << 20))
        self.assertLess(addresses[-1], 1 << 48)
        for at in 0, each:
            far = b"".join(map(hostile.varint, addresses[at:at + each]))
            chunks.append(hostile.events(each, (1, each), hostile.kind(hostile.KMALLOC), (hostile.ODD, each), far=far))
        self.write(*chunks)
        for command in (["stat", "--json"], ["replay", "-r1", "--json"]):
            done = self.run_on(*command, seconds=20)
            self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_call_sites_that_are_chosen_to_have_one_place(self):
        """Call site and stack made up for each other."""
        each, sites = 60000, 3
        stacks = hostile.chunk(hostile.STACKS, (0, 2 * each * sites))
        chunks = []
        for part in range(sites):
            kinds, last = [], 0
            for i in range(each):
                stack = part * each + i + 1
                site = (0x7f << 40 ^ stack << 40) & (1 << 64) - 1
                step = (site - last + (1 << 63)) % (1 << 64) - (1 << 63)
                kinds.append(hostile.kind(hostile.KMALLOC, i, step * 2 if step >= 0 else -step * 2 - 1, stack))
                last = site
            numbers = b"".join(hostile.varint(i + 1) for i in range(each))
            far = b"".join(hostile.varint((part * each + i + 1) * 64) for i in range(each))
            chunks.append(hostile.events(each, numbers, b"".join(kinds), (hostile.ODD, each), far=far))
        self.write(stacks, *chunks)
        done = self.run_on("report", "--stacks", seconds=20)
        self.assertEqual((done.returncode, done.stderr), (0, b""))


class Terminal(Hostile):
    """Text of others reaches it without control characters; UTF-8 does."""
    EVIL = "\x1b[31m\x07\u009b2J\x7fü".encode()
    CLEAN = "?[31m???2J?ü".encode()

    def assert_clean(self, *words, wanted=CLEAN):
        done = self.run_on(*words, gib=4)
        self.assertEqual(done.returncode, 0, done.stderr)
        shown = done.stdout + done.stderr
        self.assertNotRegex(shown, rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", words)
        self.assertIn(wanted, shown, words)

    def test_command_caches_and_maps(self):
        maps = b"1000-9000 r-xp 00000000 08:01 77                         /nowhere/" + self.EVIL + b".so\n"
        self.write(hostile.chunk(hostile.MAPS, bytes(8) + maps + b"\0"),
                   hostile.chunk(hostile.CACHES, b"7 64 64 " + self.EVIL + b"\n\0"),
                   hostile.events(1, b"\1", hostile.kind(hostile.KMALLOC, 0, 2 * 0x2000, cache=7), (hostile.ODD, 1),
                                  far=hostile.varint(4096)),
                   info=b"command " + self.EVIL + b"\n")
        for words in (["report"], ["stat"], ["script"], ["leaks"], ["export", "--collapsed"]):
            self.assert_clean(*words)

    def test_functions(self):
        """Of a program whose symbols have such names."""
        with open(prog("known"), "rb") as file:
            program = file.read()
        self.assertIn(b"\0known_malloc\0", program)
        with open(self.path("known"), "wb") as file:
            file.write(program.replace(b"\0known_malloc\0", b"\0\x1b[31m_malloc\0"))
        os.chmod(self.path("known"), 0o755)
        self.record("--", self.path("known"), "calls", "20")
        for words in (["report", "-n0"], ["stat", "-l0"], ["script"]):
            self.assert_clean(*words, wanted=b"?[31m_malloc+0x")


if __name__ == "__main__":
    unittest.main()
