# SPDX-License-Identifier: MIT
"""tools/perf-record: record a program under the library, and say where the allocator's time goes."""
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import disasm
import perfdata
import program
import rooms
import samples
from program import Stop, say

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "build" / "libkmalloc.so"  # --library names another
NAME = 90  # letters of a function in the report
LIMIT = 1 << 30  # bytes of perf.data
ROOM = 64 << 20  # free bytes without which nothing is recorded
FULL = 1 << 20  # a disk with less is full

USAGE = """\
NAME
  tools/perf-record - where the allocator spends a program's time, by path, with a flame graph

SYNOPSIS
  tools/perf-record [--out DIR] [--frequency N] [--stack BYTES] [--] PROGRAM [ARGS...]

DESCRIPTION
  Runs PROGRAM with libkmalloc as its malloc under `perf record`, the processes that it starts included, and takes
  samples of what runs, with the whole call stack. Each sample belongs to one path:

    hit                            malloc, free, new, delete, ... served by this CPU's sheaf
    refill                         misses: sheaves exchanged, refilled and flushed, and what starts that
    barn, slab, page, vmalloc      code of those rooms (docs/how-it-works.md)
    clear and copy                 memset and memcpy called by calloc and realloc
    system calls                   the kernel, entered from the allocator
    page faults in the allocator   the kernel, on memory that the allocator touched first
    page faults elsewhere          the kernel, on memory that the program touched first
    other                          all the rest: the program and its own system calls

  A function's path is the room (folder of src/) that it was compiled from, which the build's object files tell. Code
  that the compiler inlined counts where it ended up: the hit path is in the entry points.

  PROGRAM keeps its standard input, output and error and its environment. As with `perf stat`, the report comes on
  standard error when the program has ended, and the exit status is the program's own (or its signal).

  The event is `cycles` where the machine has hardware events, else the software event `cpu-clock`; the report says
  which. Stacks are unwound from a dump of the stack's top (DWARF), since Debian's programs have no frame pointers. Such
  a dump takes 8 KiB a sample: about 8 MB a second and busy processor. Recording stops at 1 GiB, or when what it wrote takes
  nearly half of what was free on the disk (it is written once more, for the report); the program runs on.

OPTIONS
  --out DIR        where the files go (default: perf-kmalloc in the current folder); older ones there are replaced
  --frequency N    samples a second (default 997)
  --stack BYTES    how much of the stack is dumped (default 8192; up to 65528). Deeper stacks lose their outer part
  --library FILE   a libkmalloc.so other than build/libkmalloc.so, in the directory where it was built
  --help           this text

FILES
  DIR/report.txt     the report
  DIR/profile.json   the same as numbers, and the tree of calls
  DIR/stacks.txt     collapsed stacks, one a line, as flame graph tools read them
  DIR/flame.html     the flame graph; frames of the library are named `symbol [kmalloc:PATH]`
  DIR/perf.data      for `perf report -i` and other tools of perf

  Each is whole or not there, whatever happens to the disk.

EXIT STATUS
  The program's. When it was not run: 127 not found, 126 not executable, 125 perf cannot record, there is no library, or less
  than 64 MiB are free, 2 bad usage. 125 too when perf gave up while it ran, over a disk that others filled: perf ends the
  program then. When it was run but the report failed, a line says so, and the status is the program's still.

ENVIRONMENT
  KMALLOC_CMDLINE  parameters of the library. `stat` sends every call to the miss paths: don't set it here
"""


