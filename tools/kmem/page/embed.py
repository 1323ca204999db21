#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Puts the template of the page into C: embed.py OUT.c auto|enabled|none BUILD DIR.

BUILD is bench/page/build, which makes DIR/heap.html by npm. With `none`, or with `auto` where that fails, OUT.c has no page, and kmem
says so when it is asked for one. The template is compressed, as zlib does it."""
import subprocess
import sys
import zlib
from pathlib import Path


def template(build, directory):
    """Its bytes; what went wrong, in one line, as an exception."""
    run = subprocess.run([build, directory], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if run.returncode:
        raise RuntimeError(run.stdout.strip() or f"{build} failed")
    return (Path(directory) / "heap.html").read_bytes()


def code(page):
    packed = zlib.compress(page, 9) if page else b"\0"
    lines = (",".join(str(byte) for byte in packed[at:at + 32]) for at in range(0, len(packed), 32))
    return ('#include "export_page.h"\n\n'
            f"const size_t export_page_bytes = {len(packed) if page else 0};\n"
            f"const size_t export_page_unpacked = {len(page)};\n"
            "const unsigned char export_page[] = {\n" + ",\n".join(lines) + "\n};\n")


def main(words):
    out, mode, build, directory = words
    page = b""
    if mode != "none":
        try:
            page = template(build, directory)
        except (OSError, RuntimeError) as error:
            print(f"kmem export --html will not work: {error}", file=sys.stderr)
            if mode == "enabled":
                return 1
    Path(out).write_text(code(page), encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
