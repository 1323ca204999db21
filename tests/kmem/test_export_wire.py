# SPDX-License-Identifier: MIT
"""Reads protobufs by the numbers that their published schemas give to fields: {name: (number, kind)}.

Kinds: "u" a whole number, "i" a signed one, "s" bytes or text, or a schema, for a message. What may repeat is in brackets, and is a
list. A number that a schema does not have is an error: so nothing that was written goes unseen."""

VALUE_TYPE = {"type": (1, "i"), "unit": (2, "i")}
LABEL = {"key": (1, "i"), "str": (2, "i"), "num": (3, "i"), "num_unit": (4, "i")}
PROFILE = {
    "sample_type": (1, [VALUE_TYPE]),
    "sample": (2, [{"location_id": (1, ["u"]), "value": (2, ["i"]), "label": (3, [LABEL])}]),
    "mapping": (3, [{"id": (1, "u"), "memory_start": (2, "u"), "memory_limit": (3, "u"), "file_offset": (4, "u"),
                     "filename": (5, "i"), "build_id": (6, "i"), "has_functions": (7, "u"), "has_filenames": (8, "u"),
                     "has_line_numbers": (9, "u"), "has_inline_frames": (10, "u")}]),
    "location": (4, [{"id": (1, "u"), "mapping_id": (2, "u"), "address": (3, "u"),
                      "line": (4, [{"function_id": (1, "u"), "line": (2, "i")}]), "is_folded": (5, "u")}]),
    "function": (5, [{"id": (1, "u"), "name": (2, "i"), "system_name": (3, "i"), "filename": (4, "i"), "start_line": (5, "i")}]),
    "string_table": (6, ["s"]),
    "drop_frames": (7, "i"),
    "keep_frames": (8, "i"),
    "time_nanos": (9, "i"),
    "duration_nanos": (10, "i"),
    "period_type": (11, VALUE_TYPE),
    "period": (12, "i"),
    "comment": (13, ["i"]),
    "default_sample_type": (14, "i"),
}

STRING = {"iid": (1, "u"), "str": (2, "s")}
HEAP_SAMPLE = {"callstack_id": (1, "u"), "self_allocated": (2, "u"), "self_freed": (3, "u"), "timestamp": (4, "u"),
               "alloc_count": (5, "u"), "free_count": (6, "u")}
TRACE = {"packet": (1, [{
    "clock_snapshot": (6, {"clocks": (1, [{"clock_id": (1, "u"), "timestamp": (2, "u")}])}),
    "timestamp": (8, "u"),
    "trusted_packet_sequence_id": (10, "u"),
    "track_event": (11, {"type": (9, "u"), "track_uuid": (11, "u"), "categories": (22, ["s"]), "name": (23, "s"),
                         "counter_value": (30, "i")}),
    "interned_data": (12, {
        "function_names": (5, [STRING]),
        "frames": (6, [{"iid": (1, "u"), "function_name_id": (2, "u"), "mapping_id": (3, "u"), "rel_pc": (4, "u")}]),
        "callstacks": (7, [{"iid": (1, "u"), "frame_ids": (2, ["u"])}]),
        "build_ids": (16, [STRING]),
        "mapping_paths": (17, [STRING]),
        "mappings": (19, [{"iid": (1, "u"), "build_id": (2, "u"), "start_offset": (3, "u"), "start": (4, "u"), "end": (5, "u"),
                           "load_bias": (6, "u"), "path_string_ids": (7, ["u"]), "exact_offset": (8, "u")}]),
    }),
    "sequence_flags": (13, "u"),
    "profile_packet": (37, {
        "process_dumps": (5, [{"pid": (1, "u"), "samples": (2, [HEAP_SAMPLE]), "from_startup": (3, "u"), "timestamp": (9, "u"),
                               "heap_name": (11, "s"), "sampling_interval_bytes": (12, "u")}]),
        "index": (7, "u"),
    }),
    "track_descriptor": (60, {
        "uuid": (1, "u"), "name": (2, "s"),
        "process": (3, {"pid": (1, "u"), "cmdline": (2, ["s"]), "process_name": (6, "s")}),
        "parent_uuid": (5, "u"), "counter": (8, {"unit": (3, "u")}),
    }),
}])}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value & (1 << 64) - 1, at


def signed(value):
    return value - (1 << 64) if value >> 63 else value


def one(kind, value):
    if isinstance(kind, dict):
        return read(kind, value)
    if kind == "s":
        assert isinstance(value, bytes), value
        return value
    assert isinstance(value, int), value
    return signed(value) if kind == "i" else value


def several(kind, value):
    """The values of a field that may repeat: whole numbers come packed as well."""
    if kind not in ("u", "i") or isinstance(value, int):
        return [one(kind, value)]
    values, at = [], 0
    while at < len(value):
        number, at = varint(value, at)
        values.append(one(kind, number))
    return values


def read(schema, data):
    """{name: value}; what may repeat is a list, empty without; the rest is missing, or a proto3 reader's zero."""
    by_number = {number: (name, kind) for name, (number, kind) in schema.items()}
    found = {name: [] for name, (_, kind) in schema.items() if isinstance(kind, list)}
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        assert wire in (0, 2), f"field {number} has wire type {wire}"
        value, at = varint(data, at)
        if wire == 2:
            value, at = data[at:at + value], at + value
            assert at <= len(data), f"field {number} ends behind its message"
        assert number in by_number, f"the schema has no field {number}"
        name, kind = by_number[number]
        if isinstance(kind, list):
            found[name] += several(kind[0], value)
        else:
            assert name not in found, f"{name} comes twice"
            found[name] = one(kind, value)
    return found
