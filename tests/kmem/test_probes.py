#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The library's probes, as readelf, bpftrace and perf see them: their names, semaphores and arguments; counts that are
those of a program whose calls are known; listeners that come and go while it runs; hit paths that are back afterwards.

usage: test_probes.py LIBRARY PROGRAM      PROGRAM: probed.c, built

bpftrace and perf want a kernel with uprobes, and root; where there is none, their tests say so and are skipped. They
run in a mount namespace of their own, in which the tracing file system is mounted, on a copy of the library, so that
nobody else is listened to. perf's events are removed again.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

SKIP = 77
BUILT, PROGRAM = (Path(argument).resolve() for argument in sys.argv[1:3])
FOLDER = tempfile.TemporaryDirectory()
LIBRARY = Path(shutil.copy(BUILT, FOLDER.name))
SMALL, LARGE = 1234, 3 << 20

PROBES = {
    "kmem:kmalloc": 5, "kmem:kfree": 2, "kmem:kmem_cache_alloc": 6, "kmem:kmem_cache_free": 3, "kmem:vmalloc": 5,
    "kmem:vfree": 2, "kmem:mm_page_alloc": 3, "kmem:mm_page_free": 2, "kmem:slab_refill": 2, "kmem:slab_flush": 2,
    "otel_memory:alloc": 3, "otel_memory:free": 1,
}

# Sums of all that the program does, by the type of call; only what is SMALL, LARGE or the like.
BPFTRACE = """
usdt:LIBRARY:kmem:kmalloc /arg2 == 1234/ { @kmalloc = count(); @kmalloc_bytes = sum(arg3); @small[arg1] = 1; }
usdt:LIBRARY:kmem:kfree /@small[arg1]/ { @kfree = count(); delete(@small[arg1]); }
usdt:LIBRARY:kmem:kmem_cache_alloc /str(arg2) == "probed"/ { @cache_alloc = count(); @cache_bytes = sum(arg3); }
usdt:LIBRARY:kmem:kmem_cache_free /str(arg2) == "probed"/ { @cache_free = count(); }
usdt:LIBRARY:kmem:vmalloc { @vmalloc = count(); @vmalloc_bytes = sum(arg2); @vmalloc_pages = sum(arg3); }
usdt:LIBRARY:kmem:vfree { @vfree = count(); }
usdt:LIBRARY:kmem:mm_page_alloc { @pages = sum(1 << arg1); }
usdt:LIBRARY:kmem:mm_page_free { @pages_freed = sum(1 << arg1); }
usdt:LIBRARY:kmem:slab_refill /str(arg0) == "kmalloc-1280"/ { @refill = sum(arg1); }
usdt:LIBRARY:kmem:slab_flush /str(arg0) == "kmalloc-1280"/ { @flush = sum(arg1); }
"""
OTEL = """
usdt:LIBRARY:otel_memory:alloc { @alloc = count(); @size = sum(arg1); @weight = sum(arg2); @live[arg0] = 1; }
usdt:LIBRARY:otel_memory:free {
	if (@live[arg0]) { @free = count(); delete(@live[arg0]); } else { @unknown = count(); }
}
"""


def in_namespace(*words):
    """The command, where /sys/kernel/tracing is there."""
    return ["unshare", "-m", "sh", "-c",
            "mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; "
            "mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null; exec \"$@\"", "sh", *map(str, words)]


def why_no_uprobes():
    if os.geteuid() != 0:
        return "this user is not root, and may attach to no probe"
    if not Path("/sys/bus/event_source/devices/uprobe").exists():
        return "the kernel has no uprobes"
    done = subprocess.run(in_namespace("test", "-w", "/sys/kernel/tracing/uprobe_events"), capture_output=True)
    return "the kernel lets nobody mount its tracing file system" if done.returncode else None


NO_UPROBES = why_no_uprobes()


def needs(program):
    reason = NO_UPROBES or (None if shutil.which(program) else f"{program} is not installed (tools/deps test)")
    return unittest.skipIf(reason, f"skipped: {reason}")


