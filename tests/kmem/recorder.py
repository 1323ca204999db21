# SPDX-License-Identifier: MIT
"""recorder.py - what the tests of kmem share: its commands, and a folder for each test."""
import json
import os
import subprocess
import tempfile
import unittest

KMEM = os.environ["KMEM"]
LIBRARY = os.environ["KMALLOC_SO"]
PROGS = os.environ["KMEM_PROGS"]


def prog(name):
    return os.path.join(PROGS, name)


def environment(**more):
    plain = {name: value for name, value in os.environ.items()
             if name not in ("LD_PRELOAD", "KMALLOC_CMDLINE", "MALLOC_PERTURB_", "ASAN_OPTIONS")}
    return dict(plain, LC_ALL="C", **more)


class KmemTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="kmem-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.data = os.path.join(self.folder, "kmem.data")

    def path(self, name):
        return os.path.join(self.folder, name)

    def kmem(self, *words, status=0, env=None):
        """Run it; what it wrote to standard output and to standard error."""
        done = subprocess.run([KMEM, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                              env=env or environment(), check=False)
        if status is not None:
            self.assertEqual(done.returncode, status, (words, done.stdout[-2000:], done.stderr[-2000:]))
        return done.stdout, done.stderr

    def record(self, *words, output=None, **more):
        return self.kmem("record", "-o", output or self.data, *words, **more)[1]

    def report(self, *words, data=None):
        return json.loads(self.kmem("report", "--json", "-n", "0", *words, data or self.data)[0])

    def preloaded(self, *words, **more):
        """Start a program on the library; it is killed at the end of the test, if it is there still."""
        child = subprocess.Popen(words, env=environment(LD_PRELOAD=LIBRARY), stdout=subprocess.PIPE, text=True, **more)
        self.addCleanup(self.end, child)
        return child

    @staticmethod
    def end(child):
        if child.poll() is None:
            child.kill()
        child.wait()
        child.stdout.close()


def by_function(report, prefix):
    """Sums of the sites in functions that are called so."""
    sums = {}
    for site in report["sites"]:
        name = site["frames"][-1].get("function", "")
        if not name.startswith(prefix):
            continue
        into = sums.setdefault(name.split(".")[0], {})
        for key, value in site.items():
            if isinstance(value, int):
                into[key] = into.get(key, 0) + value
    return sums
