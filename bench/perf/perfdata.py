# SPDX-License-Identifier: MIT
"""Repairs a file of `perf record` before it is read.

perf keeps the mappings that a process had before it called exec, and with them takes a wrong address for a library
that was mapped then, too: stacks through the C library end there. In the file each exec is a COMM record; a FORK record
before it that says "no mappings" (PERF_RECORD_MISC_FORK_EXEC, what perf itself writes for processes that ran before it
did) makes perf start afresh. The layout is the kernel's tools/perf/Documentation/perf.data-file-format.txt.
"""
import os
import struct

MAGIC = b"PERFILE2"
COMM, FORK = 3, 7
MISC_COMM_EXEC = MISC_FORK_EXEC = 1 << 13
SAMPLE_TID, SAMPLE_TIME, SAMPLE_ID, SAMPLE_CPU = 1 << 1, 1 << 2, 1 << 6, 1 << 7
SAMPLE_STREAM_ID, SAMPLE_IDENTIFIER = 1 << 9, 1 << 16
TRAILER = (SAMPLE_TID, SAMPLE_TIME, SAMPLE_ID, SAMPLE_STREAM_ID, SAMPLE_CPU, SAMPLE_IDENTIFIER)
CHUNK = 1 << 20


class Damaged(Exception):
    """The file is not one that perf wrote to its end."""


def _fork_for(record, sample_type):
    """The record to put before a COMM record."""
    size = 8 * sum(1 for bit in TRAILER if sample_type & bit)
    pid, tid = struct.unpack_from("<II", record, 8)
    trailer = bytearray(record[len(record) - size:])
    time = 0
    if sample_type & SAMPLE_TIME:
        at = 8 if sample_type & SAMPLE_TID else 0
        time = struct.unpack_from("<Q", trailer, at)[0] - 1
        struct.pack_into("<Q", trailer, at, time)
    body = struct.pack("<IIIIQ", pid, 0, tid, 0, time) + trailer
    return struct.pack("<IHH", FORK, MISC_FORK_EXEC, 8 + len(body)) + body


def _copy(source, target, size):
    while size:
        part = source.read(min(size, CHUNK))
        if not part:
            raise Damaged("the file ends too early")
        target.write(part)
        size -= len(part)


def _copy_records(source, target, size, sample_type):
    """Returns how many bytes were added."""
    added = 0
    while size > 0:
        header = source.read(8)
        if len(header) < 8:
            raise Damaged("the file ends too early")
        kind, misc, length = struct.unpack("<IHH", header)
        if length < 8 or length > size:
            raise Damaged("a record of impossible length")
        size -= length
        record = header + source.read(length - 8)
        if len(record) < length:
            raise Damaged("the file ends too early")
        if kind == COMM and misc & MISC_COMM_EXEC:
            fork = _fork_for(record, sample_type)
            target.write(fork)
            added += len(fork)
        target.write(record)
    return added


def repair(path):
    """Put the records into the file at PATH."""
    new = f"{path}.new"
    try:
        with open(path, "rb") as source, open(new, "wb") as target:
            header = bytearray(source.read(104))
            if len(header) < 104 or header[:8] != MAGIC:
                raise Damaged("not a file of perf")
            attributes, data, size = (struct.unpack_from("<Q", header, at)[0] for at in (24, 40, 48))
            if max(attributes, data) > os.fstat(source.fileno()).st_size:
                raise Damaged("an offset behind the file's end")
            source.seek(attributes + 24)
            sample_type = struct.unpack("<Q", source.read(8))[0]
            source.seek(0)
            _copy(source, target, data)
            added = _copy_records(source, target, size, sample_type)
            features = sum(bin(byte).count("1") for byte in header[72:104])
            for _ in range(features):
                offset, length = struct.unpack("<QQ", source.read(16))
                target.write(struct.pack("<QQ", offset + added, length))
            _copy(source, target, os.fstat(source.fileno()).st_size - source.tell())
            target.seek(48)
            target.write(struct.pack("<Q", size + added))
        os.chmod(new, os.stat(path).st_mode & 0o777)
        os.replace(new, path)
    except struct.error:
        raise Damaged("the file ends too early") from None
    finally:
        if os.path.exists(new):
            os.unlink(new)
