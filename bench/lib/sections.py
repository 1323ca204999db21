# SPDX-License-Identifier: MIT
"""What is compared: one function per section, each filling its tables."""
import fnmatch
import hashlib
import shutil
import subprocess
import sys

from programs import PROGRAMS
from results import median
from runner import Failed, Peer

# Micro results of these names come from the controls in our own runs.
CONTROLS = ("list", "array", "empty")

GROUP_TITLES = {
    "main": "micro: the main patterns, one thread",
    "t2": "micro: the main patterns, two threads at a time",
    "t8": "micro: the main patterns, eight threads at a time",
    "more": "micro: more patterns",
    "large": "micro: large blocks, each page touched",
}


class Session:
    """One comparison: who, how often, and what of it."""

    def __init__(self, runner, results, peers, ours, options):
        self.runner = runner
        self.results = results
        self.peers = peers
        self.ours = ours
        self.options = options

    def wanted(self, row):
        return not self.options.only or any(
            fnmatch.fnmatchcase(row, pattern) or pattern in row for pattern in self.options.only)

    def say(self, row, runs):
        if not self.options.quiet:
            print(f"{row}: {runs} x {len(self.peers)}", file=sys.stderr, flush=True)

    def rounds(self, row, runs, run):
        """Call RUN(peer, round) for each peer in turn, RUNS times over. A peer that fails is
        reported once and left out of the rest."""
        self.say(row, runs)
        for number in range(runs):
            for peer in self.peers:
                if self.results.failed(row, peer.name):
                    continue
                try:
                    run(peer, number)
                except Failed as error:
                    self.results.fail(row, peer.name, str(error))


def values_of(measurement):
    return {name: float(value) for name, value in
            (line.split() for line in measurement.output.decode().splitlines())}


def micro_rows(session):
    """Group -> the rows in it, controls left out, as the program lists them."""
    text = subprocess.run([session.runner.binary("micro"), "--list"], check=True,
                          env=session.runner.environment,
                          stdout=subprocess.PIPE, text=True).stdout
    groups = {}
    for line in text.splitlines():
        group, row = line.split()
        if ":" not in row:
            groups.setdefault(group, []).append(row)
    return groups


def micro(session):
    options = session.options
    for group, rows in micro_rows(session).items():
        chosen = [row for row in rows if session.wanted(f"micro/{row}")]
        if not chosen:
            continue
        table = session.results.table(
            GROUP_TITLES.get(group, f"micro: {group}"),
            "ns" if group in ("main", "more", "large") else "ns of processor time",
            mean=True, mean_values=group in ("main", "t2", "t8"))

        def run(peer, _):
            measurement = session.runner.run(
                [session.runner.binary("micro"), "--repeats", options.repeats, group], peer)
            for name, value in values_of(measurement).items():
                control, _, row = name.rpartition(":")
                if row not in chosen or (control and peer is not session.ours):
                    continue
                session.results.add(table, row, control or peer.name, value)

        session.rounds(f"micro/{group}", options.runs, run)


def idle(session):
    table = session.results.table(
        "idle: resident memory with 1,000 threads that sleep", "MiB")
    for row, words in (("idle/after-a-mix", ["1000"]), ("idle/bare-threads", ["1000", "bare"])):
        if not session.wanted(row):
            continue

        def run(peer, _):
            measurement = session.runner.run([session.runner.binary("idle"), *words], peer)
            session.results.add(table, row.split("/")[1], peer.name,
                                values_of(measurement)["rss_kib"] / 1024)

        session.rounds(row, min(session.options.runs, 3), run)


def shrink(session):
    options = session.options
    memory = session.results.table(
        f"shrink: resident memory, {options.shrink_mib} MiB in objects of 16 to 512 bytes", "MiB")
    times = session.results.table("shrink: times", "ms")

    def run(peer, mode, names):
        values = values_of(session.runner.run(
            [session.runner.binary("shrink"), options.shrink_mib, *mode], peer))
        for name, row in names.items():
            kib = name.endswith("_kib")
            session.results.add(memory if kib else times, row, peer.name,
                                values[name] / 1024 if kib else values[name])

    if session.wanted("shrink/trim"):
        session.rounds("shrink/trim", min(options.runs, 3), lambda peer, _: run(
            peer, ["trim"], {"full_kib": "full", "freed_kib": "after free",
                             "trimmed_kib": "after malloc_trim", "fill_ms": "fill",
                             "free_ms": "free", "trim_ms": "malloc_trim"}))
    if session.wanted("shrink/age"):
        session.rounds("shrink/age", 1, lambda peer, _: run(
            peer, ["age", options.age], {"aged_kib": f"after {options.age:g} s of little use"}))


