# SPDX-License-Identifier: MIT
"""The programs whose own tests are run: where the tests come from, how they are listed, how one is run.

A Suite gives names of tests (list) and the command for one (command); each test is a process of its own in an empty
folder. To add one: an entry in SUITES. Suites that take a source may take minutes before the first test, once.
"""
import configparser
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import reading
from debian import Unavailable

ARCH = "x86_64-linux-gnu"


@dataclass
class Suite:
    name: str
    about: str
    packages: tuple                 # binary packages
    version: str                    # the package whose version is the program's
    list: Callable                  # (place) -> names
    command: Callable               # (place, name, folder, slot) -> words
    read: Callable = reading.status_only
    place: Callable = None          # (debian) -> what the other two get; unpacks and builds
    witness: tuple = None           # a program and arguments with which it must be seen to load the library
    environment: dict = field(default_factory=dict)
    timeout: int = 300              # seconds, per test
    alone: bool = False             # one test at a time: they share a folder
    first_s: int = 0                # seconds until the first test, at worst
    skip: frozenset = frozenset()   # tests that say nothing about an allocator and cost much
    chosen: bool = True             # run when nothing is named


def names_below(top, pattern):
    return sorted(str(path.relative_to(top)) for path in Path(top).glob(pattern))


# CPython

PYTHON = "/usr/bin/python3.11"
PYTHON_TESTS = Path("/usr/lib/python3.11/test")

# Hours, a network, a display, or Debian's own packaging.
PYTHON_SKIP = frozenset("""
test_idle test_tk test_tix test_ttk test_ttk_guionly test_turtle test_tcl test_urllibnet test_urllib2net
test_distutils test_ensurepip test_venv test_lib2to3 test_peg_generator test_tools test_zipfile64
test_socketserver test_winreg test_msilib test_gdb test_dtrace test_bigmem test_largefile test_curses
""".split())

# A fixed set for the short form: parsers, containers, threads, processes, foreign calls, mappings, signals.
PYTHON_SHORT = """test_json test_list test_dict test_set test_array test_bytes test_gc test_mmap test_fork1 test_ctypes
test_thread test_queue test_weakref test_struct test_memoryview test_sqlite3 test_zlib""".split()


def python_tests(_place):
    names = names_below(PYTHON_TESTS, "test_*.py") + [path.parent.name for path in PYTHON_TESTS.glob("test_*/__init__.py")]
    if not names:
        raise Unavailable(f"no tests in {PYTHON_TESTS}")
    return sorted({name.removesuffix(".py") for name in names} - PYTHON_SKIP)


def python_command(_place, name, folder, _slot):
    return [PYTHON, "-m", "test", "--timeout", "280", "-W", "--junit-xml", folder / "results.xml", name]


def python(name, about, **more):
    return Suite(name, about, ("python3.11", "libpython3.11-testsuite"), "libpython3.11-testsuite",
                 **dict(dict(list=python_tests, command=python_command, read=reading.junit,
                             witness=(PYTHON, ["-c", "import json"])), **more))


# Tests that are installed with packages, in the common form of GNOME's

INSTALLED = Path("/usr/share/installed-tests")


def installed_tests(*folders):
    def find(_place):
        return [name for folder in folders for name in names_below(INSTALLED, f"{folder}/**/*.test")]
    return find


def installed_command(_place, name, _folder, _slot):
    parsed = configparser.ConfigParser(interpolation=None, strict=False)
    parsed.read(INSTALLED / name)
    return ["dbus-run-session", "--", "sh", "-c", "exec " + parsed["Test"]["Exec"]]


# systemd's unit tests

SYSTEMD = Path("/usr/lib/systemd/tests")


def systemd_tests(_place):
    found = [path for folder in (SYSTEMD, SYSTEMD / "unit-tests") for path in folder.glob("test-*")]
    return sorted(str(path.relative_to(SYSTEMD)) for path in found if path.is_file() and os.access(path, os.X_OK))


# perl's core tests, with the installed perl

def perl_place(debian):
    source = debian.source("perl")
    top = debian.cache / "perl"
    if not (top / ".made").exists():
        shutil.rmtree(top, ignore_errors=True)
        shutil.copytree(source / "t", top / "t", symlinks=True)
        lib = top / "lib"
        # The tests look for modules in ../lib alone: there lie links to the installed ones.
        for folder in (f"/usr/lib/{ARCH}/perl/5.36", "/usr/share/perl/5.36", f"/usr/lib/{ARCH}/perl-base", source / "lib"):
            for path in sorted(Path(folder).resolve().rglob("*")):
                link = lib / path.relative_to(Path(folder).resolve())
                if path.is_file() and not link.exists():
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(path)
        (top / "t/perl").symlink_to("/usr/bin/perl")
        (top / "perl").symlink_to("/usr/bin/perl")
        (top / ".made").touch()
    return top


