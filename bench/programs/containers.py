# SPDX-License-Identifier: MIT
"""Containers that grow and shrink: lists, dicts, sets, tuples, bytes."""
import random
from collections import defaultdict, deque


def main():
    rng = random.Random(3)
    total = 0
    for _ in range(7):
        groups = defaultdict(list)
        for i in range(60000):
            groups[rng.randrange(2000)].append((i, i * 1.5))
        sets = [set(item[0] % 1000 for item in group) for group in groups.values()]
        common = set.union(*sets)
        total += len(common)
        window = deque(maxlen=500)
        for i in range(40000):
            window.append({"n": i, "payload": bytes(i % 300)})
            if i % 1000 == 0:
                total += sum(len(item["payload"]) for item in window)
        big = []
        for i in range(200000):
            big.append(i * 1000003)
        total += sum(sorted(big, key=lambda n: n % 1009)[:100])
    print(total)


main()
