# SPDX-License-Identifier: MIT
"""What `perf script` prints, read into samples, each given to one path (rooms.PATHS) and added up.

A sample's frames go from the innermost to the outermost. The allocator's are those in libkmalloc.so; a signal handler
that interrupted the allocator is the program's. Time in the kernel is told by the outermost kernel function: a system
call, a page fault, or an interrupt, which is counted as what it interrupted.

calloc ends in a jump to the C library's memset, whose caller is then calloc's: it is put back where the program called
calloc there."""
import os
import re
from collections import Counter
from dataclasses import dataclass

import callsite
import rooms

FRAME = re.compile(r"^\s+([0-9a-f]{1,16}) (.*) \(([/\[].*|[^ /)]*)\)$")
EVENT = re.compile(r"^(.*?)\s+(-?\d{1,20})/(-?\d{1,20})\s+[\d.]+:\s*(PERF_RECORD_\w+.*)?$")
RUNTIME = re.compile(r"^(libc|libm|libstdc\+\+|libgcc_s|ld-linux-x86-64|libpthread|libdl|\[vdso)(?!\w)")
BYTES = re.compile(r"^_*(mem(set|cpy|move|pcpy)|bzero)")
SYSCALL_INSTRUCTION = b"\x0f\x05"


@dataclass
class Frame:
    address: int  # in the object file; for the kernel, in memory
    symbol: str   # "[unknown]" where perf knows none
    object: str   # the file's path

    @property
    def in_kernel(self):
        return self.object.startswith("[kernel") or self.object.startswith("[guest.kernel")\
            or self.object.endswith(".ko") or self.address >= 1 << 63

    def name(self):
        base = os.path.basename(self.object)
        if self.in_kernel:
            return f"{self.symbol} [kernel]"
        if self.symbol == "[unknown]":
            return "[unknown]" if self.object == "[unknown]" else f"{base}+{self.address:#x}"
        return self.symbol


def kernel_reason(frames, user):
    """Why the kernel ran: "call", "fault" or None for an interrupt. USER is the frame that it was entered from."""
    for frame in reversed(frames):
        name = frame.symbol
        if "SYSCALL" in name or name.startswith(("do_syscall", "__x64_sys", "ret_from_fork")):
            return "call"
        if "page_fault" in name or "do_user_addr_fault" in name:
            return "fault"
        if "interrupt" in name or name.startswith(("asm_sysvec", "sysvec")):
            return None
    # No names: the kernel hides them. What comes before the address says whether the program called.
    if user is None:
        return None
    try:
        with open(user.object, "rb") as file:
            file.seek(max(0, user.address - 2))
            return "call" if file.read(2) == SYSCALL_INSTRUCTION else "fault"
    except (OSError, OverflowError, ValueError):
        return None


def events(lines):
    """(comm, pid, frames or the text of a task event) of each record."""
    head, frames = None, []
    for line in lines:
        line = line.rstrip("\n")
        if not line:
            if head:
                yield (*head, frames)
            head, frames = None, []
            continue
        found = FRAME.match(line) if head else None
        if found:
            frames.append(Frame(int(found[1], 16), found[2], found[3]))
            continue
        found = EVENT.match(line)
        if not found:
            continue
        if head:
            yield (*head, frames)
        head, frames = None, []
        if found[4]:
            yield found[1], int(found[2]), found[4]
        else:
            head = (found[1], int(found[2]))
    if head:
        yield (*head, frames)


