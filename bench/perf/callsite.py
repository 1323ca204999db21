# SPDX-License-Identifier: MIT
"""Which function a call was of, by what stands before its return address: a direct call through the procedure linkage
table, or one through the table of addresses itself. A function that ends in a jump to another one is on no stack, and
this tells that it was there."""
import re
import struct

import disasm

SLOT = re.compile(r"^([0-9a-f]+)\s+[0-9a-f]+\s+R_X86_64_(?:JUMP_SLOT?|GLOB_DAT)\s+[0-9a-f]+\s+([^@\s]+)")
CALL, CALL_SLOT, JUMP_SLOT = b"\xe8", b"\xff\x15", b"\xff\x25"
ENDBR, BND = b"\xf3\x0f\x1e\xfa", b"\xf2"


class Object:
    """A file of code. Of one that can't be read nothing is known."""

    def __init__(self, path):
        self.code, self.segments, self.slots = b"", [], {}
        try:
            with open(path, "rb") as file:
                self.code = file.read()
            text = disasm.run("readelf", "-lrW", path)
        except (OSError, disasm.CannotRead):
            return
        self.segments = disasm.segments(text)
        self.slots = dict((int(found[1], 16), found[2]) for found in map(SLOT.match, text.splitlines()) if found)

    def _slot(self, end):
        """What is in the slot of an instruction that ends there."""
        distance = struct.unpack("<i", self.code[end - 4:end])[0]
        return self.slots.get(disasm.address_of_offset(self.segments, end) + distance)

    def _stub(self, start):
        for prefix in (ENDBR, BND):
            start += len(prefix) if self.code[start:start + len(prefix)] == prefix else 0
        return self._slot(start + 6) if self.code[start:start + 2] == JUMP_SLOT else None

    def called(self, end):
        """The name of what the call that ends at this offset was of; None: it is no call, or within the file."""
        instruction = self.code[max(0, end - 6):end]
        if len(instruction) < 6:
            return None
        if instruction[:2] == CALL_SLOT:
            return self._slot(end)
        if instruction[1:2] == CALL:
            start = end + struct.unpack("<i", instruction[2:])[0]
            return self._stub(start) if 0 <= start < len(self.code) else None
        return None


class CallSites:
    def __init__(self):
        self._objects, self._known = {}, {}

    def called(self, path, offset):
        """The same of a frame: its offset is where the call ends, or one less, as some unwinders have it."""
        key = path, offset
        if key not in self._known:
            if path not in self._objects:
                self._objects[path] = Object(path)
            found = self._objects[path]
            self._known[key] = found.called(offset + 1) or found.called(offset)
        return self._known[key]
