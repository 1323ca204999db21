# SPDX-License-Identifier: MIT
"""A bit of everything that Python does with memory; what it prints is the same on every run."""

import collections
import ctypes
import ctypes.util
import gc
import gzip
import hashlib
import heapq
import io
import itertools
import json
import multiprocessing
import os
import pickle
import queue
import random
import re
import sqlite3
import subprocess
import sys
import threading
import zlib

random.seed(20)


def digest(text):
    data = text if isinstance(text, bytes) else str(text).encode()
    return hashlib.sha256(data).hexdigest()[:16]


def documents():
    tree = {f"key{i}": {"list": list(range(i % 50)), "text": "x" * (i % 300), "next": {"deep": [None, True, i / 7]}}
            for i in range(4000)}
    text = json.dumps(tree, indent=1, sort_keys=True)
    again = json.loads(text)
    assert again == json.loads(json.dumps(again))
    print("json", len(text), digest(text), digest(pickle.dumps(again, 4)))


def expressions():
    text = " ".join(f"user{i}@host{i % 97}.example, +{i * 7919 % 10007}-{i};" for i in range(8000))
    mails = re.findall(r"(\w+)@(\w+)\.example", text)
    swapped = re.sub(r"\+(\d+)-(\d+);", lambda m: f"{m[2]}:{m[1]}", text)
    print("re", len(mails), digest(mails), digest(swapped))


def big_containers():
    numbers = [random.random() for _ in range(300000)]
    numbers.sort()
    table = {str(i): (i, [i]) for i in range(150000)}
    for i in range(0, 150000, 3):
        del table[str(i)]
    table.update({("again", i): i for i in range(20000)})
    parts = collections.deque()
    for i in range(100000):
        parts.append(i)
        if i % 3 == 0:
            parts.popleft()
    heap = [x * 1000 % 17 for x in range(30000)]
    heapq.heapify(heap)
    print("containers", digest(numbers), len(table), sum(parts), [heapq.heappop(heap) for _ in range(5)])
    text = ""
    for i in range(30000):
        text += chr(65 + i % 26)
    block = bytearray()
    for i in range(300):
        block += bytes([i % 256]) * (i * 40)
        if i % 10 == 0:
            del block[:i * 100]
    print("growing", digest(text), digest(bytes(block)), len(b"".join(itertools.repeat(b"z" * 999, 9999))))


def cycles():
    class Node:
        def __init__(self, other):
            self.other = other
            self.data = [0] * 20

    for _ in range(5):
        first = last = Node(None)
        for _ in range(10000):
            last = Node(last)
        first.other = last
        del first, last
        gc.collect()
    print("cycles collected")


def threads():
    work, done = queue.Queue(), queue.Queue()

    def worker():
        while (item := work.get()) is not None:
            blob = zlib.compress(json.dumps([item] * (item % 400)).encode() * 20, 6)
            done.put((item, len(zlib.decompress(blob)), digest(blob)))

    crew = [threading.Thread(target=worker) for _ in range(6)]
    for thread in crew:
        thread.start()
    for item in range(600):
        work.put(item)
    for _ in crew:
        work.put(None)
    for thread in crew:
        thread.join()
    results = sorted(done.get() for _ in range(600))
    print("threads", digest(results))
    for _ in range(100):
        thread = threading.Thread(target=lambda: [bytes(1000) for _ in range(50)])
        thread.start()
        thread.join()


def in_child(n):
    return n, digest(json.dumps(list(range(n)))), sum(i * i for i in range(n))


def processes():
    out = subprocess.run([sys.executable, "-I", "-c", "print(sum(range(10**5)), 'x' * 50)"], capture_output=True,
                         check=True, text=True)
    print("subprocess", out.stdout.strip())
    shell = subprocess.run("for i in 1 2 3; do echo $i | cat; done; exit 4", shell=True, capture_output=True, text=True)
    print("shell", shell.returncode, shell.stdout.split())
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as pool:
        results = pool.map(in_child, range(0, 4000, 50), chunksize=5)
        results += [x.get() for x in [pool.apply_async(in_child, (n,)) for n in range(20)]]
        pool.close()
        pool.join()
    print("pool", digest(results))
    for i in range(20):
        pid = os.fork()
        if pid == 0:
            keep = [str(j) * 10 for j in range(2000)]
            os._exit(len(keep) % 251)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2000 % 251


def database():
    db = sqlite3.connect(":memory:")
    db.executescript("create table a(id integer primary key, k text, v blob); create index ak on a(k);")
    db.executemany("insert into a(k, v) values(?, ?)", ((f"k{i % 5003}", bytes([i % 256]) * (i % 200))
                                                         for i in range(40000)))
    db.commit()
    rows = db.execute("select k, count(*), sum(length(v)) from a group by k order by 2 desc, 1 limit 40").fetchall()
    joined = db.execute("select count(*) from a x join a y using(k) where x.id % 50 = 0").fetchone()
    print("sqlite3", digest(rows), joined)


def compressed():
    data = bytes(random.getrandbits(8) & 0x3f for _ in range(400000))
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed:
        packed.write(data)
    print("gzip", digest(out.getvalue()), digest(gzip.decompress(out.getvalue())) == digest(data))


class MallInfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]


def allocator_calls():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.malloc.restype = libc.calloc.restype = libc.realloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.calloc.argtypes = libc.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.free.argtypes = libc.malloc_usable_size.argtypes = [ctypes.c_void_p]
    libc.malloc_usable_size.restype = ctypes.c_size_t
    libc.mallinfo2.restype = MallInfo2
    for size in (0, 1, 24, 100, 5000, 131056, 131057, 1 << 20):
        p = libc.malloc(size)
        assert p and libc.malloc_usable_size(p) >= size
        p = libc.realloc(p, size * 2 + 1)
        assert p and libc.malloc_usable_size(p) >= size * 2 + 1
        libc.free(p)
    # A size that Python cannot mean: MemoryError, and on we go.
    for size in (1 << 62, (1 << 63) - 1024):
        try:
            bytearray(size)
            print("no MemoryError for", size)
        except (MemoryError, OverflowError) as error:
            print(type(error).__name__)
    held = [libc.malloc(10000) for _ in range(100)]
    info = libc.mallinfo2()
    print("mallinfo2", info.uordblks + info.hblkhd >= 1000000)
    for p in held:
        libc.free(p)
    print("malloc_trim", libc.malloc_trim(0) in (0, 1))
    libc.free(None)


def main():
    documents()
    expressions()
    big_containers()
    cycles()
    threads()
    database()
    compressed()
    processes()
    allocator_calls()
    print("done")


if __name__ == "__main__":
    main()
