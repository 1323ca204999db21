# SPDX-License-Identifier: MIT
"""What the tests of `kmem`'s live views have in common: programs that run the library, and kmem."""

import json
import os
import subprocess
import time

KMEM = os.environ["KMEM"]
LIBRARY = os.environ["KMALLOC_SO"]
PROGRAMS = os.environ["KMEM_PROGRAMS"]


def kmem(*words, status=0, timeout=60):
    """Its output; the status is checked. With a status of None: the whole result."""
    result = subprocess.run([KMEM, *map(str, words)], capture_output=True, text=True, timeout=timeout, check=False)
    if status is None:
        return result
    if result.returncode != status:
        raise AssertionError(f"kmem {words}: {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result.stdout


def kmem_json(*words):
    return json.loads(kmem(*words, "--json"))


class Program:
    """One of the programs beside this, which answers each line of its input with one of its output."""

    def __init__(self, name, preload=True, cmdline="", ready=True):
        env = dict(os.environ, KMALLOC_CMDLINE=cmdline)
        env.pop("LD_PRELOAD", None)
        if preload:
            env["LD_PRELOAD"] = LIBRARY
        self.process = subprocess.Popen([os.path.join(PROGRAMS, name)], env=env, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.process.pid
        if ready:
            self.first = self.process.stdout.readline().split()
        elif preload:
            self.wait_for_library()

    def wait_for_library(self):
        for _ in range(1000):
            if kmem("status", self.pid, status=None).returncode == 0:
                return
            time.sleep(0.01)
        raise AssertionError(f"{self.process.args}: the library does not start")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stdout.close()

    def tell(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
