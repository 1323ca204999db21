# SPDX-License-Identifier: MIT
"""What tools/perf-record and tools/perf-stat share: options, the program to run and its environment, messages.

The program gets the environment that the tool was started with, to the byte (/proc/self/environ: Python changes its own
for the locale), with the library first in LD_PRELOAD. `env -i` sets it, since perf changes PATH and adds variables of
its own."""
import os
import shutil
import signal
import sys

TOOL = "tools/perf"


class Stop(Exception):
    """Ends the tool with one line on stderr."""

    def __init__(self, text, status=125):
        super().__init__(text)
        self.status = status


def say(text):
    print(f"{TOOL}: {text}", file=sys.stderr, flush=True)


def own_environment():
    with open("/proc/self/environ", "rb") as file:
        pairs = [item.partition(b"=") for item in file.read().split(b"\0") if b"=" in item]
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def with_preload(environment, library, preload):
    """PRELOAD is the caller's own; it stays behind LIBRARY, which may be None."""
    environment = dict(environment)
    environment.pop("LD_PRELOAD", None)
    value = ":".join(item for item in (library, preload) if item)
    if value:
        environment["LD_PRELOAD"] = value
    return environment


def under_env(environment, command):
    """The command that starts COMMAND with exactly this environment."""
    return ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in environment.items()), *command]


def find_program(name, environment):
    """The name or path that can be run, or a Stop with the status that a shell gives."""
    if "/" in name:
        if not os.path.exists(name):
            raise Stop(f"{name}: not found", 127)
        if os.path.isdir(name):
            raise Stop(f"{name}: is a directory", 126)
        if not os.access(name, os.X_OK):
            raise Stop(f"{name}: not executable", 126)
        found = name
    else:
        found = shutil.which(name, path=environment.get("PATH", os.defpath))
        if not found:
            raise Stop(f"{name}: not found", 127)
    if "=" in found:
        raise Stop(f"{name}: a program with = in its name cannot be started by env", 126)
    return name


def parse(words, options, usage):
    """(values, program and its arguments). OPTIONS: {"--name": default}; one whose default is False takes no value.
    What follows the program is its own."""
    values, place = dict(options), 0
    while place < len(words) and words[place].startswith("-"):
        word = words[place]
        place += 1
        if word == "--":
            break
        if word in ("-h", "--help"):
            print(usage, end="")
            sys.exit(0)
        name, equals, value = word.partition("=")
        if name not in options:
            raise Stop(f"unknown option '{name}' (try --help)", 2)
        if options[name] is False:
            if equals:
                raise Stop(f"{name} takes no value", 2)
            values[name] = True
            continue
        if not equals:
            if place == len(words):
                raise Stop(f"{name} needs a value (try --help)", 2)
            value = words[place]
            place += 1
        values[name] = value
    if place == len(words):
        raise Stop("no program was given (try --help)", 2)
    return values, words[place:]


def library(path):
    """The library to preload. A path with a space or a colon cannot be."""
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise Stop(f"there is no {path} (tools/build makes build/libkmalloc.so)")
    if any(letter in ": \t\n" for letter in path):
        raise Stop(f"LD_PRELOAD cannot hold a path with a space or a colon: {path}")
    return path


def number(name, text, low, high):
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise Stop(f"{name} {text}: not a number from {low} to {high}", 2)
    return value


def end_as(status):
    """End as a program that subprocess reported did: by its exit status, or by its signal."""
    sys.stdout.flush()
    sys.stderr.flush()
    if status < 0:
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status if status >= 0 else 128 - status)
