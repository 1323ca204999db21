#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/perf-record and tools/perf-stat: programs that spend their time on one known path, and that path is the
largest; what belongs to the program stays its own.

usage: test_perf.py LIBRARY      LIBRARY: libkmalloc.so in its build directory

Where perf cannot record, the tests that need it are not run (exit status 77); no time is asserted."""
import collections
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "bench" / "perf"
sys.path.insert(0, str(FOLDER))
import callgrind  # noqa: E402  (found through the line above)
import callsite  # noqa: E402
import disasm  # noqa: E402
import perf_stat  # noqa: E402
import rooms  # noqa: E402
import samples  # noqa: E402

SKIP = 77

WORK = r"""
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *batch[20000];

static void hits(void)
{
	for (int i = 0; i < 100000; i++)
		free(malloc(64));
}

/* Far more objects than sheaves hold: from the slabs and back. */
static void misses(void)
{
	for (int i = 0; i < 20000; i++)
		batch[i] = malloc(64);
	for (int i = 0; i < 20000; i++)
		free(batch[i]);
}

/* Areas of ever other sizes, never touched. */
static void areas(void)
{
	for (int i = 0; i < 1000; i++)
		free(malloc(200000 + (size_t)(i * 7919 % 997) * 4096));
}

static void zeroes(void)
{
	for (int i = 0; i < 1000; i++)
		free(calloc(1, 100000));
}

/* The program's own memory, touched first by the program. */
static void touches(void)
{
	static char *area;
	size_t size = 32 << 20;

	if (!area)
		area = aligned_alloc(4096, size);
	for (size_t at = 0; at < size; at += 4096)
		((volatile char *)area)[at] = 1;
	madvise(area, size, MADV_DONTNEED);
}

static void waits(void)
{
	for (volatile int i = 0; i < 1000000; i++)
		;
}

