#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_show.py - what report, stat, script and diff show of a recording: names, filters, orders; and recordings of real
programs. Environment: see recorder.py.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
import hostile  # noqa: E402
from recorder import KMEM, KmemTest, by_function, environment, prog  # noqa: E402

PUT = "shop::Basket::put(int)"
COPY = "long* shop::copy_of<long>(long const&)"


@unittest.skipUnless(os.path.exists(prog("names")), "no C++ compiler")
class Names(KmemTest):
    def test_names_are_those_of_the_source(self):
        self.record("--", prog("names"), "100")
        found = by_function(self.report(), "")
        self.assertEqual(found[PUT]["live_objects"], 100)
        self.assertEqual(found[COPY]["live_objects"], 10)
        found = by_function(self.report("--no-demangle"), "_Z")
        self.assertEqual(found["_ZN4shop6Basket3putEi"]["live_objects"], 100)
        text = self.kmem("report", self.data)[0]
        self.assertRegex(text, re.escape(PUT) + r"\+0x\w+ \[names\] names\.cc:\d+\n")
        self.assertNotIn(PUT, self.kmem("report", "--no-demangle", self.data)[0])
        self.assertIn(f"call_site={PUT}+0x", self.kmem("script", self.data)[0])

    def test_function_filter_is_of_these(self):
        self.record("--", prog("names"), "100")
        self.assertEqual(list(by_function(self.report("--function", "Basket::put"), "")), [PUT])
        self.assertEqual(self.report("--function", "^put$")["sites"], [])
        self.assertIn("is no regular expression", self.kmem("report", "--function", "(", self.data, status=1)[1])


@unittest.skipUnless(os.path.exists(prog("names")), "no C++ compiler")
class Replay(KmemTest):
    def test_all_that_was_recorded_is_done_again_on_any_malloc(self):
        self.record("--", prog("names"), "100")
        total = self.report()["total"]
        for words in ((), ("--preload", os.environ["KMALLOC_SO"])):
            done = json.loads(self.kmem("replay", "--json", "-r", "2", *words, self.data)[0])
            self.assertEqual((done["allocs"], done["frees"]), (total["allocs"], total["frees"]), words)
            self.assertGreaterEqual(done["most_objects"], total["peak_objects"])
            self.assertLessEqual(done["most_objects"], total["allocs"])
        self.assertRegex(self.kmem("replay", self.data)[0], rf"^{total['allocs']} allocations of ")

    def test_another_program_begins_with_an_empty_heap(self):
        """exec: what the first one left is gone, and a free of an unknown object is none of one of those."""
        def program(count, *numbers):
            far = b"".join(map(hostile.varint, numbers))
            frees = len(numbers) - count
            kinds = hostile.kind(hostile.KMALLOC, req=100) + hostile.kind(hostile.KFREE)
            types = bytes([1]) * count + bytes([2]) * frees
            return hostile.events(len(numbers), types, kinds, (hostile.ODD, count), (hostile.ODD, frees), far)

        with open(self.data, "wb") as file:
            file.write(hostile.recording(program(3, 0x1000, 0x2000, 0x3000), hostile.chunk(hostile.IMAGE),
                                         program(2, 0x2000, 0x5000, 0x1000, 0x5000)))
        done = json.loads(self.kmem("replay", "--json", self.data)[0])
        self.assertEqual((done["allocs"], done["frees"], done["most_objects"]), (5, 1, 3))

    def test_what_can_not_be_replayed_is_said(self):
        self.record("--sample=64", "--", prog("names"), "100")
        self.assertIn("holds samples", self.kmem("replay", self.data, status=1)[1])
        self.assertIn("can't be preloaded", self.kmem("replay", "-p", "/nowhere.so", self.data, status=1)[1])


