#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Made-up trees that include_direction.py must pass or fault, each in a directory of its own."""

import os
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import include_direction  # noqa: E402  (found through the line above)

LICENCE = "/* SPDX-License-Identifier: MIT */\n"


class Tree(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = directory.name

    def write(self, name, text, licence=LICENCE):
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(licence + text)

    def breaches(self, exceptions=None):
        return include_direction.Checker(self.root, exceptions or {}).check()

    def assert_clean(self, exceptions=None):
        self.assertEqual(self.breaches(exceptions), [])

    def assert_breach(self, *pieces, exceptions=None):
        """Exactly one breach, holding each of the pieces."""
        found = self.breaches(exceptions)
        self.assertEqual(len(found), 1, found)
        for piece in pieces:
            self.assertIn(piece, found[0])


class Includes(Tree):
    def test_each_step_down_the_ladder_passes(self):
        for room, target in (
            ("interpose", "kmalloc"), ("interpose", "os"), ("interpose", "trace"), ("kmalloc", "slab"),
            ("kmalloc", "vmalloc"), ("kmalloc", "page"), ("kmalloc", "debug"), ("slab", "page"), ("slab", "os"),
            ("vmalloc", "page"), ("vmalloc", "os"), ("page", "os"), ("os", "lib"), ("os", "arch"),
            ("lib", "arch"), ("trace", "lib"), ("slab", "trace"), ("debug", "arch"), ("arch", "arch"), ("lib", "lib"),
        ):
            self.write("src/%s/to_%s.c" % (room, target), '#include "%s/x.h"\n' % target)
        self.assert_clean()

    def test_each_step_up_or_aside_is_named(self):
        for room, target in (
            ("kmalloc", "interpose"), ("kmalloc", "os"), ("slab", "kmalloc"), ("slab", "vmalloc"),
            ("vmalloc", "trace"), ("vmalloc", "slab"), ("page", "slab"), ("page", "vmalloc"), ("page", "debug"),
            ("os", "page"), ("lib", "os"), ("arch", "lib"), ("trace", "slab"), ("interpose", "slab"),
            ("interpose", "page"), ("debug", "page"),
        ):
            with self.subTest(room=room, target=target):
                name = "src/%s/x.c" % room
                self.write(name, '\n#include "%s/y.h"\n' % target)
                self.assert_breach(name + ":3:", "%s may not include %s/y.h" % (room, target))
                os.remove(os.path.join(self.root, name))

    def test_angle_brackets_do_not_hide_a_room(self):
        self.write("src/page/x.c", "#include <slab/sheaf.h>\n")
        self.assert_breach("page may not include slab/sheaf.h")

    def test_system_headers_pass(self):
        self.write("src/arch/x.c", "#include <stddef.h>\n#include <sys/rseq.h>\n#include <linux/rseq.h>\n")
        self.assert_clean()

    def test_a_comment_or_string_that_looks_like_an_include_passes(self):
        self.write("src/os/x.c", '/*\n#include "slab/x.h"\n*/\n// #include "slab/x.h"\nchar *s = "\\\n"; // "\n')
        self.assert_clean()

    def test_an_include_after_a_comment_is_seen(self):
        self.write("src/os/x.c", '/* why */ # include /* this */ "slab/x.h"\n')
        self.assert_breach("src/os/x.c:2:", "os may not include slab/x.h")

    def test_a_sibling_by_its_bare_name_is_named(self):
        self.write("src/slab/x.c", '#include "sheaf.h"\n')
        self.assert_breach('"sheaf.h" does not start with a room')

    def test_a_way_out_by_dots_is_named(self):
        self.write("src/slab/x.c", '#include "page/../vmalloc/x.h"\n')
        self.assert_breach("leaves its room by ..")

    def test_an_include_by_macro_is_named(self):
        self.write("src/slab/x.c", "#include HEADER\n")
        self.assert_breach("cannot tell")

    def test_a_file_in_no_room_is_named(self):
        self.write("src/misc/x.c", "")
        self.assert_breach("src/misc/x.c:1:", "none of the rooms")

    def test_a_file_beside_the_rooms_is_named(self):
        self.write("src/x.c", "")
        self.assert_breach("src/x.c:1:", "none of the rooms")

    def test_public_headers_are_for_all_but_the_machine_and_the_system(self):
        self.write("include/kmalloc/gfp.h", "")
        self.write("src/page/x.c", "#include <kmalloc/gfp.h>\n")
        self.write("src/lib/x.c", "#include <kmalloc/gfp.h>\n")
        self.assert_clean()
        self.write("src/arch/x.c", "#include <kmalloc/gfp.h>\n")
        self.assert_breach("arch may not include the public header kmalloc/gfp.h")

    def test_a_header_of_the_room_kmalloc_is_not_public(self):
        self.write("src/kmalloc/size.h", "")
        self.write("src/page/x.c", '#include "kmalloc/size.h"\n')
        self.assert_breach("page may not include kmalloc/size.h")

    def test_one_name_under_src_and_include_is_named(self):
        self.write("include/kmalloc/slab.h", "")
        self.write("src/kmalloc/slab.h", "")
        self.write("src/interpose/x.c", "#include <kmalloc/slab.h>\n")
        self.assert_breach("under both src/ and include/")

    def test_the_raw_system_call_is_for_os_alone(self):
        self.write("src/os/x.c", '#include "arch/x86_64/syscall.h"\n')
        self.assert_clean()
        self.write("src/slab/x.c", '#include "arch/x86_64/syscall.h"\n')
        self.assert_breach("slab may not include arch/x86_64/syscall.h (only os may)")

    def test_an_exception_passes_for_its_room_alone(self):
        exceptions = {("interpose", "slab/fork.h"): "fork"}
        self.write("src/interpose/x.c", '#include "slab/fork.h"\n')
        self.assert_clean(exceptions)
        self.write("src/page/x.c", '#include "slab/fork.h"\n')
        self.assert_breach("page may not include slab/fork.h", exceptions=exceptions)

    def test_an_exception_without_a_use_is_named(self):
        self.assert_breach("not used", exceptions={("interpose", "slab/fork.h"): "fork"})


class SystemCalls(Tree):
    def test_each_call_outside_os_is_named(self):
        for call in include_direction.SYSTEM_CALLS:
            with self.subTest(call=call):
                self.write("src/page/x.c", "\n\nvoid f(void)\n{\n\t%s (0);\n}\n" % call)
                self.assert_breach("src/page/x.c:6:", call + "()")

    def test_calls_inside_os_pass(self):
        self.write("src/os/x.c", "void f(void)\n{\n\tmmap(0);\n\tsyscall(1);\n}\n")
        self.assert_clean()

    def test_other_names_members_comments_and_strings_pass(self):
        self.write(
            "src/page/x.c",
            "/* mmap(0) */\n// write(1)\n"
            'void f(void)\n{\n\tos_mmap(0);\n\treadable(1);\n\tops->read(2);\n\tops.write(3);\n\tputs("open(4)");\n'
            "\tg('\"', mmap_count, '\\'');\n}\n",
        )
        self.assert_clean()

    def test_a_quote_in_a_comment_hides_nothing_after_it(self):
        self.write("src/page/x.c", '/* it\'s "odd */\nint x = 1\'000;\nvoid f(void)\n{\n\tmunmap(0);\n}\n')
        self.assert_breach("src/page/x.c:6:", "munmap()")

    def test_tests_and_bench_may_call(self):
        self.write("tests/unit/os/x.c", "void f(void)\n{\n\tmmap(0);\n}\n")
        self.assert_clean()


class Licences(Tree):
    def test_each_directory_is_looked_at(self):
        for top in include_direction.SPDX_DIRECTORIES:
            with self.subTest(top=top):
                self.write(top + "/page/x.txt", "text\n", licence="")
                self.assert_breach(top + "/page/x.txt:1:", "SPDX")
                os.remove(os.path.join(self.root, top, "page/x.txt"))

    def test_a_script_and_a_page_with_comments_of_their_own_pass(self):
        self.write("tools/x", "#!/bin/sh\n# SPDX-License-Identifier: MIT\n", licence="")
        self.write("docs/x.md", "<!-- SPDX-License-Identifier: MIT -->\n# X\n", licence="")
        self.assert_clean()

    def test_the_sixth_line_is_too_late(self):
        self.write("tools/x", "\n" * 5 + "# SPDX-License-Identifier: MIT\n", licence="")
        self.assert_breach("SPDX")

    def test_another_licence_is_named(self):
        self.write("src/lib/x.h", "", licence="/* SPDX-License-Identifier: GPL-2.0 */\n")
        self.assert_breach("SPDX")

    def test_images_json_and_binary_files_pass(self):
        self.write("docs/x.svg", "<svg/>\n", licence="")
        self.write("tests/x.json", "{}\n", licence="")
        self.write("tests/x.bin", "\0\1\2", licence="")
        self.assert_clean()

    def test_build_products_pass(self):
        self.write("build/tests/x.c", "", licence="")
        self.write("build-debug/x.c", "", licence="")
        self.write("out/x.txt", "", licence="")
        self.assert_clean()


class Paths(Tree):
    # In two pieces each, so that this file holds none of them.
    FAULTS = ("/wo" + "rk/main/x", "/ro" + "ot/x", "cd /ro" + "ot", "/ho" + "me/someone/x", "/tmp/bash" + "_jobs.0/x",
              "https://deb.deb" + "ian.org/")

    def test_each_is_named_wherever_it_stands(self):
        for fault in self.FAULTS:
            with self.subTest(fault=fault):
                self.write("README.md", "a\nsee %s\n" % fault, licence="")
                self.assert_breach("README.md:2:", "belongs to")

    def test_similar_words_pass(self):
        words = "bench/workload src/network/x root/ $tree/rootfs work/ a/homestead /proc/self\n"
        self.write("README.md", words, licence="")
        self.assert_clean()

    def test_ignored_files_of_a_git_tree_pass(self):
        subprocess.run(["git", "init", "-q", self.root], check=True)
        self.write(".gitignore", "notes.md\n", licence="")
        self.write("notes.md", self.FAULTS[0], licence="")
        self.assert_clean()
        self.write("new.md", self.FAULTS[0], licence="")
        self.assert_breach("new.md:1:")


class Command(Tree):
    SCRIPT = include_direction.__file__

    def run_script(self, *arguments):
        return subprocess.run([sys.executable, self.SCRIPT, *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)

    def test_a_clean_tree_is_silent(self):
        self.write("src/lib/list.h", "")
        result = self.run_script(self.root)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))

    def test_a_breach_is_printed_and_fails(self):
        self.write("src/lib/list.h", '#include "slab/slab.h"\n')
        result = self.run_script(self.root)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stdout, "src/lib/list.h:2: lib may not include slab/slab.h (it may include lib arch)\n")

    def test_explain_names_rooms_and_exceptions(self):
        result = self.run_script("--explain")
        self.assertEqual(result.returncode, 0)
        for room in include_direction.ALLOWED:
            self.assertIn("  %s " % room, result.stdout)
        self.assertIn("Exceptions", result.stdout)

    def test_an_unknown_option_is_refused(self):
        self.assertEqual(self.run_script("--nothing").returncode, 2)


if __name__ == "__main__":
    unittest.main()