int main(int argc, char **argv)
{
	static const struct { const char *name; void (*work)(void); } all[] = {
		{ "hits", hits }, { "misses", misses }, { "areas", areas }, { "zeroes", zeroes },
		{ "touches", touches }, { "waits", waits },
	};
	clock_t end = (clock_t)(atof(argv[2]) * CLOCKS_PER_SEC);

	if (argc > 3 && !strcmp(argv[3], "fork") && fork()) {
		wait(NULL);
		return 0;
	}
	if (argc > 3 && !strcmp(argv[3], "exec"))
		execl("/bin/sh", "sh", "-c", "exec \"$0\" \"$@\"", argv[0], argv[1], argv[2], NULL);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!strcmp(argv[1], all[i].name))
			while (clock() < end)
				all[i].work();
	}
	return 0;
}
"""

ECHO = ["sh", "-c", 'read -r line; echo "out $line"; echo "err $line" >&2; exit 7']


def run(tool, *words, **more):
    more.setdefault("input", "")
    return subprocess.run([sys.executable, "-B", str(FOLDER / f"{tool}.py"), *words], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=280, **more)


class Tool(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.work = Path(folder.name)
        (cls.work / "work.c").write_text(WORK)
        subprocess.run(["gcc", "-O1", "-fno-builtin", "-o", "work", "work.c"], cwd=cls.work, check=True)
        cls.program = str(cls.work / "work")

    def record(self, *words, **more):
        out = self.work / "out"
        done = run("perf_record", "--library", LIBRARY, "--out", str(out), *words, cwd=self.work, **more)
        profile = out / "profile.json"
        return done, json.loads(profile.read_text()) if profile.exists() else None

    def stat(self, *words, **more):
        numbers = self.work / "stat.json"
        done = run("perf_stat", "--library", LIBRARY, "--json", str(numbers), *words, cwd=self.work, **more)
        return done, json.loads(numbers.read_text()) if numbers.exists() else None


def can_record():
    with tempfile.TemporaryDirectory() as folder:
        done = run("perf_record", "--library", LIBRARY, "--out", folder, "true")
    return done.returncode == 0, done.stderr.strip()


def needs_perf(test):
    def checked(self):
        if WHY_NOT:
            self.skipTest(WHY_NOT)
        test(self)
    return checked


class Record(Tool):
    def largest(self, *words, of=rooms.PATHS):
        done, profile = self.record(self.program, *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        shares = {share["path"]: share["samples"] for share in profile["shares"]}
        self.assertEqual(sum(shares.values()), profile["samples"])
        if profile["samples"] < 50:
            self.skipTest("this machine takes hardly any samples")
        return max(of, key=lambda path: shares[path]), profile

    @needs_perf
    def test_hits(self):
        path, profile = self.largest("hits", "0.4")
        self.assertEqual(path, "hit", profile["shares"])
        self.assertEqual(profile["callers"][0]["function"], "hits")
        self.assertGreater(profile["allocator"]["share"], 0.5)

    @needs_perf
    def test_misses_take_more_than_hits(self):
        _, profile = self.largest("misses", "0.4")
        share = {share["path"]: share["samples"] for share in profile["shares"]}
        self.assertGreater(share["refill"] + share["slab"] + share["barn"], share["hit"])
        self.assertGreater(share["slab"], 0)
        self.assertEqual(share["vmalloc"], 0)

    @needs_perf
    def test_areas(self):
        path, profile = self.largest("areas", "0.4", of=rooms.ALLOCATOR)
        self.assertIn(path, ("vmalloc", "system calls"), profile["shares"])
        share = {share["path"]: share["samples"] for share in profile["shares"]}
        self.assertGreater(share["vmalloc"], share["hit"] + share["refill"] + share["slab"])

    @needs_perf
    def test_zeroes(self):
        path, profile = self.largest("zeroes", "0.4")
        self.assertIn(path, ("clear and copy", "page faults in the allocator"), profile["shares"])

    @needs_perf
    def test_first_touch_is_the_programs(self):
        path, profile = self.largest("touches", "0.4")
        if any("kernel" in note for note in profile["notes"]):
            self.skipTest("the kernel's time is not recorded for this user")
        self.assertEqual(path, "page faults elsewhere", profile["shares"])

    @needs_perf
    def test_the_program_is_other(self):
        path, profile = self.largest("waits", "0.2")
        self.assertEqual(path, "other")
        self.assertLess(profile["allocator"]["share"], 0.1)

    @needs_perf
    def test_children_and_what_they_exec_are_in_it(self):
        for how in ("fork", "exec"):
            with self.subTest(how=how):
                path, profile = self.largest("hits", "0.3", how)
                self.assertEqual(path, "hit")
                self.assertEqual(profile["callers"][0]["function"], "hits")

    @needs_perf
    def test_stacks_are_whole(self):
        """Through the C library too, and after an exec."""
        _, profile = self.largest("zeroes", "0.4", "exec")
        self.assertLess(profile["incomplete"], profile["samples"] / 10)

    @needs_perf
    def test_the_files_agree(self):
        _, profile = self.largest("hits", "0.2")
        out = self.work / "out"
        tree = profile["tree"]
        self.assertEqual(tree["value"], profile["samples"])
        lines = (out / "stacks.txt").read_text().splitlines()
        self.assertEqual(sum(int(line.rpartition(" ")[2]) for line in lines), profile["samples"])
        self.assertTrue(any(line.partition(" [kmalloc:hit]")[1] for line in lines))
        todo = [tree]
        while todo:
            node = todo.pop()
            self.assertGreaterEqual(node["value"], sum(child["value"] for child in node["children"]))
            todo += node["children"]
        self.assertIn(f"event {profile['event']}", (out / "report.txt").read_text())
        self.assertLess((out / "perf.data").stat().st_size, 64 << 20)
        if (out / "flame.html").exists():
            self.assertIn("[kmalloc:hit]", (out / "flame.html").read_text())

    @needs_perf
    def test_program_keeps_its_input_output_and_status(self):
        done, _ = self.record(*ECHO, input="hello\n")
        self.assertEqual((done.stdout, done.returncode), ("out hello\n", 7))
        self.assertTrue(done.stderr.startswith("err hello\n"), done.stderr)
        self.assertIn("files in", done.stderr)

    @needs_perf
    def test_signal_is_the_programs(self):
        done, _ = self.record("sh", "-c", "kill -TERM $$")
        self.assertEqual(done.returncode, -signal.SIGTERM)

    @needs_perf
    def test_environment_is_the_callers(self):
        environment = {"PATH": os.environ["PATH"], "A": "b\nc=d", "KMALLOC_CMDLINE": "rseq=auto"}
        done, _ = self.record("env", "-0", env=environment)
        found = dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)
        self.assertEqual(found, dict(environment, LD_PRELOAD=LIBRARY))

    @needs_perf
    def test_own_preload_stays_behind(self):
        done, _ = self.record("--preload=/nowhere/x.so", "sh", "-c", "echo $LD_PRELOAD")
        self.assertEqual(done.stdout.strip(), f"{LIBRARY}:/nowhere/x.so")

    @needs_perf
    def test_static_program_is_said_to_run_without(self):
        (self.work / "static.c").write_text("int main(void) { for (volatile long i = 0; i < 50000000; i++) ; }\n")
        subprocess.run(["gcc", "-static", "-o", "static", "static.c"], cwd=self.work, check=True)
        done, _ = self.record("./static")
        self.assertIn("runs without the library", done.stderr)

    def test_bad_use_gets_one_line(self):
        (self.work / "plain").write_text("")
        for words, status, text in (((), 2, "no program"), (("--nope", "true"), 2, "--nope"),
                                    (("--frequency", "x", "true"), 2, "not a number"),
                                    (("--out",), 2, "needs a value"), (("no-such-program",), 127, "not found"),
                                    (("./plain",), 126, "not executable"), (("/tmp",), 126, "directory")):
            for tool in ("perf_record", "perf_stat"):
                if tool == "perf_stat" and words and words[0].startswith(("--f", "--o")):
                    continue
                with self.subTest(words=words, tool=tool):
                    done = run(tool, "--library", LIBRARY, *words, cwd=self.work)
                    self.assertEqual(done.returncode, status, done.stderr)
                    self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
                    self.assertIn(text, done.stderr)

    def test_missing_perf_and_missing_right_get_one_line(self):
        """With a perf in PATH that refuses, and with none."""
        tools = self.work / "tools"
        tools.mkdir(exist_ok=True)
        fake = tools / "perf"
        if not fake.exists():
            fake.write_text("#!/bin/sh\necho 'Error:\nNo permission, see perf_event_paranoid' >&2\nexit 255\n")
            fake.chmod(0o755)
        (tools / "work").unlink(missing_ok=True)
        (tools / "work").symlink_to("/bin/true")
        for path, text in ((f"{tools}:/usr/bin:/bin", "kernel.perf_event_paranoid"),
                           (str(self.work), "perf is not installed")):
            done, _ = self.record(self.program, "hits", "0.1", env={"PATH": path})
            self.assertEqual(done.returncode, 125)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            self.assertIn(text, done.stderr)

    def on_small_disk(self, size, *words):
        """Records there; (what the tool did, what is left)."""
        if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
            self.skipTest("no mount namespaces here")
        script = f'mount -t tmpfs -o size={size} none /mnt && {{ "$@"; status=$?; ls -A /mnt/out >"$LEFT"; exit $status; }}'
        left = self.work / "left"
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-B", str(FOLDER / "perf_record.py"),
                               "--library", LIBRARY, "--out", "/mnt/out", *words], stdin=subprocess.DEVNULL, timeout=280,
                              capture_output=True, text=True, check=False, env=dict(os.environ, LEFT=str(left)))
        if "mount:" in done.stderr:
            self.skipTest(done.stderr)
        return done, left.read_text().split()

    @needs_perf
    def test_disk_without_room_is_refused(self):
        done, left = self.on_small_disk("1m", "echo", "it runs")
        self.assertEqual((done.returncode, done.stdout, left), (125, "", []))
        self.assertEqual(done.stderr, "tools/perf-record: /mnt/out: 1 MiB are free there; a recording wants 64\n")

    @needs_perf
    def test_disk_that_fills_up_keeps_nothing(self):
        done, left = self.on_small_disk("70m", "sh", "-c", f"head -c 100m /dev/zero >/mnt/fill 2>/dev/null; "
                                        f"{self.program} hits 5; {self.program} hits 5")
        self.assertEqual((done.returncode, left), (125, []), done.stderr)
        self.assertEqual(done.stderr, "tools/perf-record: /mnt/out: the disk is full, and perf gave up and ended the program: "
                                      "nothing was kept\n")

    @needs_perf
    def test_recording_stops_before_the_disk_is_full(self):
        done, left = self.on_small_disk("80m", self.program, "hits", "5")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("as the disk has no room for more", done.stderr)
        self.assertEqual({"report.txt", "stacks.txt", "profile.json", "perf.data"} - set(left), set())

    @needs_perf
    def test_report_that_cannot_be_written_is_not_there(self):
        out = self.work / "out"
        out.mkdir(exist_ok=True)
        (out / "profile.json.new").symlink_to("/dev/full")
        done, profile = self.record(*ECHO, input="hello\n")
        self.assertEqual((done.returncode, profile), (7, None), done.stderr)
        self.assertIn(f"tools/perf-record: {out}: No space left on device: it holds no report, only perf.data\n", done.stderr)
        self.assertIn("of allocator", done.stderr)
        self.assertEqual(os.listdir(out), ["perf.data"])

    def test_help_is_on_stdout(self):
        for tool in ("perf_record", "perf_stat"):
            done = run(tool, "--help")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("SYNOPSIS", done.stdout)


class Calls(Tool):
    def test_what_a_call_was_of(self):
        for how in ("-fplt", "-fno-plt"):
            with self.subTest(how=how):
                subprocess.run(["gcc", "-O1", "-fno-builtin", how, "-o", "called", "work.c"], cwd=self.work, check=True)
                path = str(self.work / "called")
                library, calls, found = disasm.Library(path), callsite.CallSites(), collections.Counter()
                for call in library.instructions.values():
                    if call.name == "call":
                        end = library.offset_of_address(call.next)
                        self.assertEqual(calls.called(path, end), calls.called(path, end - 1))
                        found[calls.called(path, end)] += 1
                self.assertEqual((found["calloc"], found["malloc"]), (1, 3))
                self.assertEqual(set(found) & {"hits", "zeroes"}, set())
        self.assertIsNone(callsite.CallSites().called("/nowhere", 100))


class Stat(Tool):
    @needs_perf
    def test_events_of_both(self):
        done, numbers = self.stat("--runs", "3", "--no-callgrind", self.program, "hits", "0.05")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("events", done.stderr)
        for event in ("task-clock", "page-faults", "duration_time"):
            for name in (perf_stat.OURS, perf_stat.THEIRS):
                self.assertEqual(len(numbers["counts"][event]["samples"][name]), 3)
                self.assertGreater(numbers["counts"][event][name], 0)
        self.assertNotIn("callgrind", numbers)

    @needs_perf
    def test_input_is_the_same_in_each_run_and_output_comes_once(self):
        program = ["sh", "-c", f'cat >>{self.work}/seen; echo out; exit 7']
        done, _ = self.stat("--runs", "2", "--no-callgrind", *program, input="hello\n")
        self.assertEqual((done.stdout, done.returncode), ("out\n", 7))
        # one that is not counted, two of each; a run that perf counted wrong is done again
        self.assertRegex((self.work / "seen").read_text(), r"^(hello\n){5,13}$")
        self.assertNotIn("another status", done.stderr)

    @needs_perf
    def test_killed_program_is_not_counted(self):
        done, _ = self.stat("--runs", "1", "sh", "-c", "kill -SEGV $$")
        self.assertEqual(done.returncode, -signal.SIGSEGV)
        self.assertIn("killed by signal 11", done.stderr)

    @needs_perf
    def test_callgrind_splits_the_allocators_part(self):
        (self.work / "few.c").write_text("#include <stdlib.h>\nint main(void) { for (int i = 0; i < 20000; i++) "
                                         "free(malloc(300000)); for (int i = 0; i < 9; i++) free(calloc(1, 9000)); }\n")
        subprocess.run(["gcc", "-O1", "-fno-builtin", "-o", "few", "few.c"], cwd=self.work, check=True)
        done, numbers = self.stat("--runs", "1", "--callgrind", "./few")
        self.assertEqual(done.returncode, 0, done.stderr)
        if "callgrind" not in numbers:
            self.skipTest(done.stderr)
        found = numbers["callgrind"]
        self.assertIn("locked mode", done.stderr)
        self.assertEqual(max(found["paths"], key=found["paths"].get), "vmalloc")
        self.assertGreater(found["paths"]["clear and copy"], 0)
        self.assertEqual(sum(found["paths"].values()), found["allocator"])
        self.assertLess(found["allocator"], found["instructions"][perf_stat.OURS])


class Classify(unittest.TestCase):
    """Without perf: what belongs where."""

    @classmethod
    def setUpClass(cls):
        cls.rooms = rooms.Rooms(LIBRARY, ROOT)

    def test_a_new_source_file_is_its_rooms(self):
        for source, path in (("slab/new.c", "slab"), ("page/new.S", "page"), ("vmalloc/x_y.c", "vmalloc"),
                             ("interpose/new.c", "hit"), ("kmalloc/new.c", "refill"), ("os/new.c", "system calls"),
                             ("slab/barn.c", "barn"), ("nowhere/new.c", rooms.REST), ("lib/new.c", rooms.CALLER)):
            self.assertEqual(rooms.path_of_source(source), path)

    def test_every_source_has_a_path(self):
        for source in rooms.objects_of_build(Path(LIBRARY).parent, ROOT).values():
            self.assertNotEqual(rooms.path_of_source(source), rooms.REST, source)

    def test_functions_have_their_files_path(self):
        unknown = [symbol.name for symbol, path in self.rooms._functions if path == rooms.REST]
        # what the compiler and the C library add
        self.assertFalse([name for name in unknown if not name.startswith(("_", "pthread_atfork", "atexit"))], unknown)

    def frames(self, *names):
        """Frames from the innermost one on: `k:` kernel, `l:` this library, `c:` C library, else the program."""
        objects = {"k": "[kernel.kallsyms]", "l": LIBRARY, "c": "/usr/lib/x86_64-linux-gnu/libc.so.6",
                   "s": "/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30"}
        found = []
        for name in names:
            where, symbol = name.split(":", 1) if name[1:2] == ":" else ("", name)
            address = self.rooms.library.names[symbol].address if where == "l" else 1
            found.append(samples.Frame(address, symbol, objects.get(where, "/usr/bin/program")))
        return found

    def path(self, *names):
        profile = samples.Profile(LIBRARY, self.rooms)
        profile.add("program", self.frames(*names))
        return next(iter(profile.paths)), next(iter(profile.callers), (None,))[0]

    def test_stacks(self):
        for names, path, caller in (
                (("l:malloc", "main"), "hit", "main"),
                (("l:barn_get_full", "l:kmem_cache_alloc_slow", "l:malloc", "c:strdup", "work"), "barn", "work"),
                (("l:malloc", "s:operator new", "s:std::string::f", "work"), "hit", "work"),
                (("l:lock_acquire_slow", "l:page_alloc", "l:malloc", "main"), "page", "main"),
                (("c:__memset_avx2", "l:calloc", "main"), "clear and copy", "main"),
                (("k:clear_page", "k:asm_exc_page_fault", "c:__memset_avx2", "l:calloc", "main"),
                 "page faults in the allocator", "main"),
                (("k:do_mmap", "k:do_syscall_64", "k:entry_SYSCALL_64_after_hwframe", "l:os_map", "l:malloc", "main"),
                 "system calls", "main"),
                (("k:page_fault_oops", "k:asm_exc_page_fault", "k:copy_to_user", "k:do_syscall_64", "l:os_map",
                  "l:malloc", "main"), "system calls", "main"),
                (("k:handle_irq", "k:asm_sysvec_apic_timer_interrupt", "l:malloc", "main"), "hit", "main"),
                (("k:clear_page", "k:asm_exc_page_fault", "main"), "page faults elsewhere", None),
                (("k:ksys_read", "k:do_syscall_64", "c:read", "main"), "other", None),
                (("main",), "other", None),
                ((), "other", None),
                (("handler", "c:__restore_rt", "l:malloc", "main"), "other", None)):
            with self.subTest(names=names):
                self.assertEqual(self.path(*names), (path, caller))

    def test_odd_names_are_read(self):
        text = ["a b:c 12/12 1.5: ", "\t  10 operator new(unsigned long) (/tmp/a (1)/b)", "\t ffffffff81000000 f ([k])",
                "", "x 1/1 2.0: PERF_RECORD_COMM exec: x:1/1", "y 2/3 3.0: ", ""]
        found = list(samples.events(text))
        self.assertEqual(found[0][0], "a b:c")
        self.assertEqual(found[0][2][0], samples.Frame(16, "operator new(unsigned long)", "/tmp/a (1)/b"))
        self.assertTrue(found[0][2][1].in_kernel)
        self.assertEqual(found[1], ("x", 1, "PERF_RECORD_COMM exec: x:1/1"))
        self.assertEqual(found[2], ("y", 2, []))

    def test_callgrinds_shared_code_goes_to_its_callers(self):
        names = self.rooms.library.names
        shared, barn, page = (names[name].address for name in ("lock_acquire_slow", "barn_get_full", "page_alloc"))
        costs = callgrind.Costs(own=collections.Counter({(LIBRARY, shared): 100, (LIBRARY, barn): 7}))
        costs.calls = collections.Counter({(LIBRARY, barn, LIBRARY, "lock_acquire_slow"): 30,
                                           (LIBRARY, page, LIBRARY, "lock_acquire_slow"): 10,
                                           (LIBRARY, page, "/usr/lib/libc.so.6", "memset"): 5})
        self.assertEqual(perf_stat.paths_of(costs, self.rooms, LIBRARY), {"barn": 82, "page": 25, "clear and copy": 5})


if __name__ == "__main__":
    # meson sets it: the C library's malloc then fills all that it gives, which takes callgrind minutes
    os.environ.pop("MALLOC_PERTURB_", None)
    LIBRARY = str(Path(sys.argv.pop(1)).resolve())
    try:
        disasm.Library(LIBRARY)
    except disasm.CannotRead as reason:
        sys.exit(str(reason))
    works, WHY_NOT = can_record()
    WHY_NOT = None if works else WHY_NOT or "perf cannot record"
    ended = unittest.main(exit=False).result
    if not ended.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIP if WHY_NOT else 0)
