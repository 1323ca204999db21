# SPDX-License-Identifier: MIT
"""The hit path of an entry point, walked in the disassembly from the first instruction to `ret`.

At a conditional branch one side must be shown to be a miss; the other one is the path. A side is a miss when every
way on from it ends in a slow function: a call of one, a jump to one, or another function's call for lack of memory
(SLOW). What reaches `ret`, or comes back to a way that reaches `ret`, without that is no miss. Where neither side is
shown to be a miss, or both are, the walk fails and names the branch.

One fact about the library's data is used, which docs/how-it-works.md states ("The hit path"): class 0's sheaf takes
nothing, ever. NULL, areas and foreign pointers have class 0; code for them clears the class's register and joins the
path again. The walk follows such a register: the `top` that it loads with it is one whose test finds a sentinel.

An unconditional jump is followed. A call is an error, but for the names in `through`, which are followed, and in
`over`, other libraries' functions, which count as the one instruction that calls them.

Both indexes of rseq, mm_cid and cpu_id, use this same path: which one is read is an offset in a variable (rseq_abi).
Locked mode leaves it at the test of the index, always.
"""
import re
from dataclasses import dataclass, field

from disasm import CannotRead, register

SLOW = re.compile(r"(_slow|^no_memory|^die)(\.\w+)*$")
DECIDES = {"jne": True, "je": False}  # after a test of bit 0 of a word that is known to be a sentinel
IMPLICIT = ("call", "syscall", "xchg", "cmpxchg", "mul", "imul", "div", "idiv", "xadd")  # may change other registers
LIMIT = 400


@dataclass
class Path:
    entry: str
    steps: list = field(default_factory=list)   # Instructions in the order that they run
    misses: list = field(default_factory=list)  # (branch, the address of its side that is a miss)

    def counts(self):
        """(instructions, conditional branches, loads, stores)"""
        accesses = [step.accesses() for step in self.steps]
        return (len(self.steps), sum(step.is_branch() for step in self.steps),
                sum(loads for loads, _ in accesses), sum(stores for _, stores in accesses))

    def listing(self):
        missing = {branch.address: side for branch, side in self.misses}
        lines = []
        for step in self.steps:
            note = f"   <{step.symbol}>" if step.symbol else ""
            if step.address in missing:
                note += f"   (a miss goes to {missing[step.address]:x})"
            loads, stores = step.accesses()
            lines.append(f"{step.address:8x}:  {'r' * loads + 'w' * stores:3} {step.text}{note}")
        return "\n".join(lines)


class State:
    """What is known of registers: those that hold 0, and those that hold the top of class 0's sheaf."""

    def __init__(self, zero=frozenset(), top=frozenset(), sentinel=False):
        self.zero, self.top, self.sentinel = zero, top, sentinel

    def key(self):
        return (self.zero, self.top, self.sentinel)

    def after(self, step):
        zero, top = set(self.zero), set(self.top)
        if step.name.startswith("j") or step.name.startswith("nop"):
            return self
        operands = step.operands
        if step.name.startswith(("test", "cmp")):
            sentinel = step.name in ("test", "testb") and operands[0] == "$0x1" and \
                any(operands[1] in (f"(%{name})", f"-0x8(%{name})") for name in top)
            return State(self.zero, self.top, sentinel)
        changed = register(operands[-1]) if operands else None
        loaded = re.fullmatch(r"\(%\w+,%(\w+),8\)", operands[0]) if step.name in ("mov", "movq") else None
        is_top = bool(loaded) and loaded[1] in zero
        is_zero = step.name.startswith("xor") and len(operands) == 2 and operands[0] == operands[1]
        zero.discard(changed)
        top.discard(changed)
        if changed and is_top:
            top.add(changed)
        if changed and is_zero:
            zero.add(changed)
        if step.name in IMPLICIT or not operands or any("%es:" in operand for operand in operands):
            zero, top = set(), set()
        return State(frozenset(zero), frozenset(top), False)


