# SPDX-License-Identifier: MIT
"""Collects samples and prints them as tables of medians and ratios."""
import math
import statistics
from dataclasses import dataclass, field


@dataclass
class Table:
    title: str
    unit: str
    # row -> column -> samples
    rows: dict = field(default_factory=dict)
    mean: bool = False      # end with the geometric mean of the ratios
    mean_values: bool = False  # and of the values


def median(samples):
    return statistics.median(samples)


def spread(samples):
    """Half the range of the middle half, relative to the median; None for a single sample."""
    middle = median(samples)
    if len(samples) < 2 or not middle:
        return None
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return (high - low) / 2 / abs(middle)


def ratio(ours, theirs):
    if not ours or not theirs or median(theirs) <= 0 or median(ours) <= 0:
        return None
    return median(ours) / median(theirs)


def geometric_mean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def number(value):
    for limit, scale, suffix in ((1e7, 1e6, "M"), (1e5, 1e3, "k")):
        if abs(value) >= limit:
            return number(value / scale) + suffix
    if abs(value) >= 1000 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.{3 if abs(value) < 10 else 2 if abs(value) < 100 else 1}f}"


class Results:
    def __init__(self, peers, ours):
        self.columns = [peer.name for peer in peers]
        self.ours = ours.name
        self.tables = {}
        self.failures = []

    def table(self, title, unit, mean=False, mean_values=False):
        return self.tables.setdefault((title, unit), Table(title, unit, {}, mean, mean_values))

    def add(self, table, row, column, value):
        table.rows.setdefault(row, {}).setdefault(column, []).append(value)

    def fail(self, row, peer, reason):
        self.failures.append((row, peer, reason))

    def failed(self, row, peer):
        return any(entry[:2] == (row, peer) for entry in self.failures)

    def ours_failed(self):
        return any(peer == self.ours for _, peer, _ in self.failures)

    def _cells(self, row, column, cells):
        samples = cells.get(column)
        if not samples:
            return "-"
        text = number(median(samples))
        wide = spread(samples)
        if wide is not None:
            text += f" ±{wide * 100:.0f}%"
        if column != self.ours:
            against = ratio(cells.get(self.ours), samples)
            text += f" {against:5.2f}x" if against else "     - "
        return text

    def _mean_row(self, table, column, columns):
        whole = [cells for cells in table.rows.values()
                 if cells.get(column) and cells.get(self.ours)]
        ratios = [ratio(cells[self.ours], cells[column]) for cells in whole]
        ratios = [value for value in ratios if value]
        text = ""
        if table.mean_values and whole and len(whole) == len(table.rows):
            text = number(geometric_mean(median(cells[column]) for cells in whole))
        if column != self.ours and ratios:
            text += f" {geometric_mean(ratios):5.2f}x"
        return text.strip() or "-"

    def format(self, table):
        extra = []
        for cells in table.rows.values():
            extra += [name for name in cells if name not in self.columns + extra]
        columns = self.columns + extra
        lines = [["", *columns]]
        for row, cells in table.rows.items():
            lines.append([row] + [self._cells(row, column, cells) for column in columns])
        if table.mean and len(table.rows) > 1:
            lines.append(["geometric mean"]
                         + [self._mean_row(table, column, columns) for column in columns])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        text = [f"{table.title} ({table.unit})"]
        for line in lines:
            text.append("  ".join([line[0].ljust(widths[0])]
                                  + [cell.rjust(width) for cell, width
                                     in zip(line[1:], widths[1:])]).rstrip())
        return "\n".join(text)

    def print(self):
        print(f"Medians; ± is half the range of the middle half of the samples; "
              f"x is {self.ours} / the column, below 1 {self.ours} needs less.")
        for table in self.tables.values():
            if table.rows:
                print(f"\n{self.format(table)}")
        if self.failures:
            print("\nfailed")
            width = max(len(f"{row} {peer}") for row, peer, _ in self.failures)
            for row, peer, reason in self.failures:
                print(f"{f'{row} {peer}':{width}}  {reason}")

    def as_json(self):
        return {"ours": self.ours,
                "tables": [{"title": table.title, "unit": table.unit, "rows": table.rows}
                           for table in self.tables.values()],
                "failures": [{"row": row, "peer": peer, "reason": reason}
                             for row, peer, reason in self.failures]}
