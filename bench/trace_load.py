#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""trace_load.py [--events N] [--live N] [--stacks N] [--threads N] [--json] [COMMAND...]: a large recording, and what reading it takes.

Makes a recording of N events (a hundred million) of a program that never ran (trace_load.c), once with call sites and once
with call stacks, and shows of each command that reads one its seconds and the most memory that it had. The files take some
hundred MB in the folder for temporary files.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
KMEM = os.path.join(ROOT, "build", "kmem")

COMMANDS = {
    "report": ["report"],
    "report --stacks": ["report", "--stacks"],
    "report --stacks=tree": ["report", "--stacks=tree"],
    "stat": ["stat"],
    "leaks": ["leaks"],
    "diff": ["diff"],
    "script": ["script"],
    "script --json": ["script", "--json"],
    "replay": ["replay", "-r", "1"],
    "export --html": ["export", "--html"],
    "export --pprof": ["export", "--pprof"],
    "export --perfetto": ["export", "--perfetto"],
    "export --chrome": ["export", "--chrome"],
    "export --dhat": ["export", "--dhat"],
    "export --collapsed": ["export", "--collapsed"],
}


def build(folder):
    program = os.path.join(folder, "trace_load")
    tools = os.path.join(ROOT, "tools", "kmem")
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-I", tools, "-I", os.path.join(ROOT, "src"),
                    os.path.join(ROOT, "bench", "trace_load.c"),
                    *(os.path.join(tools, f"{name}.c")
                      for name in ("recording_write", "recording_encode", "recording_tree", "hash", "say")), "-lzstd", "-lz", "-o", program], check=True)
    return program


def run(words):
    """Seconds, of the clock and of the CPU; MiB at most. Its output goes through a pipe to nowhere."""
    start = time.monotonic()
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    fd = child.stdout.fileno()
    while os.read(fd, 1 << 20):
        pass
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    child.stdout.close()
    if child.returncode:
        sys.exit(f"trace_load.py: {' '.join(words)}: exit status {child.returncode}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000_000)
    parser.add_argument("--live", type=int, default=8_000_000)
    parser.add_argument("--stacks", type=int, default=200_000)
    parser.add_argument("--threads", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("command", nargs="*", help="such as 'export --html'; all of them without")
    options = parser.parse_args()
    if not os.access(KMEM, os.X_OK):
        sys.exit("trace_load.py: no build/kmem: run tools/build, or `ninja -C build kmem`")
    rows = []
    with tempfile.TemporaryDirectory(prefix="trace-load-") as folder:
        program, data = build(folder), os.path.join(folder, "kmem.data")
        for stacks in dict.fromkeys((0, options.stacks)):
            made = run([program, data, str(options.events), str(options.live), str(stacks), str(options.threads)])[0]
            size = os.path.getsize(data)
            print(f"{options.events} events, {options.live} objects live, {stacks or 'no'} call stacks: "
                  f"{size / options.events:.2f} B/event, made in {made:.1f} s", file=sys.stderr)
            for name, words in COMMANDS.items():
                if (options.command and name not in options.command) or ("stacks" in name and not stacks):
                    continue
                seconds, cpu, mebibytes = run([KMEM, *words, data] + [data] * (name == "diff"))
                rows.append({"command": name, "stacks": stacks, "seconds": round(seconds, 1),
                             "cpu_seconds": round(cpu, 1), "mib": round(mebibytes)})
                if not options.json:
                    print(f"{name:22} {stacks:8} stacks {seconds:7.1f} s {cpu:7.1f} s of CPU {mebibytes:6.0f} MiB", flush=True)
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
