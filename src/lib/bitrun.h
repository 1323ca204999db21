/* SPDX-License-Identifier: MIT */
/*
 * bitrun.h - runs of units in one atomic word: 64 units, a set bit is a free one. Taking
 * and giving a run back is one compare-and-swap: no lock, any context, a signal handler that
 * interrupted either included.
 */
#ifndef LIB_BITRUN_H
#define LIB_BITRUN_H

#include "lib/compiler.h"

#include <stdatomic.h>

#define BITRUN_UNITS 64U
#define BITRUN_FULL (~0UL)

static inline uint64_t bitrun_mask(unsigned start, unsigned n)
{
	return (n == BITRUN_UNITS ? BITRUN_FULL : (1UL << n) - 1) << start;
}

/* Take n free units in a row, the first a multiple of `align` (a power of two). -1: there are none. */
static inline int bitrun_take(_Atomic uint64_t *word, unsigned n, unsigned align)
{
	uint64_t map = atomic_load_explicit(word, memory_order_relaxed);
	unsigned start = 0;

	while (map && start + n <= BITRUN_UNITS) {
		uint64_t run = bitrun_mask(start, n);

		if ((map & run) != run)
			start += align;
		else if (atomic_compare_exchange_weak_explicit(word, &map, map & ~run,
							       memory_order_acquire,
							       memory_order_relaxed))
			return (int)start;
		else
			start = 0; /* it changed: what was passed over may be free now */
	}
	return -1;
}

/* Give a run back that was taken. */
static inline void bitrun_give(_Atomic uint64_t *word, unsigned start, unsigned n)
{
	atomic_fetch_or_explicit(word, bitrun_mask(start, n), memory_order_release);
}

/* Take all 64 units if all are free: nobody else gets one then. */
static inline bool bitrun_take_all(_Atomic uint64_t *word)
{
	uint64_t full = BITRUN_FULL;

	return atomic_compare_exchange_strong_explicit(word, &full, 0, memory_order_acquire,
						       memory_order_relaxed);
}

static inline unsigned bitrun_count(_Atomic uint64_t *word)
{
	return (unsigned)__builtin_popcountl(atomic_load_explicit(word, memory_order_relaxed));
}

#endif
