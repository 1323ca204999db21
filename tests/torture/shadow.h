/* SPDX-License-Identifier: MIT */
/*
 * shadow.h - the oracle of addresses: a byte for each granule of 16 bytes of the address space, 0
 * while nobody has the granule, else the mark of who has it.
 *
 * Whoever gets a block claims its whole usable range by atomic exchange: a byte that is not 0
 * means that somebody else has part of the block, at that very moment. Before a block is given
 * up its range is released the same way, and has to be its owner's still. So an overlap is seen
 * whatever the two write, and when they write nothing.
 *
 * The bytes are in leaves of 64 MiB for each GiB, mapped when they are needed. No locks, nothing
 * of the heap: valid in signal handlers. Eight bytes are exchanged at once where a range allows.
 */
#ifndef TESTS_SHADOW_H
#define TESTS_SHADOW_H

#include "torture.h"

#define SHADOW_SHIFT 30 /* addresses of a leaf */
#define SHADOW_LEAVES (1UL << (47 - SHADOW_SHIFT))
#define SHADOW_LEAF_BYTES ((1UL << SHADOW_SHIFT) / 16)

static _Atomic(unsigned char *) shadow_leaves[SHADOW_LEAVES];

static inline unsigned char *shadow_leaf(uintptr_t addr)
{
	_Atomic(unsigned char *) *leaf = &shadow_leaves[addr >> SHADOW_SHIFT];
	unsigned char *map = atomic_load(leaf), *theirs = NULL;

	if (map)
		return map;
	map = torture_map(SHADOW_LEAF_BYTES);
	if (atomic_compare_exchange_strong(leaf, &theirs, map))
		return map;
	munmap(map, SHADOW_LEAF_BYTES);
	return theirs;
}

static inline void shadow_fail(const char *what, uintptr_t addr, size_t size, unsigned found,
			       unsigned wanted)
{
	FAIL("%s: the range of %zu bytes at %p is marked %u, not %u %s", what, size, (void *)addr,
	     found, wanted, stress_seed_text);
}

/* Exchange n marks, all of which must be `from`. */
static inline bool shadow_exchange(unsigned char *marks, size_t n, unsigned char from,
				   unsigned char to, unsigned *found)
{
	const uint64_t froms = from * 0x0101010101010101UL, tos = to * 0x0101010101010101UL;

	while (n) {
		if (n < 8 || (uintptr_t)marks % 8) {
			*found = __atomic_exchange_n(marks, to, __ATOMIC_SEQ_CST);
			if (*found != from)
				return false;
			marks++, n--;
		} else {
			uint64_t old = __atomic_exchange_n((uint64_t *)(void *)marks, tos,
							   __ATOMIC_SEQ_CST);

			if (old != froms) {
				old ^= froms; /* the first byte that differs */
				*found = (old >> __builtin_ctzl(old) / 8 * 8 & 255) ^ from;
				return false;
			}
			marks += 8, n -= 8;
		}
	}
	return true;
}

static inline void shadow_change(const void *block, size_t size, unsigned char from,
				 unsigned char to, const char *what)
{
	uintptr_t addr = (uintptr_t)block, end = addr + size / 16 * 16;
	unsigned found;

	CHECK(addr % 16 == 0 && end >> 47 == 0);
	while (addr < end) {
		uintptr_t next = ((addr >> SHADOW_SHIFT) + 1) << SHADOW_SHIFT;
		size_t at = (addr & ((1UL << SHADOW_SHIFT) - 1)) / 16;

		next = next < end ? next : end;
		if (!shadow_exchange(shadow_leaf(addr) + at, (next - addr) / 16, from, to, &found))
			shadow_fail(what, (uintptr_t)block, size, found, from);
		addr = next;
	}
}

/* `owner` is 1 to 255. */
static inline void shadow_claim(const void *block, size_t size, unsigned char owner)
{
	shadow_change(block, size, 0, owner, "claim: somebody has part of a new block");
}

static inline void shadow_release(const void *block, size_t size, unsigned char owner)
{
	shadow_change(block, size, owner, 0, "release: somebody took part of a live block");
}

/* Give the shadow's own memory back. Only while nobody claims anything. */
static inline void shadow_forget(void)
{
	for (size_t i = 0; i < SHADOW_LEAVES; i++)
		if (atomic_load(&shadow_leaves[i]))
			madvise(atomic_load(&shadow_leaves[i]), SHADOW_LEAF_BYTES, MADV_DONTNEED);
}

/*
 * Blocks that are stamped and claimed. The mark follows from the token of the stamp, so a
 * block whose content was replaced by another whole stamp is seen too.
 */

static inline unsigned char shadow_owner(const void *block)
{
	return (unsigned char)(1 + ((const uint64_t *)block)[1] % 255);
}

/* A new block is claimed as a whole: the caller may use all of it. */
static inline void oracle_claim(void *block)
{
	shadow_claim(block, malloc_usable_size(block), shadow_owner(block));
}

/* Check a block, and stop claiming it: it is about to be freed or resized. */
static inline void oracle_release(void *block, const char *where)
{
	check_stamp(block, 0, where);
	shadow_release(block, malloc_usable_size(block), shadow_owner(block));
}

static inline void oracle_free(void *block, const char *where)
{
	if (!block)
		return;
	oracle_release(block, where);
	memset(block, 0xdb, 16); /* who frees it twice sees no block */
	free(block);
}

/* NULL: no memory. */
static inline void *oracle_new(uint64_t *state, size_t size)
{
	void *block = new_block(state, size, next_random(state) | 1);

	if (block)
		oracle_claim(block);
	return block;
}

/* NULL: no memory, and the block is as it was. */
static inline void *oracle_resize(void *block, size_t size, const char *where)
{
	void *to;

	oracle_release(block, where);
	to = resize_block(block, size);
	oracle_claim(to ? to : block);
	return to;
}

#endif
