#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Made-up results and a made-up profile for the tests of the pages: as large as a real run's and with
all that can go wrong in one. The same in every run.

Usage: page_fixture.py results|flame   prints the JSON."""
import json
import math
import random
import statistics
import sys

PEERS = ["glibc", "jemalloc", "mimalloc", "tcmalloc", "tbbmalloc"]
BROKEN = "tbbmalloc"
ODD = 'programs/<b>odd</b> & "quoted"</script><script>alert(1)</script>'
SPEED = {"kmalloc": 1.0, "glibc": 1.9, "jemalloc": 1.25, "mimalloc": 1.06, "tcmalloc": 1.15, "limit": 0.55,
         "empty": 0.2}

GROUPS = [
    ("pair", "malloc/free pairs", "One object at a time: the shortest way through an allocator."),
    ("batch", "batches", "Many objects live at once, freed in several orders."),
    ("threads", "threads", "The same work in several threads at a time."),
    ("calls", "other calls", "calloc, realloc, aligned_alloc, operator new."),
    ("large", "large blocks", "Allocated, touched once per page, freed."),
    ("memory", "memory", "Resident memory over live bytes. The limit is the live bytes."),
    ("startup", "start-up", "A program that does nothing, over the same without a preload."),
    ("programs", "programs", "Real programs from Debian."),
    ("servers", "servers", "Programs of our own with 1 to 10,000 threads."),
]


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


class Maker:
    def __init__(self, seed=3):
        self.random = random.Random(seed)
        self.benchmarks = []

    def result(self, value, rounds):
        samples = [value * self.random.lognormvariate(0, 0.03) for _ in range(rounds)]
        middle = statistics.median(samples)
        if rounds < 2 or not middle:
            return {"median": middle, "spread": None, "samples": samples}
        low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
        return {"median": middle, "spread": (high - low) / 2 / abs(middle), "samples": samples}

    def metric(self, name, unit, value, columns, rounds=5, tilt=1.0):
        results = {column: self.result(value * SPEED[column] ** tilt * self.random.lognormvariate(0, 0.12), rounds)
                   for column in columns}
        ours = results.get("kmalloc")
        for column, result in results.items():
            if column == "kmalloc" or not ours or ours["median"] <= 0 or result["median"] <= 0:
                continue
            middle = ours["median"] / result["median"]
            width = 0.0 if rounds == 1 else 0.02
            result.update(ratio=middle, ratio_low=middle * (1 - width), ratio_high=middle * (1 + width))
        return {"name": name, "unit": unit, "results": results}

    def add(self, name, group, about, metrics, family=None, curve=None, series=None):
        entry = {"name": name, "group": group, "family": family or name, "about": about,
                 "curve": curve, "metrics": metrics}
        if series:
            entry["series"] = series
        self.benchmarks.append(entry)

    def series(self, columns, seconds, mib):
        found = {}
        for column in columns:
            points, value = [], 0.0
            length = seconds * SPEED[column]
            for i in range(200):
                at = i / 199
                value = mib * SPEED[column] ** 0.4 * (min(1, at * 3) if at < 0.7 else (1 - at) / 0.3 * 0.8 + 0.2)
                points.append([round(at * length, 4), round(value * self.random.uniform(0.97, 1.03), 3)])
            found[column] = points
        return found


def micro(make, peers):
    named = ["kmalloc", *peers]
    about = "The hit path: one object of one class at a time. Good: a few ns, the same for all sizes."
    for size in (8, 16, 32, 64, 128, 256, 512, 1024, 4096):
        make.add(f"micro/pair/size:{size}", "pair", about,
                 [make.metric("time", "ns", 4 + size ** 0.25, [*named, "limit", "empty"])],
                 "micro/pair", {"by": "size", "x": size})
    make.add("micro/pair_mixed", "pair", "Sizes drawn at random. Good: close to one size.",
             [make.metric("time", "ns", 9, [*named, "limit", "empty"])])
    for order in ("lifo", "fifo", "random"):
        for size in ("64", "mixed"):
            make.add(f"micro/batch/order:{order}/size:{size}/count:64", "batch",
                     "64 objects are allocated, then freed. Good: close to a pair.",
                     [make.metric("time", "ns", 8, [*named, "limit"])], "micro/batch")
    for family in ("shared", "private", "false_sharing_passive"):
        for count in (1, 2, 4, 8, 16):
            make.add(f"micro/{family}/threads:{count}", "threads",
                     "Pairs in all threads at a time. Good: throughput grows with the CPUs.",
                     [make.metric("time", "ns", 6 / min(count, 2) * (1 + count / 16), [*named, "limit"])],
                     f"micro/{family}", {"by": "threads", "x": count})
    for call, value in (("calloc/size:64", 8), ("realloc_growth", 52000), ("aligned_alloc/align:4096", 60), ("new_delete", 7)):
        make.add(f"micro/{call}", "calls", "What the call adds to malloc. Good: little.",
                 [make.metric("time", "ns", value, named)])
    for size in (131072, 1 << 20, 1 << 22, 1 << 24, 1 << 26):
        make.add(f"micro/large/size:{size}", "large", "Allocate, touch each page, free. Good: no fault the second time.",
                 [make.metric("time", "ns", size / 16, named)], "micro/large", {"by": "size", "x": size})
    for name in ("churn", "drift", "sessions"):
        make.add(f"micro/{name}/rounds:40", "memory", "Sizes drift over time: what fragments. Good: close to the limit.",
                 [make.metric("time", "ns", 40, named),
                  make.metric("peak memory", "MiB", 120, [*named, "limit"], tilt=0.3),
                  make.metric("resident memory", "MiB", 80, [*named, "limit"], tilt=0.3),
                  make.metric("page faults", "thousands", 31, named, tilt=0.3)])


def programs(make, peers):
    named = ["kmalloc", *peers]
    for name, seconds, mib in (("redis", 2.4, 40), ("python3-objects", 1.2, 60), ("gcc", 0.8, 90), ("sqlite3", 1.6, 22),
                               ("lua", 0.9, 35), ("perl", 0.7, 48), ("git-gc", 1.9, 70), ("openssl", 0.3, 6), (None, 0.5, 8)):
        mine = [column for column in named if (name, column) not in (("redis", "tcmalloc"), ("git-gc", "kmalloc"))]
        make.add(f"programs/{name}" if name else ODD, "programs",
                 f"{name or '<i>odd</i> & such'}: a real program's mix. Good: no slower than the best peer.",
                 [make.metric("time", "s", seconds, mine, tilt=0.2),
                  make.metric("peak memory", "MiB", mib, mine, tilt=0.2),
                  make.metric("page faults", "thousands", mib / 4, mine, tilt=0.2)],
                 series=make.series(mine, seconds, mib) if name in ("redis", "gcc", "git-gc", None) else None)
    for threads in (1, 10, 100, 1000, 10000):
        make.add(f"servers/busy/threads:{threads}", "servers", "Each thread serves requests. Good: flat.",
                 [make.metric("time", "s", 0.4 + threads / 4000, named, rounds=1 if threads == 10000 else 5, tilt=0.2),
                  make.metric("peak memory", "MiB", 4 + threads / 20, named, tilt=0.4)],
                 "servers/busy", {"by": "threads", "x": threads})
    # Differences: zero and below are possible, and then there is no ratio.
    start = make.metric("time", "us", 120, named)
    faults = {"name": "page faults", "unit": "", "results": {
        column: {"median": value, "spread": 0.0, "samples": [value]}
        for column, value in zip(named, (0, -3, 12, 40, 31))}}
    make.add("startup/nothing", "startup", "Loading, relocating, setting up. Good: under 150 us.", [start, faults])


def summary(benchmarks, columns):
    lines = []
    for title, name, groups in (("pairs and batches, one thread", "time", ("pair", "batch")),
                                ("several threads at a time", "time", ("threads",)), ("large blocks", "time", ("large",)),
                                ("memory benchmarks", "peak memory", ("memory",)), ("real programs", "time", ("programs",)),
                                ("real programs", "peak memory", ("programs",)), ("real programs", "page faults", ("programs",))):
        metrics = [metric for benchmark in benchmarks if benchmark["group"] in groups
                   for metric in benchmark["metrics"] if metric["name"] == name]
        results = {}
        for column in columns:
            ratios = [metric["results"][column]["ratio"] for metric in metrics if "ratio" in metric["results"].get(column, {})]
            if ratios:
                mean = geometric_mean(ratios)
                results[column] = {"ratio": mean, "ratio_low": mean * 0.985, "ratio_high": mean * 1.02, "count": len(ratios)}
        lines.append({"title": title, "metric": name, "count": len(metrics), "results": results})
    return lines


def results(complete=False):
    make = Maker()
    working = [peer for peer in PEERS if peer != BROKEN]
    micro(make, working)
    programs(make, working)
    allocators = [{"name": name, "library": f"lib{name}.so.2", "version": "1.2.3",
                   "broken": "does not load: <undefined symbol>" if name == BROKEN else None} for name in PEERS]
    return {
        "format": 1, "command": "tools/bench --rounds 5 --only 'a<b'", "date": "2026-11-24T10:05:00Z",
        "complete": complete, "rounds": 5, "quick": False,
        "host": {"cpu": "Example CPU 9000 @ 2.60GHz", "cpus": 2, "memory_mib": 24000, "kernel": "6.1.0", "libc": "glibc 2.36"},
        "ours": "kmalloc",
        "allocators": [{"name": "kmalloc", "library": "build/libkmalloc.so", "version": "0.1.0 (abc1234)", "broken": None},
                       *allocators,
                       {"name": "limit", "library": None, "version": "an unsynchronised list; live bytes", "broken": None}],
        "groups": [{"name": name, "title": title, "about": about} for name, title, about in GROUPS],
        "benchmarks": make.benchmarks,
        "summary": summary(make.benchmarks, [*working, "limit"]),
        "failures": [
            {"benchmark": "programs/redis", "allocator": "tcmalloc", "reason": "killed by signal 11"},
            {"benchmark": "programs/git-gc", "allocator": "kmalloc", "reason": "no answer after 60 s"},
            {"benchmark": ODD, "allocator": BROKEN, "reason": "does not load: <undefined symbol>"},
        ],
    }


SHARES = [("hit", 412), ("refill", 61), ("barn", 17), ("slab", 38), ("page", 9), ("vmalloc", 4), ("syscall", 22), ("fault", 31),
          ("other", 6)]


def flame():
    """The shares are what the tree says: each path has its frames in it."""
    make = random.Random(5)
    total, own = 2000, sum(samples for _, samples in SHARES)

    def frame(name, value, children=()):
        return {"name": name, "value": value, "children": list(children)}

    def allocator(part):
        # The way down to a slower path leads through the faster ones.
        values = {path: part(samples) for path, samples in SHARES}
        inner = frame("slab_alloc [kmalloc:slab]", values["slab"] + values["page"] + values["syscall"], [
            frame("page_alloc [kmalloc:page]", values["page"] + values["syscall"],
                  [frame("mmap [kmalloc:syscall]", values["syscall"])])])
        refill = frame("sheaf_refill [kmalloc:refill]", values["refill"] + values["barn"] + inner["value"],
                       [frame("barn_get [kmalloc:barn]", values["barn"]), inner])
        big = frame("vmalloc [kmalloc:vmalloc]", values["vmalloc"] + values["fault"],
                    [frame("page_fault [kmalloc:fault]", values["fault"])])
        rest = frame("<init> & more [kmalloc:other]", values["other"])
        return frame("malloc [kmalloc:hit]", sum(values.values()), [refill, big, rest])

    first = allocator(lambda samples: samples // 2)
    second = allocator(lambda samples: samples - samples // 2)
    work = [frame(f"step_{i}", make.randint(5, 60)) for i in range(12)]
    parse = frame("parse_file", first["value"] + sum(f["value"] for f in work), [first, *work])
    evaluate = frame("evaluate", second["value"] + 40, [second])
    main = frame("main", total - 20, [parse, evaluate])
    return {
        "format": 1, "title": "gcc -O2 <big>.c", "command": "tools/perf-record gcc -O2 '<big>.c'", "unit": "samples",
        "event": "cpu-clock",
        "shares": [{"path": path, "samples": samples, "share": samples / total} for path, samples in SHARES],
        "tree": {"name": "all", "value": total, "children": [main]}, "own": own,
    }


if __name__ == "__main__":
    print(json.dumps({"results": results, "flame": flame}[sys.argv[1]]()))