def perf(*words, **more):
    return subprocess.run(["perf", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL, **more)


def counts_in_hardware(event):
    """Whether the machine counts this event."""
    for line in perf("stat", "-x", ",", "-e", event, "--", "true").stderr.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[2].split(":")[0] == event:
            return fields[0].isdigit() and int(fields[0]) > 0
    return False


def why_not(errors):
    """One line out of what perf said."""
    try:
        level = Path("/proc/sys/kernel/perf_event_paranoid").read_text().strip()
    except OSError:
        return "perf cannot record: this kernel has no perf events"
    if any(word in errors for word in ("perf_event_paranoid", "ermission", "not permitted", "No access")):
        return f"perf may not record here (kernel.perf_event_paranoid is {level}); as root it may, or after " \
               "`sysctl kernel.perf_event_paranoid=1`"
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return f"perf cannot record: {lines[0] if lines else 'it says nothing'}"


def choose_event(frequency):
    """(event, why it is this one). Stops where perf cannot record."""
    if not shutil.which("perf"):
        raise Stop("perf is not installed: apt-get install linux-perf (tools/deps bench does it)")
    event, why = "cpu-clock", "a software event, since this machine counts no hardware events"
    if counts_in_hardware("cycles"):
        event, why = "cycles", "a hardware event"
    done = perf("record", "-e", event, "-F", str(frequency), "-o", "/dev/null", "--", "true")
    if done.returncode:
        raise Stop(why_not(done.stderr))
    return event, why


def free_bytes(folder):
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


class Limiter(threading.Thread):
    """Tells perf to stop recording when its file has reached `limit`: LIMIT, or what there is room for twice."""

    def __init__(self, data, control):
        super().__init__(daemon=True)
        self.data, self.control = data, control
        self.limit = min(LIMIT, (free_bytes(data.parent) - ROOM // 2) // 2)
        self.stopped_after = None
        self.ended = threading.Event()

    def run(self):
        start = time.monotonic()
        while not self.ended.wait(0.2):
            try:
                if os.path.getsize(self.data) < self.limit:
                    continue
                with open(os.open(self.control, os.O_WRONLY | os.O_NONBLOCK), "wb") as fifo:
                    fifo.write(b"disable\n")
            except OSError:
                continue
            self.stopped_after = time.monotonic() - start
            return

    def note(self, seconds):
        """For the report; None: it was not reached."""
        if self.stopped_after is None:
            return None
        why = "" if self.limit == LIMIT else ", as the disk has no room for more"
        return f"recording stopped after {self.stopped_after:.0f} of {seconds:.0f} s, at {self.limit >> 20} MiB of samples{why}"


def is_whole(data):
    """How much there is in the file is what perf writes last."""
    try:
        with open(data, "rb") as file:
            header = file.read(56)
    except OSError:
        return False
    return len(header) == 56 and any(header[48:])


def record(event, options, command, folder):
    """Run it. Returns (exit status, seconds, what to say of the limit or None)."""
    data, control = folder / "perf.data", folder / "perf.control"
    control.unlink(missing_ok=True)
    os.mkfifo(control)
    limiter = Limiter(data, control)
    words = ["perf", "record", "-q", "-B", "-e", event, "-F", str(options["--frequency"]), "--call-graph",
             f"dwarf,{options['--stack']}", f"--control=fifo:{control}", "-o", str(data), "--", *command]
    start = time.monotonic()
    with subprocess.Popen(words) as process:
        for number in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, lambda *_: None)  # the terminal sends these to all
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: process.terminate())
        limiter.start()
        status = process.wait()
    limiter.ended.set()
    limiter.join()
    control.unlink(missing_ok=True)
    seconds = time.monotonic() - start
    if not is_whole(data):
        full = free_bytes(folder) < FULL
        data.unlink(missing_ok=True)
        raise Stop(f"{folder}: {'the disk is full, and ' if full else ''}perf gave up and ended the program: nothing was kept")
    return status, seconds, limiter.note(seconds)


def read(folder, library):
    """The samples of DIR/perf.data as a Profile, and whether the kernel's were recorded."""
    data = str(folder / "perf.data")
    perfdata.repair(data)
    profile = samples.Profile(library, rooms.Rooms(library, ROOT))
    words = ["perf", "script", "--no-inline", "-i", data, "-F", "comm,pid,tid,time,ip,sym,dso", "--show-task-events",
             "--show-lost-events"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                          text=True, errors="replace") as process:
        profile.read(process.stdout, execs_to_skip=2)  # env's exec and the program's
    kernel = ":u" not in perf("evlist", "-i", data).stdout
    return profile, kernel


def notes(profile, kernel, stopped):
    """What the reader has to know about the numbers."""
    found = []
    if not profile.samples:
        found.append("no sample was taken: the program ran too short")
    elif not profile.loaded:
        found.append("no sample is in the library: the program is short, hardly allocates, or runs without the library "
                     "(static or setuid programs do)")
    if profile.samples and profile.samples < 200:
        found.append("few samples: shares are rough")
    if not kernel:
        found.append("the kernel's time was not recorded (kernel.perf_event_paranoid): no system calls, no page faults")
    if stopped:
        found.append(stopped)
    if profile.lost:
        found.append(f"{profile.lost} samples were lost: a lower --frequency loses fewer")
    if profile.samples and profile.incomplete > profile.samples // 20:
        found.append(f"{100 * profile.incomplete / profile.samples:.0f} % of the stacks are incomplete (see --stack)")
    if "stat" in os.environ.get("KMALLOC_CMDLINE", "").split():
        found.append("`stat` in KMALLOC_CMDLINE: every call took the miss paths")
    return found


def shortened(name):
    """Names of C++ templates run to hundreds of characters; profile.json has them whole."""
    return name if len(name) <= NAME else f"{name[:NAME // 2]}...{name[-NAME // 2:]}"


def as_text(result):
    total, ours = max(1, result["samples"]), result["allocator"]["samples"]
    lines = [f"{result['command']}",
             f"event {result['event']}, {result['frequency']} a second: {result['event_reason']}",
             f"{result['samples']} samples in {result['seconds']:.1f} s; in the allocator "
             f"{100 * ours / total:.1f} %", "", f"{'path':30} {'samples':>8} {'share':>8} {'of allocator':>13}"]
    for share in result["shares"]:
        name, count = share["path"], share["samples"]
        if name == rooms.REST and not count:
            continue
        mine = f"{100 * count / max(1, ours):11.1f} %" if name in rooms.ALLOCATOR else ""
        lines.append(f"{name:30} {count:8} {100 * share['share']:6.1f} % {mine:>13}".rstrip())
    if result["callers"]:
        lines += ["", "callers of the allocator", f"{'samples':>8} {'share':>8}  function"]
        lines += [f"{caller['samples']:8} {100 * caller['share']:6.1f} %  {shortened(caller['function'])}"
                  + (f"  ({caller['object']})" if caller["object"] else "") for caller in result["callers"][:10]]
    return "\n".join(lines + [""] * bool(result["notes"]) + [f"note: {note}" for note in result["notes"]]) + "\n"


def write_whole(path, text):
    """All of it or, with an OSError, nothing."""
    new = path.with_name(path.name + ".new")
    try:
        new.write_text(text, encoding="utf-8", errors="replace")
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def write_files(folder, files):
    """All of them, or a line and none."""
    try:
        for name, text in files.items():
            write_whole(folder / name, text)
    except OSError as error:
        for name in files:
            (folder / name).unlink(missing_ok=True)
        say(f"{folder}: {error.strerror}: it holds no report, only perf.data")
        return False
    return True


def write_page(folder, result):
    """DIR/flame.html, or why there is none."""
    page = folder / "flame.html"
    page.unlink(missing_ok=True)
    built = subprocess.run([str(ROOT / "bench" / "page" / "build")], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if built.returncode:
        return built.stderr.strip().split("\n")[-1] or "bench/page/build failed"
    sys.path.insert(0, str(ROOT / "bench" / "page"))
    import page as pages
    try:
        write_whole(page, pages.flame_page(ROOT / "build" / "page" / "flame.html", result))
    except (OSError, UnicodeError, pages.BadData) as error:
        return str(error)
    return None


def report(folder, options, words, event, why, run):
    _, seconds, stopped = run
    try:
        profile, kernel = read(folder, options["--library"])
    except (perfdata.Damaged, disasm.CannotRead) as error:
        say(f"no report: {error}")
        return
    except OSError as error:
        say(f"no report: {error.filename or folder}: {error.strerror}")
        return
    ours = profile.allocator_samples()
    command = shlex.join(words)
    result = {"format": 1, "title": f"libkmalloc in {os.path.basename(words[0])}", "command": command,
              "unit": "samples", "event": event, "event_reason": why, "frequency": options["--frequency"],
              "seconds": round(seconds, 3), "samples": profile.samples,
              "allocator": {"samples": ours, "share": ours / max(1, profile.samples)}, "shares": profile.shares(),
              "callers": profile.top_callers(), "incomplete": profile.incomplete, "lost": profile.lost,
              "notes": notes(profile, kernel, stopped), "tree": profile.tree()}
    text = as_text(result)
    if not write_files(folder, {"report.txt": text, "stacks.txt": profile.collapsed(),
                                "profile.json": json.dumps(result) + "\n"}):
        print(f"\n{text}", file=sys.stderr)
        return
    no_page = write_page(folder, result)
    size = (folder / "perf.data").stat().st_size >> 20
    print(f"\n{text}\nfiles in {folder}: report.txt, profile.json, stacks.txt, "
          f"{'' if no_page else 'flame.html, '}perf.data ({size} MiB)", file=sys.stderr)
    if no_page:
        say(f"no flame.html: {no_page}")


def main(words):
    program.TOOL = "tools/perf-record"
    options = {"--out": "perf-kmalloc", "--frequency": "997", "--stack": "8192", "--library": str(LIBRARY),
               "--preload": ""}
    values, words = program.parse(words, options, USAGE)
    values["--frequency"] = program.number("--frequency", values["--frequency"], 1, 20000)
    values["--stack"] = program.number("--stack", values["--stack"], 64, 65528) & ~7
    environment = program.own_environment()
    program.find_program(words[0], environment)
    values["--library"] = program.library(values["--library"])
    environment = program.with_preload(environment, values["--library"], values["--preload"])
    event, why = choose_event(values["--frequency"])
    folder = Path(values["--out"]).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("report.txt", "profile.json", "stacks.txt", "flame.html", "perf.data", "perf.data.old"):
            (folder / name).unlink(missing_ok=True)
        free = free_bytes(folder)
        if free < ROOM:
            raise Stop(f"{folder}: {free >> 20} MiB are free there; a recording wants {ROOM >> 20}")
        run = record(event, values, program.under_env(environment, words), folder)
    except OSError as error:
        raise Stop(f"{folder}: {error.strerror or error}") from None
    report(folder, values, words, event, why, run)
    program.end_as(run[0])


if __name__ == "__main__":
    sys.setrecursionlimit(20000)
    try:
        main(sys.argv[1:])
    except Stop as stop:
        say(str(stop))
        sys.exit(stop.status)
