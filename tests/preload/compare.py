#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run one case without and with the library, and compare what comes out.

usage: compare.py CASE MODE        CASE from cases.py; MODE: rseq, locked, tunable or all

KMALLOC_SO    the library to preload (needed)
KMALLOC_PROGS the folder that holds the compiled programs of progs/ (for the cases that use them)

Exit status: 0 same, 1 different, 2 bad usage, 77 cannot be run here (a program or a right is missing).

One case goes like this:

 1. Every program of the case is looked up; a missing one makes the case a skip.
 2. The witness: each of those programs is started once under the library with the dynamic linker's own
    log on. The log must show malloc (or free, or operator new) of that very process bound to the library.
    The library's statistics must name the mode that the case asks for.
 3. The case runs plain, then under the library, each time in an empty folder of the same name.
 4. stdout, stderr, exit status and the named output files must be the same, byte by byte, after the
    substitutions that the case declares (for timings, process ids and random keys only). Wherever the
    loader cannot map the library it says so on stderr, which this step sees.

Cases of behaviour that glibc does not have are run under the library only, against a fixed text.
"""

import contextlib
import difflib
import fcntl
import fnmatch
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from cases import CASES  # noqa: E402

SKIP = 77
MODES = {
    "rseq": {},
    "locked": {"KMALLOC_CMDLINE": "rseq=off"},
    "tunable": {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"},
}
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
OVERCOMMIT = "/proc/sys/vm/overcommit_memory"


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def base_env(home):
    env = {"PATH": PATH, "HOME": home, "TMPDIR": home, "LC_ALL": "C", "TZ": "UTC", "TERM": "dumb",
           "USER": "tester", "LOGNAME": "tester"}
    if "KMALLOC_PROGS" in os.environ:
        env["PROGS"] = os.path.abspath(os.environ["KMALLOC_PROGS"])
    env["CASES"] = os.path.join(HERE, "cases")
    return env


def library_env(home, lib, mode, cmdline):
    env = base_env(home)
    env.update(MODES[mode])
    env["LD_PRELOAD"] = lib
    env["KMALLOC_EXPECT"] = lib
    env["KMALLOC_CMDLINE"] = " ".join([env.get("KMALLOC_CMDLINE", ""), cmdline]).strip()
    return env


def substitute(args, env):
    names = {"{progs}": env.get("PROGS", ""), "{cases}": env["CASES"]}
    for name, value in names.items():
        args = [arg.replace(name, value) for arg in args]
    return args


def find(program, env):
    name = substitute([program], env)[0]
    return name if os.path.isabs(name) and os.access(name, os.X_OK) else shutil.which(name, path=PATH)


def run(argv, env, cwd, timeout):
    """One process group to its end; whatever it leaves behind is killed."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                 start_new_session=True)
        try:
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        out.seek(0)
        err.seek(0)
        return child.pid, status, out.read(), err.read()


def tail(data, lines=15):
    return "\n".join("    | " + line for line in data.decode("utf-8", "replace").splitlines()[-lines:])


def witness(program, args, env, lib, home):
    """The dynamic linker itself must say that this program's malloc is the library's."""
    prefix = os.path.join(home, "bindings")
    env = dict(env, LD_DEBUG="bindings", LD_DEBUG_OUTPUT=prefix, LD_BIND_NOW="1")
    pid, status, _, err = run([program] + args, env, home, 120)
    if status is None or status < 0:
        raise Failed(f"{program} {' '.join(args)} under the library: "
                     f"{'timed out' if status is None else 'signal %d' % -status}\n{tail(err)}")
    try:
        with open(f"{prefix}.{pid}", "rb") as log:
            text = log.read()
    except FileNotFoundError:
        raise Failed(f"{program} is not started by the dynamic linker, so nothing can be preloaded") from None
    names = rb"(malloc|calloc|realloc|free|_Znwm|_ZdlPv)"
    pattern = rb"binding file \S+ \[\d+\] to " + re.escape(lib.encode()) + rb" \[\d+\]: normal symbol `" + names + rb"'"
    if not re.search(pattern, text):
        raise Failed(f"{program}: malloc is not bound to {lib}: the library was not loaded")


def check_mode(env, mode, home):
    """The statistics name the mode that is on; ask them of one small program."""
    env = dict(env, KMALLOC_CMDLINE=env["KMALLOC_CMDLINE"] + " stat")
    _, status, out, err = run(["/bin/bash", "-c", "exit 3"], env, home, 60)
    text = err.decode("utf-8", "replace")
    if status != 3 or out or "slabinfo - version: 2.1" not in text:
        raise Failed(f"no statistics with KMALLOC_CMDLINE=stat (status {status})\n{tail(err)}")
    line = next((line for line in text.splitlines() if re.search(r"\bmode\b", line)), "")
    if not line:
        raise Failed(f"the statistics name no mode\n{tail(err)}")
    locked = "locked" in line
    if mode != "rseq" and not locked:
        raise Failed(f"asked for locked mode, got: {line}")
    if mode == "rseq" and locked:
        # A kernel without rseq may do that, and then says so; it is named, since two modes are then one.
        print(f"note: the default mode is locked here: {line}")


