#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The model finds faults: each of model_fault.c's is reported as what it is, shrunk to a few operations, and the
command that is printed repeats it.

usage: test_model_finds.py MODEL MODEL_FAULT LIBRARY
"""
import os
import re
import shlex
import subprocess
import sys
import tempfile

# fault -> what the model says of it
FAULTS = {
    "twice": "overlaps",
    "misaligned": "not aligned",
    "errno": "errno was changed though nothing failed",
    "refuses": "no memory was given",
    "free_errno": "free changed errno",
    "writes": "the contents changed",
    "not_zero": "calloc gave memory that is not zero",
    "forgets": "realloc lost contents",
    "size": "malloc_usable_size",
    "stores": "posix_memalign failed and stored a pointer",
    "fork": "the contents changed",
}
MOST = 200  # operations of a sequence that has to come to a call that goes wrong; 600 before


def check(fault, text, model, fault_library, library, folder):
    environment = dict(os.environ, LD_PRELOAD=f"{fault_library} {library}", KMALLOC_CMDLINE="", MODEL_FAULT=fault)
    run = subprocess.run([model, "--seconds", "1", "--ops", "600", "--out", folder], env=environment,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    said = run.stderr
    if run.returncode != 1 or text not in said:
        return f"not found; status {run.returncode}, said:\n{said}"
    left = re.search(r"(\d+) operations are left", said)
    if not left or int(left[1]) > MOST:
        return f"not shrunk:\n{said}"
    command = re.search(r"repeat with: (.*)", said)
    if not command:
        return f"no command that repeats it:\n{said}"
    again = subprocess.run(shlex.split("env " + command[1]), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           env=environment, text=True, check=False)
    if again.returncode != 1 or text not in again.stderr:
        return f"the command does not repeat it: {command[1]}\n{again.stderr}"
    print(f"{fault}: {left[1]} operations are left")
    return None


def main():
    model, fault_library, library = sys.argv[1:]
    failed = 0
    for fault, text in FAULTS.items():
        with tempfile.TemporaryDirectory() as folder:
            problem = check(fault, text, model, fault_library, library, folder)
        if problem:
            print(f"{fault}: {problem}", file=sys.stderr)
            failed += 1
    print(f"{len(FAULTS) - failed} of {len(FAULTS)} faults found, shrunk and repeated")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
