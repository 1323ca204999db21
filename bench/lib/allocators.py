# SPDX-License-Identifier: MIT
"""The allocators that a run compares: where they are and what version they have."""
import glob
import os
import re
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

OURS = "kmalloc"
LIMIT = "limit"    # the column of what no allocator can be better than
EMPTY = "empty"    # the column of calls that do nothing
RESERVED = (LIMIT, EMPTY)

# What Debian calls the peers' libraries; the newest of several is taken.
DEBIAN = {
    "jemalloc": "libjemalloc.so.2",
    "mimalloc": "libmimalloc.so.[0-9].[0-9]",
    "tcmalloc": "libtcmalloc_minimal.so.4",
    "tbbmalloc": "libtbbmalloc_proxy.so.2",
}


class BadArgument(Exception):
    """What the user asked for cannot be done; the text says why, in one line."""


@dataclass
class Allocator:
    """A library to preload, or None for the malloc of the C library."""
    name: str
    preload: str | None
    environment: dict = field(default_factory=dict)
    version: str = ""
    broken: str | None = None  # why it cannot be used, or None

    def settings(self, own_allocator=False):
        """The environment that loads it. OWN_ALLOCATOR: the program comes linked with an
        allocator of its own, so the C library's has to be put before that one."""
        preload = self.preload or ("libc.so.6" if own_allocator else None)
        return dict(self.environment, **({"LD_PRELOAD": preload} if preload else {}))

    def config(self):
        """What a resumed run must find unchanged: name, settings, and the file as it was."""
        stamp = None
        if self.preload and os.path.exists(self.preload):
            stat = os.stat(self.preload)
            stamp = [stat.st_size, stat.st_mtime_ns]
        return [self.name, self.preload, self.environment, stamp]


def output_of(*command, cwd=None):
    """What COMMAND prints, or an empty text when it fails."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def package_version(path):
    """Version of the Debian package that a file belongs to, or an empty text."""
    for name in (path, os.path.realpath(path), os.path.realpath(path).removeprefix("/usr")):
        owner = output_of("dpkg-query", "-S", name)
        if owner:
            return output_of("dpkg-query", "-W", "-f", "${Version}", owner.rsplit(": ", 1)[0])
    return ""


def find_library(pattern):
    found = glob.glob(f"/usr/lib/*-linux-gnu/{pattern}") + glob.glob(f"/usr/lib/{pattern}")
    return max(found) if found else None


def debian_peers():
    peers = [Allocator("glibc", None,
                       version=output_of("dpkg-query", "-W", "-f", "${Version}\n", "libc6:*")
                       .split("\n")[0])]
    for name, pattern in DEBIAN.items():
        path = find_library(pattern)
        peer = Allocator(name, path or pattern)
        if path:
            peer.version = package_version(path)
        else:
            peer.broken = "not installed (tools/deps bench installs it)"
        peers.append(peer)
    return peers


def peer_of_argument(text):
    """NAME=PATH[;VARIABLE=VALUE]..."""
    name, equals, rest = text.partition("=")
    path, *settings = rest.split(";")
    if not re.fullmatch(r"[\w.+-]+", name) or not equals \
            or not all(re.match(r"\w+=", setting) for setting in settings):
        raise BadArgument(f"--peer {text}: not NAME=PATH[;VARIABLE=VALUE]...")
    if not path:
        return Allocator(name, None, dict(setting.split("=", 1) for setting in settings))
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise BadArgument(f"--peer {text}: there is no file {path}")
    return Allocator(name, path, dict(setting.split("=", 1) for setting in settings),
                     package_version(path))


def own_version(root, library):
    text = (root / "meson.build").read_text(encoding="utf-8")
    version = re.search(r"^  version: '([^']+)'", text, re.M)
    revision = output_of("git", "-C", str(root), "rev-parse", "--short", "HEAD")
    changed = output_of("git", "-C", str(root), "status", "--porcelain", "--", "src", "meson.build")
    return "{}{}".format(
        version[1] if version and library == root / "build" / "libkmalloc.so" else "",
        f" ({revision}{', changed' if changed else ''})" if revision else "").strip()


def build_revision(root, revision):
    """Build libkmalloc.so of another revision of this repository, once per revision."""
    commit = output_of("git", "-C", str(root), "rev-parse", "--verify", "--quiet",
                       f"{revision}^{{commit}}")
    if not commit:
        raise BadArgument(f"--against {revision}: no such revision (try `git log --oneline`)")
    folder = root / "build" / "against" / commit
    library = folder / "build" / "libkmalloc.so"
    if not (folder / ".complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with subprocess.Popen(["git", "-C", str(root), "archive", commit],
                              stdout=subprocess.PIPE) as archive:
            with tarfile.open(fileobj=archive.stdout, mode="r|") as tar:
                tar.extractall(folder)
        (folder / ".complete").touch()
    tool = folder / "tools" / "build"
    if not tool.exists():
        raise BadArgument(f"--against {revision}: that revision has no tools/build")
    if subprocess.run([str(tool)]).returncode or not library.exists():
        raise BadArgument(f"--against {revision}: that revision does not build")
    name = re.sub(r"[^\w.+-]", "-", revision)
    return Allocator(commit[:10] if name == OURS else name, str(library), version=commit[:10])


def choose(root, library, peers, against):
    """All allocators of a run, ours first. With a revision to compare with, only it and the
    peers that were named."""
    library = Path(os.path.abspath(library))
    ours = Allocator(OURS, str(library), version=own_version(root, library))
    chosen = [ours] + ([build_revision(root, against)] if against else debian_peers())
    for peer in map(peer_of_argument, peers):
        # A peer by path takes the place of Debian's of the same name.
        chosen = [other for other in chosen if other.name != peer.name or other is ours] + [peer]
    names = [peer.name for peer in chosen]
    for name in names:
        if names.count(name) > 1 or name in RESERVED:
            raise BadArgument(f"--peer {name}=...: that name is taken")
    if not library.is_file():
        raise BadArgument(f"there is no {library} (tools/build makes build/libkmalloc.so)")
    return chosen, ours
