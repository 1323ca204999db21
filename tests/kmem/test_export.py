#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`kmem export`: each format has the numbers of a program that counts what it allocates (exported.c).

Usage: test_export.py SOURCE_ROOT KMEM PROGRAM DIR [PICTURES]. DIR has the node modules of bench/page/build; screenshots go to PICTURES.
Without chromium or the page what needs them is skipped."""
import gzip
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT, KMEM, PROGRAM, DIR = (Path(word).resolve() for word in sys.argv[1:5])
PICTURES = [word for word in sys.argv[5:6] if not word.startswith("-")]
del sys.argv[1:]
sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import test_export_wire as wire  # noqa: E402

CHROMIUM = "/usr/bin/chromium"
DH_VIEW = "/usr/libexec/valgrind/dh_view.html"
DRIVE = Path(__file__).resolve().parent / "test_export_drive.mjs"
VIEWS = DRIVE.with_name("test_export_views.mjs")
FIELDS = ("allocs", "alloc", "live_objects", "live_bytes", "peak_objects", "peak_bytes")
FORMATS = ("pprof", "collapsed", "perfetto", "chrome", "dhat", "html")
# By the function that is not inlined; what is inlined into it, the innermost first.
STACKS = {"keep": ["keep"], "drop_at_once": ["drop_at_once"], "at_peak": ["at_peak"], "area": ["area"],
          "inlined_one": ["inlined_one", "outer_one"]}
work = None  # where recordings are


def setUpModule():
    global work
    work = Path(tempfile.mkdtemp(prefix="kmem-export."))


def tearDownModule():
    shutil.rmtree(work)


def run(*words, **options):
    return subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          timeout=120, check=False, **options)


def record(name, *options):
    """The recording's path, and what the program says of itself: {function: {field: number}}."""
    path = work / name
    made = run(KMEM, "record", "-o", path, *options, "--", PROGRAM)
    if made.returncode:
        raise AssertionError(f"kmem record failed: {made.stderr.decode()}")
    rows = [line.split() for line in made.stdout.decode().splitlines()]
    return path, {row[0]: dict(zip(FIELDS, map(int, row[1:]))) for row in rows}


def export(path, *options):
    """What comes out, as bytes; it must go well."""
    made = run(KMEM, "export", *options, path)
    if made.returncode:
        raise AssertionError(f"kmem export {options} failed: {made.stderr.decode()}")
    return made.stdout


def sums(counts):
    return {field: sum(count[field] for count in counts.values()) for field in FIELDS}


def build_id(path):
    found = re.search(r"Build ID: ([0-9a-f]+)", run("readelf", "-n", path).stdout.decode())
    return found and found.group(1)


class Recorded(unittest.TestCase):
    """With a recording of all calls."""

    @classmethod
    def setUpClass(cls):
        cls.path, cls.counts = record(f"{cls.__name__}.data")
        cls.total = sums(cls.counts)
        cls.report = json.loads(run(KMEM, "report", "--json", "-n", "0", cls.path).stdout)


class RecordingTest(Recorded):
    def test_report_and_program_agree(self):
        report = self.report["total"]
        self.assertEqual({"allocs": report["allocs"], "alloc": report["bytes_alloc"],
                          **{field: report[field] for field in FIELDS[2:]}}, self.total)


