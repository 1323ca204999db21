#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts the words of files, or of standard input, with the help of libwords.so. It leaks: see ../tutorial.md."""
import collections
import ctypes
import fileinput

words = ctypes.CDLL("./libwords.so")
words.words_normalise.restype = ctypes.c_char_p


def normalise(word):
    return words.words_normalise(word)


def count(lines):
    counts = collections.Counter()
    for line in lines:
        for word in line.split():
            counts[normalise(word)] += 1
    return counts


counts = count(fileinput.input(mode="rb"))
print(f"{len(counts)} words, {counts.most_common(1)}")