def perl_tests(top):
    folders = "base cmd comp io re uni mro op opbasic class lib perf run".split()
    return [name for folder in folders for name in names_below(top / "t", f"{folder}/*.t")]


def perl_command(top, name, _folder, _slot):
    return ["sh", "-c", 'cd "$1" && exec /usr/bin/perl -I../lib "$2"', "sh", top / "t", name]


# sqlite: its testfixture is built from the source, without optimisation that costs time to build

def sqlite_place(debian):
    return debian.build(debian.source("sqlite3"), "sqlite3",
                        ["./configure", "--disable-amalgamation", "CFLAGS=-O1 -g0", "--with-tcl=/usr/lib/tcl8.6"],
                        ["make", "testfixture"])


# Wrappers that run all the others, and what takes minutes.
SQLITE_SKIP = re.compile(r"^(all|quick|veryquick|full|permutations|mallocAll|soak|tester|.*big.*|fuzz_malloc|.*fault.*|"
                         r".*malloc.*|.*crash.*|.*speed.*|lock_common|.*_common|thread_common|wal_common|e_.*all|"
                         r"memleak|extraquick|valgrind|onefile|backcompat|sidedelete|vtabH|fts3conf|.*stress.*|zipfile2)$")


def sqlite_tests(source):
    return [name for name in names_below(source / "test", "*.test") if not SQLITE_SKIP.match(Path(name).stem)]


# redis: the packaged server under the tests of its source

def redis_place(debian):
    return debian.source("redis")


def redis_tests(source):
    """The list of its own that the helper keeps. Left out: hours, and what needs modules built from the source."""
    text = (source / "tests/test_helper.tcl").read_text()
    names = re.search(r"set ::all_tests \{([^}]*)\}", text)[1].split()
    return [name for name in names if (source / f"tests/{name}.tcl").exists() and "moduleapi" not in name
            and name not in ("integration/corrupt-dump-fuzzer", "unit/violations", "unit/oom-score-adj")]


def redis_command(source, name, folder, slot):
    """A copy of the tests, since they write among themselves; ports of its own for each that runs at once."""
    shutil.copytree(source / "tests", folder / "tests", symlinks=True)
    (folder / "tests/tmp").mkdir(exist_ok=True)
    shutil.copy(source / "redis.conf", folder / "redis.conf")
    shutil.copy(source / "sentinel.conf", folder / "sentinel.conf")
    (folder / "src").mkdir()
    for program in ("server", "cli", "benchmark", "check-aof", "check-rdb"):
        (folder / f"src/redis-{program}").symlink_to(f"/usr/bin/redis-{program}")
    (folder / "src/redis-sentinel").symlink_to("/usr/bin/redis-server")
    return ["tclsh8.6", "tests/test_helper.tcl", "--single", name, "--clients", "1", "--baseport",
            str(22000 + 1500 * slot), "--portcount", "1000", "--no-latency"]


# git: the installed one under the tests of its source; only their helper is built

def git_place(debian):
    # A first -O0 build of the library that the helper is linked with; no part of it is what is tested.
    return debian.build(debian.source("git"), "git",
                        ["make", "-j2", "CFLAGS=-O0", "NO_GETTEXT=1", "NO_CURL=1", "NO_TCLTK=1", "NO_EXPAT=1",
                         "t/helper/test-tool", "GIT-BUILD-OPTIONS"])


def git_command(source, name, folder, _slot):
    return ["sh", "-c", 'cd "$1" && exec bash "$2" --root="$3" --no-color', "sh", source / "t", name, folder]


GIT_SKIP = re.compile(r"^t(5[5-9][0-9][0-9]-http|9[0-9]{3}|5[45]\d\d-.*http|7900|3900|[0-9]+-.*svn|.*p4)")


def git_tests(source):
    return [name for name in names_below(source / "t", "t[0-9]*.sh") if not GIT_SKIP.match(name)]


# Tcl

def tcl_command(source, name, _folder, _slot):
    return ["tclsh8.6", source / "tests" / name]


# PHP, told to leave every object to malloc

def php_command(source, name, _folder, _slot):
    return ["php8.2", "-n", source / "run-tests.php", "-n", "-q", "--no-color", "--offline", "-p", "/usr/bin/php8.2",
            source / name]


def php_tests(source):
    """A test is a folder: a file alone is too small to be a process of a runner of its own."""
    folders = {path.parent for part in ("Zend/tests", "tests", "ext/standard/tests", "ext/spl/tests", "ext/json/tests",
                                        "ext/pcre/tests", "ext/date/tests", "ext/reflection/tests")
               for path in (source / part).rglob("*.phpt")}
    return sorted(str(path.relative_to(source)) for path in folders)


# MariaDB: a server with many threads

MARIADB = Path("/usr/share/mysql/mysql-test")


