# SPDX-License-Identifier: MIT
"""Resident memory over time: is it bounded?

A program that does the same again and again is sampled each time at the same point. At first caches fill, so the
first quarter of the samples says nothing. After that the second quarter and the last are compared, by their medians:
what grows without bound has grown between the two by more than a reserve for what is left to chance.
"""
import statistics

FEWEST = 12                 # samples; below that nothing can be said
SHARE, RESERVE = 0.10, 4096     # of the second quarter's median, and KiB: the growth that is put up with


def resident_kib(pid):
    """(now, highest) of a process in KiB; (0, 0) when it is gone."""
    values = {}
    try:
        with open(f"/proc/{pid}/status") as lines:
            for line in lines:
                name, _, rest = line.partition(":")
                if name in ("VmRSS", "VmHWM"):
                    values[name] = int(rest.split()[0])
    except (OSError, ValueError):
        pass
    return values.get("VmRSS", 0), values.get("VmHWM", 0)


def slope(series):
    """KiB per hour, by least squares over all but the first quarter of [(seconds, KiB), ...]."""
    rest = series[len(series) // 4:]
    if len(rest) < 2 or rest[0][0] == rest[-1][0]:
        return 0.0
    return statistics.linear_regression([at for at, _ in rest], [kib for _, kib in rest]).slope * 3600


def growth(series):
    """(KiB between the second quarter and the last, KiB that are allowed), or None with too few samples."""
    if len(series) < FEWEST:
        return None
    sizes = [kib for _, kib in series]
    quarter = len(sizes) // 4
    early, late = statistics.median(sizes[quarter:2 * quarter]), statistics.median(sizes[-quarter:])
    return late - early, early * SHARE + RESERVE


def grows(series):
    found = growth(series)
    return found is not None and found[0] > found[1]
