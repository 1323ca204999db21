#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_kernel_api.py BUILD SOURCE: docs/kernel-api.md says what is so. Each example is compiled without a warning,
run with the library, and prints what stands below it; each public call is exported, and documented."""

import glob
import os
import re
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
from commands import read, run  # noqa: E402

BUILD, SOURCE = (os.path.abspath(path) for path in sys.argv[1:3])
del sys.argv[1:3]
INCLUDE = os.path.join(SOURCE, "include")
FENCE = re.compile(r"^```(c|cpp)\n(.*?)^```\n(?:\nIt prints:\n\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)


def declared():
    """Symbol of the linker by the name in C, of all functions that the headers declare."""
    symbols = {}
    for header in glob.glob(INCLUDE + "/kmalloc/*.h"):
        text = re.sub(r"/\*.*?\*/", "", read(header), flags=re.DOTALL)
        for name, symbol in re.findall(r"(\w+)\([^;{}]*?\)\s*KMALLOC_SYMBOL\((\w+)\)", text):
            symbols[name] = "libkmalloc_" + symbol
    return symbols


def public_names():
    """Every function and every macro that looks like one, but for what the headers keep to themselves."""
    names = set(declared())
    for header in glob.glob(INCLUDE + "/kmalloc/*.h"):
        text = re.sub(r"/\*.*?\*/", "", read(header), flags=re.DOTALL)
        names |= set(re.findall(r"^#define (\w+)\(", text, re.MULTILINE))
        names |= set(re.findall(r"^(?!\s|#|typedef)[^;{}#]*?\b(\w+)\([^;{}]*\)[^;{}()]*[;{]", text, re.MULTILINE))
        names |= set(re.findall(r"\b(\w+)\((?:[^(){};]|\([^(){};]*\))*\)\n\{", text))
    own = re.compile(r"__(kmalloc|kzalloc|kmem_cache|cleanup|free|attribute|alloc_size|unused|might_sleep$)|"
                     r"KMALLOC_|DEFINE_FREE$")
    return {name for name in names if not own.match(name)}


class KernelApi(unittest.TestCase):
    def compile_and_run(self, language, text, program):
        source = program + (".c" if language == "c" else ".cc")
        with open(source, "w", encoding="utf-8") as file:
            file.write(text)
        compiler = ["cc", "-std=gnu11"] if language == "c" else ["c++", "-std=c++17"]
        folders = ["-I" + INCLUDE + "/kmalloc-linux"] if "<linux/" in text else []
        run(*compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", *folders, "-I" + INCLUDE, source,
            "-o", program, "-L" + BUILD, "-lkmalloc", "-Wl,-rpath," + BUILD)
        return run(program)

    def test_examples(self):
        examples = FENCE.findall(read(SOURCE + "/docs/kernel-api.md"))
        self.assertGreater(len(examples), 5)
        with tempfile.TemporaryDirectory(prefix="kmalloc-examples-") as folder:
            for number, (language, text, output) in enumerate(examples):
                with self.subTest(text=text):
                    said = self.compile_and_run(language, text, f"{folder}/example{number}")
                    self.assertEqual(said, output)

    def test_each_call_is_exported_and_no_other(self):
        wanted = set(declared().values())
        self.assertGreater(len(wanted), 50)
        for option, library in (("-D", "libkmalloc.so"), ("-g", "libkmalloc.a")):
            symbols = run("nm", option, "--defined-only", os.path.join(BUILD, library))
            self.assertEqual(set(re.findall(r" T (libkmalloc_\w+)$", symbols, re.MULTILINE)), wanted, library)

    def test_each_call_is_documented(self):
        pages = glob.glob(SOURCE + "/docs/*.md") + glob.glob(SOURCE + "/docs/man/*")
        words = set(re.findall(r"\w+", "\n".join(map(read, pages))))
        names = public_names()
        self.assertGreater(len(names), 120)
        self.assertEqual(sorted(names - words), [])


if __name__ == "__main__":
    unittest.main()