@unittest.skipUnless(os.path.exists(prog("names")), "no C++ compiler")
class Diff(KmemTest):
    def setUp(self):
        super().setUp()
        self.before, self.after = self.path("before"), self.path("after")
        self.record("--", prog("names"), "100", output=self.before)
        self.record("--", prog("names"), "300", output=self.after)

    def diff(self, *words):
        return json.loads(self.kmem("diff", "--json", *words)[0])

    def test_change_is_exact_wherever_programs_are_loaded(self):
        sites = {site["call_site"].split("+")[0]: site for site in self.diff(self.before, self.after)["sites"]}
        self.assertEqual(sites[PUT]["change"], {"live_objects": 200, "live_bytes": 200 * 16, "bytes_alloc": 200 * 16,
                                                "allocs": 200, "peak_bytes": sites[PUT]["change"]["peak_bytes"]})
        for name in ("live_objects", "bytes_alloc"):
            self.assertEqual(sites.get(COPY, sites[PUT])["change"][name] * (COPY in sites), 0)
        total = self.diff(self.before, self.after)["total"]
        one, two = self.report(data=self.before)["total"], self.report(data=self.after)["total"]
        self.assertEqual((total["before"], total["after"]), (one, two))
        self.assertEqual(total["change"]["allocs"], two["allocs"] - one["allocs"])

    def test_the_other_way_round(self):
        site = self.diff(self.after, self.before)["sites"][-1]
        self.assertEqual(site["call_site"].split("+")[0], PUT)
        self.assertEqual(site["change"]["live_bytes"], -200 * 16)

    def test_nothing_changed(self):
        self.assertEqual(self.diff(self.before, self.before)["sites"], [])
        text = self.kmem("diff", self.before, self.before)[0]
        self.assertRegex(text.splitlines()[-1], r"^ +0 B .* \+0  \(all\)$")

    def test_orders_and_lines(self):
        for key, name in (("live", "live_bytes"), ("peak", "peak_bytes"), ("total", "bytes_alloc"), ("allocs", "allocs")):
            changes = [site["change"][name] for site in self.diff("-s", key, self.before, self.after)["sites"]]
            self.assertEqual(changes, sorted(changes, reverse=True))
            self.assertGreater(len(changes), 1)
        self.assertEqual(len(self.diff("-n", "1", self.before, self.after)["sites"]), 1)
        self.assertIn("# and ", self.kmem("diff", "-n", "1", self.before, self.after)[0])

    def test_by_function(self):
        sites = {site["function"]: site for site in self.diff("--by=function", self.before, self.after)["sites"]}
        self.assertEqual(sites[f"{PUT} [names]"]["change"]["live_objects"], 200)
        self.assertEqual(len(self.diff("--function", "Basket", self.before, self.after)["sites"]), 1)

    def test_stacks_are_compared_whole(self):
        self.record("--stacks", "--", prog("names"), "100", output=self.before)
        self.record("--stacks", "--", prog("names"), "300", output=self.after)
        for more in ((), ("--by=function",)):
            first = self.diff("--stacks", *more, self.before, self.after)["sites"][0]
            self.assertEqual(first["change"]["live_objects"], 200)
            functions = [re.split(r"\+0x| \[", call)[0] for call in first["stack"]]
            self.assertEqual((functions[0], functions[-1]), (PUT, "_start"))
            self.assertIn("main", functions)
        sites = self.diff("--stacks", "--function", "^main$", self.before, self.after)["sites"]
        self.assertIn(PUT, str(sites[0]["stack"]))

    def test_recordings_without_stacks(self):
        self.assertIn(f"kmem: {self.after} has no call stacks, only call sites",
                      self.kmem("report", "--stacks", self.after)[1])
        with_stacks = self.path("stacks")
        self.record("--stacks", "--", prog("names"), "100", output=with_stacks)
        for before, after in ((with_stacks, self.after), (self.after, with_stacks), (self.after, self.before)):
            lacks = after if before == with_stacks else before
            self.assertEqual(self.kmem("diff", "--stacks", before, after, status=1),
                             ("", f"kmem: {lacks} has no call stacks to compare: record it with --stacks, or leave out "
                                  "--stacks here, which compares by call site\n"))
        # by site any will do
        self.assertEqual(self.diff(with_stacks, self.before)["sites"], [])

    def test_notes_say_of_which_file(self):
        sampled = self.path("sampled")
        self.record("--sample=64", "--", prog("names"), "300", output=sampled)
        for words in ((self.before, sampled), (sampled, self.before)):
            out, said = self.kmem("diff", *words)
            self.assertRegex(said, rf"^kmem: {sampled}: a sampled recording: numbers are estimates, from \d+ samples\n$")
            self.assertIn(f": {sampled} (sampled: estimates): ", out)
            self.assertIn(f": {self.before}: ", out)
            found = self.diff(*words)
            self.assertEqual([(found[key]["file"], found[key]["sampled"], found[key]["lost"])
                              for key in ("before", "after")], [(path, path == sampled, 0) for path in words])

    def test_wrong_words(self):
        for words in ((), (self.before,), (self.before, self.after, self.after), ("-s", "x", self.before, self.after),
                      ("--by=x", self.before, self.after)):
            self.kmem("diff", *words, status=2)


