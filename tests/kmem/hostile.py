# SPDX-License-Identifier: MIT
"""hostile.py - recordings that no kmem wrote, a chunk at a time: right by their checksums, and made to do harm."""
import struct
import zlib

INFO, MAPS, CACHES, EVENTS, LOST, END, IMAGE, STACKS = range(8)
NEXT, FAR, ODD = 32, 33, 34  # of recording_objects.h
KMALLOC, KFREE = 1, 2
BLOCK = 128 << 10  # of zstd


def varint(value):
    data = b""
    while value >= 0x80:
        data += bytes([value & 0x7f | 0x80])
        value >>= 7
    return data + bytes([value])


def blocks(pieces):
    """Of zstd. A piece is bytes, or a byte and how often: that is packed in 4 bytes for 128 KiB."""
    for piece in pieces:
        for at in range(0, piece[1] if isinstance(piece, tuple) else len(piece), BLOCK):
            if isinstance(piece, tuple):
                yield 1, min(BLOCK, piece[1] - at), bytes([piece[0]])
            else:
                yield 0, len(piece[at:at + BLOCK]), piece[at:at + BLOCK]


def chunk(kind, *pieces):
    """Of such pieces."""
    size = sum(piece[1] if isinstance(piece, tuple) else len(piece) for piece in pieces)
    packed = struct.pack("<IBI", 0xfd2fb528, 0xa0, size)
    for how, length, data in blocks(pieces):
        packed += struct.pack("<I", how << 1 | length << 3)[:3] + data
    packed += struct.pack("<I", 1)[:3]
    header = struct.pack("<5I", 0x6b6d6368, kind, len(packed), size, zlib.crc32(packed))
    return header + struct.pack("<I", zlib.crc32(header)) + packed


def events(count, kind, new, alloc=(0, 0), free=(0, 0), far=b""):
    """A chunk of events at one moment, in columns."""
    columns = [kind, new, b"", (0, (count + 1) // 2), b"", alloc, free, far]
    sizes = [column[1] if isinstance(column, tuple) else len(column) for column in columns]
    return chunk(EVENTS, struct.pack("<10I", count, 6, *sizes), *columns)


def kind(event_type, site=0, step=0, stack=0, req=16, cache=0):
    """One that is new, and its site by its number."""
    return bytes([event_type]) + varint(site) + varint(step) + varint(stack) + varint(req) + varint(cache) + varint(0)


def recording(*chunks, info=b"", end=1000000):
    start = chunk(INFO, b"pid 1\nstart 0\nns_per_tick 1.0\n" + (info or b"command x\n") + b"\0")
    return struct.pack("<10sHI", b"kmem.data", 4, 0) + start + b"".join(chunks) + chunk(END, struct.pack("<QQ", end, 0))
