#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The pages of bench/page, opened in headless Chromium: what they show is what the JSON says.

Usage: test_page.py SOURCE_ROOT DIR [PICTURES]. The templates are built in DIR, which keeps the node
modules between runs; screenshots go to PICTURES. Skipped without chromium or npm."""
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

SKIP = 77
CHROMIUM = "/usr/bin/chromium"
WIDTHS = (360, 1280)
ROOT, DIR = (Path(word).resolve() for word in sys.argv[1:3])
PICTURES = sys.argv[3:4]
del sys.argv[1:]
sys.dont_write_bytecode = True
sys.path[:0] = [str(ROOT / "bench" / "page"), str(ROOT / "tests" / "bench")]

import page  # noqa: E402
import page_fixture  # noqa: E402

PAGE = ROOT / "bench" / "page" / "page.py"
FIELDS = ("median", "spread", "ratio")
REFERENCES = ("limit", "empty")


# How the page writes numbers, said a second time.

def fixed(value, digits):
    text = f"{Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):,f}"
    return text


def number(value):
    size = abs(value)
    if size == 0:
        return "0"
    for limit, digits in ((99.95, 0), (9.995, 1), (0.9995, 2)):
        if size >= limit:
            return fixed(value, digits)
    return fixed(value, min(8, 2 - math.floor(math.log10(size))))


def ratio(value):
    return number(value) if value < 0.0995 or value >= 9.995 else fixed(value, 2)


def percent(part):
    return f"{fixed(part * 100, 1)}%"


WRITTEN = {"median": number, "spread": percent, "ratio": ratio}


def results_of(data, wanted=lambda benchmark: True):
    """[(benchmark, metric, column, result)] in the JSON's order."""
    return [(benchmark, metric, column, result) for benchmark in data["benchmarks"] if wanted(benchmark)
            for metric in benchmark["metrics"] for column, result in metric["results"].items()]


def tables_on(seen):
    """{(benchmark, metric, unit, column, field): text} of all tables in sight."""
    found = {}
    for group in seen["groups"]:
        for table in group["tables"]:
            for row in table["rows"]:
                assert row["head"] == row["name"], row
                for cell in row["cells"]:
                    if "column" in cell:
                        key = (row["name"], table["metric"], table["unit"], cell["column"], cell["field"])
                        assert key not in found, key
                        found[key] = cell["text"]
    return found


def expected_tables(data, wanted=lambda column: True):
    found = {}
    for benchmark, metric, column, result in results_of(data):
        if not wanted(column):
            continue
        for field in FIELDS if column != data["ours"] else FIELDS[:2]:
            value = result.get(field)
            key = (benchmark["name"], metric["name"], metric["unit"], column, field)
            found[key] = "" if value is None else WRITTEN[field](value)
    return found


def charts(seen, kind):
    return [chart for group in seen["groups"] for chart in group["charts"] if chart["kind"] == kind]


def total(seen, kind, mark):
    return sum(chart[mark] for chart in charts(seen, kind))


def shown_numbers(seen):
    return sorted(text for chart in charts(seen, "bars") for text in chart["numbers"])


def drive(kind, file, width):
    run = subprocess.run(["node", str(ROOT / "tests" / "bench" / "page_drive.mjs"), str(DIR), kind, str(file), str(width),
                          *PICTURES], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=240)
    if run.returncode:
        raise AssertionError(f"the browser's driver failed: {run.stderr.strip()[-2000:]}")
    return json.loads(run.stdout)


class Pages(unittest.TestCase):
    kind = None
    data = None

    @classmethod
    def setUpClass(cls):
        if cls.kind is None:
            raise unittest.SkipTest("only its children are tests")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "page.html"
            make = {"results": page.results_page, "flame": page.flame_page}[cls.kind]
            file.write_text(make(DIR / f"{cls.kind}.html", cls.data), encoding="utf-8")
            cls.seen = {width: drive(cls.kind, file, width) for width in WIDTHS}

    def each(self):
        return self.seen.values()

    def check_quiet(self):
        for seen in self.each():
            self.assertEqual(seen["problems"], [])
            self.assertEqual(seen["requests"], [])

    def check_no_overflow(self):
        for seen in self.each():
            for name, state in seen.items():
                if isinstance(state, dict) and "overflow" in state:
                    self.assertLessEqual(state["overflow"], 0, name)


