# SPDX-License-Identifier: MIT
"""The code of an x86-64 library as objdump and readelf show it: instructions with what they read and write, and
symbols. No debug information is needed."""
import bisect
import os
import re
import subprocess
from dataclasses import dataclass

LINE = re.compile(r"^\s+([0-9a-f]+):\t([^#<]*[^#<\s])(?:\s*<([^>]*)>)?(?:\s*#.*?(?:<([^>]*)>)?)?\s*$")
MEMORY = re.compile(r"%[fg]s:|\(|^\*?0x[0-9a-f]+$|^\*?-?\d+$")
PREFIXES = {"addr32", "data16", "cs", "ds", "es", "bnd", "notrack", "lock", "rep", "repz", "repnz"}
UNTOUCHED = re.compile(r"^(nop[wl]?|lea[lq]?|endbr64|prefetch\w*|j(?!mp$)\w+)$")
READ_ONLY = re.compile(r"^(cmp|test|bt)[bwlq]?$")
WRITE_ONLY = re.compile(r"^(mov(abs|[sz][bwl][wlq])?[bwlq]?|set\w+|mov[au]p[sd]|movd|movq|movdq[au])$")
UPDATES = re.compile(r"^(add|sub|and|or|xor|inc|dec|neg|not|shl|shr|sar|sal|rol|ror|adc|sbb|bts|btr|xadd|xchg|"
                     r"cmpxchg)[bwlq]?$")
READS = re.compile(r"^(imul|mul|div|idiv|cmov\w+|movs[bwl]?[wlq]?|movz[bwl]?[wlq]?|tzcnt|lzcnt|bsf|bsr|popcnt)[bwlq]?$")
NARROW = {"al": "rax", "bl": "rbx", "cl": "rcx", "dl": "rdx", "sil": "rsi", "dil": "rdi", "bpl": "rbp", "spl": "rsp",
          "ax": "rax", "bx": "rbx", "cx": "rcx", "dx": "rdx", "si": "rsi", "di": "rdi", "bp": "rbp", "sp": "rsp"}


class CannotRead(Exception):
    """The file, or an instruction in it, is not understood; the text says which, in one line."""


def register(operand):
    """The 64-bit register that an operand names, or None."""
    if not operand.startswith("%") or ":" in operand or "(" in operand:
        return None
    name = operand[1:]
    if name in NARROW:
        return NARROW[name]
    if name.startswith("e") and "r" + name[1:] in NARROW.values():
        return "r" + name[1:]
    return re.sub(r"^(r\d+)[dwb]$", r"\1", name)


@dataclass
class Instruction:
    address: int
    text: str        # as objdump has it, prefixes and all, without the comment
    name: str        # the mnemonic without prefixes
    operands: list   # AT&T order: the destination comes last
    symbol: str      # what objdump says of the target or the address, or ""
    next: int = 0    # the address of what follows; 0 at the end of a section

    def target(self):
        """Where a direct jump or call leads; None for an indirect one."""
        operand = self.operands[0] if self.operands else ""
        return int(operand, 16) if re.fullmatch(r"(0x)?[0-9a-f]+", operand) else None

    def is_branch(self):
        return self.name.startswith("j") and self.name != "jmp"

    def accesses(self):
        """(loads, stores) of memory, the stack's included. Raises CannotRead for what it does not know."""
        if UNTOUCHED.match(self.name):
            return (0, 0)
        if self.name in ("ret", "pop", "leave"):
            return (1, 0)
        if self.name in ("push", "call"):
            return (1 if any(map(self._memory, self.operands)) else 0, 1)
        if self.name == "jmp":
            return (1 if self.operands[0].startswith("*") and "(" in self.operands[0] else 0, 0)
        if not any(map(self._memory, self.operands)):
            return (0, 0)
        last = self._memory(self.operands[-1])
        if READ_ONLY.match(self.name):
            return (1, 0)
        if WRITE_ONLY.match(self.name) or READS.match(self.name):
            return (0, 1) if last else (1, 0)
        if UPDATES.match(self.name):
            return (1, 1) if last else (1, 0)
        raise CannotRead(f"whether `{self.text}` at {self.address:#x} reads or writes memory is not known")

    @staticmethod
    def _memory(operand):
        return bool(MEMORY.search(operand)) and not operand.startswith("$")


