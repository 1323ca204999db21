# SPDX-License-Identifier: MIT
"""What a run has measured so far, on disk.

DIR/run.json says what the run is: its options and allocators. DIR/samples.jsonl gets one line
for each turn (one unit, one round, one allocator) as soon as it was measured. A run that is
cut off at any point loses at most the turn it was in: a line that was not written whole is
dropped, and the next run with the same DIR goes on behind the last one. A line that is damaged in
another way costs its own turn only: the file is kept beside, as samples.jsonl.damaged-N.
"""
import fcntl
import json
import math
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from allocators import BadArgument


@dataclass
class Turn:
    """What one allocator showed in one round of one unit."""
    unit: str
    round: int
    allocator: str
    # [benchmark, metric, its unit, column, value]: the column is the allocator, or a control beside it.
    samples: list = field(default_factory=list)
    series: dict = field(default_factory=dict)  # benchmark -> [[seconds, MiB], ...]
    failed: str | None = None
    seconds: float = 0.0

    def key(self):
        return self.unit, self.round, self.allocator


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_sample(entry):
    return isinstance(entry, list) and len(entry) == 5 and is_number(entry[4]) and \
        all(isinstance(word, str) for word in entry[:4])


def is_series(points):
    return isinstance(points, list) and all(
        isinstance(point, list) and len(point) == 2 and all(map(is_number, point)) for point in points)


def parse_turn(line):
    """The turn of one line of samples.jsonl. ValueError, TypeError: it is none."""
    turn = Turn(**json.loads(line))
    right = isinstance(turn.unit, str) and isinstance(turn.allocator, str) and \
        isinstance(turn.round, int) and turn.round >= 0 and is_number(turn.seconds) and \
        (turn.failed is None or isinstance(turn.failed, str)) and \
        isinstance(turn.samples, list) and all(map(is_sample, turn.samples)) and \
        isinstance(turn.series, dict) and all(map(is_series, turn.series.values()))
    if not right:
        raise ValueError("not a turn")
    return turn


class Store:
    def __init__(self, folder, config):
        """Open FOLDER for a run with CONFIG. One that holds a run goes on only as the same."""
        self.folder = Path(folder)
        self.turns = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.folder / ".lock", "a")
        except OSError as error:
            raise BadArgument(f"--out {folder}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise BadArgument(f"--out {folder}: another run writes there now") from None
        try:
            self.config = self._agree(config)
        except BadArgument:
            self._lock.close()
            raise
        self._journal = open(self.folder / "samples.jsonl", "a+b")
        self._load()

    def _agree(self, config):
        path = self.folder / "run.json"
        if not path.exists():
            others = [name for name in os.listdir(self.folder) if name != ".lock"]
            if others:
                raise BadArgument(f"--out {self.folder}: holds other files and no run "
                                  "(take a new or an empty folder)")
            temporary = path.with_suffix(".new")
            temporary.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
            temporary.replace(path)
            return config
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            old = None
        # Through JSON and back, so that both have the same types.
        new = json.loads(json.dumps(config))
        if not isinstance(old, dict) or any(type(old.get(name)) is not type(new[name]) for name in new):
            raise BadArgument(f"{path} is damaged (what was measured is in samples.jsonl beside it; "
                              f"remove {self.folder} to begin anew)")
        different = [name for name in new
                     if name not in ("date", "command", "host") and old.get(name) != new[name]]
        if "plan" in different and isinstance(new["plan"], dict):
            different = [f"--{name}" for name in new["plan"]
                         if old["plan"].get(name) != new["plan"][name]]
        if different:
            raise BadArgument(
                f"{self.folder} holds a run with other {', '.join(different)} "
                "(take the same options, or another --out)")
        return old

    def _load(self):
        self._journal.seek(0)
        good, bad, rest = [], 0, b""
        for line in self._journal:
            if not line.endswith(b"\n"):
                rest = line
                break
            try:
                turn = parse_turn(line)
            except (ValueError, TypeError, RecursionError):
                bad += 1
                continue
            good.append(line)
            self.turns[turn.key()] = turn
        if bad:
            self._set_aside(bad, good)
        else:
            # Cut off what is behind the last whole line.
            self._journal.truncate(self._journal.tell() - len(rest))
        self._journal.seek(0, os.SEEK_END)

    def _set_aside(self, bad, good):
        """Go on with the lines that can be read, in a new file; the old one is kept as it is."""
        path = self.folder / "samples.jsonl"
        number = 1
        while (kept := path.with_name(f"samples.jsonl.damaged-{number}")).exists():
            number += 1
        print(f"tools/bench: {path}: {bad} damaged line{'s'[:bad > 1]} left out, their turns are measured "
              f"again; the file is kept as {kept.name}", file=sys.stderr)
        self._journal.close()
        kept.write_bytes(path.read_bytes())
        temporary = path.with_suffix(".new")
        temporary.write_bytes(b"".join(good))
        temporary.replace(path)
        self._journal = open(path, "a+b")

    def close(self):
        self._journal.close()
        self._lock.close()

    def has(self, unit, number, allocator):
        return (unit, number, allocator) in self.turns

    def add(self, turn):
        self._journal.write(json.dumps(turn.__dict__).encode() + b"\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self.turns[turn.key()] = turn

    def failure(self, unit, allocator):
        """Why the allocator is left out of the unit, or None."""
        for turn in self.turns.values():
            if turn.unit == unit and turn.allocator == allocator and turn.failed:
                return turn.failed
        return None

    def write(self, name, text):
        """Write a report; a reader never finds half of one."""
        temporary = self.folder / f"{name}.new"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.folder / name)
        return self.folder / name
