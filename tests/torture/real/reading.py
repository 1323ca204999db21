# SPDX-License-Identifier: MIT
"""What a test said: how many checks it made and which of them failed, by name.

A reader is a function (output, folder) -> Said. `folder` is where the test ran, for those that write their results
to a file. A test that ends badly without naming anything is judged by its exit status alone.
"""
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field


@dataclass
class Said:
    checks: int = 0
    failed: set = field(default_factory=set)


def status_only(_output, _folder):
    return Said(checks=1)


def junit(_output, folder):
    """regrtest --junit-xml results.xml"""
    said = Said()
    try:
        tree = ElementTree.parse(folder / "results.xml")
    except (OSError, ElementTree.ParseError):
        return said
    for case in tree.iter("testcase"):
        said.checks += 1
        if case.find("failure") is not None or case.find("error") is not None:
            said.failed.add(case.get("name", "?"))
    return said


def tap(output, _folder):
    """Lines `ok N - name` and `not ok N - name` at the first column; what is marked TODO may fail."""
    said = Said()
    for line in output.splitlines():
        found = re.match(r"(not )?ok\b ?(\d*)(.*)", line)
        if not found:
            continue
        said.checks += 1
        if found[1] and not re.search(r"#\s*(TODO|SKIP)", found[3], re.I):
            said.failed.add(f"{found[2]}{found[3]}".strip()[:120])
    # Some that are installed as TAP print another form: their exit status is the one check.
    if not said.checks and not re.search(r"(?m)^1\.\.0\b", output):
        said.checks = 1
    return said


def sqlite(output, _folder):
    """testfixture: `! name expected: ...`, and a total at the end."""
    said = Said(failed=set(re.findall(r"(?m)^! (\S+) (?:expected|got)", output)))
    for errors, tests in re.findall(r"(?m)^(\d+) errors out of (\d+) tests", output):
        said.checks += int(tests)
        if int(errors) and not said.failed:
            said.failed.add(f"{errors} errors")
    return said


def redis(output, _folder):
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    failed = re.findall(r"(?m)^\[(?:err|exception|timeout)\]: (.*?)(?: in tests/.*)?$", plain)
    return Said(checks=len(re.findall(r"(?m)^\[ok\]: ", plain)) + len(failed), failed=set(failed))


def tcltest(output, _folder):
    """The package tcltest: `==== name description FAILED`, and a line of totals."""
    said = Said(failed=set(re.findall(r"(?m)^==== (\S+) .*FAILED$", output)))
    for total in re.findall(r"\bTotal\s+(\d+)\s+Passed", output):
        said.checks += int(total)
    return said


def php(output, _folder):
    """run-tests.php: a line for each file."""
    said = Said()
    for word, name in re.findall(r"(?m)^(PASS|FAIL|SKIP|XFAIL|BORK|LEAK|WARN) .*\[([^\]]+\.phpt)\]", output):
        said.checks += word in ("PASS", "FAIL", "XFAIL", "WARN")
        if word == "FAIL":
            said.failed.add(name)
    return said


def mariadb(output, _folder):
    """mysql-test-run: `main.name 'variant' [ pass ]`."""
    said = Said()
    for name, result in re.findall(r"(?m)^(\S+\.\S+).*\[ (pass|fail|retry-fail|retry-pass) \]", output):
        said.checks += 1
        if result in ("fail", "retry-fail"):
            said.failed.add(name)
    return said


def rspec_like(output, _folder):
    """Ruby's test-unit and minitest: `N) Failure:` and the name on the next line; a line of totals."""
    said = Said(failed=set(re.findall(r"(?m)^ *\d+\) (?:Failure|Error):\n *(\S+)", output)))
    for total in re.findall(r"(?m)^(\d+) tests, \d+ assertions", output):
        said.checks += int(total)
    return said
