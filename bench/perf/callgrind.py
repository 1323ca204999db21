# SPDX-License-Identifier: MIT
"""Runs a program under valgrind's callgrind, which counts every instruction, and reads what it wrote.

Valgrind runs no restartable sequences, so the library is in its locked mode there. Only the program's own
instructions are counted, not the kernel's."""
import glob
import os
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, field

OPTIONS = ("-q", "--tool=callgrind", "--dump-instr=yes", "--dump-line=no", "--compress-strings=no",
           "--compress-pos=no", "--trace-children=yes")


class CallgrindFailed(Exception):
    """The text says why, in one line."""


@dataclass
class Costs:
    """Instructions of a program and its children."""
    total: int = 0
    own: Counter = field(default_factory=Counter)      # {(object file, address in it): instructions}
    calls: Counter = field(default_factory=Counter)    # {(caller's object, its address, object called, function):
    #                                                     instructions until the return}
    processes: int = 0

    def of_object(self, path):
        """{address: instructions} of one object file."""
        path = os.path.realpath(path)
        return {address: cost for (name, address), cost in self.own.items() if os.path.realpath(name) == path}


def read(path, costs):
    """Add a file of callgrind's to costs. CallgrindFailed: it is none, or damaged."""
    try:
        _read(path, costs)
    except (ValueError, IndexError):
        raise CallgrindFailed(f"{path}: not a whole file of callgrind") from None


def _read(path, costs):
    current = called = function = ""
    is_call = False
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if "\0" in line:  # no text
                raise ValueError
            first = line[:1]
            if first.isdigit():
                address, cost = line.split()[:2]
                address, cost = int(address, 16), int(cost)
                if is_call:
                    costs.calls[current, address, called, function] += cost
                    called, is_call = current, False
                else:
                    costs.own[current, address] += cost
                    costs.total += cost
                continue
            name, equals, value = line.rstrip("\n").partition("=")
            if not equals:
                continue
            if name == "ob":
                current = called = value
            elif name == "cob":
                called = value
            elif name == "cfn":
                function = value
            elif name == "calls":
                is_call = True
    costs.processes += 1


def count(command, environment, folder, streams):
    """(Costs, exit status) of one run. streams: stdin, stdout and stderr for subprocess."""
    valgrind = shutil.which("valgrind")
    if not valgrind:
        raise CallgrindFailed("valgrind is not installed (tools/deps bench)")
    pattern = os.path.join(folder, "callgrind.%p")
    status = subprocess.run([valgrind, *OPTIONS, f"--callgrind-out-file={pattern.replace('%p', '')}%p", "--",
                             *command], env=environment, **streams).returncode
    costs = Costs()
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "callgrind.*"))):
        if os.path.getsize(path):
            read(path, costs)
        os.unlink(path)
    if not costs.total:
        raise CallgrindFailed("callgrind wrote nothing")
    return costs, status