class ResultsPage(Pages):
    kind = "results"
    data = page_fixture.results()

    def test_no_errors_and_no_requests(self):
        self.check_quiet()

    def test_body_does_not_overflow(self):
        self.check_no_overflow()

    def test_head_says_what_was_measured(self):
        for seen in self.each():
            for text in ("kmalloc 0.1.0 (abc1234)", "glibc, jemalloc, mimalloc and tcmalloc",
                         f"{len(self.data['benchmarks'])} benchmarks", "5 rounds", "Example CPU 9000 @ 2.60GHz, 2 CPUs",
                         "Linux 6.1.0, glibc 2.36", "23.4 GiB", "tools/bench --rounds 5 --only 'a<b'",
                         "24 November 2026, 10:05 UTC", "Not complete.", "tbbmalloc (does not load: <undefined symbol>)"):
                self.assertIn(text, seen["text"])

    def test_tables_hold_all_numbers(self):
        for seen in self.each():
            self.assertEqual(tables_on(seen["ratio"]), expected_tables(self.data))
            self.assertEqual(tables_on(seen["absolute"]), expected_tables(self.data))

    def test_pointer_shows_the_exact_numbers(self):
        exact = {(b["name"], m["name"], column): r for b, m, column, r in results_of(self.data)}
        for seen in self.each():
            for group in seen["ratio"]["groups"]:
                for table in group["tables"]:
                    for row in table["rows"]:
                        for cell in row["cells"]:
                            if cell.get("field") == "median":
                                result = exact[row["name"], table["metric"], cell["column"]]
                                value = cell["title"].split("\n")[0].split()[1]
                                self.assertEqual(float(value), result["median"])

    def test_summary_has_all_means(self):
        expected = [(line["title"], line["metric"], column, ratio(mean["ratio"]),
                     f"{ratio(mean['ratio_low'])}–{ratio(mean['ratio_high'])}")
                    for line in self.data["summary"] for column, mean in line["results"].items()]
        for seen in self.each():
            summary = seen["ratio"]["summary"]
            self.assertEqual([(row["title"], row["metric"], cell["column"], cell["ratio"], cell["range"])
                              for row in summary["rows"] for cell in row["cells"]], expected)
            self.assertEqual(sum(chart["bars"] for chart in summary["charts"]), len(expected))
            self.assertEqual([text for chart in summary["charts"] for text in chart["numbers"]], [text[3] for text in expected])

    def test_bars_are_all_ratios(self):
        ratios = [(column, result) for _, _, column, result in results_of(self.data) if "ratio" in result]
        for seen in self.each():
            now = seen["ratio"]
            self.assertEqual(total(now, "bars", "bars"), len(ratios))
            self.assertEqual(total(now, "bars", "hollow"), sum(column in REFERENCES for column, _ in ratios))
            self.assertEqual(total(now, "bars", "whiskers"), sum(r["ratio_low"] < r["ratio_high"] for _, r in ratios))
            self.assertEqual(shown_numbers(now), sorted(ratio(result["ratio"]) for _, result in ratios))

    def test_bars_are_all_medians(self):
        medians = [(column, result) for _, _, column, result in results_of(self.data)]
        for seen in self.each():
            now = seen["absolute"]
            self.assertEqual(total(now, "bars", "bars"), len(medians))
            self.assertEqual(total(now, "bars", "whiskers"), sum(bool(r["spread"] and r["median"]) for _, r in medians))
            self.assertEqual(shown_numbers(now), sorted(number(result["median"]) for _, result in medians))

    def test_bars_are_as_long_as_their_ratios(self):
        for chart in charts(self.seen[360]["ratio"], "bars"):
            results = [result for benchmark, metric, _, result in results_of(self.data)
                       if metric["name"] == chart["metric"] and "ratio" in result
                       and any(benchmark["name"].startswith(name.rstrip("…")) and
                               (name[-1] == "…" or name == benchmark["name"]) for name in chart["names"])]
            if not results:
                continue
            values = sorted(result["ratio"] for result in results)
            base = max(set(sum(chart["spans"], [])), key=sum(chart["spans"], []).count)
            ends = sorted(start if abs(end - base) < 0.01 else end for start, end in chart["spans"])
            self.assertEqual(len(values), len(ends))
            # Pixels go with the logarithm; the bars start at 1.
            far, end = max(zip(values, ends), key=lambda pair: abs(math.log(pair[0])))
            pixels = (end - base) / math.log(far)
            self.assertGreater(pixels, 10)
            self.check_places(ends, [base + pixels * math.log(value) for value in values])
            for side, name in enumerate(("ratio_low", "ratio_high")):
                self.check_places([reach[side] for reach in chart["reaches"]], [
                    base + pixels * math.log(r[name]) for r in results if r["ratio_low"] < r["ratio_high"]])

    def check_places(self, places, expected):
        self.assertEqual(len(places), len(expected))
        for place, wanted in zip(sorted(places), sorted(expected)):
            self.assertAlmostEqual(place, wanted, delta=0.6)

    def test_each_benchmark_has_its_row(self):
        names = sorted(b["name"] for b in self.data["benchmarks"] for _ in b["metrics"])
        for seen in self.each():
            shown = [name for chart in charts(seen["ratio"], "bars") for name in chart["names"]]
            self.assertEqual(len(shown), len(names))
            self.assertEqual(sorted(name for name in shown if not name.endswith("…")),
                             sorted(name for name in names if name in shown))

    def test_each_benchmark_has_its_line(self):
        for seen in self.each():
            shown = {about for group in seen["ratio"]["groups"] for about in group["abouts"]}
            self.assertEqual(shown, {benchmark["about"] for benchmark in self.data["benchmarks"]})

    def test_curves_have_all_points(self):
        on_curve = lambda benchmark: benchmark["curve"] is not None  # noqa: E731
        found = results_of(self.data, on_curve)
        families = {(b["family"], m["name"]) for b, m, _, _ in found}
        lines = {(b["family"], m["name"], column) for b, m, column, _ in found}
        throughput = lambda b, m: b["curve"]["by"] == "threads" and m["unit"] == "ns"  # noqa: E731
        for seen in self.each():
            self.assertEqual({(c["curve"], c["metric"]) for c in charts(seen["absolute"], "curve")}, families)
            self.assertEqual(total(seen["absolute"], "curve", "points"), len(found))
            self.assertEqual(total(seen["absolute"], "curve", "lines"), len(lines))
            self.assertEqual(total(seen["ratio"], "curve", "points"),
                             sum("ratio" in r or throughput(b, m) for b, m, _, r in found))

    def test_series_have_all_lines(self):
        expected = {b["name"]: len(b["series"]) for b in self.data["benchmarks"] if "series" in b}
        for seen in self.each():
            self.assertEqual({c["benchmark"]: c["series"] for c in charts(seen["ratio"], "series")}, expected)

    def test_failures_in_words(self):
        for seen in self.each():
            self.assertEqual(seen["failures"], [f"{f['allocator']} did not finish {f['benchmark']}: {f['reason']}"
                                                for f in self.data["failures"]])
            notes = {note for chart in charts(seen["ratio"], "bars") for note in chart["notes"]}
            self.assertIn("kmalloc failed: no answer after 60 s", notes)
            cells = [(row["name"], cell["text"], cell["title"]) for group in seen["ratio"]["groups"]
                     for table in group["tables"] for row in table["rows"] for cell in row["cells"] if "column" not in cell]
            self.assertIn(("programs/redis", "failed", "killed by signal 11"), cells)

    def test_allocator_is_switched_off_and_on(self):
        for seen in self.each():
            off = seen["switchedOff"]
            self.assertEqual(tables_on(off), expected_tables(self.data, lambda column: column != "jemalloc"))
            self.assertEqual(total(off, "bars", "bars"), sum(
                "ratio" in result and column != "jemalloc" for _, _, column, result in results_of(self.data)))
            self.assertEqual(seen["switchedOn"], seen["ratio"])

    def test_filter_by_name(self):
        for seen in self.each():
            self.assertEqual({key[0] for key in tables_on(seen["filtered"])}, {"programs/redis"})
            self.assertEqual({name for c in charts(seen["filtered"], "bars") for name in c["names"]}, {"programs/redis"})
            self.assertEqual(seen["nothing"], 'No benchmark has "no such benchmark" in its name.')

    def test_sorts_by_any_column(self):
        pairs = [b for b in self.data["benchmarks"] if b["group"] == "pair"]
        names = [b["name"] for b in pairs]
        for column, field in (("glibc", "ratio"), ("kmalloc", "median")):
            up = [b["name"] for b in sorted(pairs, key=lambda b: b["metrics"][0]["results"][column][field])]
            for seen in self.each():
                for turn, expected in (("up", up), ("down", up[::-1]), ("back", names)):
                    self.assertEqual(seen["sorted"][f"{column} {field} {turn}"], expected)

    def test_links_lead_to_sections(self):
        for seen in self.each():
            self.assertEqual(seen["links"], ["#summary", *(f"#group-{g['name']}" for g in self.data["groups"]),
                                             "#failures", "#allocators"])
            self.assertEqual(seen["ratio"]["sections"], ["summary", *(f"group-{g['name']}" for g in self.data["groups"])])

    def test_tips_stay_on_the_screen(self):
        for seen in self.each():
            self.assertEqual({tip["section"] for tip in seen["tips"]}, {"#summary", "#group-programs", "#group-threads"})
            self.assertTrue(any("million per second" in tip["text"] for tip in seen["tips"]))
            width = max(w for w, s in self.seen.items() if s is seen)
            for tip in seen["tips"]:
                self.assertLessEqual(tip["overflow"], 0, tip)
                self.assertGreaterEqual(tip["left"], 0, tip)
                self.assertLessEqual(tip["right"], width, tip)

    def test_first_column_stays(self):
        seen = self.seen[360]["sticky"]
        self.assertEqual((seen["moved"], round(seen["by"])), (150, 0))


