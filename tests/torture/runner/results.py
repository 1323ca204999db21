# SPDX-License-Identifier: MIT
"""What was run and how it ended: on the terminal, as JSON, and as a table."""
import json
import os
import subprocess
import time

from table import ROOT

FORMAT = 1


class Results:
    def __init__(self, seed):
        self.seed = seed
        self.runs = []
        self._started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def add(self, name, mode, result, seconds, seed, what, folder):
        self.runs.append({"program": name, "mode": mode, "result": result, "seconds": round(seconds, 1),
                          "seed": seed, "said": what, "evidence": folder})

    def count(self, result):
        return sum(run["result"] == result for run in self.runs)

    def counts(self):
        text = f"{self.count('passed')} passed, {self.count('failed')} failed"
        if self.count("skipped"):
            text += f", {self.count('skipped')} skipped"
        return text

    def write(self, folder):
        """Both files are whole at any moment: written beside, then renamed."""
        seconds = sum(run["seconds"] for run in self.runs)
        everything = {"format": FORMAT, "started": self._started, "revision": revision(), "seed": self.seed,
                      "machine": machine(), "seconds": round(seconds, 1), "counts": self.counts(), "runs": self.runs}
        put(os.path.join(folder, "results.json"), json.dumps(everything, indent=1) + "\n")
        put(os.path.join(folder, "results.md"), self.table(everything))

    @staticmethod
    def table(everything):
        lines = [f"{everything['counts']} in {everything['seconds'] / 60:.0f} minutes; seed {everything['seed']}, "
                 f"revision {everything['revision']}, {everything['machine']}.", "",
                 "| program | mode | result | seconds | covered |", "|---|---|---|---|---|"]
        for run in everything["runs"]:
            said = run["said"].replace("|", "\\|")
            lines.append(f"| {run['program']} | {run['mode']} | {run['result']} | {run['seconds']:.0f} | {said} |")
        return "\n".join(lines) + "\n"

    def print_summary(self, wanted, interrupted):
        for run in self.runs:
            if run["result"] == "failed":
                print(f"failed: {run['program']} ({run['mode']}), seed {run['seed']}: {run['evidence'] or run['said']}")
        if interrupted:
            print(f"interrupted: {len(self.runs)} of {wanted} runs were done")
        print(self.counts(), flush=True)


def put(path, text):
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".new", path)


def revision():
    said = subprocess.run(["git", "-c", "safe.directory=*", "-C", ROOT, "describe", "--always", "--dirty"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout.strip()
    return said or "unknown"


def machine():
    name = os.uname()
    return f"{len(os.sched_getaffinity(0))} CPUs, Linux {name.release}"
