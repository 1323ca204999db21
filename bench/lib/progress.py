# SPDX-License-Identifier: MIT
"""Progress with the time left: a bar where stderr is a terminal, else a line per round."""
import sys


def minutes(seconds):
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class TimeLeft:
    """What is left to do, in seconds. A unit's guess gives way to what its turns took."""

    def __init__(self, units, allocators, store):
        self._guess = {unit.name: unit.seconds for unit in units}
        self._took = {}
        self._scale = {}
        self._left = {unit.name: sum(
            not store.has(unit.name, number, allocator.name)
            for number in range(unit.rounds) for allocator in allocators) for unit in units}
        for turn in store.turns.values():
            if turn.unit in self._guess and not turn.failed:
                self._took.setdefault(turn.unit, []).append(turn.seconds)

    def did(self, unit, seconds):
        self._left[unit] -= 1
        if seconds:
            self._took.setdefault(unit, []).append(seconds)

    def skip(self, unit):
        self._left[unit] -= 1

    def turns(self):
        return sum(self._left.values())

    def seconds(self):
        # Guesses are scaled by how far those of the units that ran were off.
        known = [(sum(took), self._guess[unit] * len(took)) for unit, took in self._took.items()]
        off = sum(took for took, _ in known) / sum(guess for _, guess in known) if known else 1
        total = 0
        for unit, left in self._left.items():
            took = self._took.get(unit)
            total += left * (sum(took) / len(took) if took else self._guess[unit] * off)
        return total


class Shown:
    """A bar, or lines; what it is of is said by each call of show()."""

    def __init__(self, total, quiet):
        self._quiet = quiet
        self._total = total
        self._bar = None
        self._task = None
        self._shown = None

    def __enter__(self):
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress as Bar, TaskProgressColumn, TextColumn
            self._bar = Bar(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
                            TextColumn("{task.fields[left]} left"), console=Console(stderr=True),
                            transient=True)
            self._task = self._bar.add_task("", total=self._total, left="")
            self._bar.start()
        return self

    def __exit__(self, *_):
        if self._bar:
            self._bar.stop()

    def show(self, description, completed, seconds, line, once):
        """What goes on and how many seconds are left; as a line only where `once` is new."""
        if self._quiet:
            return
        left = minutes(seconds)
        if self._bar:
            self._bar.update(self._task, completed=completed, left=left, description=description)
        elif self._shown != once:
            self._shown = once
            print(f"{line}, {left} left", file=sys.stderr, flush=True)

    def say(self, text):
        if self._bar:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)


class Progress(Shown):
    """Of the turns of a run of benchmarks."""

    def __init__(self, left, quiet):
        super().__init__(left.turns(), quiet)
        self._left = left

    def turn(self, unit, number, allocator):
        """A turn is about to begin."""
        self.show(f"{unit.name} {number + 1}/{unit.rounds} {allocator}",
                  self._total - self._left.turns(), self._left.seconds(),
                  f"{unit.name} round {number + 1} of {unit.rounds}", (unit.name, number))