class PprofTest(Recorded):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.packed = export(cls.path, "--pprof")
        cls.profile = wire.read(wire.PROFILE, gzip.decompress(cls.packed))
        cls.strings = [text.decode() for text in cls.profile["string_table"]]

    def text(self, number):
        return self.strings[number]

    def test_head(self):
        profile = self.profile
        self.assertEqual(self.strings[0], "")
        self.assertEqual(len(set(self.strings)), len(self.strings))
        types = [(self.text(kind["type"]), self.text(kind["unit"])) for kind in profile["sample_type"]]
        self.assertEqual(types, [("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"),
                                 ("inuse_space", "bytes")])
        self.assertEqual(self.text(profile["default_sample_type"]), "inuse_space")
        self.assertEqual((self.text(profile["period_type"]["type"]), self.text(profile["period_type"]["unit"])), ("space", "bytes"))
        self.assertEqual(profile["period"], 1)
        self.assertEqual(profile["duration_nanos"], self.report["duration_ns"])
        self.assertGreater(profile["time_nanos"], 1_600_000_000 * 10**9)
        self.assertEqual([self.text(number) for number in profile["comment"]], [str(PROGRAM)])

    def test_ids(self):
        for kind in ("mapping", "location", "function"):
            self.assertEqual([entry["id"] for entry in self.profile[kind]], list(range(1, len(self.profile[kind]) + 1)))

    def functions(self, location):
        return [self.profile["function"][line["function_id"] - 1] for line in location["line"]]

    def test_samples(self):
        found = {}
        for sample in self.profile["sample"]:
            self.assertEqual(len(sample["value"]), 4)
            location, = (self.profile["location"][number - 1] for number in sample["location_id"])
            names = [self.text(function["name"]) for function in self.functions(location)]
            self.assertNotIn(names[0], found)
            self.assertEqual(names, STACKS[names[0]])
            label, = ((self.text(label["key"]), self.text(label["str"])) for label in sample["label"])
            self.assertEqual(label, ("kind", "vmalloc" if names[0] == "area" else "kmalloc"))
            found[names[0]] = dict(zip(FIELDS, sample["value"]))
        wanted = {name: {field: count[field] for field in FIELDS[:4]} for name, count in self.counts.items()}
        self.assertEqual(found, wanted)

    def test_lines(self):
        source = (ROOT / "tests/kmem/exported.c").read_text().splitlines()
        calls = 0
        for location in self.profile["location"]:
            lines = [source[line["line"] - 1] for line in location["line"]]
            self.assertIn("malloc(", lines[0])
            for function in self.functions(location):
                self.assertTrue(self.text(function["filename"]).endswith("tests/kmem/exported.c"))
            calls += "inlined_one(" in lines[-1]
        self.assertEqual(calls, 1)

    def test_mappings(self):
        mappings = {self.text(mapping["filename"]): mapping for mapping in self.profile["mapping"]}
        program = mappings[str(PROGRAM)]
        self.assertEqual(self.profile["mapping"][0], program)
        self.assertEqual(self.text(program["build_id"]), build_id(PROGRAM))
        self.assertTrue(all(program[f"has_{what}"] for what in ("functions", "filenames", "line_numbers", "inline_frames")))
        library = mappings[str(KMEM.parent / "libkmalloc.so")]
        self.assertEqual(self.text(library["build_id"]), build_id(KMEM.parent / "libkmalloc.so"))
        for location in self.profile["location"]:
            self.assertEqual(location["mapping_id"], program["id"])
            self.assertGreaterEqual(location["address"], program["memory_start"])
            self.assertLess(location["address"], program["memory_limit"])

    def test_addresses_are_in_the_functions(self):
        program = self.profile["mapping"][0]
        names = run("addr2line", "-fe", PROGRAM, *(hex(location["address"] - program["memory_start"] + program["file_offset"])
                                                   for location in self.profile["location"])).stdout.decode().split("\n")[::2]
        self.assertEqual(set(names[:-1]), set(STACKS))

    @unittest.skipUnless(shutil.which("protoc"), "no protoc")
    def test_schema(self):
        check_schema(self, "profile", "perftools.profiles.Profile", gzip.decompress(self.packed))

    @unittest.skipUnless(shutil.which("go"), "no go")
    def test_pprofs_own_reader(self):
        file = work / "pprof.gz"
        file.write_bytes(self.packed)
        for kind, field in (("alloc_objects", "allocs"), ("alloc_space", "alloc"), ("inuse_objects", "live_objects"),
                            ("inuse_space", "live_bytes")):
            made = run("go", "tool", "pprof", "-symbolize=none", "-nodefraction=0", "-unit=B", f"-sample_index={kind}", "-top", file)
            self.assertEqual(made.returncode, 0, made.stderr)
            rows = re.findall(r"(?m)^ *(\d+)B? +\S+% +\S+% +(\d+)B? +\S+% +(\w+)", made.stdout.decode())
            found = {name: (int(flat), int(all_in)) for flat, all_in, name in rows}
            wanted = {name: (count[field], count[field]) for name, count in self.counts.items() if count[field]}
            wanted["outer_one"] = (0, self.counts["inlined_one"][field])
            self.assertEqual(found, wanted)

    def test_function_filter(self):
        profile = wire.read(wire.PROFILE, gzip.decompress(export(self.path, "--pprof", "--function", "^outer")))
        self.assertEqual([sample["value"] for sample in profile["sample"]],
                         [[self.counts["inlined_one"][field] for field in FIELDS[:4]]])