def mariadb_command(_place, name, folder, slot):
    return ["perl", MARIADB / "mysql-test-run.pl", f"--vardir={folder}/var", "--force", "--retry=0", "--user=root",
            "--skip-ssl", f"--port-base={16000 + 200 * slot}", "--testcase-timeout=4", f"main.{name}"]


def mariadb_tests(_place):
    names = [Path(name).stem for name in names_below(MARIADB / "main", "*.test")]
    return [name for name in names if (MARIADB / "main" / f"{name}.result").exists()]


SUITES = {suite.name: suite for suite in (
    python("cpython", "CPython's own tests; large objects and buffers come from malloc", skip=PYTHON_SKIP),
    python("cpython-malloc", "the same, with every Python object from malloc", environment={"PYTHONMALLOC": "malloc"}),
    python("cpython-short", "a fixed few of them, every object from malloc", list=lambda _: PYTHON_SHORT, chosen=False,
           environment={"PYTHONMALLOC": "malloc"}),
    Suite("glib", "GLib: threads, main loops, containers, D-Bus", ("libglib2.0-tests", "dbus", "dbus-daemon"),
          "libglib2.0-tests", list=installed_tests("glib"), command=installed_command, read=reading.tap,
          witness=("/usr/libexec/installed-tests/glib/array-test", ["-l"]),
          # Measures for a minute.
          skip=frozenset({"glib/performance.test"})),
    Suite("desktop", "GTK's neighbours: pictures, text layout, a JavaScript engine, HTTP, XML",
          ("gdk-pixbuf-tests", "pango1.0-tests", "gjs-tests", "libsoup-3.0-tests", "libxmlb-tests", "libjcat-tests",
           "graphene-tests", "glib-networking-tests", "dbus", "dbus-daemon"), "gjs-tests",
          list=installed_tests("gdk-pixbuf", "pango", "gjs", "libsoup-3.0", "libxmlb", "libjcat", "graphene-1.0",
                               "glib-networking"),
          command=installed_command, read=reading.tap),
    Suite("systemd", "unit tests of systemd and its libraries", ("systemd-tests",), "systemd-tests", list=systemd_tests,
          command=lambda _place, name, _folder, _slot: [SYSTEMD / name], timeout=120),
    Suite("perl", "perl's core tests: strings, hashes, regular expressions, forks", ("perl", "perl-modules-5.36"), "perl",
          place=perl_place, list=perl_tests, command=perl_command, read=reading.tap, alone=True, first_s=60,
          witness=("/usr/bin/perl", ["-e", "1"]), environment={"PERL_CORE": "1"}),
    Suite("sqlite", "sqlite's tests in Tcl", ("tcl8.6-dev", "gcc", "make", "libc6-dev"), "sqlite3", place=sqlite_place,
          list=sqlite_tests, read=reading.sqlite, first_s=400,
          command=lambda source, name, _folder, _slot: [source / "testfixture", source / "test" / name]),
    Suite("redis", "redis' tests on the packaged server: threads, forks, replication",
          ("redis-server", "redis-tools", "tcl8.6", "procps"), "redis-server", place=redis_place, list=redis_tests,
          command=redis_command, read=reading.redis, first_s=30, witness=("/usr/bin/redis-server", ["--version"])),
    Suite("git", "git's tests: thousands of short processes, threads in some", ("git", "gcc", "make", "libc6-dev", "zlib1g-dev"),
          "git", place=git_place, list=git_tests, command=git_command, read=reading.tap, first_s=400, timeout=600,
          witness=("/usr/bin/git", ["--version"]),
          environment={"GIT_TEST_INSTALLED": "/usr/bin", "GIT_TEST_EXEC_PATH": "/usr/lib/git-core", "TAR": "tar"}),
    Suite("tcl", "Tcl: an interpreter with threads and an allocator of its own on top", ("tcl8.6",), "tcl8.6",
          place=lambda debian: debian.source("tcl8.6"), list=lambda source: names_below(source / "tests", "*.test"),
          command=tcl_command, read=reading.tcltest, first_s=30, witness=("/usr/bin/tclsh8.6", ["/dev/null"]),
          skip=frozenset({"httpold.test", "http.test", "http11.test"})),
    Suite("php", "PHP's language and library tests, every object from malloc",
          ("php8.2-cli",), "php8.2-cli", place=lambda debian: debian.source("php8.2"), list=php_tests, command=php_command,
          read=reading.php, first_s=60, timeout=600, alone=True, witness=("/usr/bin/php8.2", ["--version"]),
          environment={"USE_ZEND_ALLOC": "0", "NO_INTERACTION": "1", "SKIP_SLOW_TESTS": "1", "SKIP_ONLINE_TESTS": "1"}),
    Suite("mariadb", "MariaDB: a threaded C++ server, many clients", ("mariadb-server", "mariadb-test"), "mariadb-server",
          list=mariadb_tests, command=mariadb_command, read=reading.mariadb, timeout=400,
          witness=("/usr/sbin/mariadbd", ["--version"])),
)}
