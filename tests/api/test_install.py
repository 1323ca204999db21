#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_install.py BUILD: what is installed is all that a program needs. Installs the build into an empty folder
and builds this folder's programs by what pkg-config says of it, shared and static."""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
from commands import read, run  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(sys.argv.pop(1))
# gcc takes a free() of what malloc() did not give for a fault.
OWN = ["-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-Wno-mismatched-dealloc", "-Wno-unused-result"]


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="kmalloc-install-")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PKG_CONFIG")}
        run("meson", "install", "-C", BUILD, "--no-rebuild", env=dict(clean, DESTDIR=cls.root))
        (pc,) = glob.glob(cls.root + "/**/kmalloc.pc", recursive=True)
        cls.libdir = os.path.dirname(os.path.dirname(pc))
        cls.env = dict(clean, PKG_CONFIG_LIBDIR=os.path.dirname(pc), PKG_CONFIG_SYSROOT_DIR=cls.root)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root)

    def says(self, *question):
        return run("pkg-config", *question, env=self.env).split()

    def build(self, compiler, package, sources, *options, static=False):
        """Builds a program and runs it; it must find what it needs in the folder alone."""
        program = os.path.join(self.root, "program")
        flags = self.says("--cflags", package)
        libs = self.says(*(["--static"] if static else []), "--libs", package)
        run(compiler, *OWN, *options, *flags, *sources, "-o", program, *libs, *(["-static"] if static else []))
        return run(program, env=dict(self.env, LD_LIBRARY_PATH="" if static else self.libdir))

    def test_program_in_c(self):
        for static in (False, True):
            output = self.build("cc", "kmalloc", [HERE + "/calls.c"], "-std=gnu11", static=static)
            self.assertIn("all calls are there", output)

    def test_program_in_cxx(self):
        for standard in ("-std=c++11", "-std=c++17", "-std=gnu++20"):
            output = self.build("c++", "kmalloc", [HERE + "/calls.cc"], standard)
            self.assertIn("all calls are there", output)
        self.build("c++", "kmalloc", [HERE + "/calls.cc"], static=True)

    def test_kernel_code(self):
        sources = sorted(glob.glob(HERE + "/kernel/*.c"))
        self.assertGreater(len(sources), 3)
        for static in (False, True):
            self.assertIn("kernel-style code ran", self.build("cc", "kmalloc-linux", sources, static=static))

    def test_each_header_stands_alone(self):
        include = glob.glob(self.root + "/**/include", recursive=True)[0]
        own = sorted(glob.glob(include + "/kmalloc/*.h"))
        linux = sorted(glob.glob(include + "/kmalloc-linux/linux/*.h"))
        self.assertGreater(len(own), 5)
        self.assertGreater(len(linux), 10)
        languages = [("cc", "c", "gnu11"), ("clang", "c", "gnu11"), ("cc", "c", "gnu2x"), ("c++", "c++", "c++11")]
        for compiler, language, standard in languages:
            for header in own + (linux if language == "c" else []):
                package = "kmalloc-linux" if header in linux else "kmalloc"
                run(compiler, "-x", language, "-std=" + standard, "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
                    "-include", os.path.join(*header.split("/")[-2:]), "/dev/null", *self.says("--cflags", package))

    def test_kmem(self):
        """It finds the library that was installed with it."""
        kmem = glob.glob(self.root + "/**/bin/kmem", recursive=True)[0]
        env = dict(self.env)
        env.pop("LD_LIBRARY_PATH", None)
        with tempfile.TemporaryDirectory(prefix="kmem-install-") as folder:
            data = os.path.join(folder, "kmem.data")
            run(kmem, "record", "-o", data, "--", "sort", "/dev/null", env=env)
            self.assertIn("# command: sort /dev/null", run(kmem, "report", data, env=env))
        completion = glob.glob(self.root + "/**/bash-completion/completions/kmem", recursive=True)
        self.assertIn("complete -F _kmem kmem", read(completion[0]))

    def test_man_pages(self):
        man = glob.glob(self.root + "/**/man", recursive=True)[0]
        pages = {os.path.basename(page)[:-2]: page for page in glob.glob(man + "/man[137]/*")}
        written = {name: read(page) for name, page in pages.items() if not read(page).startswith(".so ")}
        self.assertEqual(set(written), {"kmem", "libkmalloc", "kmalloc", "kmem_cache_create", "mempool_create", "vmalloc"})
        for page, text in written.items():
            command = ["man", "--warnings", "-M", man, page]
            env = dict(self.env, MANWIDTH="99")
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
            self.assertEqual((done.returncode, done.stderr), (0, ""), page)
            self.assertIn("DESCRIPTION", done.stdout)
            names = re.search(r"^\.SH NAME\n(.*) \\- ", text, re.MULTILINE).group(1).split(", ")
            self.assertEqual(names[0], page)
            for name in names[1:]:
                self.assertEqual(read(pages.pop(name)).splitlines()[0], f".so man3/{page}.3")
        self.assertEqual(set(pages), set(written))


if __name__ == "__main__":
    unittest.main()
