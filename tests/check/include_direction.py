#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Check the rules of the house that a compiler does not see.

  1. Includes go down the ladder of rooms only (the table ALLOWED; EXCEPTIONS and RESERVED for single
     headers).
  2. System calls are made in src/os/ and nowhere else under src/.
  3. Each file in the directories of SPDX_DIRECTORIES names its licence in its first five lines.
  4. No file of the repository holds the path of a machine or the name of a package registry's host.

usage: include_direction.py [--explain] [ROOT]

Prints one line for each breach, as FILE:LINE: what, and exits with 1 when there is one. ROOT is the repository,
by default the one this script stands in. --explain prints the rules instead.
"""

import os
import re
import subprocess
import sys

# Room -> the rooms below that it may include. Besides, each room includes itself, and all but the two of the
# ground floor (FLOOR) include lib/ and arch/.
ALLOWED = {
    "interpose": {"kmalloc", "os", "trace", "debug"},
    "kmalloc": {"slab", "vmalloc", "page", "trace", "debug"},
    "slab": {"page", "os", "trace"},
    "vmalloc": {"page", "os"},
    "page": {"os"},
    "trace": {"os"},
    "debug": set(),
    "os": set(),
    "lib": {"arch"},
    "arch": set(),
}
FLOOR = {"lib", "arch"}

# Rooms that may use the public headers, include/kmalloc/.
PUBLIC = {"interpose", "kmalloc", "slab", "vmalloc", "page", "trace", "debug", "lib"}

# (room, header) -> why this one header may be included past the ladder. For start-up, fork and statistics, which
# have to reach each room by name. An entry that nothing uses is reported, so the list cannot outlive its reasons.
EXCEPTIONS = {
    ("interpose", "slab/percpu.h"): "children of fork and vfork, which must not use the per-CPU areas",
    ("interpose", "slab/kmem_cache.h"): "mallinfo and its like",
    ("interpose", "vmalloc/vmalloc.h"): "mallinfo and its like",
    ("interpose", "page/page.h"): "mallinfo and its like",
    ("interpose", "page/meta.h"): "mallinfo and its like",
    ("interpose", "page/reclaim.h"): "the kswapd thread",
    ("kmalloc", "os/os.h"): "start-up, emergency mappings, statistics",
}

# Header -> the rooms that alone may include it, whatever ALLOWED says.
RESERVED = {
    "arch/x86_64/syscall.h": {"os"},
}

SYSTEM_CALLS = (
    "mmap mmap64 munmap mremap mprotect madvise syscall futex membarrier open open64 openat read write "
    "clock_gettime sysinfo getrlimit getrlimit64 prlimit prlimit64"
).split()

SPDX_DIRECTORIES = ("src", "include", "bench", "tests", "tools", "docs", ".ci")
SPDX_LINES = 5
NO_COMMENTS_SUFFIXES = (".input", ".json", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".ico", ".pdf")

C_SUFFIXES = (".c", ".h", ".cc", ".hh", ".S", ".inc", ".def")

# Comments and literals of C, in the order in which one hides another. A quote after a digit separates digits.
TOKENS = re.compile(
    r"""(?P<comment>//(?:\\\n|[^\n])*|/\*.*?(?:\*/|\Z))"""
    r"""|(?P<literal>"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*')""",
    re.DOTALL,
)
INCLUDE = re.compile(r"^[ \t]*#[ \t]*include(?:_next)?\b[ \t]*(.*)$", re.MULTILINE)
# A call through a structure (`ops->read(...)`) is no system call.
CALL = re.compile(r"(?<![\w.])(?<!->)(%s)\s*\(" % "|".join(SYSTEM_CALLS))
SPDX = re.compile(r"SPDX-License-Identifier: MIT\b")
# Written so that this line does not match itself.
MACHINE = re.compile(
    r"/(?:work|farm|root)/|(?<![\w.})/-])/(?:work|farm|root)(?![\w-])|(?<![\w.})/-])/home/\w|/tmp/(?:bash)_jobs"
    r"|\b(?:deb|security|ftp|archive|snapshot)\.(?:debian)\.org|\bregistry\.(?:npmjs)|\b(?:pypi)\.org"
)


def blank(text):
    """The same number of lines with nothing on them."""
    return "\n" * text.count("\n") or " "


def without_comments(text):
    return TOKENS.sub(lambda m: m[0] if m["literal"] else blank(m[0]), text)


