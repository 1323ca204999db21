# SPDX-License-Identifier: MIT
"""Strings: records written as JSON, read back, split, matched and joined."""
import json
import random
import re


def main():
    rng = random.Random(2)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 14)))
             for _ in range(3000)]
    total = 0
    pattern = re.compile(r"([a-m]+)([n-z]+)")
    for _ in range(5):
        records = [{"id": i, "name": " ".join(rng.choices(words, k=6)),
                    "tags": rng.choices(words, k=4),
                    "position": {"x": rng.random(), "y": rng.random()}}
                   for i in range(8000)]
        text = "\n".join(json.dumps(record) for record in records)
        back = [json.loads(line) for line in text.split("\n")]
        count = {}
        for record in back:
            for word in record["name"].split():
                count[word] = count.get(word, 0) + 1
            total += len(pattern.sub(r"\2-\1", record["name"].upper().lower()))
        total += sum(count.values()) + len(",".join(sorted(count)))
    print(total)


main()