def parse_line(line):
    found = LINE.match(line)
    if not found:
        return None
    address, text, target, comment = found.groups()
    words = text.split()
    while len(words) > 1 and words[0] in PREFIXES:
        words.pop(0)
    rest = " ".join(words[1:])
    operands = [part.strip() for part in re.findall(r"(?:[^,(]|\([^)]*\))+", rest)] if rest else []
    return Instruction(int(address, 16), " ".join(text.split()), words[0], operands, target or comment or "")


def run(*command):
    environment = dict(os.environ, LC_ALL="C")
    environment.pop("LD_PRELOAD", None)
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
                              errors="replace")
    except FileNotFoundError:
        raise CannotRead(f"{command[0]} is not installed (tools/deps build)") from None
    if done.returncode:
        raise CannotRead(f"{command[0]}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'failed'}")
    return done.stdout


def segments(text):
    """[(offset in the file, address, bytes in the file)] of what readelf -lW says."""
    fields = (line.split() for line in text.splitlines())
    return [tuple(int(words[place], 16) for place in (1, 2, 4)) for words in fields if words[:1] == ["LOAD"]]


def address_of_offset(found, offset):
    for start, address, size in found:
        if start <= offset < start + size:
            return offset - start + address
    return offset


@dataclass
class Symbol:
    name: str
    address: int
    size: int
    exported: bool
    file: str        # the source file's base name where the symbol table tells it (static functions), else ""


class Library:
    """Symbols at once, instructions when they are first asked for."""

    def __init__(self, path):
        self.path = str(path)
        self.symbols = self._read_symbols()
        self._sorted = sorted((symbol for symbol in self.symbols if symbol.size),
                              key=lambda symbol: (symbol.address, symbol.size))
        self._starts = [symbol.address for symbol in self._sorted]
        self.names = {}
        for symbol in self.symbols:
            self.names.setdefault(symbol.name, symbol)
        self._instructions = None
        self._segments = None

    def _read_symbols(self):
        symbols, file = [], ""
        for line in run("readelf", "-sW", self.path).split("Symbol table '.symtab'")[-1].splitlines():
            fields = line.split()
            if len(fields) < 8 or not fields[0].rstrip(":").isdigit():
                continue
            kind, bind, visibility, index, name = fields[3], fields[4], fields[5], fields[6], fields[7]
            if kind == "FILE":
                file = name
            elif kind in ("FUNC", "IFUNC") and index != "UND":
                symbols.append(Symbol(name.split("@")[0], int(fields[1], 16), int(fields[2], 0), bind != "LOCAL"
                                      and visibility == "DEFAULT", file if bind == "LOCAL" else ""))
        return symbols

    def at(self, address):
        """The function that holds an address, or None. Of aliases the shortest name."""
        place = bisect.bisect_right(self._starts, address) - 1
        if place < 0:
            return None
        start = self._starts[place]
        found = [symbol for symbol in self._sorted[max(0, place - 16):place + 1]
                 if symbol.address == start and address < start + symbol.size]
        return min(found, key=lambda symbol: (len(symbol.name), symbol.name)) if found else None

    def starts(self, address):
        """True where a function begins."""
        place = bisect.bisect_left(self._starts, address)
        return place < len(self._starts) and self._starts[place] == address

    @property
    def instructions(self):
        """{address: Instruction} of the whole library."""
        if self._instructions is None:
            self._instructions, last = {}, None
            for line in run("objdump", "-d", "-w", "--no-show-raw-insn", self.path).splitlines():
                instruction = parse_line(line)
                if instruction is None:
                    if line.startswith("Disassembly"):
                        last = None
                    continue
                if last:
                    last.next = instruction.address
                last = self._instructions[instruction.address] = instruction
            if not self._instructions:
                raise CannotRead(f"{self.path}: no code in it")
        return self._instructions

    def address_of_offset(self, offset):
        """Of a place in the file (what a mapping's tools know) the address that symbols are given in."""
        return address_of_offset(self.segments, offset)

    def offset_of_address(self, address):
        """And back."""
        return address_of_offset([(start, offset, size) for offset, start, size in self.segments], address)

    @property
    def segments(self):
        if self._segments is None:
            self._segments = segments(run("readelf", "-lW", self.path))
        return self._segments