def without_comments_and_literals(text):
    return TOKENS.sub(lambda m: '""' if m["literal"] else blank(m[0]), text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def repository_files(root):
    """Paths, relative to root, of what is or would be tracked; without git, of all but build products."""
    if os.path.exists(os.path.join(root, ".git")):
        listed = subprocess.run(
            ["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z", "-co", "--exclude-standard"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
        )
        if listed.returncode == 0:
            names = {os.fsdecode(name) for name in listed.stdout.split(b"\0") if name}
            return sorted(name for name in names if os.path.isfile(os.path.join(root, name)))
    found = []
    for directory, below, names in os.walk(root):
        if directory == root:
            below[:] = [name for name in below if not name.startswith("build") and name != ".git"]
        below[:] = [name for name in below if name not in ("out", "__pycache__")]
        found += [os.path.relpath(os.path.join(directory, name), root) for name in names]
    return sorted(name for name in found if os.path.isfile(os.path.join(root, name)))


def read_text(root, name):
    """The file's text, or None for a binary file."""
    with open(os.path.join(root, name), "rb") as file:
        data = file.read()
    return None if b"\0" in data else data.decode("utf-8", "replace")


class Checker:
    def __init__(self, root, exceptions):
        self.root = root
        self.exceptions = exceptions
        self.used = set()
        self.breaches = []

    def breach(self, name, line, what):
        self.breaches.append("%s:%d: %s" % (name, line, what))

    def exists(self, *parts):
        return os.path.isfile(os.path.join(self.root, *parts))

    def check(self):
        for name in repository_files(self.root):
            text = read_text(self.root, name)
            if text is None:
                continue
            if name.startswith("src/") and name.endswith(C_SUFFIXES):
                self.check_source(name, text)
            self.check_licence(name, text)
            self.check_paths(name, text)
        for room, header in sorted(set(self.exceptions) - self.used):
            self.breach("tests/check/include_direction.py", 1,
                        "the exception for %s to include %s is not used" % (room, header))
        return self.breaches

    def check_source(self, name, text):
        parts = name.split("/")
        room = parts[1]
        if len(parts) < 3 or room not in ALLOWED:
            self.breach(name, 1, "stands in none of the rooms %s" % " ".join(ALLOWED))
            return
        code = without_comments(text)
        for match in INCLUDE.finditer(code):
            self.check_include(name, room, line_of(code, match.start(1)), match[1].strip())
        if room == "os":
            return
        code = without_comments_and_literals(text)
        for match in CALL.finditer(code):
            self.breach(name, line_of(code, match.start(1)),
                        "%s() is called here; system calls are made in src/os/ only" % match[1])

    def check_include(self, name, room, line, what):
        quoted = re.match(r'"([^"]+)"|<([^>]+)>', what)
        if not quoted:
            self.breach(name, line, "cannot tell what `#include %s` names" % what)
            return
        header = quoted[1] or quoted[2]
        target = header.split("/")[0]
        is_public = self.exists("include", header)
        if is_public and self.exists("src", header):
            self.breach(name, line, "%s stands under both src/ and include/" % header)
        elif is_public:
            if room not in PUBLIC:
                self.breach(name, line, "%s may not include the public header %s" % (room, header))
        elif target in ALLOWED and "/" in header:
            self.check_direction(name, room, line, header, target)
        elif quoted[1]:
            self.breach(name, line, '"%s" does not start with a room (paths are relative to src/)' % header)

    def check_direction(self, name, room, line, header, target):
        if ".." in header.split("/"):
            self.breach(name, line, '"%s" leaves its room by ..' % header)
        elif room not in RESERVED.get(header, {room}):
            self.breach(name, line, "%s may not include %s (only %s may)"
                        % (room, header, " ".join(sorted(RESERVED[header]))))
        elif not may_include(room, target):
            if (room, header) in self.exceptions:
                self.used.add((room, header))
            else:
                self.breach(name, line, "%s may not include %s (it may include %s)"
                            % (room, header, " ".join(included_by(room))))

    def check_licence(self, name, text):
        if not name.startswith(tuple(top + "/" for top in SPDX_DIRECTORIES)):
            return
        if name.endswith(NO_COMMENTS_SUFFIXES):
            return
        if not SPDX.search("\n".join(text.split("\n")[:SPDX_LINES])):
            self.breach(name, 1, "no line SPDX-License-Identifier: MIT among the first %d" % SPDX_LINES)

    def check_paths(self, name, text):
        for match in MACHINE.finditer(text):
            self.breach(name, line_of(text, match.start()),
                        "'%s' belongs to one machine or to a package registry" % match[0])


def may_include(room, target):
    return target == room or target in ALLOWED[room] or (target in FLOOR and room not in FLOOR)


def included_by(room):
    return [target for target in ALLOWED if may_include(room, target)]


def explain(exceptions):
    print("Rooms under src/ and what each may include:")
    for room in ALLOWED:
        public = "  and include/kmalloc/" if room in PUBLIC else ""
        print("  %-10s %s%s" % (room, " ".join(included_by(room)), public))
    print("Exceptions, header by header:")
    for (room, header), why in sorted(exceptions.items()):
        print("  %-10s %s: %s" % (room, header, why))
    if not exceptions:
        print("  none")
    print("Headers for some rooms only:")
    for header, rooms in sorted(RESERVED.items()):
        print("  %s: %s" % (header, " ".join(sorted(rooms))))
    print("Called in src/os/ only: " + " ".join(SYSTEM_CALLS))
    print("A licence line in each file under: " + " ".join(SPDX_DIRECTORIES))
    print("No machine's path and no registry's host in any file.")


def main(arguments):
    paths = [argument for argument in arguments if not argument.startswith("-")]
    options = [argument for argument in arguments if argument.startswith("-")]
    if options not in ([], ["--explain"]) or len(paths) > 1:
        print("usage: include_direction.py [--explain] [ROOT]", file=sys.stderr)
        return 2
    if options:
        explain(EXCEPTIONS)
        return 0
    root = paths[0] if paths else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    root = os.path.realpath(root)
    # The exceptions are for the tree that this table is part of.
    ours = os.path.isfile(os.path.join(root, "tests", "check", "include_direction.py"))
    breaches = Checker(root, EXCEPTIONS if ours else {}).check()
    for breach in breaches:
        print(breach)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
