# SPDX-License-Identifier: MIT
"""What is measured, cut into units. In each round of a unit every allocator has one turn, one
after the other, so that what slows the machine down for a while slows all of them.

A unit has `name`, `rounds`, `seconds` (a guess for one turn) and
  prepare()               once, untimed, before its first turn;
  turn(allocator, round)  -> (samples, series); raises Failed;
  about(benchmark)        -> what the report says of a benchmark of this unit: group, family,
                          about, curve.
A sample is [benchmark, metric, unit of the metric, column, value].
"""
import hashlib
import json
import math
import re
import shutil
import subprocess

from allocators import EMPTY, LIMIT, OURS, Allocator
from programs import PROGRAMS
from runner import Failed

GROUPS = {
    "pair": ("malloc/free pairs", "One object at a time: the shortest way through an allocator."),
    "batch": ("batches", "Many objects live at once, freed in several orders."),
    "threads": ("threads", "The same work in several threads at a time, and objects that change "
                           "hands between threads."),
    "calls": ("other calls", "calloc, realloc, aligned_alloc, operator new."),
    "slow": ("slow paths", "Refill and flush alone: what happens when a sheaf runs out."),
    "large": ("large blocks", "Allocated, touched once per page, freed."),
    "memory": ("memory", "Resident memory over live bytes. The limit is the live bytes."),
    "startup": ("start-up", "A program that does nothing, over the same without a preload."),
    "shrink": ("shrinking", "A program that frees all of what it had."),
    "programs": ("programs", "Real programs from Debian."),
    "servers": ("servers", "Programs of our own with 1 to 10,000 threads, and sessions."),
}


def curve_of(benchmark, by):
    """Where a benchmark lies on its family's curve, from the argument in its name."""
    found = re.search(rf"/{by}:(\d+)", benchmark) if by else None
    return {"by": by, "x": int(found[1])} if found else None


def shown(instance):
    """The benchmark of an instance of `micro`: without how Google Benchmark times it."""
    return "micro/" + re.sub(r"/(real_time|manual_time|process_time|iterations:\d+)", "", instance)


# With more instances than this the empty calls, the same for all of them, are left out.
FEW = 6
MANY = 12


class MicroFamily:
    """One family of the micro-benchmarks: one process of `micro` is a turn."""

    def __init__(self, context, entry, instances, controls):
        self.context = context
        self.entry = entry
        self.family = entry["family"]
        self.name = f"micro/{self.family}"
        self.instances = instances            # as `micro` names them
        self.controls = controls              # those of its controls, in our own turn only
        self.rounds = context.rounds
        # A family of many sizes is read as a curve: its points need less than a number alone.
        many = len(instances) > MANY
        self.repetitions = min(context.repetitions, 2) if many else context.repetitions
        self.min_time = context.min_time / 2 if many else context.min_time
        count = len(instances) + len(controls)
        self.seconds = 1.0 + count * self.repetitions * self.min_time * 3
        if entry["alone"]:
            self.seconds = 2.0 * len(instances)

    def prepare(self):
        pass

    def about(self, benchmark):
        return {"group": self.entry["group"], "family": self.name, "about": self.entry["about"],
                "curve": curve_of(benchmark, self.entry.get("curve"))}

    def benchmarks(self):
        return [shown(instance) for instance in self.instances]

    def turn(self, allocator, _):
        if self.entry["alone"]:
            samples = []
            for instance in self.instances:
                samples += self._alone(allocator, instance)
            return samples, {}
        instances = self.instances + (self.controls if allocator.name == OURS else [])
        results = self._run(allocator, instances, [
            f"--benchmark_min_time={self.min_time}",
            f"--benchmark_repetitions={self.repetitions}",
            "--benchmark_enable_random_interleaving=true"])[0]
        samples = []
        for instance, runs in results.items():
            column, name = allocator.name, instance
            control, colon, rest = instance.partition(":")
            if colon and control in (LIMIT, EMPTY):
                column, name = control, rest
            # An interruption spoils a repetition, not the turn.
            samples.append([shown(name), "time", "ns", column,
                            min(map(time_per_item, runs))])
        return samples, {}

    def _run(self, allocator, instances, options):
        pattern = "^(" + "|".join(re.escape(name).replace(r"\-", "-")
                                  for name in instances) + ")$"
        runner = self.context.runner
        measurement = runner.run(
            [runner.binary("micro"), f"--benchmark_filter={pattern}", "--benchmark_format=json",
             *options], allocator)
        try:
            report = json.loads(measurement.output)
        except ValueError:
            raise Failed("prints no JSON") from None
        results = {}
        for entry in report["benchmarks"]:
            if entry.get("error_occurred"):
                raise Failed(f"{entry['name']}: {entry.get('error_message', 'failed')}")
            if entry.get("run_type", "iteration") == "iteration":
                results.setdefault(entry["run_name"], []).append(entry)
        missing = [name for name in instances if name not in results]
        if missing:
            raise Failed(f"{missing[0]}: no result")
        return results, measurement

    def _alone(self, allocator, instance):
        results, measurement = self._run(allocator, [instance], [])
        entry, name = results[instance][0], shown(instance)
        samples = [[name, "time", "ns", allocator.name, time_per_item(entry)]]
        for metric, have, live in (("resident memory", "resident_bytes", "live_bytes"),
                                   ("peak memory", "peak_resident_bytes", "peak_live_bytes")):
            if entry.get(have):
                samples.append([name, metric, "MiB", allocator.name, entry[have] / 2**20])
                if allocator.name == OURS and entry.get(live):
                    samples.append([name, metric, "MiB", LIMIT, entry[live] / 2**20])
        samples.append([name, "page faults", "thousands", allocator.name,
                        measurement.faults / 1000])
        return samples