class Show(KmemTest):
    def setUp(self):
        super().setUp()
        self.record("--", prog("known"), "calls", "100")

    def test_bytes_are_named(self):
        """What an object takes and what was requested: sums of one are not to be compared with those of the other."""
        self.assertIn("; bytes are those allocated\n", self.kmem("report", self.data)[0])
        self.assertIn("; bytes are those allocated\n", self.kmem("diff", self.data, self.data)[0])
        self.assertIn("\nBY SIZE (bytes requested; sums: bytes allocated)\n", self.kmem("stat", self.data)[0])
        self.assertRegex(self.kmem("leaks", self.data)[0], r" were never freed, [\d.]+ \wiB requested\n$")
        self.assertRegex(self.kmem("replay", self.data)[0], r"^\d+ allocations of [\d.]+ \wiB requested, ")

    def test_filters_of_size(self):
        self.assertEqual(list(by_function(self.report("--min-size=1M"), "known_")), ["known_large"])
        self.assertEqual(sorted(by_function(self.report("--min-size=76", "--max-size=77"), "known_")),
                         ["known_new", "known_reallocarray"])

    def test_filters_that_leave_nothing(self):
        """An empty table is no answer."""
        line = f"kmem: no allocation in {self.data} matches the filters\n"
        for words in (["--min-size=1G"], ["--from=1000"], ["--thread=1"], ["--function=nobody"]):
            for command in ("report", "stat"):
                self.assertEqual(self.kmem(command, *words, self.data)[1], line, words)
                self.assertEqual(self.kmem(command, "--json", *words, self.data)[1], line, words)
        for words, line in ((["--from=5", "--to=1"], "--from is behind --to: nothing is in between"),
                            (["--max-size=10", "--min-size=1K"], "--min-size is more than --max-size: nothing is in between")):
            for command in ("report", "stat", "script", "export"):
                self.assertIn(f"kmem {command}: {line}\n", self.kmem(command, *words, self.data, status=2)[1])

    def test_frees_of_what_a_filter_leaves_out_are_not_unknown(self):
        def stat(*words):
            out, said = self.kmem("stat", "--json", *words, self.data)
            return json.loads(out)["unknown_frees"], said

        self.assertEqual(stat(), (0, ""))
        thread = json.loads(self.kmem("script", "--json", self.data)[0].splitlines()[0])["tid"]
        for words in (["--min-size=1M"], ["--max-size=77"], ["--from=0.000001"], ["--to=1000"], ["--thread", str(thread)]):
            self.assertEqual(stat(*words), (None, ""), words)

    def test_lifetimes_begin_where_time_stamps_end(self):
        """What they can't tell apart is one row: time stamps of 64 ns are told here."""
        addresses = b"".join(hostile.varint(64 * i) for i in (1, 2, 1, 2))
        kinds = hostile.kind(hostile.KMALLOC, req=100) + hostile.kind(hostile.KFREE)
        some = hostile.events(4, bytes([1, 1, 2, 2]), kinds, (hostile.ODD, 2), (hostile.ODD, 2), addresses)
        with open(self.data, "wb") as file:
            file.write(hostile.recording(some))
        self.assertRegex(self.kmem("stat", self.data)[0], r"\n=+\n +0 ns \.\. 64 ns +2 objects\n\n")
        self.assertEqual(json.loads(self.kmem("stat", "--json", self.data)[0])["by_lifetime_ns"], [{"from": 0, "objects": 2}])

    def test_filter_of_thread(self):
        events = [json.loads(line) for line in self.kmem("script", "--json", "--function", "known_malloc",
                                                         self.data)[0].splitlines()]
        threads = {event["tid"] for event in events}
        self.assertEqual(len(threads), 4)
        for tid in threads:
            self.assertEqual(by_function(self.report("--thread", str(tid)), "known_")["known_malloc"]["allocs"], 100)

    def test_filter_of_time(self):
        end = self.report()["duration_ns"]
        whole = self.report()["total"]["allocs"]
        for share in (0, 0.3, 0.7, 1.1):
            at = f"{end * share / 1e9:.9f}"
            parts = [self.report("--from", at)["total"]["allocs"], self.report("--to", at)["total"]["allocs"]]
            if share:
                self.assertEqual(sum(parts), whole)
            else:
                self.assertEqual(parts[0], whole)

    def test_orders(self):
        for key, name in (("live", "live_bytes"), ("peak", "peak_bytes"), ("total", "bytes_alloc"), ("allocs", "allocs"),
                          ("short", "short_lived")):
            values = [site[name] for site in self.report("-s", key)["sites"]]
            self.assertEqual(values, sorted(values, reverse=True))
        self.assertEqual(len(self.report("-n", "3")["sites"]), 3)
        self.assertIn("known_large", self.kmem("report", "-s", "total", "-n", "1", self.data)[0])
        for key in ("frag", "hit", "bytes", "pingpong"):
            self.kmem("stat", "-s", key, self.data)
        self.assertIn(" 0x", self.kmem("stat", "-r", self.data)[0])

    def test_wrong_words(self):
        for words in (("report", "-s", "x"), ("report", "-n", "x"), ("stat", "-s", "x"), ("report", "--from", "x"),
                      ("report", self.data, self.data), ("script", "--thread=0"), ("frobnicate",), ("report", "--none")):
            with self.subTest(words=words):
                self.kmem(*words, status=2)

    def test_help(self):
        out = self.kmem("--help")[0]
        for command in re.findall(r"^  (\w+) ", out, re.MULTILINE):
            self.assertIn(f"Usage: kmem {command}", self.kmem(command, "--help")[0])
        for command, refused in (("diff", ("--input", "-i")), ("export", ("--json",)), ("report", ()), ("script", ())):
            text = self.kmem(command, "--help")[0]
            for option in ("--input", "-i", "--json", "--function"):
                self.assertEqual(bool(re.search(rf"(?<![\w-]){option}(?![\w-])", text)), option not in refused,
                                 (command, option))
            for option in refused:
                self.kmem(command, option, self.data, status=2)
        self.assertRegex(self.kmem("--version")[0], r"^kmem \d+\.\d+\.\d+\n$")
        self.assertIn("usage: kmem COMMAND", self.kmem(status=2)[1])


