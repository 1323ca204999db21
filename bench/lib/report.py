# SPDX-License-Identifier: MIT
"""From the samples of a run to medians, spreads and ratios: as JSON and as tables."""
import fnmatch
import math
import statistics

from allocators import EMPTY, LIMIT, OURS
from units import GROUPS

FORMAT = 1

# Means over several benchmarks: title, metric, patterns of benchmark names.
FOUR = ["micro/pair/size:64", "micro/pair_mixed", "micro/batch_lifo/size:64/count:64",
        "micro/batch_mixed_lifo/count:64"]
SUMMARY = [
    ("pairs and batches of small objects, one thread", "time", FOUR),
    ("pairs and batches of small objects, several threads", "time", ["micro/*_threads/*/threads:[!1]*", "micro/*_threads/*/threads:1[0-9]*"]),
    ("all micro-benchmarks of small objects", "time", ["=pair", "=batch", "=threads", "=calls"]),
    ("refill and flush alone", "time", ["=slow"]),
    ("large blocks", "time", ["=large"]),
    ("memory benchmarks", "peak memory", ["=memory"]),
    ("memory benchmarks, after", "resident memory", ["=memory"]),
    ("real programs", "time", ["=programs"]),
    ("real programs", "processor time", ["=programs"]),
    ("real programs", "peak memory", ["=programs"]),
    ("real programs", "page faults", ["=programs"]),
    ("servers and sessions", "time", ["=servers"]),
    ("servers and sessions", "peak memory", ["=servers"]),
]


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def spread(samples):
    """Half the range of the middle half, relative to the median; None for a single sample."""
    middle = statistics.median(samples)
    if len(samples) < 2 or not middle:
        return None
    low, high = quartiles(samples)
    return (high - low) / 2 / abs(middle)


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


class Metric:
    """One metric of one benchmark: for each column its value in each round."""

    def __init__(self, name, unit):
        self.name = name
        self.unit = unit
        self.columns = {}

    def add(self, column, number, value):
        self.columns.setdefault(column, {})[number] = value

    def paired(self, column):
        """Ours / theirs in the rounds that both took part in."""
        ours, theirs = self.columns.get(OURS, {}), self.columns.get(column, {})
        return {number: ours[number] / theirs[number] for number in ours
                if number in theirs and ours[number] > 0 and theirs[number] > 0}

    def ratio(self, column):
        """(ratio of the medians, low, high): the quartiles of the rounds' own ratios. None
        where there is nothing to divide."""
        ours, theirs = self.columns.get(OURS), self.columns.get(column)
        if not ours or not theirs or column == OURS:
            return None
        mine, other = statistics.median(ours.values()), statistics.median(theirs.values())
        if mine <= 0 or other <= 0:
            return None
        value = mine / other
        rounds = list(self.paired(column).values()) or [value]
        low, high = quartiles(rounds)
        return value, min(low, value), max(high, value)

    def result(self, column):
        samples = list(self.columns[column].values())
        result = {"median": statistics.median(samples), "spread": spread(samples),
                  "samples": samples}
        ratio = self.ratio(column)
        if ratio:
            result.update(zip(("ratio", "ratio_low", "ratio_high"), ratio))
        return result


class Benchmark:
    def __init__(self, name, about):
        self.name = name
        self.about = about
        self.metrics = {}
        self.series = {}

    def metric(self, name, unit):
        return self.metrics.setdefault(name, Metric(name, unit))


def collect(turns, units):
    """Benchmark name -> Benchmark, in the order of the units and, within, of their lists."""
    by_name = {unit.name: unit for unit in units}
    found = {}
    order = {name: n for n, name in enumerate(by_name)}
    for turn in sorted(turns, key=lambda turn: order.get(turn.unit, len(order))):
        unit = by_name.get(turn.unit)
        if not unit:
            continue
        for name in getattr(unit, "benchmarks", list)():
            found.setdefault(name, Benchmark(name, unit.about(name)))
        for name, metric, metric_unit, column, value in turn.samples:
            benchmark = found.setdefault(name, Benchmark(name, unit.about(name)))
            benchmark.metric(metric, metric_unit).add(column, turn.round, value)
        for name, series in turn.series.items():
            found.setdefault(name, Benchmark(name, unit.about(name))).series[turn.allocator] = series
    return {name: benchmark for name, benchmark in found.items() if benchmark.metrics}


