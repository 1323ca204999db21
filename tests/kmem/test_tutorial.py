#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_tutorial.py - what docs/tutorial.md finds is found: its programs, and its commands in a shorter form.

Environment: see recorder.py; TUTORIAL is the folder of the programs.
"""
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
from recorder import KMEM, KmemTest, environment  # noqa: E402

TUTORIAL = os.environ["TUTORIAL"]
PYTHON = "/usr/bin/python3"
TEXT = "The quick brown fox jumps over the lazy dog, and the dog sleeps on\n" * 100
WORDS = 14 * 100
DIFFERENT = 12
VISITS = 15000


def calls(stack):
    """Names of the functions of a stack that `leaks` or `diff` tell, the innermost first."""
    return [re.sub(r"\+0x.*", "", call) for call in stack]


@unittest.skipUnless(os.path.exists(PYTHON) and shutil.which("cc"), f"no {PYTHON}, or no compiler")
class Leak(KmemTest):
    def setUp(self):
        super().setUp()
        subprocess.run(["cc", "-g", "-O2", "-shared", "-fPIC", "-o", self.path("libwords.so"), os.path.join(TUTORIAL, "words.c")],
                       check=True)
        with open(self.path("text"), "w", encoding="ascii") as file:
            file.write(TEXT)
        with open(os.path.join(TUTORIAL, "words.c"), encoding="ascii") as file:
            lines = file.read().splitlines()
        self.line = 1 + next(number for number, line in enumerate(lines) if "malloc(" in line)

    def start(self, name, program, *words, **more):
        return subprocess.Popen([KMEM, "record", "--stacks", "-o", self.path(name), "--", PYTHON, os.path.join(TUTORIAL, program), *words],
                                cwd=self.folder, env=environment(PYTHONMALLOC="malloc"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, **more)

    def count(self, name, program, *words):
        recorder = self.start(name, program, *words)
        out, said = recorder.communicate(timeout=60)
        self.assertEqual(recorder.returncode, 0, said)
        self.assertTrue(out.startswith(f"{DIFFERENT} words, "), out)
        return self.path(name)

    def test_report_names_the_line_and_the_callers(self):
        data = self.count("once", "count.py", "text")
        site, = (site for site in self.report(data=data)["sites"] if "words_normalise" in json.dumps(site))
        self.assertEqual((site["live_objects"], site["allocs"]), (WORDS, WORDS))
        text = self.kmem("report", "--stacks", "--function", "ffi_call", "-n", "1", data)[0]
        self.assertRegex(text, rf"\n +\S+ \S+ +{WORDS} [^\n]*\n    words_normalise\+0x\w+ words\.c:{self.line}\n(    .*\n)*    ffi_call\+0x.*\n")

    def test_diff_has_nothing_else_that_grows(self):
        once, twice = self.count("once", "count.py", "text"), self.count("twice", "count.py", "text", "text")
        for more, name in (((), "call_site"), (("--stacks",), "stack")):
            sites = json.loads(self.kmem("diff", "--json", "-n", "0", *more, once, twice)[0])["sites"]
            first = sites[0]
            self.assertIn("words_normalise", json.dumps(first[name]))
            self.assertEqual(first["change"]["live_objects"], WORDS)
            self.assertLess(sites[1]["change"]["live_bytes"], first["change"]["live_bytes"] / 10)
        self.assertEqual(calls(first["stack"])[0], "words_normalise")
        self.assertTrue(any(call.startswith("ffi_call") for call in first["stack"]))
        self.assertIn("\n    words_normalise+0x", self.kmem("diff", "--stacks", "-n", "1", once, twice)[0])

    def test_leaks_of_the_running_process_have_whole_stacks(self):
        recorder = self.start("live", "count.py", stdin=subprocess.PIPE)
        recorder.stdin.write(TEXT)
        recorder.stdin.flush()
        found = {"count": 0}
        end = time.monotonic() + 30
        while found["count"] < WORDS * 0.9 and time.monotonic() < end:
            time.sleep(0.5)
            with open(f"/proc/{recorder.pid}/task/{recorder.pid}/children", encoding="ascii") as file:
                child = file.read().split()
            if child and os.path.exists(self.path("live")):
                said = subprocess.run([KMEM, "leaks", "--json", "--recording", self.path("live"), child[0]],
                                      capture_output=True, text=True, check=False)
                lost = json.loads(said.stdout)["objects"] if said.returncode == 0 else []
                stacks = [calls(block["stack"]) for block in lost if "stack" in block]
                found = {"count": sum(stack[0] == "words_normalise" for stack in stacks),
                         "whole": all(len(stack) > 5 for stack in stacks if stack[0] == "words_normalise")}
        recorder.communicate(timeout=60)
        self.assertGreaterEqual(found["count"], WORDS * 0.9)
        self.assertTrue(found["whole"])

    def test_leaks_of_a_recording_may_be_ignored_by_a_caller(self):
        data = self.count("once", "count.py", "text")
        self.assertIn("words_normalise", self.kmem("leaks", "-n", "0", data)[0])
        with open(self.path("known"), "w", encoding="ascii") as file:
            file.write("^ffi_call$\n")
        self.assertNotIn("words_normalise", self.kmem("leaks", "-n", "0", "--ignore", self.path("known"), data)[0])

    def test_cured_program_frees_all(self):
        leaking, cured = self.count("once", "count.py", "text"), self.count("cured", "count_cured.py", "text")
        site, = (site for site in self.report(data=cured)["sites"] if "words_normalise" in json.dumps(site))
        self.assertEqual((site["live_objects"], site["allocs"]), (0, WORDS))
        last = json.loads(self.kmem("diff", "--json", "-n", "0", leaking, cured)[0])["sites"][-1]
        self.assertIn("words_normalise", last["call_site"])
        self.assertEqual(last["change"]["live_objects"], -WORDS)


@unittest.skipUnless(shutil.which("redis-server"), "no redis-server")
class Growth(KmemTest):
    def setUp(self):
        super().setUp()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.redis = self.preloaded("redis-server", "--port", str(self.port), "--save", "", "--dir", self.folder)
        end = time.monotonic() + 30
        while not self.ask("PING").startswith("+PONG"):
            self.assertLess(time.monotonic(), end, "redis-server does not answer")
            time.sleep(0.05)

    def ask(self, line):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
                client.sendall(f"{line}\r\n".encode())
                return client.recv(65536).decode()
        except OSError:
            return ""

    def shop(self, visits):
        """Let it make its visits; it stays, and so does its dashboard."""
        shop = subprocess.Popen([PYTHON, os.path.join(TUTORIAL, "shop.py"), str(self.port), str(visits)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(shop.communicate)
        self.assertTrue(select.select([shop.stdout], [], [], 60)[0], "the shop does not get on")
        self.assertEqual(shop.stdout.readline(), f"{visits} visits\n")

    def test_what_grows_is_found(self):
        recorder = subprocess.Popen([KMEM, "record", "--stacks", "--full=wait", "-p", str(self.redis.pid), "-o", self.data],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 30
        while "off" in self.kmem("status", str(self.redis.pid))[0].split("tracing:")[1].split("\n")[0]:
            self.assertLess(time.monotonic(), end, "it is not recorded")
            time.sleep(0.05)
        self.shop(VISITS)
        waiting = max(map(int, re.findall(r"omem=(\d+)", self.ask("CLIENT LIST"))))
        self.assertEqual(self.ask("LLEN log"), f":{VISITS}\r\n")
        time.sleep(2.5)  # the sessions' two seconds, and Redis looks for those ten times a second
        recorder.send_signal(signal.SIGINT)
        said = recorder.communicate(timeout=60)[1]
        self.assertEqual(recorder.returncode, 0, said)
        self.assertNotIn("lost", said)

        self.assertGreater(waiting, 100 << 10)
        self.assertAlmostEqual(self.live_of("^addReplyPubsubMessage$") / waiting, 1, delta=0.35)  # 16 KiB take 20
        log = self.live_of("^quicklistPushTail$")
        self.assertGreater(log, VISITS * 50)
        self.assertLess(log, VISITS * 100)
        # by call site alone all is Redis' own layer
        sites = self.report()["sites"]
        self.assertEqual([site for site in sites if site["live_bytes"] and "zmalloc" not in str(site) and "zrealloc" not in str(site) and
                          "zcalloc" not in str(site)], [])
        self.assertIn("redis-server", self.kmem("report", self.data)[0].splitlines()[0])
        self.assertIn(";pushGenericCommand;quicklistPushTail", self.kmem("export", "--collapsed", self.data)[0])

    def live_of(self, function):
        return sum(site["live_bytes"] for site in self.report("--stacks", "--function", function)["sites"])


class Text(unittest.TestCase):
    """The document shows what is in the programs, and pictures that are there."""

    def setUp(self):
        with open(f"{TUTORIAL}.md", encoding="utf-8") as file:
            self.text = file.read()

    def test_programs_are_looked_for_where_its_script_does(self):
        """Not first where python3 is a script that starts another."""
        paths = []
        for name in (TUTORIAL + ".md", os.path.join(TUTORIAL, "make")):
            with open(name, encoding="utf-8") as file:
                paths.append(re.search(r"^ *export PATH=\$\w+(/\S+)", file.read(), re.MULTILINE)[1])
        self.assertEqual(paths, ["/build:/usr/bin:$PATH"] * 2)

    def test_code_is_that_of_the_programs(self):
        for language, name in (("c", "words.c"), ("python", "count.py"), ("python", "count_cured.py")):
            with open(os.path.join(TUTORIAL, name), encoding="utf-8") as file:
                program = file.read()
            blocks = re.findall(rf"(?ms)^```{language}\n(.*?)^```", self.text)
            self.assertTrue(any(block in program for block in blocks), name)

    def test_pictures_are_small_and_all_used(self):
        used = set(re.findall(r"!\[[^\]]+\]\(tutorial/([^)]+)\)", self.text))
        self.assertEqual(used, {name for name in os.listdir(TUTORIAL) if name.endswith(".png")})
        for name in used:
            self.assertLess(os.path.getsize(os.path.join(TUTORIAL, name)), 150 << 10)


if __name__ == "__main__":
    unittest.main()