def startup(session):
    if not session.wanted("startup/start"):
        return
    count = session.options.starts
    peers = [peer for peer in session.peers if not peer.broken]
    for peer in session.peers:
        if peer.broken:
            session.results.fail("startup/start", peer.name, peer.broken)
    session.say("startup/start", count)
    settings = ["\n".join(f"{name}={value}" for name, value in peer.settings().items())
                for peer in peers]
    output = subprocess.run(
        [session.runner.binary("startup"), str(count), session.runner.binary("nothing"),
         "", *settings], env=session.runner.environment, stdout=subprocess.PIPE, text=True,
        check=True).stdout
    # Setting 0 is no preload at all, whoever the peers are.
    starts = [[] for _ in range(len(peers) + 1)]
    for line in output.splitlines():
        index, *values = line.split()
        if values == ["failed"]:
            if int(index):
                session.results.fail("startup/start", peers[int(index) - 1].name, "failed")
        else:
            starts[int(index)].append([float(value) for value in values])
    for column, unit in enumerate(("us", "KiB", "minor page faults")):
        table = session.results.table(f"start-up of a program that does nothing, {count} times",
                                      unit)
        none = median([values[column] for values in starts[0]])
        for peer, mine in zip(peers, starts[1:]):
            for values in mine:
                session.results.add(table, "whole", peer.name, values[column])
                session.results.add(table, "over none", peer.name, values[column] - none)


class ProgramRows:
    """The runs of one program."""

    def __init__(self, session, program, tables):
        self.session = session
        self.program = program
        self.tables = tables
        self.expected = None  # hash of the output, once it is known
        self.row = f"programs/{program.name}"

    def once(self, peer, sample_ms=0):
        runner, program = self.session.runner, self.program
        if program.before:
            program.before(runner.work)
        if program.run:
            return program.run(runner, peer)
        measurement = runner.run(program.command(runner.work, runner), peer,
                                 environment=program.environment, sample_ms=sample_ms)
        if program.same_output:
            digest = hashlib.sha256(measurement.output).hexdigest()
            if self.expected is None:
                self.expected = digest
            if digest != self.expected:
                raise Failed("its output differs from the other runs'")
        return measurement

    def first(self):
        """One run on the C library's malloc that no table shows: files come into memory, and
        the output is known that all the others have to give."""
        self.once(Peer("reference", None))

    def timed(self, peer, _):
        measurement = self.once(peer)
        for name, value in (("wall", measurement.wall), ("cpu", measurement.cpu),
                            ("peak", measurement.peak_kib / 1024),
                            ("faults", measurement.faults / 1000)):
            self.session.results.add(self.tables[name], self.program.name, peer.name, value)

    def sampled(self, peer, _):
        measurement = self.once(peer, sample_ms=5)
        self.session.results.add(self.tables["tree"], self.program.name, peer.name,
                                 measurement.tree_kib / 1024)


def programs(session):
    results = session.results
    tables = {
        "wall": results.table("programs: time", "s", mean=True),
        "cpu": results.table("programs: processor time, children included", "s", mean=True),
        "peak": results.table("programs: peak memory of the largest process", "MiB", mean=True),
        "tree": results.table("programs: peak memory of all processes together, sampled", "MiB",
                              mean=True),
        "faults": results.table("programs: minor page faults", "thousands", mean=True),
    }
    for program in PROGRAMS:
        rows = ProgramRows(session, program, tables)
        if not session.wanted(rows.row):
            continue
        missing = [name for name in program.needs
                   if not shutil.which(name, path=session.runner.environment["PATH"])]
        if missing:
            results.fail(rows.row, "-", f"not installed: {' '.join(missing)}")
            continue
        try:
            if program.prepare:
                program.prepare(session.runner.work, session.runner.environment)
            rows.first()
        except (OSError, subprocess.CalledProcessError, Failed) as error:
            results.fail(rows.row, "-", f"cannot be run here: {error}")
            continue
        session.rounds(rows.row, session.options.runs, rows.timed)
        if program.forks:
            session.rounds(rows.row, 1, rows.sampled)


SECTIONS = (micro, idle, shrink, startup, programs)


def rows(session):
    """All row names, for --list."""
    for names in micro_rows(session).values():
        yield from (f"micro/{name}" for name in names)
    yield from ("idle/after-a-mix", "idle/bare-threads", "shrink/trim", "shrink/age",
                "startup/start")
    yield from (f"programs/{program.name}" for program in PROGRAMS)