class Manual(KmemTest):
    """kmem.1 has each option, where its command is."""

    def sections(self):
        with open(os.environ["KMEM_MAN"], encoding="utf-8") as file:
            text = re.sub(r"\\f.|\"", "", file.read()).replace("\\-", "-")
        for part in text.split("\n.SS ")[1:]:
            title, _, rest = part.partition("\n")
            yield re.findall(r"\w+", title), rest.split("\n.SH ")[0]

    def options(self, command):
        """[["-o", "--output"], ...]"""
        lines = re.findall(r"^ +(-\S.*)$", self.kmem(command, "--help")[0], re.MULTILINE)
        options = [re.findall(r"(?<![\w-])--?[\w-]+", re.split(r"  +", line)[0].replace("[", "=")) for line in lines]
        return [names for names in options if not {"--help", "--usage", "--version"} & set(names)]

    def test_each_option_of_each_command(self):
        sections = list(self.sections())
        commands = re.findall(r"^  (\w+) ", self.kmem("--help")[0], re.MULTILINE)
        self.assertGreater(len(commands), 10)
        for command in commands:
            page = "\n".join(text for title, text in sections if command in title)
            self.assertTrue(page, command)
            for names in self.options(command):
                self.assertTrue(any(re.search(rf"(?<![\w-]){name}(?![\w-])", page) for name in names), (command, names))