def check_schema(test, name, message, data):
    """Our .proto reads what was written, and has a name for each field of it."""
    made = subprocess.run(["protoc", f"--proto_path={ROOT / 'tools/kmem'}", f"--decode={message}", f"{name}.proto"], input=data,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    test.assertEqual((made.returncode, made.stderr), (0, b""))
    test.assertNotRegex(made.stdout.decode(errors="replace"), r"(?m)^\s*\d+(:| \{)")


class CollapsedTest(Recorded):
    def lines(self, *options):
        text = export(self.path, "--collapsed", *options).decode()
        rows = [re.fullmatch(r"(.+) (\d+)", line).groups() for line in text.splitlines()]
        self.assertEqual(rows, sorted(rows, key=lambda row: -int(row[1])))
        return {row[0]: int(row[1]) for row in rows}

    def check(self, field, *options):
        wanted = {";".join(reversed(STACKS[name])): count[field] for name, count in self.counts.items() if count[field]}
        found = self.lines(*options)
        self.assertEqual(found, wanted)
        self.assertEqual(sum(found.values()), self.total[field])

    def test_values(self):
        self.check("live_bytes")
        for value, objects, size in (("inuse", "live_objects", "live_bytes"), ("alloc", "allocs", "alloc"),
                                     ("peak", "peak_objects", "peak_bytes")):
            self.check(objects, f"--value={value}", "--unit=objects")
            self.check(size, f"--value={value}", "--unit=bytes")


class ChromeTest(Recorded):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.trace = json.loads(export(cls.path, "--chrome"))

    def events(self, phase):
        return [event for event in self.trace["traceEvents"] if event["ph"] == phase]

    def curve(self, name, unit):
        return [(event["ts"], event["args"][unit]) for event in self.events("C") if event["name"] == name]

    def test_each_event_is_complete(self):
        for event in self.trace["traceEvents"]:
            self.assertTrue({"name", "ph", "pid", "tid", "args"} <= set(event), event)
            self.assertIn(event["ph"], "MCi")
            if event["ph"] != "M":
                self.assertIsInstance(event["ts"], (int, float))
            if event["ph"] == "i":
                self.assertIn(event["s"], "gpt")
        self.assertEqual(len({event["pid"] for event in self.trace["traceEvents"]}), 1)

    def test_process_has_its_name(self):
        self.assertEqual([(event["name"], event["args"]["name"]) for event in self.events("M")], [("process_name", str(PROGRAM))])

    def test_curves(self):
        for name, unit, peak, live in (("heap bytes", "bytes", "peak_bytes", "live_bytes"),
                                       ("heap objects", "objects", "peak_objects", "live_objects")):
            curve = self.curve(name, unit)
            times = [time for time, _ in curve]
            self.assertEqual(times, sorted(times))
            self.assertEqual(max(value for _, value in curve), self.total[peak])
            self.assertEqual(curve[-1][1], self.total[live])
            self.assertAlmostEqual(times[-1] * 1000, self.report["duration_ns"], delta=1)

    def test_peak(self):
        peak, = self.events("i")
        self.assertEqual(peak["args"], {"bytes": self.total["peak_bytes"], "objects": self.total["peak_objects"]})
        self.assertAlmostEqual(peak["ts"] * 1000, self.report["peak_ns"], delta=1)
        self.assertIn((peak["ts"], self.total["peak_bytes"]), self.curve("heap bytes", "bytes"))

    def test_other_data(self):
        data = self.trace["otherData"]
        self.assertEqual((data["allocs"], data["bytes_alloc"], data["live_objects"], data["live_bytes"], data["lost"], data["sampled"]),
                         (*(self.total[field] for field in FIELDS[:4]), 0, False))


class PerfettoTest(Recorded):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = export(cls.path, "--perfetto")
        cls.packets = wire.read(wire.TRACE, cls.data)["packet"]

    def only(self, field):
        return [packet for packet in self.packets if field in packet]

    def test_packets_belong_to_one_sequence(self):
        self.assertEqual({packet["trusted_packet_sequence_id"] for packet in self.packets}, {1})
        self.assertEqual(self.packets[0]["sequence_flags"], 1)

    def test_clock_of_the_dump_is_known(self):
        snapshot, = self.only("clock_snapshot")
        clocks = {clock["clock_id"]: clock["timestamp"] for clock in snapshot["clock_snapshot"]["clocks"]}
        self.assertEqual(clocks[4], clocks[6])
        self.assertGreater(clocks[1], 1_600_000_000 * 10**9)
        dump, = self.only("profile_packet")
        end = clocks[6] + self.report["duration_ns"]
        self.assertEqual((dump["timestamp"], dump["profile_packet"]["process_dumps"][0]["timestamp"]), (end, end))

    def test_tracks_and_curves(self):
        tracks = {packet["track_descriptor"].get("name", b"").decode(): packet["track_descriptor"]
                  for packet in self.only("track_descriptor")}
        process = tracks[""]
        self.assertEqual(process["process"]["process_name"].decode(), str(PROGRAM))
        for name, unit, peak, live in (("heap bytes", 3, "peak_bytes", "live_bytes"), ("heap objects", 2, "peak_objects", "live_objects")):
            self.assertEqual((tracks[name]["parent_uuid"], tracks[name]["counter"]["unit"]), (process["uuid"], unit))
            values = [packet["track_event"]["counter_value"] for packet in self.only("track_event")
                      if packet["track_event"]["track_uuid"] == tracks[name]["uuid"]]
            self.assertEqual((max(values), values[-1]), (self.total[peak], self.total[live]))
        mark, = (packet for packet in self.only("track_event") if packet["track_event"]["type"] == 3)
        self.assertEqual((mark["track_event"]["name"], mark["timestamp"] - 10**9), (b"peak", self.report["peak_ns"]))

    def test_dump(self):
        packet, = self.only("profile_packet")
        data = packet["interned_data"]
        names = {entry["iid"]: entry["str"].decode() for entry in data["function_names"]}
        frames = {entry["iid"]: entry for entry in data["frames"]}
        stacks = {entry["iid"]: [names[frames[number]["function_name_id"]] for number in entry["frame_ids"]]
                  for entry in data["callstacks"]}
        dump, = packet["profile_packet"]["process_dumps"]
        self.assertEqual(packet["profile_packet"]["index"], 0)
        self.assertEqual(dump["sampling_interval_bytes"], 1)
        found = {}
        for sample in dump["samples"]:
            stack = stacks[sample["callstack_id"]][::-1]
            self.assertEqual(stack, STACKS[stack[0]])
            found[stack[0]] = {"allocs": sample["alloc_count"], "alloc": sample["self_allocated"],
                               "live_objects": sample["alloc_count"] - sample["free_count"],
                               "live_bytes": sample["self_allocated"] - sample["self_freed"]}
        self.assertEqual(found, {name: {field: count[field] for field in FIELDS[:4]} for name, count in self.counts.items()})

    def test_frames_are_in_files(self):
        data = self.only("profile_packet")[0]["interned_data"]
        paths = {entry["iid"]: entry["str"].decode() for entry in data["mapping_paths"]}
        ids = {entry["iid"]: entry["str"].hex() for entry in data["build_ids"]}
        mappings = {entry["iid"]: entry for entry in data["mappings"]}
        for frame in data["frames"]:
            mapping = mappings[frame["mapping_id"]]
            self.assertEqual([paths[number] for number in mapping["path_string_ids"]], [str(PROGRAM)])
            self.assertEqual(ids[mapping["build_id"]], build_id(PROGRAM))
            self.assertLess(frame["rel_pc"], mapping["exact_offset"] + mapping["end"] - mapping["start"])

    @unittest.skipUnless(shutil.which("protoc"), "no protoc")
    def test_schema(self):
        check_schema(self, "perfetto", "perfetto.protos.Trace", self.data)


class DhatTest(Recorded):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.file = work / "dhat.json"
        export(cls.path, "--dhat", "-o", cls.file)
        cls.dhat = json.loads(cls.file.read_text(encoding="utf-8"))

    def test_head(self):
        head = {key: value for key, value in self.dhat.items() if key not in ("pps", "ftbl", "pid", "te", "tg")}
        self.assertEqual(head, {"dhatFileVersion": 2, "mode": "heap", "verb": "Allocated", "bklt": True, "bkacc": False, "bu": "byte",
                                "bsu": "bytes", "bksu": "blocks", "tu": "µs", "Mtu": "s", "tuth": 1000, "cmd": str(PROGRAM)})
        self.assertAlmostEqual(self.dhat["te"] * 1000, self.report["duration_ns"], delta=500)
        self.assertAlmostEqual(self.dhat["tg"] * 1000, self.report["peak_ns"], delta=500)

    def test_points(self):
        found = {}
        for point in self.dhat["pps"]:
            self.assertEqual(set(point), {"tb", "tbk", "tl", "mb", "mbk", "gb", "gbk", "eb", "ebk", "fs"})
            frames = [re.fullmatch(r"0x[0-9A-F]+: (\w+) \(exported\.c:\d+\)", self.dhat["ftbl"][number]).group(1)
                      for number in point["fs"]]
            self.assertEqual(frames, STACKS[frames[0]])
            found[frames[0]] = dict(zip(FIELDS, (point[key] for key in ("tbk", "tb", "ebk", "eb", "gbk", "gb"))))
        self.assertEqual(found, self.counts)
        self.assertEqual(self.dhat["ftbl"][0], "[root]")

    def test_own_maxima_and_lifetimes(self):
        points = {self.dhat["ftbl"][point["fs"][0]].split()[1]: point for point in self.dhat["pps"]}
        dropped = self.counts["drop_at_once"]
        self.assertEqual((points["drop_at_once"]["mbk"], points["drop_at_once"]["mb"]), (1, dropped["alloc"] // dropped["allocs"]))
        self.assertEqual((points["keep"]["mbk"], points["keep"]["mb"]), (self.counts["keep"]["allocs"], self.counts["keep"]["alloc"]))
        # at_peak() sleeps for 20 ms while its objects live, which keep()'s outlive
        for name in ("at_peak", "keep"):
            self.assertGreater(points[name]["tl"] / points[name]["tbk"], 20000)
        self.assertLess(points["drop_at_once"]["tl"] / points["drop_at_once"]["tbk"], 1000)

    @unittest.skipUnless(os.path.exists(CHROMIUM) and os.path.exists(DH_VIEW) and shutil.which("node") and
                         (DIR / "node_modules/playwright-core").exists(), "no chromium, node or dh_view.html")
    def test_valgrinds_viewer_shows_it(self):
        seen = drive("dhat", DH_VIEW, self.file)
        self.assertEqual([text for text in seen["problems"] if text.startswith("error")], [])
        for text in (f"Command: {PROGRAM}", f"Total:     {self.total['alloc']:,} bytes", f"in {self.total['allocs']:,} blocks",
                     f"At t-gmax: {self.total['peak_bytes']:,} bytes", f"At t-end:  {self.total['live_bytes']:,} bytes",
                     "keep (exported.c:"):
            self.assertIn(text, seen["text"])


# Of the Go tools' trace view: the importer is Chrome's own.
TRACE_VIEWER = next(iter(sorted(Path("/usr/share").glob("go-*/src/cmd/trace/static/trace_viewer_full.html"))), None)
SPEEDSCOPE = DIR / "node_modules/speedscope/dist/release/index.html"


@unittest.skipUnless(os.path.exists(CHROMIUM) and shutil.which("node") and (DIR / "node_modules/playwright-core").exists(),
                     "no chromium or node")
class OthersReadTest(Recorded):
    """Programs of other people read what is exported, and count the same."""

    def view(self, kind, viewer, *options):
        file = work / f"{options[0][2:]}.others"
        export(self.path, *options, "-o", file)
        seen = drive(kind, viewer, file, script=VIEWS)
        self.assertEqual(seen.pop("problems"), [])
        return seen

    @unittest.skipUnless(TRACE_VIEWER, "no trace viewer (golang-go)")
    def test_chromes_trace_viewer(self):
        seen = self.view("chrome", TRACE_VIEWER, "--chrome")
        self.assertEqual((seen["warnings"], seen["process"]), ([], str(PROGRAM)))
        self.assertEqual({name: (max(values), values[-1]) for name, values in seen["counters"].items()},
                         {"heap bytes": (self.total["peak_bytes"], self.total["live_bytes"]),
                          "heap objects": (self.total["peak_objects"], self.total["live_objects"])})
        self.assertEqual(seen["marks"], [{"title": "peak", "args": {"bytes": self.total["peak_bytes"],
                                                                    "objects": self.total["peak_objects"]}}])
        self.assertEqual(seen["other"]["live_bytes"], self.total["live_bytes"])

    @unittest.skipUnless(SPEEDSCOPE.exists(), "no speedscope")
    def test_speedscope(self):
        for options, field, unit, stack in (
                (["--collapsed"], "live_bytes", "none", lambda frames: frames[::-1]),
                (["--collapsed", "--value=alloc"], "alloc", "none", lambda frames: frames[::-1]),
                (["--collapsed", "--value=peak", "--unit=objects"], "peak_objects", "none", lambda frames: frames[::-1]),
                # it shows one frame of an address, whatever is inlined there: that which is no inlined one
                (["--pprof"], "live_bytes", "bytes", lambda frames: frames[-1:])):
            seen = self.view("speedscope", SPEEDSCOPE, *options)
            self.assertEqual(seen["unit"], unit)
            expected = {";".join(stack(STACKS[name])): count[field] for name, count in self.counts.items() if count[field]}
            self.assertEqual(seen["stacks"], expected, options)


def drive(*words, script=DRIVE):
    made = run("node", script, DIR, *words, *PICTURES)
    if made.returncode:
        raise AssertionError(f"the browser's driver failed: {made.stderr.decode()[-2000:]}")
    return json.loads(made.stdout)


def page_is_there():
    return "was built without the page" not in run(KMEM, "export", "--html", "-o", os.devnull, record("probe.data")[0]).stderr.decode()


class PageTest(Recorded):
    @classmethod
    def setUpClass(cls):
        missing = [name for name in (CHROMIUM, "node") if not shutil.which(name)]
        if missing or not (DIR / "node_modules/playwright-core").exists() or not page_is_there():
            raise unittest.SkipTest(f"not installed: {' '.join(missing) or 'the page'}")
        super().setUpClass()
        cls.file = work / "page.html"
        export(cls.path, "--html", "-o", cls.file)
        cls.seen = [drive("page", cls.file, width) for width in (360, 1280)]

    def test_no_errors_no_requests_no_overflow(self):
        for seen in self.seen:
            self.assertEqual((seen["problems"], seen["requests"]), ([], []))
            for state in seen.values():
                if isinstance(state, dict) and "overflow" in state:
                    self.assertLessEqual(state["overflow"], 0)
            self.assertLessEqual(seen["tipOverflow"], 0)

    def test_head(self):
        for seen in self.seen:
            self.assertIn(str(PROGRAM), seen["text"])
            self.assertIn(f"{self.report['events']:,} events", seen["text"])
            self.assertEqual(seen["start"]["notices"], [])
            tiles = {name: tile["exact"] for name, tile in seen["start"]["tiles"].items()}
            self.assertEqual(tiles, {"never-freed": [self.total["live_bytes"], self.total["live_objects"]],
                                     "at-peak": [self.total["peak_bytes"], self.total["peak_objects"]],
                                     "allocated": [self.total["alloc"], self.total["allocs"]]})
            self.assertEqual(seen["start"]["tiles"]["never-freed"]["shown"], f"{self.total['live_bytes'] / 2**20:.3g} MiB")

    def test_curve(self):
        for seen in self.seen:
            self.assertEqual(seen["start"]["peak"], f"peak: {self.total['peak_bytes'] / 2**20:.3g} MiB")
            self.assertEqual(seen["objects"]["peak"], f"peak: {self.total['peak_objects']}")
            self.assertRegex(seen["tip"], "after")

    def test_sites(self):
        for seen in self.seen:
            sites = {name: {field: cells[field]["exact"] for field in cells if field in FIELDS}
                     for name, cells in seen["start"]["sites"].items()}
            self.assertEqual(sites, {name: {field: count[field] for field in FIELDS if field != "peak_objects"}
                                     for name, count in self.counts.items()})
            self.assertIn("in outer_one", seen["start"]["where"])

    def test_sites_are_sorted_and_filtered(self):
        for seen in self.seen:
            for order, names in seen["sorted"].items():
                field, turn = order.split()
                values = [self.counts[name][field] for name in names]
                self.assertEqual(values, sorted(values, reverse=turn == "down"))
            self.assertEqual(seen["filtered"], ["at_peak"])

    def test_flame_graph(self):
        for seen in self.seen:
            for field, frames in seen["values"].items():
                for frame in frames[1:]:
                    name = "inlined_one" if frame["name"] == "outer_one" else frame["name"]
                    share = self.counts[name][field] / self.total[field]
                    self.assertTrue(frame["title"].endswith(f", {share * 100:.1f}%"), frame)
            names = {frame["name"] for frame in self.seen[1]["values"]["allocs"]}
            self.assertLessEqual({"drop_at_once", "keep"}, names)

    def test_search(self):
        for seen in self.seen:
            share = self.counts["keep"]["alloc"] / self.total["alloc"]
            self.assertEqual(seen["searched"]["found"], f"1 frame, {self.counts['keep']['alloc'] / 1024:.3g} KiB, {share * 100:.1f}%")
            marked = {frame["name"] for frame in seen["searched"]["frames"] if frame["fill"] == "var(--match)"}
            self.assertEqual(marked, {"keep"})
            self.assertIn("1 frame", seen["fromTable"]["found"])
            self.assertEqual(seen["reset"]["found"], "")

    def test_zoom(self):
        for seen in self.seen:
            widths = {frame["name"]: frame["width"] for frame in seen["zoomed"]["frames"]}
            self.assertEqual(widths["keep"], max(widths.values()))
            self.assertNotIn("area", widths)
            self.assertTrue(seen["zoomed"]["details"].startswith("keep (exported.c:"))
            self.assertIn("area", {frame["name"] for frame in seen["reset"]["frames"]})

    def test_histograms(self):
        for seen in self.seen:
            self.assertEqual(sum(int(text.replace(",", "")) for text in seen["start"]["sizes"]), self.total["allocs"])
            freed = self.total["allocs"] - self.total["live_objects"]
            self.assertEqual(sum(int(text.replace(",", "")) for text in seen["start"]["lifetimes"]), freed)
            self.assertEqual(seen["start"]["sizes"][0], f"{self.counts['drop_at_once']['allocs']:,}")

    def test_far_callers_are_folded(self):
        path, _ = record("stacks.data", "--stacks")
        file = work / "stacks.html"
        export(path, "--html", "-o", file)
        dump = run(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", file.as_uri()).stdout.decode()
        rows = {re.search(r"<button[^>]*>(.*?)<", row).group(1): row for row in re.findall(r"<tr data-address.*?</tr>", dump, re.DOTALL)}
        self.assertRegex(rows["inlined_one"], r">in outer_one ←\xa0main |>in outer_one ←&nbsp;main ")
        self.assertRegex(rows["inlined_one"], r"<details[^>]*><summary>2 more</summary>.*_start</details>")
        self.assertNotIn("<details", rows["keep"])
        self.assertIn("_start", rows["keep"])

    def test_notices(self):
        sampled, _ = record("sampled.data", "--sample=4K")
        cut = work / "cut.data"
        cut.write_bytes(self.path.read_bytes()[:-10])
        for path, options, text in ((sampled, (), "Sampled. Numbers are estimates"), (cut, (), "Not whole."),
                                    (self.path, ("--function", "</script>|keep"), "match </script>|keep")):
            file = work / "notice.html"
            export(path, "--html", "-o", file, *options)
            self.assertEqual(file.read_text().count("</script>"), 2)
            dump = run(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", file.as_uri()).stdout.decode()
            notices = re.findall(r'class="notice"[^>]*>(.*?)</p>', dump)
            self.assertEqual(len(notices), 1, notices)
            self.assertIn(text.replace("<", "&lt;").replace(">", "&gt;"), re.sub(r"</?strong>", "", notices[0]))


class SampledTest(unittest.TestCase):
    def test_period_is_the_mean(self):
        path, counts = record("mean.data", "--sample=4K")
        profile = wire.read(wire.PROFILE, gzip.decompress(export(path, "--pprof")))
        self.assertEqual(profile["period"], 4096)
        # the area is larger than any distance between samples
        values = [sample["value"] for sample in profile["sample"]]
        self.assertIn([counts["area"][field] for field in FIELDS[:4]], values)
        packet, = (packet for packet in wire.read(wire.TRACE, export(path, "--perfetto"))["packet"] if "profile_packet" in packet)
        self.assertEqual(packet["profile_packet"]["process_dumps"][0]["sampling_interval_bytes"], 4096)
        self.assertTrue(json.loads(export(path, "--chrome"))["otherData"]["sampled"])


class RefusalTest(Recorded):
    def refused(self, why, *words, status=1):
        made = run(KMEM, "export", *words)
        self.assertEqual((made.returncode, made.stdout), (status, b""))
        self.assertRegex(made.stderr.decode(), rf"^kmem( export)?: [^\n]*{why}")
        if status == 1:
            self.assertEqual(made.stderr.count(b"\n"), 1)

    def test_options(self):
        self.refused("which format", self.path, status=2)
        self.refused("one format", "--pprof", "--dhat", self.path, status=2)
        self.refused("for --collapsed", "--pprof", "--unit=objects", self.path, status=2)
        self.refused("no 'most'", "--collapsed", "--value=most", self.path, status=2)
        self.refused("--json", "--collapsed", "--json", self.path, status=2)

    def test_files(self):
        before = self.path.read_bytes()
        self.refused("is the recording itself", "--chrome", "-o", self.path, self.path)
        self.assertEqual(self.path.read_bytes(), before)
        self.refused("No such file", "--chrome", "-o", work / "none" / "x", self.path)
        self.refused("No such file", "--chrome", work / "none.data")
        foreign = work / "foreign.data"
        foreign.write_bytes(b"GIF89a" * 100)
        self.refused("no recording of kmem", "--html", foreign)

    def test_full_disk(self):
        for kind in FORMATS:
            self.refused("No space left|was built without", f"--{kind}", "-o", "/dev/full", self.path)

    def test_failed_output_is_removed(self):
        small = work / "small.html"
        limit = ("import resource, signal, os, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
                 "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); os.execv(sys.argv[1], sys.argv[1:])")
        made = run(sys.executable, "-c", limit, KMEM, "export", "--chrome", "-o", small, self.path)
        self.assertEqual(made.returncode, 1)
        self.assertIn(b"can't be written", made.stderr)
        self.assertFalse(small.exists())

    def test_binary_is_not_for_a_terminal(self):
        for kind in ("pprof", "perfetto"):
            parent, terminal = pty.openpty()
            try:
                made = subprocess.run([KMEM, "export", f"--{kind}", self.path], stdout=terminal, stderr=subprocess.PIPE, check=False)
            finally:
                os.close(terminal)
                os.close(parent)
            self.assertEqual((made.returncode, made.stderr.decode()),
                             (1, f"kmem: --{kind} is not for a terminal: use -o FILE, or a pipe\n"))

    def test_damaged_recording_gives_what_is_readable(self):
        data = bytearray(self.path.read_bytes())
        data[len(data) // 2] ^= 0x55
        damaged = work / "damaged.data"
        damaged.write_bytes(data)
        for kind in ("pprof", "collapsed", "perfetto", "chrome", "dhat"):
            made = run(KMEM, "export", f"--{kind}", damaged)
            self.assertEqual(made.returncode, 0)
            self.assertRegex(made.stderr.decode(), r"^kmem: [^\n]*(damaged|cut off)[^\n]*\n$")


if __name__ == "__main__":
    unittest.main()