@contextlib.contextmanager
def overcommit(wanted):
    """Set vm.overcommit_memory for a while. Put back whatever happens, short of SIGKILL."""
    if wanted is None:
        yield
        return
    with open(__file__) as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        try:
            with open(OVERCOMMIT) as now:
                before = now.read()
            with open(OVERCOMMIT, "w") as now:
                now.write(str(wanted))
        except OSError as error:
            raise Skipped(f"{OVERCOMMIT} cannot be set: {error}") from None
        try:
            yield
        finally:
            with open(OVERCOMMIT, "w") as now:
                now.write(before)


def normalise(data, rules):
    for pattern, repl in rules:
        data = re.sub(pattern.encode(), repl.encode(), data, flags=re.M)
    return data


def output_files(folder, patterns):
    """The named output files of a run: relative name -> content."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            rel = os.path.relpath(path, folder)
            if any(fnmatch.fnmatch(rel, pattern) for pattern in patterns):
                with open(path, "rb") as content:
                    found[rel] = content.read()
    return found


def run_case(case, env, top):
    """Run the case's command in an empty folder; what is to be compared comes back."""
    folder = os.path.join(top, "work")
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    os.chmod(folder, 0o755)
    env = dict(env, **case.env)
    _, status, out, err = run(substitute(case.argv, env), env, folder, case.timeout)
    return {
        "exit status": status,
        "stdout": normalise(out, case.normalise),
        "stderr": normalise(err, case.normalise),
        "files": output_files(folder, case.outputs),
    }


def difference(name, want, got):
    if want == got:
        return []
    if isinstance(want, bytes):
        lines = [data.decode("utf-8", "backslashreplace").splitlines() for data in (want, got)]
        diff = list(difflib.unified_diff(*lines, "plain", "library", lineterm="", n=2))
        return [f"{name} differs:"] + diff[:60]
    if isinstance(want, dict):
        bad = [rel for rel in sorted(set(want) | set(got)) if want.get(rel) != got.get(rel)]
        return [f"output file differs: {rel}" for rel in bad[:20]]
    return [f"{name} differs: plain {want}, library {got}"]


def compare(want, got):
    lines = []
    for name in want:
        lines += difference(name, want[name], got[name])
    if lines:
        if got["stderr"]:
            lines += ["library's stderr ends:", tail(got["stderr"])]
        raise Failed("\n".join(lines))


def skip_if_it_skips(result):
    if result["exit status"] == SKIP:
        raise Skipped(result["stdout"].decode("utf-8", "replace").strip() or "the program itself skips")


def expected(case, env, top):
    """What the run under the library must give: a plain run, or the case's own text."""
    if case.expect is not None:
        return {"exit status": 0, "stdout": case.expect.encode(), "stderr": b"", "files": {}}
    want = run_case(case, env, top)
    skip_if_it_skips(want)
    if want["exit status"] != 0:
        raise Failed(f"the plain run itself ended with {want['exit status']}\n{tail(want['stderr'])}")
    if case.outputs and not want["files"]:
        raise Failed("the plain run left none of the output files")
    return want


def check_case(case, mode, so, top):
    os.chmod(top, 0o755)
    home = os.path.join(top, "home")
    os.mkdir(home)
    # A copy: the original may be built anew meanwhile, and its path may hold a space.
    lib = os.path.join(top, os.path.basename(so))
    shutil.copy(so, lib)
    plain, env = base_env(home), library_env(home, lib, mode, case.cmdline)
    programs = []
    for program, args in case.programs.items():
        path = find(program, plain)
        if path is None:
            raise Skipped(f"no {program} here")
        programs.append((path, args))
    for path, args in programs:
        witness(path, args, env, lib, home)
    check_mode(env, mode, home)
    want = expected(case, plain, top)
    with overcommit(case.overcommit):
        got = run_case(case, env, top)
    if case.expect is not None:
        skip_if_it_skips(got)
    compare(want, got)


def main(argv):
    if len(argv) != 3 or argv[1] not in CASES or argv[2] not in (*MODES, "all"):
        print(f"usage: compare.py CASE {'|'.join(MODES)}|all (cases.py prints the cases)", file=sys.stderr)
        return 2
    so = os.environ.get("KMALLOC_SO", "")
    if not os.path.isfile(so):
        print(f"compare.py: KMALLOC_SO names no file: '{so}'", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    os.umask(0o022)
    for mode in MODES if argv[2] == "all" else [argv[2]]:
        with tempfile.TemporaryDirectory(prefix="kmalloc-preload-", ignore_cleanup_errors=True) as top:
            try:
                check_case(CASES[argv[1]], mode, os.path.abspath(so), top)
            except Skipped as why:
                print(f"skip: {argv[1]} {mode}: {why}")
                return SKIP
            except Failed as why:
                print(f"FAIL: {argv[1]} {mode}: {why}", file=sys.stderr)
                return 1
        print(f"ok: {argv[1]} {mode}: same with and without")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