class FlamePage(Pages):
    kind = "flame"
    data = page_fixture.flame()

    def test_no_errors_and_no_requests(self):
        self.check_quiet()

    def test_body_does_not_overflow(self):
        self.check_no_overflow()

    def test_shares(self):
        expected = [{"path": s["path"], "samples": number(s["samples"]) if s["samples"] >= 100 else str(s["samples"]),
                     "share": percent(s["share"])} for s in self.data["shares"]]
        for seen in self.each():
            self.assertEqual(seen["start"]["shares"], expected)
            self.assertIn(f"{percent(self.data['own'] / self.data['tree']['value'])} of the program's samples", seen["text"])

    def frames(self, node=None):
        node = node or self.data["tree"]
        yield node
        for child in node["children"]:
            yield from self.frames(child)

    def test_frames_and_their_colours(self):
        of_tree = {node["name"].partition(" [kmalloc:")[0]: node["name"].partition(" [kmalloc:")[2].rstrip("]")
                   for node in self.frames()}
        self.assertEqual(len(self.seen[1280]["start"]["frames"]), sum(1 for _ in self.frames()))
        for seen in self.each():
            for frame in seen["start"]["frames"]:
                path = of_tree[frame["name"]]
                self.assertEqual(frame["fill"], f"var(--path-{path})" if path else "var(--program)")

    def test_search_marks_and_counts(self):
        for seen in self.each():
            found = seen["searched"]
            self.assertEqual(found["found"], "18 frames, 600 samples, 30.0%")
            marked = {frame["name"] for frame in found["frames"] if frame["fill"] == "var(--match)"}
            self.assertIn("malloc", marked)
            self.assertNotIn("main", marked)
            self.assertEqual(seen["path"]["found"], "2 frames, 17 samples, 0.9%")
            self.assertEqual({f["fill"] for f in seen["cleared"]["frames"] if f["name"] == "malloc"}, {"var(--path-hit)"})
            self.assertEqual(seen["cleared"]["found"], "")

    def test_zoom_and_reset(self):
        for seen in self.each():
            self.assertTrue(seen["zoomed"]["details"].startswith("parse_file: "))
            self.assertNotIn("evaluate", {frame["name"] for frame in seen["zoomed"]["frames"]})
            self.assertEqual([f["name"] for f in seen["reset"]["frames"]].count("evaluate"), 1)