class Program:
    """probed, running on the library."""

    def __init__(self, cmdline=""):
        environment = dict(os.environ, KMALLOC_CMDLINE=cmdline, LD_PRELOAD=str(LIBRARY))
        self.process = subprocess.Popen([str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=environment)

    def tell(self, order):
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        status = self.process.wait(timeout=60)
        self.process.stdout.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(timeout=60)
        self.process.stdout.close()


class Bpftrace:
    """A script that listens; .end() gives what it counted. It ends with the test at the latest."""

    def __init__(self, test, script, pid=None):
        self.output = tempfile.TemporaryFile("w+")
        script = 'BEGIN { printf("listening\\n"); }' + script.replace("LIBRARY", str(LIBRARY))
        words = ["bpftrace", *(["-p", str(pid)] if pid else []), "-e", script]
        self.process = subprocess.Popen(in_namespace(*words), stdout=self.output, stderr=subprocess.STDOUT,
                                        env=dict(os.environ, BPFTRACE_STRLEN="64", BPFTRACE_MAP_KEYS_MAX="65536"))
        test.addCleanup(self.stop)
        deadline = time.monotonic() + 60
        while "listening" not in self.text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("bpftrace does not listen: " + self.text())
            time.sleep(0.05)

    def text(self):
        # by its own offset, which the writer does not share
        return os.pread(self.output.fileno(), 1 << 20, 0).decode()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=60)

    def end(self):
        self.stop()
        text = self.text()
        self.output.close()
        return {name: int(value) for name, value in re.findall(r"^@(\w+): (\d+)$", text, re.MULTILINE)}


class Notes(unittest.TestCase):
    def test_each_probe_has_a_note_a_semaphore_and_its_arguments(self):
        text = subprocess.run(["readelf", "-nW", LIBRARY], capture_output=True, text=True, check=True).stdout
        found = re.findall(r"Provider: (\w+)\s+Name: (\w+)\s+Location: (\w+), Base: (\w+), Semaphore: (\w+)\s+"
                           r"Arguments: (.*)", text)
        probes = {f"{provider}:{name}": len(arguments.split()) for provider, name, *_, arguments in found}
        self.assertEqual(probes, PROBES)
        self.assertEqual(len(found), len(PROBES), "a probe stands in more than one place")
        sections = subprocess.run(["readelf", "-SW", LIBRARY], capture_output=True, text=True, check=True).stdout
        section = re.search(r"\.probes\s+PROGBITS\s+(\w+) \w+ (\w+) \w+\s+WA", sections)
        start, size = (int(number, 16) for number in section.groups())
        semaphores = sorted(int(semaphore, 16) for *_, semaphore, _ in found)
        self.assertEqual(semaphores, list(range(start, start + size, 2)), "side by side, and nothing else")

    def test_a_program_that_nobody_looks_at_hits(self):
        with Program() as program:
            program.tell("small 1000")
            self.assertGreater(int(program.tell("hit")), 0)


@needs("bpftrace")
class BpftraceTest(unittest.TestCase):
    def test_counts_are_those_of_the_program(self):
        listener = Bpftrace(self, BPFTRACE)
        with Program() as program:
            for order in ("small 5000", "large 7", "resize 5", "cache 300", "threads 1000"):
                self.assertEqual(program.tell(order), "done")
            self.assertEqual(program.tell("hit"), "0")
            self.assertEqual(program.end(), 0)
        counts = listener.end()
        expected = {
            "kmalloc": 9000, "kfree": 9000, "kmalloc_bytes": 9000 * 1280,
            "cache_alloc": 300, "cache_free": 300, "cache_bytes": 300 * 200,
            # an area that is resized is freed and allocated
            "vmalloc": 7 + 1 + 5, "vfree": 7 + 1 + 5,
            "vmalloc_bytes": 13 * LARGE + sum(n << 20 for n in range(1, 6)),
            "vmalloc_pages": 13 * LARGE + sum(n << 20 for n in range(1, 6)),
        }
        self.assertEqual({name: counts.get(name) for name in expected}, expected)
        # in sheaves some may stay, and what comes from there is not from the slabs
        self.assertTrue(5000 <= counts["refill"] <= 9000, counts)
        self.assertTrue(0 < counts["flush"] <= counts["refill"], counts)
        self.assertGreater(counts["pages"] * 4096, 5000 * 1280)
        self.assertTrue(0 <= counts.get("pages_freed", 0) <= counts["pages"], counts)

    def test_listeners_come_and_go_while_it_runs(self):
        with Program() as program:
            program.tell("small 1000")
            for _ in range(3):
                self.assertGreater(int(program.tell("hit")), 0)
                listener = Bpftrace(self, BPFTRACE)
                # the first miss notices; what the sheaves gave until then is not told of
                program.tell("small 1000")
                self.assertEqual(program.tell("hit"), "0")
                counts = listener.end()
                self.assertTrue(500 < counts["kmalloc"] <= 1000, counts)
                program.tell("small 1000")
                self.assertGreater(int(program.tell("hit")), 0)
            listener = Bpftrace(self, BPFTRACE)
            program.tell("small 1000")
            self.assertEqual(program.tell("hit"), "0")
            listener.end()
            listener = Bpftrace(self, "usdt:LIBRARY:kmem:vmalloc { @vmalloc = count(); }")
            program.tell("large 4")
            self.assertEqual(program.tell("hit"), "0")
            self.assertEqual(listener.end()["vmalloc"], 4)
            program.tell("small 1")
            self.assertGreater(int(program.tell("hit")), 0)

    def test_in_locked_mode(self):
        listener = Bpftrace(self, BPFTRACE)
        with Program(cmdline="rseq=off") as program:
            program.tell("threads 500")
            program.tell("large 3")
            program.end()
        counts = listener.end()
        self.assertEqual([counts[name] for name in ("kmalloc", "kfree", "vmalloc", "vfree")], [2000, 2000, 3, 3])

    def test_samples_are_unbiased_and_freed_once(self):
        listener = Bpftrace(self, OTEL)
        with Program() as program:
            for _ in range(20):
                program.tell("small 20000")
            program.tell("large 50")
            program.tell("resize 20")
            self.assertEqual(program.end(), 0)
        counts = listener.end()
        areas = [LARGE] * 51 + [LARGE + (n << 20) for n in range(1, 21)]
        true = 20 * 20000 * (SMALL + 8) + sum(areas)  # and the arrays of pointers
        self.assertEqual(counts["alloc"], counts["free"])
        self.assertEqual(counts.get("unknown", 0), 0)
        # about 940 of the small ones, and nearly all areas: half of all trials are within 1.2 %
        self.assertAlmostEqual(counts["weight"] / true, 1, delta=0.15)
        self.assertLess(counts["size"], true)

    def test_a_listener_of_a_fork(self):
        """The child has the semaphores of its parent, and its own breakpoints."""
        listener = Bpftrace(self, "usdt:LIBRARY:kmem:kmalloc /arg2 == 98765/ { @kmalloc = count(); }")
        program = ("import ctypes, os\nc = ctypes.CDLL(None)\nc.malloc.restype = ctypes.c_void_p\n"
                   "for i in range(100): c.malloc(98765)\n"
                   "if os.fork() == 0:\n  for i in range(50): c.malloc(98765)\n  os._exit(0)\nos.wait()\n")
        subprocess.run([sys.executable, "-c", program], check=True, env=dict(os.environ, LD_PRELOAD=str(LIBRARY)))
        self.assertEqual(listener.end(), {"kmalloc": 150})