class Profile:
    def __init__(self, library, classifier):
        self.library = os.path.realpath(library)
        self.rooms = classifier
        self.samples = self.incomplete = self.lost = 0
        self.loaded = False
        self.paths = Counter()
        self.callers = Counter()
        self.stacks = Counter()
        self._ours = {}
        self._calls = callsite.CallSites()

    def read(self, lines, execs_to_skip=0):
        """Add up what perf script printed. The first process is counted from its exec number EXECS_TO_SKIP on."""
        first, left = None, execs_to_skip
        for comm, pid, what in events(lines):
            if isinstance(what, str):
                if "PERF_RECORD_COMM exec" in what:
                    first = pid if first is None else first
                    left -= pid == first
                elif "PERF_RECORD_LOST" in what:
                    lost = re.search(r"lost (\d{1,20})", what)
                    self.lost += int(lost[1]) if lost else 0
            elif left <= 0:
                self.add(comm, what)

    def is_ours(self, frame):
        name = frame.object
        if name not in self._ours:
            is_path = name.startswith("/") and "\0" not in name
            self._ours[name] = is_path and os.path.realpath(name) == self.library
        return self._ours[name]

    def _address(self, frame):
        return self.rooms.library.address_of_offset(frame.address)

    def _with_calloc(self, user):
        """The frames with calloc between memset and what called calloc."""
        outer = next((frame for frame in user[1:] if frame.object.startswith("/")), None)
        if not outer or not BYTES.match(user[0].symbol) or self.is_ours(outer) \
                or self._calls.called(outer.object, outer.address) != "calloc":
            return user
        library = self.rooms.library
        calloc = Frame(library.offset_of_address(library.names["calloc"].address), "calloc", self.library)
        return [user[0], calloc, *user[1:]]

    def add(self, comm, frames):
        kernel = [frame for frame in frames if frame.in_kernel]
        user = self._with_calloc([frame for frame in frames if not frame.in_kernel])
        handler = next((place for place, frame in enumerate(user) if frame.symbol == "__restore_rt"), len(user))
        inner = [place for place, frame in enumerate(user[:handler]) if self.is_ours(frame)]
        reason = kernel_reason(kernel, user[0] if user else None) if kernel else None
        path = self.path_of(user, inner, reason)
        self.samples += 1
        self.paths[path] += 1
        if inner:
            self.loaded = True
            self.callers[self.caller_of(user[inner[-1] + 1:])] += 1
        self.stacks[tuple(self._names(comm, kernel, user, path))] += 1
        if user and not BOTTOM.search(user[-1].symbol):
            self.incomplete += 1

    def path_of(self, user, inner, reason):
        if not inner:
            return rooms.FAULTS_ELSEWHERE if reason == "fault" else rooms.OTHER
        if reason == "call":
            return rooms.CALLS
        if reason == "fault":
            return rooms.FAULTS
        if inner[0] > 0 and BYTES.match(user[0].symbol):
            return rooms.COPY
        for place in inner:
            path = self.rooms.path_at(self._address(user[place]))
            if path is not rooms.CALLER:
                return path
        return rooms.REST

    def caller_of(self, outer):
        """(function, object) of the program that called the allocator, over the C and C++ libraries."""
        if not outer:
            return ("(not known)", "")
        found = next((frame for frame in outer if not RUNTIME.match(os.path.basename(frame.object))), outer[0])
        return (found.name(), os.path.basename(found.object))

    def _names(self, comm, kernel, user, path):
        """The names of a stack, from the outermost frame on."""
        names = [comm]
        for place in range(len(user) - 1, -1, -1):
            frame = user[place]
            if not self.is_ours(frame):
                # an address of its own for each instruction would make a frame of each
                names.append(f"[{os.path.basename(frame.object)}]" if frame.symbol == "[unknown]" else frame.symbol)
                continue
            address = self._address(frame)
            if place == 0 and not kernel:
                label = path
            else:
                function = self.rooms.function_at(address)
                label = function[1] if function else rooms.REST
            names.append(f"{self.rooms.name_at(address)} [kmalloc:{label or 'any'}]")
        names += [frame.name() for frame in reversed(kernel)]
        return names

    def shares(self):
        total = max(1, self.samples)
        return [{"path": path, "samples": self.paths[path], "share": self.paths[path] / total} for path in rooms.PATHS]

    def allocator_samples(self):
        return sum(self.paths[path] for path in rooms.ALLOCATOR)

    def top_callers(self, count=20):
        total = max(1, self.samples)
        return [{"function": function, "object": name, "samples": samples, "share": samples / total}
                for (function, name), samples in self.callers.most_common(count)]

    def collapsed(self):
        """The stacks in the form that flame graph tools read: frames from the outermost on, and a count."""
        return "".join(f"{';'.join(name.replace(';', ':') for name in names)} {count}\n"
                       for names, count in sorted(self.stacks.items()))

    def tree(self):
        root = {"name": "all", "value": 0, "children": {}}
        for names, count in self.stacks.items():
            node = root
            node["value"] += count
            for name in names:
                node = node["children"].setdefault(name, {"name": name, "value": 0, "children": {}})
                node["value"] += count
        return _as_lists(root)


BOTTOM = re.compile(r"_start|start_thread|clone|libc_start|^\[unknown\]$|ret_from_fork")


def _as_lists(root):
    """Children as lists, the largest first. Stacks may be deeper than Python lets a function call itself."""
    todo = [root]
    while todo:
        node = todo.pop()
        children = sorted(node["children"].values(), key=lambda child: (-child["value"], child["name"]))
        todo += children
        node["children"] = children
    return root
