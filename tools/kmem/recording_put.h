/* SPDX-License-Identifier: MIT */
/* recording_put.h - numbers into a column, for those who write a recording. */
#ifndef KMEM_RECORDING_PUT_H
#define KMEM_RECORDING_PUT_H

#include "hash.h"
#include "recording_format.h"
#include "say.h"

#include <string.h>

#define ADDRESSES_ROOM (CHUNK_ADDRESSES_MAX * 2)

struct column_data {
	uint8_t *data;
	size_t size;
};

/* The addresses of a chunk, by number. */
struct addresses {
	uint32_t nr;
	uint64_t last; /* the one that was new last */
	uint64_t address[CHUNK_ADDRESSES_MAX];
	uint32_t hash[ADDRESSES_ROOM]; /* number + 1; 0: empty */
};

/* Returns where it ends. */
static inline uint8_t *write_varint(uint8_t *at, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		*at++ = (uint8_t)(value | 0x80);
	*at++ = (uint8_t)value;
	return at;
}

static inline void put(struct column_data *column, uint64_t value)
{
	column->size = (size_t)(write_varint(column->data + column->size, value) - column->data);
}

static inline void put_byte(struct column_data *column, unsigned value)
{
	column->data[column->size++] = (uint8_t)value;
}

static inline struct column_data new_column(size_t bytes)
{
	return (struct column_data){ .data = xmalloc(bytes) };
}

static inline void start_addresses(struct addresses *addresses)
{
	if (addresses->nr)
		memset(addresses->hash, 0, sizeof(addresses->hash));
	addresses->nr = 0;
	addresses->last = 0;
}

static inline void put_address(struct addresses *addresses, uint64_t address,
			       struct column_data *to)
{
	uint32_t at = (uint32_t)(hash_of(address) >> 40);
	uint32_t *entry;

	for (;; at++) {
		entry = &addresses->hash[at % ADDRESSES_ROOM];
		if (!*entry)
			break;
		if (addresses->address[*entry - 1] == address) {
			put(to, *entry - 1);
			return;
		}
	}
	put(to, addresses->nr);
	put(to, zigzag((int64_t)(address - addresses->last)));
	addresses->last = address;
	addresses->address[addresses->nr] = address;
	*entry = ++addresses->nr;
}

#endif