def matches(benchmark, patterns):
    for pattern in patterns:
        if pattern.startswith("="):
            if benchmark.about["group"] == pattern[1:]:
                return True
        elif fnmatch.fnmatchcase(benchmark.name, pattern):
            return True
    return False


def mean_over(metrics, column):
    """Geometric mean of the ratios to a column, over the metrics that have one; and the
    quartiles of that mean over the rounds."""
    metrics = [metric for metric in metrics if metric.ratio(column)]
    if not metrics:
        return None
    value = geometric_mean([metric.ratio(column)[0] for metric in metrics])
    rounds = [metric.paired(column) for metric in metrics]
    common = set.intersection(*map(set, rounds))
    means = [geometric_mean([pairs[number] for pairs in rounds]) for number in sorted(common)]
    low, high = quartiles(means) if means else (value, value)
    return {"ratio": value, "ratio_low": min(low, value), "ratio_high": max(high, value),
            "count": len(metrics)}


def summary(benchmarks, columns):
    lines = []
    for title, name, patterns in SUMMARY:
        metrics = [benchmark.metrics[name] for benchmark in benchmarks.values()
                   if name in benchmark.metrics and matches(benchmark, patterns)]
        # The limit has no mean where only some of the benchmarks have it.
        results = {column: mean for column in columns if column != OURS
                   if (mean := mean_over(metrics, column))
                   and (column not in (LIMIT, EMPTY) or mean["count"] == len(metrics))}
        if results and len(metrics) > 1:
            lines.append({"title": title, "metric": name, "count": len(metrics),
                          "results": results})
    return lines


def report(store, units, allocators, host, rounds):
    """The whole run as results.json has it."""
    turns = list(store.turns.values())
    benchmarks = collect(turns, units)
    columns = [allocator.name for allocator in allocators]
    listed = [{"name": allocator.name, "library": allocator.preload, "version": allocator.version,
               "broken": allocator.broken} for allocator in allocators]
    if any(LIMIT in metric.columns for benchmark in benchmarks.values()
           for metric in benchmark.metrics.values()):
        columns.append(LIMIT)
        listed.append({"name": LIMIT, "library": None, "broken": None,
                       "version": "an unsynchronised list; live bytes"})
    failures = {(turn.unit, turn.allocator): turn.failed for turn in turns if turn.failed}
    expected = {(unit.name, number, allocator.name) for unit in units
                for number in range(unit.rounds) for allocator in allocators
                if not allocator.broken}
    done = set(store.turns) | {(unit, number, name) for unit, number, name in expected
                               if (unit, name) in failures}
    used = {benchmark.about["group"] for benchmark in benchmarks.values()}
    return {
        "format": FORMAT, "command": store.config["command"], "date": store.config["date"],
        "complete": expected <= done, "rounds": rounds, "quick": store.config["quick"],
        "host": host, "ours": OURS, "allocators": listed,
        "groups": [{"name": name, "title": title, "about": about}
                   for name, (title, about) in GROUPS.items() if name in used],
        "benchmarks": [as_dict(benchmark, columns) for benchmark in benchmarks.values()],
        "summary": summary(benchmarks, columns),
        "failures": [{"benchmark": unit, "allocator": name, "reason": reason}
                     for (unit, name), reason in failures.items()],
    }


def as_dict(benchmark, columns):
    about = benchmark.about
    entry = {"name": benchmark.name, "group": about["group"], "family": about["family"],
             "about": about["about"], "curve": about["curve"], "metrics": []}
    for metric in benchmark.metrics.values():
        # The empty calls are a table's last column; the means leave them out.
        named = [column for column in [*columns, EMPTY] if column in metric.columns]
        entry["metrics"].append({"name": metric.name, "unit": metric.unit,
                                 "results": {column: metric.result(column) for column in named}})
    if benchmark.series:
        entry["series"] = benchmark.series
    return entry


