#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The documents say what the code says: parameters, messages, links, names of tools."""

import os
import re
import unittest

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
MAN = "docs/man/libkmalloc.7"


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def parameters():
    text = read("src/lib/param_table.c")
    choices = {name: re.findall(r'"([^"]+)"', values)
               for name, values in re.findall(r"const (\w+_choices)\[\] = \{(.*?)\}", text, re.DOTALL)}
    found = {}
    for name, rest in re.findall(r'\{ "([^"]+)", PARAM_\w+, &params\.\w+, (\w+),', text):
        found[name] = choices.get(rest, [])
    return found


def documents():
    names = ["README.md"] + ["docs/" + name for name in os.listdir(os.path.join(ROOT, "docs")) if name.endswith(".md")]
    return {name: read(name) for name in names}


def plain_man():
    """The man pages' words without requests and font changes."""
    pages = sorted(os.listdir(os.path.join(ROOT, "docs/man")))
    text = "\n".join(read("docs/man/" + page) for page in pages if page[-1].isdigit())
    text = re.sub(r"^\.[A-Z]+ ?", "", text, flags=re.MULTILINE)
    return " ".join(re.sub(r'"|\\f.', "", text).split())


class Docs(unittest.TestCase):
    def test_no_document_has_the_marks_of_a_merge(self):
        for name, text in documents().items():
            self.assertNotRegex(text, r"(?m)^(<<<<<<< |>>>>>>> )", name)

    def test_parameters_stand_in_both_tables_and_no_others(self):
        wanted = parameters()
        self.assertGreater(len(wanted), 5)
        rows = re.findall(r"^\| `([a-z_.]+)` \| (.*?) \|", read("docs/using.md"), re.MULTILINE)
        self.assertEqual(sorted(name for name, _ in rows), sorted(wanted))
        for name, values in rows:
            self.assertEqual(re.findall(r"`(\w+)`", values), wanted[name], name)
        for name, values in wanted.items():
            self.assertIn(name + ("=" + "|".join(values) if values else ""),
                          read(MAN).replace(" = ", "=").replace(" | ", "|"))

    def test_each_message_stands_in_a_man_page(self):
        man = plain_man()
        seen = 0
        for room, _, files in os.walk(os.path.join(ROOT, "src")):
            for name in files:
                text = read(os.path.join(room, name)) if name.endswith(".c") else ""
                for call in re.findall(r"\b(?:fmt_warn|die)\(((?:\s*\"(?:[^\"\\]|\\.)*\")+)", text):
                    message = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', call)).replace(r"\n", " ")
                    if message.startswith("BUG lock:"):
                        continue  # debug builds only
                    for part in re.split(r"%z?l?\w", message):
                        words = " ".join(part.strip(" ():,'").split())
                        if len(words) > 8:
                            self.assertIn(words, man, name)
                            seen += 1
        self.assertGreater(seen, 10)

    def test_links_lead_to_files(self):
        for name, text in documents().items():
            for target in re.findall(r'(?:\]\(|src=")([^)#"]+)', text):
                path = os.path.normpath(os.path.join(ROOT, os.path.dirname(name), target))
                self.assertTrue(os.path.exists(path), f"{name}: {target}")

    def test_commands_name_programs_that_are_there(self):
        seen = 0
        for name, text in documents().items():
            for program in re.findall(r"(?<![\w/.-])((?:tools|bench|\.ci)/[a-z]+(?:-[a-z]+)*)\b(?![/.])", text):
                seen += 1
                path = os.path.join(ROOT, program)
                self.assertTrue(os.access(path, os.X_OK) or os.path.isdir(path), f"{name}: {program}")
        self.assertGreater(seen, 5)


if __name__ == "__main__":
    unittest.main()
