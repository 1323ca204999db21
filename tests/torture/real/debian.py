# SPDX-License-Identifier: MIT
"""What the distribution ships: packages, and the sources they were built from.

Packages are installed by tools/deps, which keeps services from starting. Sources are fetched by apt-get with a state
of its own under the cache folder: the system's configured mirrors, told to give sources instead of packages, so
neither the system's apt nor anybody's settings are touched. All is fetched and unpacked once.

What cannot be had raises Unavailable, whose text is one line that says why.
"""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
APT = Path("/etc/apt")


class Unavailable(Exception):
    """Nothing can be run, for a reason that is not the library's."""


def clean_environment():
    drop = ("LD_PRELOAD", "KMALLOC_CMDLINE", "GLIBC_TUNABLES")
    return dict({name: value for name, value in os.environ.items() if name not in drop}, LC_ALL="C")


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no output"


def must_run(argv, what, log, **options):
    """A command that prepares something; its output goes to a log, which a failure names."""
    with open(log, "ab") as out:
        done = subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=out,
                              stderr=subprocess.STDOUT, env=clean_environment(), **options)
    if done.returncode:
        last = last_line(Path(log).read_text(errors="replace"))
        raise Unavailable(f"{what} failed ({last}); see {log}")


def source_stanzas(text):
    """A file in the style of `Types: deb`, with every stanza turned to sources."""
    return re.sub(r"(?m)^Types:.*$", "Types: deb-src", text)


def source_lines(text):
    """A file in the style of `deb URI SUITE ...`, with every entry turned to sources."""
    kept = [line for line in text.splitlines() if re.match(r"deb(-src)?\s", line)]
    return "".join(re.sub(r"^deb(-src)?\s", "deb-src ", line) + "\n" for line in kept)


def is_debians(text):
    """Sources of others are left alone: those are no part of the distribution."""
    found = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE) $(ORIGIN)"], text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_environment()).stdout
    sites = {line.split()[0] for line in found.splitlines() if line.endswith(" Debian")}
    return any(site in text for site in sites)


class Debian:
    def __init__(self, cache):
        self.cache = Path(cache)
        self.cache.mkdir(parents=True, exist_ok=True)
        self.options = None

    def install(self, packages):
        """Installs what is missing; it says so itself on standard error."""
        done = subprocess.run([str(ROOT / "tools/deps"), "these", *packages], stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, env=clean_environment())
        for line in done.stderr.splitlines():
            if "installing" in line:
                print(line, flush=True, file=sys.stderr)
        if done.returncode:
            raise Unavailable(f"packages cannot be installed: {last_line(done.stderr)}")

    def _apt(self):
        """The options that give apt-get a state and a list of sources of its own; made on first use."""
        if self.options:
            return self.options
        if not shutil.which("apt-get"):
            raise Unavailable("no apt-get: sources are fetched on Debian only")
        top = self.cache / "apt"
        parts = top / "sources.list.d"
        for folder in (parts, top / "lists/partial", top / "cache/archives/partial"):
            folder.mkdir(parents=True, exist_ok=True)
        configured = [APT / "sources.list", *sorted((APT / "sources.list.d").glob("*"))]
        for path in configured:
            text = path.read_text() if path.is_file() else ""
            if path.suffix in (".list", ".sources") and is_debians(text):
                turn = source_stanzas if path.suffix == ".sources" else source_lines
                (parts / path.name).write_text(turn(text))
        options = ["-o", "Dir::Etc::sourcelist=/dev/null", "-o", f"Dir::Etc::sourceparts={parts}",
                   "-o", f"Dir::State::lists={top / 'lists'}", "-o", f"Dir::Cache={top / 'cache'}",
                   "-o", "APT::Sandbox::User=root", "-q"]
        must_run(["apt-get", *options, "update"], "apt-get update for sources", top / "update.log")
        self.options = options
        return options

    def _versions(self, package):
        """Every version that the mirrors list, the newest first: the newest may be listed but not there."""
        shown = subprocess.run(["apt-cache", *self._apt(), "--only-source", "showsrc", package], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_environment()).stdout
        found = re.findall(r"(?m)^Version: (\S+)$", shown)
        newer = {}
        for version in found:
            newer[version] = sum(subprocess.run(["dpkg", "--compare-versions", other, "gt", version]).returncode == 0
                                 for other in found)
        return sorted(newer, key=newer.get)

    def source(self, package):
        """The folder of the unpacked and patched source of PACKAGE."""
        folder = self.cache / "src" / package
        if (folder / ".unpacked").exists():
            return folder
        self.install(["dpkg-dev", "xz-utils"])
        log = self.cache / f"fetch-{package}.log"
        versions = self._versions(package)
        if not versions:
            raise Unavailable(f"the mirrors list no source of {package}")
        for version in versions:
            shutil.rmtree(folder, ignore_errors=True)
            fetch = self.cache / "fetch"
            shutil.rmtree(fetch, ignore_errors=True)
            fetch.mkdir(parents=True)
            try:
                must_run(["apt-get", *self._apt(), "source", "--download-only", f"{package}={version}"],
                         f"fetching the source of {package}", log, cwd=fetch)
                break
            except Unavailable:
                if version == versions[-1]:
                    raise
        folder.parent.mkdir(parents=True, exist_ok=True)
        must_run(["dpkg-source", "--no-check", "-x", next(fetch.glob("*.dsc")), folder],
                 f"unpacking the source of {package}", log)
        shutil.rmtree(fetch)
        (folder / ".unpacked").write_text(version + "\n")
        return folder

    def build(self, folder, what, *commands):
        """Runs COMMANDS in FOLDER once; a stamp tells that they went well."""
        stamp = folder / ".built"
        if not stamp.exists():
            for command in commands:
                must_run(["nice", *command], f"building {what}", self.cache / f"build-{what}.log", cwd=folder)
            stamp.touch()
        return folder


def version_of(package):
    """The version of an installed package, for the record."""
    shown = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, env=clean_environment())
    return shown.stdout.strip() if shown.returncode == 0 else "none"