class Completion(KmemTest):
    FILE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../tools/kmem/kmem.bash-completion")

    def complete(self, *words):
        """What bash offers for the last word."""
        script = f'PATH="{os.path.dirname(KMEM)}:$PATH"; source "{self.FILE}"; COMP_WORDS=("$@"); ' \
                 'COMP_CWORD=$(($# - 1)); _kmem; printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "-c", script, "bash", "kmem", *words], capture_output=True, text=True, check=True,
                              env=environment(), cwd=self.folder)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_commands_options_and_values(self):
        self.assertIn("record", self.complete("re"))
        self.assertIn("report", self.complete("re"))
        self.assertEqual(self.complete("dif"), ["diff"])
        self.assertEqual(self.complete("record", "--samp"), ["--sample"])
        self.assertIn("--no-demangle", self.complete("report", "--"))
        self.assertEqual(self.complete("record", "--full", "=", "o"), ["overwrite"])
        self.assertEqual(self.complete("record", "--full", "="), ["drop", "overwrite", "wait"])
        self.assertEqual(self.complete("report", "-s", "p"), ["peak"])
        self.assertEqual(self.complete("report", "--stacks", "=", "t"), ["tree"])
        with open(self.path("x.data"), "w", encoding="utf-8"):
            self.assertEqual(self.complete("report", "x"), ["x.data"])


# What the programs print is what they print without kmem, too.
PROGRAMS = {
    "python3": ["/usr/bin/python3", "-c", "import json, re\nprint(len(json.dumps([{'a': list(range(50))}] * 300)))"],
    "sqlite3": ["sqlite3", ":memory:", "create table t(a); insert into t values (zeroblob(100000)); "
                                       "select sum(length(a)) from t;"],
    "git": ["git", "--version"],
    "perl": ["perl", "-e", 'my %h = map { $_ => "x" x $_ } 1 .. 500; print scalar(keys %h), "\n"'],
    "sort": ["sort", "--parallel=4", "/etc/services"],
}


class RealPrograms(KmemTest):
    def test_programs_run_as_they_do(self):
        for name, words in PROGRAMS.items():
            if not shutil.which(words[0]):
                continue
            with self.subTest(name=name):
                env = environment(PYTHONMALLOC="malloc")
                plain = subprocess.run(words, env=env, capture_output=True, check=False)
                for how in ("--all", "--sample=16K"):
                    done = subprocess.run([KMEM, "record", how, "-o", self.data, "--", *words], env=env,
                                          capture_output=True, check=False)
                    self.assertEqual((done.returncode, done.stdout), (plain.returncode, plain.stdout))
                    self.assertRegex(done.stderr.decode(), r"^kmem: \d+ events, [\d.]+ MB, in \S+\n$")
                    report = self.report()
                    self.assertEqual(report["lost"], 0)
                    if how == "--all":
                        self.assertGreater(report["total"]["allocs"], 10)
                        named = sum(1 for site in report["sites"] if "module" in site["frames"][0])
                        self.assertGreater(named, 0.9 * len(report["sites"]))
                    for command in ("report", "stat"):
                        self.assertNotRegex(self.kmem(command, self.data)[0], r"(^|[ /])-0(\.0*)?[ /%]")


if __name__ == "__main__":
    unittest.main()