@needs("perf")
class PerfTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def perf(self, *words, check=True, **more):
        words = in_namespace("perf", "--buildid-dir", self.folder / "debug", *words)
        done = subprocess.run(words, capture_output=True, text=True, cwd=self.folder, **more,
                              env=dict(os.environ, HOME=str(self.folder)))
        if check and done.returncode:
            self.fail(f"{words}: {done.stderr}")
        return done.stdout + done.stderr

    def add(self, probe):
        """The event's name, which perf chooses."""
        event = re.search(r"Added new event:\s+(\S+)", self.perf("probe", "-x", LIBRARY, "%sdt_kmem:" + probe)).group(1)
        self.addCleanup(self.perf, "probe", "-q", "-d", event, check=False)
        return event

    def test_counts_are_those_of_the_program(self):
        self.perf("buildid-cache", "--add", LIBRARY)
        listed = self.perf("list", "sdt")
        for probe in PROBES:
            self.assertIn("sdt_" + probe, listed)
        events = [self.add(probe) for probe in ("kmalloc", "kfree", "vmalloc", "vfree")]
        orders = self.folder / "orders"
        orders.write_text("small 1000\nlarge 3\nthreads 250\n")
        with orders.open() as file:
            self.perf("record", "-q", "-o", "perf.data", "-e", ",".join(events), "--", "env", f"LD_PRELOAD={LIBRARY}",
                      PROGRAM, stdin=file)
        text = self.perf("script", "-i", "perf.data")
        events = re.findall(r"(\w+): \(\w+\) arg1=\S+ arg2=(\w+)(?: arg3=(\w+))?", text)
        small = [int(ptr) for name, ptr, size in events if name == "kmalloc" and int(size) == SMALL]
        self.assertEqual(len(small), 2000)
        self.assertEqual(len([1 for name, _, size in events if name == "vmalloc" and int(size) == LARGE]), 3)
        self.assertEqual(len([1 for name, *_ in events if name == "vfree"]), 3)
        live, freed = set(), 0
        for name, ptr, size in events:
            if name == "kmalloc" and int(size) == SMALL:
                live.add(int(ptr))
            elif name == "kfree" and int(ptr) in live:
                live.remove(int(ptr))
                freed += 1
        self.assertEqual(freed, 2000)


if __name__ == "__main__":
    del sys.argv[1:3]
    program = unittest.main(exit=False, verbosity=2)
    if not program.result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIP if NO_UPROBES else 0)