def number(value):
    """Three significant digits, as short as they can be written."""
    if value == 0:
        return "0"
    for limit, scale, suffix in ((1e8, 1e6, "M"), (1e5, 1e3, "k")):
        if abs(value) >= limit:
            return number(value / scale) + suffix
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{min(max(digits, 0), 3)}f}"


def cell(result):
    if not result:
        return "-"
    text = number(result["median"])
    if result["spread"] is not None:
        text += f" ±{result['spread'] * 100:.0f}%"
    if "ratio" in result:
        text += f" **{result['ratio']:.2f}x**"
    return text


def mean_cell(result):
    if not result:
        return "-"
    return f"{result['ratio']:.2f}x ({result['ratio_low']:.2f}..{result['ratio_high']:.2f})"


def table(head, rows):
    """Lines of a Markdown table whose columns are also aligned as plain text."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]

    def line(cells):
        return "| " + " | ".join([cells[0].ljust(widths[0])] + [
            text.rjust(width) for text, width in zip(cells[1:], widths[1:])]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2)] + ["-" * (width + 1) + ":"
                                                     for width in widths[1:]]) + "|"
    return [line(head), rule, *map(line, rows)]


def used_columns(benchmarks, columns, name):
    return [column for column in columns
            if any(metric["name"] == name and column in metric["results"]
                   for benchmark in benchmarks for metric in benchmark["metrics"])]


def group_tables(group, benchmarks, columns):
    lines = [f"## {group['title']}", "", group["about"], ""]
    names = []
    for benchmark in benchmarks:
        names += [(metric["name"], metric["unit"]) for metric in benchmark["metrics"]
                  if (metric["name"], metric["unit"]) not in names]
    for name, unit in names:
        own = used_columns(benchmarks, columns, name)
        rows = []
        for benchmark in benchmarks:
            for metric in benchmark["metrics"]:
                if (metric["name"], metric["unit"]) == (name, unit):
                    rows.append([benchmark["name"]]
                                + [cell(metric["results"].get(column)) for column in own])
        lines += table([f"{name}{f', {unit}' if unit else ''}", *own], rows) + [""]
    return lines


def as_text(results):
    """The whole run as Markdown tables that also read well in a terminal."""
    columns = [allocator["name"] for allocator in results["allocators"]] + [EMPTY]
    host = results["host"]
    lines = [
        "# Benchmarks", "",
        f"`{results['command']}`, {results['date'][:10]}: {results['rounds']} rounds in turn on "
        f"{host['cpu']}, {host['cpus']} CPUs, Linux {host['kernel']}, {host['libc']}.", ""]
    if not results["complete"]:
        lines += ["**Not complete**: this run was cut off.", ""]
    lines += ["Medians; ± is half the range of the middle half of the rounds; x is "
              f"{OURS} / the column: below 1 {OURS} needs less.", ""]
    for allocator in results["allocators"]:
        state = f": {allocator['broken']}" if allocator["broken"] else ""
        lines.append(f"- {allocator['name']} {allocator['version'] or ''}{state}".rstrip())
    lines.append("")
    if results["summary"]:
        means = [column for column in columns
                 if any(column in line["results"] for line in results["summary"])]
        rows = [[f"{line['title']}: {line['metric']} ({line['count']})"]
                + [mean_cell(line["results"].get(column)) for column in means]
                for line in results["summary"]]
        lines += ["## Geometric means of the ratios", "",
                  f"{OURS} / the column, and the middle half of the rounds.", ""]
        lines += table(["", *means], rows) + [""]
    for group in results["groups"]:
        lines += group_tables(group, [benchmark for benchmark in results["benchmarks"]
                                      if benchmark["group"] == group["name"]], columns)
    if results["failures"]:
        lines += ["## Failed", ""]
        lines += [f"- {failure['benchmark']} under {failure['allocator']}: {failure['reason']}"
                  for failure in results["failures"]] + [""]
    return "\n".join(lines)
