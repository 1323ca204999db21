/* SPDX-License-Identifier: MIT */
/*
 * meta.c - power-of-two pools over mapped regions, for descriptors, bitmaps,
 * sheaves and per-CPU areas.
 *
 * The kernel takes such memory from kmalloc and breaks the recursion with
 * flags (SLAB_NO_SHEAVES, bootstrap caches). Here it has a source of its own,
 * so the rooms above never recurse and user data never lies beside metadata.
 *
 * Allocation: 1. the pool of that size; 2. cut from the current region;
 * 3. map another region (MAP_GROW at a time, only where gfp may block).
 * Memory is never unmapped, so a stale pointer to a freed structure still
 * reads as a structure (vmalloc's address table counts on that).
 *
 * Lock: meta_lock (rank META, the last): nothing is taken under it. Mapping is
 * done under it too: it happens once per MAP_GROW bytes. fork: taken like all.
 * A free that can't have the lock in an atomic context leaks the piece: it
 * happens only in a handler that interrupted this very file.
 */
#include "page/meta.h"

#include "lib/lock.h"
#include "os/os.h"

#include <string.h>

#define MIN_SHIFT 6 /* a cache line */
#define NR_POOLS 9  /* 64 bytes to META_MAX_SIZE */
#define MAP_GROW (256UL << 10)

struct meta_free {
	struct meta_free *next; /* NULL ends the pool */
};

static struct lock meta_lock;
/* all guarded by meta_lock */
static struct meta_free *pools[NR_POOLS];
static char *region; /* where the next piece is cut; zero memory */
static size_t region_left;
static size_t mapped; /* also read without the lock */

void meta_init(void)
{
	lock_init(&meta_lock, LOCK_RANK_META);
}

static unsigned pool_of(size_t size)
{
	return size <= 1UL << MIN_SHIFT ? 0 : ilog2(size - 1) + 1 - MIN_SHIFT;
}

/* Put what is left of the region into the pools, so that a new one may start. */
static void retire_region_locked(void)
{
	lock_assert_held(&meta_lock);
	while (region_left >= 1UL << MIN_SHIFT) {
		unsigned pool = NR_POOLS - 1;
		struct meta_free *piece;

		while (region_left < 1UL << (pool + MIN_SHIFT) ||
		       (uintptr_t)region & ((1UL << (pool + MIN_SHIFT)) - 1))
			pool--;
		piece = (struct meta_free *)region;
		piece->next = pools[pool];
		pools[pool] = piece;
		region += 1UL << (pool + MIN_SHIFT);
		region_left -= 1UL << (pool + MIN_SHIFT);
	}
}

static void *cut_locked(size_t size, gfp_t gfp)
{
	lock_assert_held(&meta_lock);

	size_t align = min_size(size, os_page_size);
	size_t pad = -(uintptr_t)region & (align - 1);

	if (region_left < pad + size) {
		if (!gfpflags_allow_blocking(gfp))
			return NULL;

		char *fresh = os_map(MAP_GROW);

		if (!fresh)
			return NULL;
		retire_region_locked();
		region = fresh;
		region_left = MAP_GROW;
		__atomic_store_n(&mapped, mapped + MAP_GROW, __ATOMIC_RELAXED);
		pad = 0;
	}

	char *ptr = region + pad;

	region += pad + size;
	region_left -= pad + size;
	return ptr;
}

void *meta_alloc(size_t size, gfp_t gfp)
{
	unsigned pool = pool_of(size);
	struct meta_free *piece;

	if (!lock_get(&meta_lock, gfp))
		return NULL;
	piece = pools[pool];
	if (piece) {
		pools[pool] = piece->next;
		lock_release(&meta_lock);
		memset(piece, 0, size);
		return piece;
	}
	piece = cut_locked(1UL << (pool + MIN_SHIFT), gfp);
	lock_release(&meta_lock);
	return piece;
}

void meta_free(void *ptr, size_t size, gfp_t gfp)
{
	unsigned pool = pool_of(size);
	struct meta_free *piece = ptr;

	if (!ptr || !lock_get(&meta_lock, gfp))
		return;
	piece->next = pools[pool];
	pools[pool] = piece;
	lock_release(&meta_lock);
}

size_t meta_bytes(void)
{
	return __atomic_load_n(&mapped, __ATOMIC_RELAXED);
}
