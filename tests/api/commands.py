# SPDX-License-Identifier: MIT
"""What the tests of this folder share."""

import subprocess


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def run(*command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout
