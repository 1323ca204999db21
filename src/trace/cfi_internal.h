/* SPDX-License-Identifier: MIT */
/*
 * cfi_internal.h - what the search for a rule (cfi.c) and the run of its instructions (cfi_run.c) share: how the tables are read, and
 * what a CIE says. Numbers: DWARF 5, section 7.6.
 */
#ifndef TRACE_CFI_INTERNAL_H
#define TRACE_CFI_INTERNAL_H

#include "trace/cfi.h"

#include <string.h>

#define REG_RA 16 /* where the return address is */

/* Reads up to `end`, and no further: then all that it gives is 0, and it is bad. */
struct cursor {
	const uint8_t *at, *end;
	bool bad;
};

struct cie {
	struct cursor program;
	uint64_t code_align;
	int64_t data_align;
	uint8_t encoding; /* of the FDE's pointers */
	bool has_augmentation, is_signal;
};

static inline uint64_t fail(struct cursor *cursor)
{
	cursor->bad = true;
	cursor->at = cursor->end;
	return 0;
}

static inline bool at_end(const struct cursor *cursor)
{
	return cursor->at >= cursor->end;
}

static inline uint64_t read_fixed(struct cursor *cursor, size_t size)
{
	uint64_t value = 0;

	if (cursor->bad || (size_t)(cursor->end - cursor->at) < size)
		return fail(cursor);
	memcpy(&value, cursor->at, size);
	cursor->at += size;
	return value;
}

static inline void skip(struct cursor *cursor, uint64_t size)
{
	if (cursor->bad || (uint64_t)(cursor->end - cursor->at) < size)
		fail(cursor);
	else
		cursor->at += size;
}

/* [sign] The last byte's bit 6 is the sign. */
static inline uint64_t read_leb(struct cursor *cursor, bool sign)
{
	uint64_t value = 0;
	uint8_t byte;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (at_end(cursor))
			break;
		byte = *cursor->at++;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte & 0x80)
			continue;
		if (sign && byte & 0x40 && shift + 7 < 64)
			value |= ~0UL << (shift + 7);
		return value;
	}
	return fail(cursor);
}

static inline uint64_t read_uleb(struct cursor *cursor)
{
	return read_leb(cursor, false);
}

static inline int64_t read_sleb(struct cursor *cursor)
{
	return (int64_t)read_leb(cursor, true);
}

/* A pointer in one of the formats of .eh_frame. */
uintptr_t cfi_read_pointer(struct cursor *cursor, uint8_t encoding);

/*
 * The instructions of a CIE and then of its FDE, whose code begins at `start`, up to `ip`. Those that make no sense are UNWIND_HARD, as
 * are those that are not followed.
 */
void cfi_run(const struct cie *cie, struct cursor program, uintptr_t start, uintptr_t ip,
	     struct unwind_rule *rule);

#endif
