#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run one misuse on the library and compare what it says, line by line.

usage: check.py LIBRARY PROGRAM SOURCE

The comment at the head of SOURCE tells what to expect: `cmdline:` is KMALLOC_CMDLINE, `dies:` a line on stderr before
SIGABRT, `lives:` one before exit status 0. PTR in a line is the address that the program printed on stdout, CALLER any
place in the program.
"""

import os
import re
import signal
import subprocess
import sys


def main():
    library, program, source = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        head = file.read().split("*/")[1]
    told = re.findall(r"^ \* (cmdline|dies|lives): (.*)$", head, re.MULTILINE)
    cmdline = " ".join(text for key, text in told if key == "cmdline")
    expected = [text for key, text in told if key != "cmdline"]
    status = -signal.SIGABRT if any(key == "dies" for key, _ in told) else 0
    if not expected:
        sys.exit(f"{source} expects nothing")
    for mode in ("", "rseq=off"):
        words = f"{cmdline} {mode}".strip()
        done = subprocess.run([program], env=dict(os.environ, LD_PRELOAD=library, KMALLOC_CMDLINE=words),
                              capture_output=True, text=True, check=False, timeout=60)
        wanted = [line.replace("PTR", done.stdout.strip()) for line in expected]
        place = re.escape(os.path.basename(program)) + r"\+0x[0-9a-f]+|\w+\+0x[0-9a-f]+/0x[0-9a-f]+ \[" + \
            re.escape(os.path.basename(program)) + r"\]"
        pattern = "\n".join(re.escape(line).replace("CALLER", f"(?:{place})") for line in wanted)
        if done.returncode != status or not re.fullmatch(pattern + "\n", done.stderr):
            sys.exit(f"KMALLOC_CMDLINE='{words}': status {done.returncode}, expected {status}\n"
                     f"stderr:\n{done.stderr}expected:\n" + "\n".join(wanted))


main()
