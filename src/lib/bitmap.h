/* SPDX-License-Identifier: MIT */
/*
 * bitmap.h - fixed arrays of bits in 64-bit words; callers own the locking. A bit that nobody
 * changes may be read without it, while others of its word change.
 */
#ifndef LIB_BITMAP_H
#define LIB_BITMAP_H

#include "lib/compiler.h"

#define BITMAP_WORDS(nbits) (((nbits) + 63U) / 64U)

static inline bool bitmap_test(const uint64_t *map, unsigned bit)
{
	return __atomic_load_n(&map[bit / 64], __ATOMIC_RELAXED) >> (bit % 64) & 1;
}

static inline void bitmap_set(uint64_t *map, unsigned bit)
{
	__atomic_store_n(&map[bit / 64], map[bit / 64] | 1UL << (bit % 64), __ATOMIC_RELAXED);
}

static inline void bitmap_clear(uint64_t *map, unsigned bit)
{
	__atomic_store_n(&map[bit / 64], map[bit / 64] & ~(1UL << (bit % 64)), __ATOMIC_RELAXED);
}

/* Set the first n bits and clear the rest of the words they stand in. */
static inline void bitmap_fill(uint64_t *map, unsigned n)
{
	unsigned words = BITMAP_WORDS(n);

	for (unsigned i = 0; i < words; i++)
		map[i] = ~0UL;
	if (n % 64)
		map[words - 1] = (1UL << (n % 64)) - 1;
}

/* The first set bit at or after `from`; nbits when there is none. */
static inline unsigned bitmap_next(const uint64_t *map, unsigned nbits, unsigned from)
{
	if (from >= nbits)
		return nbits;

	unsigned i = from / 64;
	uint64_t word = map[i] & (~0UL << (from % 64));

	while (!word) {
		if (++i >= BITMAP_WORDS(nbits))
			return nbits;
		word = map[i];
	}

	unsigned bit = i * 64 + (unsigned)__builtin_ctzl(word);

	return bit < nbits ? bit : nbits;
}

#endif