def time_per_item(entry):
    """Nanoseconds of wall time per item of a Google Benchmark result."""
    if entry.get("items_per_second"):
        return 1e9 / entry["items_per_second"]
    return entry["real_time"] * {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}[entry["time_unit"]]


def thinned(instances):
    """A quick run's choice among many sizes: the first, the last, and some between."""
    if len(instances) <= MANY:
        return instances
    step = math.ceil(len(instances) / 8)
    return instances[:-1:step] + instances[-1:]


def micro_units(context):
    binary, environment = context.runner.binary("micro"), context.runner.environment
    described = json.loads(subprocess.run([binary, "--describe"], env=environment, check=True,
                                          stdout=subprocess.PIPE).stdout)
    listed = subprocess.run([binary, "--benchmark_list_tests=true"], env=environment, check=True,
                            stdout=subprocess.PIPE, text=True).stdout.split()
    of_family = {}
    for instance in listed:
        of_family.setdefault(instance.split("/")[0], []).append(instance)
    for entry in described:
        family = entry["family"]
        if family.partition(":")[0] in (LIMIT, EMPTY):
            continue
        chosen = [name for name in of_family.get(family, []) if context.wanted(shown(name))]
        if context.quick:
            chosen = thinned(chosen)
        controls = [f"{control}:{name}" for control in (LIMIT, EMPTY) for name in chosen
                    if f"{control}:{name}" in of_family.get(f"{control}:{family}", [])
                    and (control == LIMIT or len(chosen) <= FEW)]
        if chosen:
            yield MicroFamily(context, entry, chosen, controls)


