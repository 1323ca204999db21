/* SPDX-License-Identifier: MIT */
/*
 * hash.h - where keys go in the hash tables of kmem.
 *
 * Keys are addresses, and those are chosen by the process that is looked at, or by who made the recording: with a fixed hash
 * they could all have one place, and each look would be at all of them. So it is multiplied by a number that is drawn anew in
 * each run. The high bits are the good ones; taken from the top, twice as many places keep their order.
 */
#ifndef KMEM_HASH_H
#define KMEM_HASH_H

#include <stdint.h>

/* Drawn before main(); odd, so that no bit of a key is lost. */
extern uint64_t hash_odd, hash_odd_too;

static inline uint64_t hash_of(uint64_t key)
{
	return (key ^ key >> 32) * hash_odd;
}

/* Of two: each has its own factor, so that no pair makes up for another. */
static inline uint64_t hash_of_both(uint64_t key, uint64_t other)
{
	return hash_of(key) + other * hash_odd_too;
}

#endif
