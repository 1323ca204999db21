#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_table.py BUILD-DIRECTORY: the table of torture programs is complete both ways."""
import json
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from table import MODES, PROGRAMS, ROOT  # noqa: E402

FOLDER = os.path.join(ROOT, "tests", "torture")
# Built in tests/torture without being a program of their own: name, or its beginning with a star.
PARTS = ("fuzz_ops", "fuzz_cmdline", "fuzz_fmt", "races", "test_*")
BUILD = None


def is_part(name):
    return any(name.startswith(part[:-1]) if part.endswith("*") else name == part for part in PARTS)


def built():
    """Names of the executables that tests/torture/meson.build makes."""
    with open(os.path.join(BUILD, "meson-info", "intro-targets.json"), encoding="utf-8") as file:
        targets = json.load(file)
    names = {target["name"].removeprefix("torture_") for target in targets
             if target["type"] == "executable" and target["defined_in"] == os.path.join(FOLDER, "meson.build")}
    return {name for name in names if not is_part(name)}


def scripts():
    return {name for name in os.listdir(FOLDER) if not is_part(name) and not name.endswith(".pyc")
            and os.path.isfile(os.path.join(FOLDER, name)) and os.access(os.path.join(FOLDER, name), os.X_OK)}


class Table(unittest.TestCase):
    def test_each_program_has_an_entry(self):
        programs = built() | scripts()
        self.assertGreater(len(programs), 4)
        self.assertEqual(sorted(programs - {program.name for program in PROGRAMS}), [])

    def test_each_entry_has_a_program(self):
        programs = built() | scripts()
        wanted = {program.name for program in PROGRAMS if "/" not in program.name}
        self.assertEqual(sorted(wanted - programs), [])

    def test_each_older_entry_has_a_source(self):
        for program in PROGRAMS:
            if "/" in program.name:
                self.assertTrue(os.path.isfile(os.path.join(ROOT, "tests", program.name + ".c")), program.name)

    def test_names_stand_once_and_modes_are_known(self):
        names = [program.name for program in PROGRAMS]
        self.assertEqual(len(names), len(set(names)))
        for program in PROGRAMS:
            self.assertTrue(program.modes and set(program.modes) <= set(MODES), program.name)
            self.assertGreater(program.weight, 0)


if __name__ == "__main__":
    BUILD = sys.argv.pop()
    unittest.main()
