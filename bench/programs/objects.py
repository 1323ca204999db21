# SPDX-License-Identifier: MIT
"""Many small objects: trees of nodes built, searched and dropped."""
import random


class Node:
    def __init__(self, key, value):
        self.key = key
        self.value = value
        self.left = None
        self.right = None


def insert(root, key, value):
    if root is None:
        return Node(key, value)
    node = root
    while True:
        if key < node.key:
            if node.left is None:
                node.left = Node(key, value)
                return root
            node = node.left
        elif key > node.key:
            if node.right is None:
                node.right = Node(key, value)
                return root
            node = node.right
        else:
            node.value = value
            return root


def walk(root):
    stack, node = [], root
    while stack or node:
        while node:
            stack.append(node)
            node = node.left
        node = stack.pop()
        yield node
        node = node.right


def main():
    rng = random.Random(1)
    total = 0
    for _ in range(20):
        root = None
        for _ in range(15000):
            key = rng.randrange(1 << 40)
            root = insert(root, key, (key, str(key), [key]))
        total += sum(node.value[0] % 97 + len(node.value[1]) for node in walk(root))
    print(total)


main()
