#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A shop that keeps its state in Redis: sessions, a cart, page counts, news for a dashboard, a log. Two of these grow without end.

Usage: shop.py PORT VISITS [VISITS_PER_SECOND]"""
import socket
import sys
import time

PORT, VISITS, RATE = (int(word) for word in (sys.argv[1:] + ["0"])[:3])


def command(*words):
    """As the Redis protocol has it: the number of words, then each with its length."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in (str(word).encode() for word in words))


def visit(number):
    user = f"user:{number % 5000}"
    return (command("SET", f"session:{number}", f"{user} basket=3 token={number:064x} " + "x" * 200, "EX", 2),
            command("HSET", f"cart:{number % 100}", f"item{number % 20}", number),
            command("INCR", f"page:{number % 50}"),
            command("PUBLISH", "news", f"visit {number} by {user} " + "n" * 500),
            command("RPUSH", "log", f"{number} {user} came from somewhere and looked at page {number % 50}"))


def main():
    # The dashboard has subscribed to the news, and hangs: it reads none.
    dashboard = socket.create_connection(("127.0.0.1", PORT))
    dashboard.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    dashboard.sendall(command("SUBSCRIBE", "news"))
    shop = socket.create_connection(("127.0.0.1", PORT))
    answers = shop.makefile("rb")
    start = time.monotonic()
    for number in range(VISITS):
        commands = visit(number)
        shop.sendall(b"".join(commands))
        for _ in commands:
            answers.readline()
        if RATE:
            time.sleep(max(0, start + (number + 1) / RATE - time.monotonic()))
    # Redis frees what belongs to a client that goes: stay until somebody has looked.
    print(f"{VISITS} visits", flush=True)
    sys.stdin.read()


main()