class Walker:
    def __init__(self, library):
        self.library = library
        self.code = library.instructions

    def _step(self, address):
        if address not in self.code:
            raise CannotRead(f"no instruction at {address:#x}")
        return self.code[address]

    def _is_slow(self, step):
        """A call or a jump that leads to a slow function."""
        target = step.target()
        symbol = self.library.at(target) if target is not None else None
        return bool(symbol) and symbol.address == target and bool(SLOW.search(symbol.name))

    def _ways(self, step, state):
        """The addresses that may come after a conditional branch, and the state there."""
        ways = [step.target(), step.next]
        if state.sentinel and step.name in DECIDES:
            ways = ways[:1] if DECIDES[step.name] else ways[1:]
        return [(way, state) for way in ways]

    def is_miss(self, address, state):
        """Every way from here ends in a slow function. A loop that is never left ends nowhere, so it is one, too."""
        seen, todo = set(), [(address, state)]
        while todo:
            address, state = todo.pop()
            if (address, state.key()) in seen:
                continue
            seen.add((address, state.key()))
            step = self.code.get(address)
            if step is None or step.name in ("ret", "syscall", "ud2", "hlt") or len(seen) > LIMIT:
                return False
            if step.name in ("call", "jmp"):
                if self._is_slow(step):
                    continue
                target = step.target()
                if target is None:
                    return False
                if step.name == "call":
                    return False
                todo.append((target, state))
            elif step.is_branch():
                todo.extend(self._ways(step, state))
            else:
                todo.append((step.next, state.after(step)))
        return True

    def walk(self, entry, through=(), over=()):
        if entry not in self.library.names:
            raise CannotRead(f"{entry}: no such function in {self.library.path}")
        path, state, back = Path(entry), State(), []
        address = self.library.names[entry].address
        while True:
            step = self._step(address)
            if any(step is earlier for earlier in path.steps):
                raise CannotRead(f"{entry}: the path comes back to {address:#x}")
            path.steps.append(step)
            if step.name == "ret":
                if not back:
                    return path
                address = back.pop()
            elif step.is_branch():
                address = self._hit_side(path, step, state)
            elif step.name in ("call", "jmp"):
                address = self._follow(path, step, through, over, back)
                if address is None:
                    return path
            else:
                address = step.next
            state = state.after(step)

    def _hit_side(self, path, step, state):
        ways = self._ways(step, state)
        misses = [way for way, after in ways if self.is_miss(way, after)]
        hits = [way for way, _ in ways if way not in misses]
        if len(hits) != 1:
            what = "both sides miss" if not hits else "neither side is shown to lead to a slow function"
            raise CannotRead(f"{path.entry}: cannot tell which way a hit goes at {step.address:#x} `{step.text}`"
                             f" <{step.symbol}>: {what}")
        path.misses += [(step, way) for way in misses]
        return hits[0]

    def _follow(self, path, step, through, over, back):
        """Where a jump or a call on the path leads; None: out of the function for good."""
        name, target = step.symbol.split("@")[0], step.target()
        begins = target is not None and self.library.starts(target)
        if target is None and name in over:
            if step.name == "call":
                return step.next
            return back.pop() if back else None
        if step.name == "call" or target is None:
            names = {symbol.name for symbol in self.library.symbols if symbol.address == target}
            if not (begins and names & set(through)):
                raise CannotRead(f"{path.entry}: `{step.text}` <{step.symbol}> at {step.address:#x} is on the hit path")
            back.append(step.next)
        elif self._is_slow(step):
            raise CannotRead(f"{path.entry}: there is no way to `ret` but over {name} at {step.address:#x}")
        return target


def abort_handlers(library):
    """{address the kernel jumps to: address the handler jumps on to}: each starts its sequence over."""
    handlers, last = {}, None
    for step in sorted(library.instructions.values(), key=lambda step: step.address):
        if last and last.name == "ud1" and step.name == "jmp":
            handlers[step.address] = step.target()
        last = step
    return handlers
