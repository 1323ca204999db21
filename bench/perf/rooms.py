# SPDX-License-Identifier: MIT
"""Which path of the allocator an address of libkmalloc.so belongs to.

A symbol belongs to the object file that defines it (nm), an object file to its source (the build directory's
compile_commands.json), a source to its room (its folder under src/), and a room to a path (ROOM_PATH). So a new source
file is classified by the folder it is in, and no function is named here. What is inlined counts where it ended up: the
hit path is in the entry points (interpose/), but for the instructions that bench/perf/hitpath.py finds on a hit path
elsewhere (calloc's, in kmalloc/). lib/ and arch/ serve every room: their time is that of the room that called them.
"""
import bisect
import json
import os
from pathlib import Path

import disasm
import hitpath

HIT, REFILL, BARN, SLAB, PAGE, VMALLOC = "hit", "refill", "barn", "slab", "page", "vmalloc"
COPY, CALLS = "clear and copy", "system calls"
FAULTS, REST = "page faults in the allocator", "other in the allocator"
FAULTS_ELSEWHERE, OTHER = "page faults elsewhere", "other"
ALLOCATOR = (HIT, REFILL, BARN, SLAB, PAGE, VMALLOC, COPY, CALLS, FAULTS, REST)
PATHS = ALLOCATOR + (FAULTS_ELSEWHERE, OTHER)

ABOUT = {
    HIT: "malloc, free and the like served by this CPU's sheaf: the entry points",
    REFILL: "misses: sheaves exchanged on a CPU, refilled and flushed; what starts them",
    BARN: "full and empty sheaves that no CPU holds",
    SLAB: "objects taken from and given back to slabs",
    PAGE: "blocks of pages, metadata, reclaim",
    VMALLOC: "areas: requests above 131056 bytes",
    COPY: "the C library's memset and memcpy for calloc and realloc",
    CALLS: "the kernel, entered from the allocator",
    FAULTS: "the kernel, on memory that the allocator touched first",
    REST: "code of the library that no room claims",
    FAULTS_ELSEWHERE: "the kernel, on memory that the program touched first, its files included",
    OTHER: "the program itself, its libraries and its own system calls",
}

CALLER = None  # the path of whoever called
ROOM_PATH = {"interpose": HIT, "kmalloc": REFILL, "slab": SLAB, "page": PAGE, "vmalloc": VMALLOC, "os": CALLS,
             "lib": CALLER, "arch": CALLER, "trace": CALLER}
# The one room that holds three paths; what is not named here is the room's own.
FILE_PATH = {"slab/cache": REFILL, "slab/percpu": REFILL, "slab/percpu_drain": REFILL, "slab/percpu_step": REFILL,
             "slab/barn": BARN}


def path_of_source(source):
    """The path of a file under src/, given as `room/name.c`."""
    stem = os.path.splitext(source)[0]
    room = source.partition("/")[0]
    return FILE_PATH.get(stem, ROOM_PATH.get(room, REST))


def objects_of_build(build, root):
    """{object file: its source as `room/name.c`} of what is compiled from src/."""
    file = Path(build) / "compile_commands.json"
    try:
        commands = json.loads(file.read_text())
    except (OSError, ValueError):
        raise disasm.CannotRead(f"{file} cannot be read (tools/build makes it)") from None
    sources = os.path.realpath(os.path.join(root, "src")) + "/"
    found = {}
    for command in commands:
        source = os.path.realpath(os.path.join(command["directory"], command["file"]))
        made = os.path.join(command["directory"], command["output"])
        if source.startswith(sources) and os.path.exists(made):
            found[made] = source[len(sources):]
    if not found:
        raise disasm.CannotRead(f"{build}: no object file of src/ in it")
    return found


def symbols_of_objects(objects):
    """{function: the sources that define it}"""
    owners, source = {}, ""
    by_name = {os.path.realpath(made): source for made, source in objects.items()}
    for line in disasm.run("nm", "-A", "--defined-only", *by_name).splitlines():
        made, _, rest = line.rpartition(":")
        fields = rest.split()
        source = by_name.get(made)
        if source and len(fields) == 3 and fields[1] in "tTiWw":
            owners.setdefault(fields[2], set()).add(source)
    return owners


class Rooms:
    def __init__(self, library, root, build=None):
        self.library = disasm.Library(library)
        owners = symbols_of_objects(objects_of_build(build or Path(library).parent, root))
        self._starts, self._functions = [], []
        for symbol in sorted((symbol for symbol in self.library.symbols if symbol.size),
                             key=lambda symbol: symbol.address):
            sources = owners.get(symbol.name, set())
            if len(sources) > 1 and symbol.file:  # statics of one name: the symbol table says whose
                sources = {source for source in sources if os.path.basename(source) == symbol.file}
            paths = {path_of_source(source) for source in sources}
            path = paths.pop() if len(paths) == 1 else REST
            self._starts.append(symbol.address)
            self._functions.append((symbol, path))
        self._on_hit_path, self._walked = self._hit_paths()

    def _hit_paths(self):
        """Addresses on hit paths, and the functions that were walked to the end."""
        walker, addresses, walked = hitpath.Walker(self.library), set(), set()
        for symbol in self.library.symbols:
            if not symbol.exported:
                continue
            try:
                path = walker.walk(symbol.name, through=("kvmalloc_zeroed",), over=("memset",))
            except disasm.CannotRead:
                continue
            addresses.update(step.address for step in path.steps)
            walked.add(symbol.address)
        return addresses, walked

    def function_at(self, address):
        """(Symbol, path of its room) or None."""
        place = bisect.bisect_right(self._starts, address) - 1
        if place < 0:
            return None
        symbol, path = self._functions[place]
        return (symbol, path) if address < symbol.address + symbol.size else None

    def path_at(self, address):
        """The path of an instruction; CALLER for what serves every room."""
        if address in self._on_hit_path:
            return HIT
        found = self.function_at(address)
        if not found:
            return REST
        symbol, path = found
        # Of an entry point that was walked, and of what is none, the rest is the way to a miss.
        if path == HIT and (symbol.address in self._walked or not symbol.exported):
            return REFILL
        return path

    def name_at(self, address):
        symbol = self.library.at(address)
        return symbol.name if symbol else f"libkmalloc+{address:#x}"
