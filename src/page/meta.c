/* SPDX-License-Identifier: MIT */
/*
 * meta.c - power-of-two pools over mapped regions, for descriptors, bitmaps,
 * sheaves and per-CPU areas.
 *
 * The kernel takes such memory from kmalloc and breaks the recursion with
 * flags (SLAB_NO_SHEAVES, bootstrap caches). Here it has a source of its own,
 * so the rooms above never recurse and user data never lies beside metadata.
 *
 * Allocation: 1. the pool of that size; 2. what was freed without the lock;
 * 3. cut from the current region; 4. map another region (MAP_GROW at a time, only
 * where gfp may block). Memory is never unmapped, so a stale pointer to a freed
 * structure still reads as a structure (vmalloc's address table counts on that).
 *
 * Every byte of a region is a piece in use, a piece in a pool, deferred, not cut
 * yet, or the link at the region's end: what a cut skips, to be aligned, goes into the
 * pools too. So what is in use is known without a counter.
 *
 * Lock: meta_lock (rank META, the last): nothing is taken under it. Mapping is
 * done under it too: it happens once per MAP_GROW bytes. fork: taken like all.
 * A free that may not wait, and finds the lock busy, pushes the piece onto a list
 * without a lock, one per pool. An allocation that finds its pool empty takes that list
 * whole, by an exchange, for the pool: nothing is popped singly, so a
 * reused address can't fool it.
 */
#include "page/meta.h"

#include "lib/lock.h"
#include "lib/param.h"
#include "lib/valid.h"
#include "os/os.h"
#include "page/account.h"
#include "page/page_internal.h"
#include "page/valid.h"

#include <string.h>

#define MIN_SHIFT META_MIN_SHIFT
#define NR_POOLS META_POOLS
#define MAP_GROW META_REGION_BYTES

static struct lock meta_lock;
/* all guarded by meta_lock */
static struct meta_free *pools[NR_POOLS];
static char *region; /* where the next piece is cut; zero memory */
static size_t region_left;
static struct meta_region *regions; /* all of them; NULL: none yet */
static size_t mapped;		    /* also read without the lock */

/* Pieces freed where meta_lock could not be had; no lock. */
static _Atomic(struct meta_free *) deferred[NR_POOLS];

void meta_init(void)
{
	lock_init(&meta_lock, LOCK_RANK_META);
}

static unsigned pool_of(size_t size)
{
	return size <= 1UL << MIN_SHIFT ? 0 : ilog2(size - 1) + 1 - MIN_SHIFT;
}

size_t meta_piece_bytes(size_t size)
{
	return 1UL << (pool_of(size) + MIN_SHIFT);
}

/* Put the next bytes of the region into the pools: they are skipped, or a new region starts. */
static void retire_locked(size_t bytes)
{
	lock_assert_held(&meta_lock);
	region_left -= bytes;
	while (bytes) {
		unsigned pool = NR_POOLS - 1;
		struct meta_free *piece;

		while (bytes < 1UL << (pool + MIN_SHIFT) ||
		       (uintptr_t)region & ((1UL << (pool + MIN_SHIFT)) - 1))
			pool--;
		piece = (struct meta_free *)region;
		piece->next = pools[pool];
		pools[pool] = piece;
		region += 1UL << (pool + MIN_SHIFT);
		bytes -= 1UL << (pool + MIN_SHIFT);
	}
}

static void start_region_locked(char *fresh)
{
	struct meta_region *link = (struct meta_region *)(fresh + META_REGION_USABLE);

	link->next = regions;
	link->start = fresh;
	regions = link;
	region = fresh;
	region_left = META_REGION_USABLE;
	__atomic_store_n(&mapped, mapped + MAP_GROW, __ATOMIC_RELAXED);
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
		retire_locked(region_left);
		start_region_locked(fresh);
		pad = 0;
	}
	retire_locked(pad);

	char *ptr = region;

	region += size;
	region_left -= size;
	return ptr;
}

void *meta_alloc(size_t size, gfp_t gfp)
{
	unsigned pool = pool_of(size);
	struct meta_free *piece;

	if (should_fail(&params.fail_meta_alloc, 1) || !lock_get(&meta_lock, gfp))
		return NULL;
	piece = pools[pool];
	if (!piece && atomic_load_explicit(&deferred[pool], memory_order_relaxed))
		/* pairs with defer() */
		piece = atomic_exchange_explicit(&deferred[pool], NULL, memory_order_acquire);
	if (piece) {
		pools[pool] = piece->next;
		debug_valid(meta_piece_is_valid(piece, size));
		lock_release(&meta_lock);
		memset(piece, 0, size);
		return piece;
	}
	piece = cut_locked(1UL << (pool + MIN_SHIFT), gfp);
	lock_release(&meta_lock);
	return piece;
}

static void defer(struct meta_free *piece, unsigned pool)
{
	piece->next = atomic_load_explicit(&deferred[pool], memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&deferred[pool], &piece->next, piece,
						      memory_order_release, memory_order_relaxed))
		;
}

void meta_free(void *ptr, size_t size, gfp_t gfp)
{
	unsigned pool = pool_of(size);
	struct meta_free *piece = ptr;

	if (!ptr)
		return;
	if (!lock_get(&meta_lock, gfp)) {
		defer(piece, pool);
		return;
	}
	debug_valid(meta_piece_is_valid(piece, size));
	piece->next = pools[pool];
	pools[pool] = piece;
	lock_release(&meta_lock);
}

size_t meta_bytes(void)
{
	return __atomic_load_n(&mapped, __ATOMIC_RELAXED);
}

struct lock *meta_view_lock(void)
{
	return &meta_lock;
}

void meta_view(struct meta_view *view)
{
	view->lock = &meta_lock;
	view->pools = pools;
	view->regions = regions;
	view->uncut = region;
	view->uncut_bytes = region_left;
	view->mapped = mapped;
	for (unsigned pool = 0; pool < NR_POOLS; pool++)
		view->deferred[pool] = atomic_load_explicit(&deferred[pool], memory_order_acquire);
}

void meta_places(struct page_places *places)
{
	places->meta_mapped = &mapped;
	places->meta_regions = &regions;
}