class FillTest(unittest.TestCase):
    """page.py, without a browser."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.work = Path(self.folder.name)
        (self.work / "t.html").write_text("<script>@DATA@</script>")

    def tearDown(self):
        self.folder.cleanup()

    def run_page(self, text, template="t.html"):
        (self.work / "in.json").write_bytes(text.encode(errors="surrogatepass") if isinstance(text, str) else text)
        return subprocess.run([sys.executable, "-B", str(PAGE), "in.json", template, "out.html"], cwd=self.work,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def refused(self, text, why, **other):
        run = self.run_page(text, **other)
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        self.assertRegex(run.stderr, rf"^page\.py: [^\n]*{why}[^\n]*\n$")
        self.assertFalse((self.work / "out.html").exists())

    def test_nothing_ends_the_script(self):
        data = page_fixture.results()
        run = self.run_page(json.dumps(data))
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        inner = (self.work / "out.html").read_text().removeprefix("<script>").removesuffix("</script>")
        self.assertNotIn("<", inner)
        self.assertEqual(json.loads(inner), data)

    def test_placeholder_in_the_data_is_data(self):
        data = dict(page_fixture.results(), command="@DATA@")
        self.assertEqual(page.results_page(self.work / "t.html", data).count("@DATA@"), 1)

    def test_half_a_surrogate_pair(self):
        data = dict(page_fixture.results(), command="\ud800")
        self.assertIn("\\ud800", page.results_page(self.work / "t.html", data))

    def test_damaged_json(self):
        whole = json.dumps(page_fixture.results())
        for text in ("", "{", whole[:len(whole) // 2], b"\xff\xfe\x00", "[" * 100000):
            self.refused(text, "in.json: damaged JSON")

    def test_other_json(self):
        self.refused("[]", "not a JSON object")
        self.refused("{}", "format None")
        self.refused('{"format": 2}', "format 2")
        self.refused('{"format": 1}', "no 'ours'")
        self.refused('{"format": 1, "tree": {}}', "no 'shares'")
        self.refused(json.dumps(dict(page_fixture.results(), rounds=float("nan"))), "JSON")

    def test_no_template(self):
        whole = json.dumps(page_fixture.results())
        self.refused(whole, "none.html: No such file", template="none.html")
        (self.work / "plain.html").write_text("<html>")
        self.refused(whole, "not a template", template="plain.html")


class BuildTest(unittest.TestCase):
    def test_licences_are_in_the_pages(self):
        for name, packages in (("results", ("@observablehq/plot 0.6.17", "d3-selection 3", "isoformat 0")),
                               ("flame", ("d3-flame-graph 5.0.0", "d3-selection 3"))):
            text = (DIR / f"{name}.html").read_text(encoding="utf-8")
            for package in packages:
                self.assertIn(package, text)
            self.assertIn("Permission to use, copy, modify", text)
            self.assertEqual(text.count("@DATA@"), 1)

    def test_fresh_is_silent_and_changes_nothing(self):
        before = (DIR / "results.html").stat().st_mtime_ns
        run = build()
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "", ""))
        self.assertEqual((DIR / "results.html").stat().st_mtime_ns, before)

    def test_lock_file_names_no_registry(self):
        lock = json.loads((ROOT / "bench" / "page" / "package-lock.json").read_text())
        self.assertNotIn('"resolved"', json.dumps(lock))
        for name, package in lock["packages"].items():
            if name:
                self.assertIn("integrity", package, name)

    def test_no_npm_is_one_line(self):
        with tempfile.TemporaryDirectory() as folder:
            tools = Path(folder) / "bin"
            tools.mkdir()
            for tool in ("bash", "dirname", "readlink", "mkdir", "flock", "sha256sum"):
                (tools / tool).symlink_to(shutil.which(tool))
            run = build(Path(folder) / "out", dict(os.environ, PATH=str(tools)))
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        self.assertEqual(run.stderr, "bench/page/build: needs npm: apt-get install nodejs npm\n")


def build(folder=DIR, environment=None):
    return subprocess.run([str(ROOT / "bench" / "page" / "build"), str(folder)], env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    missing = [name for name in (CHROMIUM, "node", "npm") if not shutil.which(name)]
    if missing:
        print(f"skipped: not installed: {' '.join(missing)}")
        sys.exit(SKIP)
    made = build()
    if made.returncode:
        sys.exit(made.stderr)
    unittest.main()
