#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""count.py without its leak: the copy is freed when its bytes have been taken."""
import collections
import ctypes
import fileinput

words = ctypes.CDLL("./libwords.so")
words.words_normalise.restype = ctypes.c_void_p
words.words_free.argtypes = [ctypes.c_void_p]


def normalise(word):
    copy = words.words_normalise(word)
    text = ctypes.string_at(copy)
    words.words_free(copy)
    return text


def count(lines):
    counts = collections.Counter()
    for line in lines:
        for word in line.split():
            counts[normalise(word)] += 1
    return counts


counts = count(fileinput.input(mode="rb"))
print(f"{len(counts)} words, {counts.most_common(1)}")
