/* SPDX-License-Identifier: MIT */
/* recording_get.h - numbers from a column, for those who read a recording. Nothing is believed: false is damage. */
#ifndef KMEM_RECORDING_GET_H
#define KMEM_RECORDING_GET_H

#include "recording_format.h"

struct cursor {
	const uint8_t *at, *end;
};

/* The addresses of a chunk, by number. */
struct addresses {
	uint32_t nr;
	uint64_t last;
	uint64_t address[CHUNK_ADDRESSES_MAX];
};

/* False: the column ends in it, or it is too long. */
static inline bool get_varint(struct cursor *cursor, uint64_t *value)
{
	const uint8_t *at = cursor->at;

	if (at < cursor->end && *at < 0x80) {
		*value = *at;
		cursor->at++;
		return true;
	}
	*value = 0;
	for (unsigned shift = 0; shift < 64 && at < cursor->end; shift += 7) {
		uint8_t byte = *at++;

		*value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			cursor->at = at;
			return true;
		}
	}
	return false;
}

/* The same, up to a greatest one. */
static inline bool get_number(struct cursor *cursor, uint64_t max, uint64_t *value)
{
	return get_varint(cursor, value) && *value <= max;
}

static inline bool get_byte(struct cursor *cursor, unsigned *value)
{
	if (cursor->at >= cursor->end)
		return false;
	*value = *cursor->at++;
	return true;
}

static inline bool get_address(struct addresses *addresses, struct cursor *cursor,
			       uint64_t *address)
{
	uint64_t number, step;

	if (!get_number(cursor, addresses->nr, &number) || number >= CHUNK_ADDRESSES_MAX)
		return false;
	if (number == addresses->nr) {
		if (!get_varint(cursor, &step))
			return false;
		addresses->last += (uint64_t)unzigzag(step);
		addresses->address[addresses->nr++] = addresses->last;
	}
	*address = addresses->address[number];
	return true;
}

#endif