class StartUp:
    """How long a program that does nothing takes, over the same with no preload at all."""
    name = "startup/nothing"
    seconds = 1.0

    def __init__(self, context):
        self.context = context
        self.rounds = context.rounds

    def prepare(self):
        pass

    def about(self, _):
        return {"group": "startup", "family": self.name, "curve": None,
                "about": "A program that does nothing, over the same with no preload: loading, "
                         "relocating, setting up. It is paid by every process of a shell script. "
                         "Good: under 150 us and 300 KiB."}

    def turn(self, allocator, _):
        runner = self.context.runner
        if not allocator.settings():
            return [], {}  # it is what the others are compared with
        setting = "\n".join(f"{name}={value}" for name, value in allocator.settings().items())
        output = subprocess.run(
            [runner.binary("startup"), str(self.context.starts), runner.binary("nothing"),
             "", setting],
            env=runner.environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        starts = {"0": [], "1": []}
        for line in output.splitlines():
            index, *values = line.split()
            if values == ["failed"]:
                raise Failed("the empty program fails")
            starts[index].append([float(value) for value in values])
        samples = []
        for column, (metric, unit) in enumerate((("time", "us"), ("peak memory", "KiB"),
                                                 ("page faults", ""))):
            middle = [sorted(values[column] for values in starts[index])[len(starts[index]) // 2]
                      for index in ("0", "1")]
            samples.append([self.name, metric, unit, allocator.name, middle[1] - middle[0]])
        return samples, {}


class Shrink:
    """A program that fills memory with small objects and frees them all."""
    name = "shrink/trim"
    seconds = 6.0

    def __init__(self, context):
        self.context = context
        self.rounds = min(context.rounds, 3)
        self.mib = context.shrink_mib

    def prepare(self):
        pass

    def benchmarks(self):
        return ["shrink/filled", "shrink/freed", "shrink/trimmed"]

    def about(self, benchmark):
        what = {"filled": "with all objects live: metadata and rounding",
                "freed": "right after all were freed: what is kept for reuse",
                "trimmed": "after malloc_trim(0): what cannot be given back"}
        return {"group": "shrink", "family": benchmark, "curve": None,
                "about": f"Resident memory of {self.mib} MiB in objects of 16 to 512 bytes, "
                         f"{what[benchmark.split('/')[1]]}. Good: close to the limit, then "
                         "close to nothing."}

    def turn(self, allocator, _):
        measurement = self.context.runner.run(
            [self.context.runner.binary("shrink"), self.mib, "trim"], allocator)
        values = {name: float(value) for name, value in
                  (line.split() for line in measurement.output.decode().splitlines())}
        samples = []
        for benchmark, memory, time in (("filled", "full_kib", "fill_ms"),
                                        ("freed", "freed_kib", "free_ms"),
                                        ("trimmed", "trimmed_kib", "trim_ms")):
            name = f"shrink/{benchmark}"
            samples.append([name, "resident memory", "MiB", allocator.name,
                            values[memory] / 1024])
            samples.append([name, "time", "ms", allocator.name, values[time]])
        if allocator.name == OURS:
            samples.append(["shrink/filled", "resident memory", "MiB", LIMIT, float(self.mib)])
        return samples, {}


class Aged:
    """The same, but instead of malloc_trim some seconds pass with little use."""
    name = "shrink/aged"
    rounds = 1

    def __init__(self, context):
        self.context = context
        self.seconds = context.age_seconds + 3.0

    def prepare(self):
        pass

    def about(self, _):
        return {"group": "shrink", "family": self.name, "curve": None,
                "about": f"Resident memory of the same program {self.context.age_seconds} s after "
                         "it freed all, while it makes few calls: what comes back without "
                         "being asked for. Good: close to nothing."}

    def turn(self, allocator, _):
        measurement = self.context.runner.run(
            [self.context.runner.binary("shrink"), self.context.shrink_mib, "age",
             self.context.age_seconds], allocator)
        values = dict(line.split() for line in measurement.output.decode().splitlines())
        return [[self.name, "resident memory", "MiB", allocator.name,
                 float(values["aged_kib"]) / 1024]], {}


class ProgramUnit:
    """A whole program. After the rounds that are timed comes one whose memory is sampled."""

    def __init__(self, context, program):
        self.context = context
        self.program = program
        self.name = f"{program.group}/{program.name}"
        self.timed_rounds = context.rounds
        self.rounds = self.timed_rounds + 1
        self.seconds = 1.3
        self.expected = None  # hash of the output, once it is known

    def prepare(self):
        """One run on the C library's malloc that no table shows: files come into memory, and
        the output is known that all the others have to give."""
        missing = [name for name in self.program.needs
                   if not shutil.which(name, path=self.context.runner.environment["PATH"])]
        if missing:
            raise Failed(f"not installed: {' '.join(missing)}")
        if self.program.prepare:
            self.program.prepare(self.context.runner.work, self.context.runner.environment)
        self._once(Allocator("reference", None))

    def about(self, _):
        return {"group": self.program.group, "about": self.program.about,
                "family": f"{self.program.group}/{self.program.family}",
                "curve": self.program.curve}

    def _once(self, allocator, sample_ms=0):
        runner, program = self.context.runner, self.program
        if program.before:
            program.before(runner.work)
        if program.run:
            return program.run(runner, allocator)
        measurement = runner.run(program.command(runner.work, runner), allocator,
                                 environment=program.environment, sample_ms=sample_ms)
        if program.same_output:
            digest = hashlib.sha256(program.stable_output(measurement.output)).hexdigest()
            if self.expected is None:
                self.expected = digest
            if digest != self.expected:
                raise Failed("its output differs from the other runs'")
        return measurement

    def turn(self, allocator, number):
        column = allocator.name
        if number < self.timed_rounds:
            measurement = self._once(allocator)
            samples = [[self.name, "time", "s", column, measurement.wall],
                       [self.name, "processor time", "s", column, measurement.cpu],
                       [self.name, "page faults", "thousands", column,
                        measurement.faults / 1000]]
            if not self.program.forks:
                samples.append([self.name, "peak memory", "MiB", column,
                                measurement.peak_kib / 1024])
            for metric, unit, value in self.program.more_samples(measurement.output):
                samples.append([self.name, metric, unit, column, value])
            if column == OURS:
                samples += [[self.name, metric, unit, LIMIT, value]
                            for metric, unit, value in self.program.limits(measurement.output)]
            return samples, {}
        if self.program.run or not (self.program.series or self.program.forks):
            return [], {}
        measurement = self._once(allocator, sample_ms=5)
        samples = []
        if self.program.forks:
            # The largest process says little where several work together.
            samples.append([self.name, "peak memory", "MiB", column, measurement.tree_kib / 1024])
        series = {}
        if self.program.series and measurement.series:
            series[self.name] = [[round(seconds, 4), round(kib / 1024, 3)]
                                 for seconds, kib in measurement.series]
        return samples, series


def all_units(context):
    """Every unit that the context's patterns leave over."""
    yield from micro_units(context)
    if context.wanted("startup/nothing"):
        yield StartUp(context)
    if any(map(context.wanted, ("shrink/filled", "shrink/freed", "shrink/trimmed"))):
        yield Shrink(context)
    if context.wanted("shrink/aged") and not context.quick:
        yield Aged(context)
    for program in PROGRAMS:
        if context.wanted(f"{program.group}/{program.name}"):
            yield ProgramUnit(context, program)
