/* SPDX-License-Identifier: MIT */
/*
 * create.c - caches that come and go: kmem_cache_create() and kmem_cache_destroy() as far
 * as the slabs are concerned.
 *
 * Mirrors kmem_cache_create and shutdown in mm/slab_common.c and mm/slub.c. Differences: caches
 * are not merged with their like, so a report names the cache that the program knows; the
 * order of a slab is chosen by what is left over at its end alone; the struct
 * of a cache that is gone stays a struct kmem_cache, so a second destruction is seen.
 *
 * Slots: the first caches get a slot of the per-CPU areas, and so sheaves; when none is
 * left, a cache shares the index KMEM_CACHE_SHARED and has none. Slots are given out in turn, and structs
 * without a slot in the order in which they were given back, so that a stale pointer stays stale for
 * as long as can be.
 *
 * Destruction, all under slab_mutex, so that no drain or shrinker holds its objects meanwhile:
 *  1. sheaves of all CPUs, then the barn, go to the slabs; nobody uses them any more, so no
 *     barrier is asked for;
 *  2. objects whose free was put off are freed;
 *  3. empty slabs go to the pages;
 *  4. nothing in use: DEAD, the slot is free. Else: ZOMBIE, and all stays, for the rest
 *     may still be freed. A thread that the program lets use the cache at the same time is a fault
 *     of the program, as in the kernel.
 * In a vfork child no sheaf can be taken, so a cache with a slot ends as a zombie, and the slot is never
 * another's: sheaves of this cache's capacity may stand in it. Of two threads that destroy a cache at the same time the
 * second finds it LIVE no more.
 *
 * Locks: slab_mutex (rank SLAB_MUTEX); see cache_internal.h. May block. Not in a handler
 * that interrupted the allocator.
 */
#include "page/meta.h"
#include "slab/barn.h"
#include "slab/cache_internal.h"
#include "slab/slab.h"

#include <string.h>

#define MIN_ALIGN 16UL /* page_owner() knows no other objects */
#define MAX_OBJECT (128UL << 10)
#define ORDER_TRIED 3U	/* slabs of up to 256 KiB */
#define WASTE_SHARE 16U /* of a slab, so much may be left over and it is good enough */

/* guarded by slab_mutex */
static unsigned last_slot;
static uint16_t next_id = KMEM_CACHES_MAX; /* of those without a slot */
static struct kmem_cache *dead_first;	   /* without a slot, oldest first */
static struct kmem_cache *dead_last;

static struct kmem_cache *take_slot_locked(void)
{
	lock_assert_held(&slab_mutex);
	for (unsigned i = 0; i < KMEM_CACHE_SHARED; i++) {
		struct kmem_cache *cache;

		last_slot = last_slot % (KMEM_CACHE_SHARED - 1) + 1;
		cache = &kmem_caches[last_slot];
		if (kmem_cache_state(cache) == KMEM_CACHE_UNUSED ||
		    kmem_cache_state(cache) == KMEM_CACHE_DEAD) {
			cache->index = (uint8_t)last_slot;
			cache->id = cache->index;
			return cache;
		}
	}
	return NULL;
}

static struct kmem_cache *take_struct_locked(bool slotless)
{
	struct kmem_cache *cache = slotless ? NULL : take_slot_locked();

	if (cache)
		return cache;
	cache = dead_first;
	if (cache) {
		dead_first = cache->next_dead;
		if (!dead_first)
			dead_last = NULL;
		return cache;
	}
	cache = meta_alloc(sizeof(*cache), GFP_KERNEL);
	if (!cache)
		return NULL;
	cache->index = KMEM_CACHE_SHARED;
	cache->id = next_id++;
	return cache;
}

static void put_struct_locked(struct kmem_cache *cache)
{
	lock_assert_held(&slab_mutex);
	atomic_store_explicit(&cache->state, KMEM_CACHE_DEAD, memory_order_release);
	if (kmem_cache_has_slot(cache))
		return;
	cache->next_dead = NULL;
	if (dead_last)
		dead_last->next_dead = cache;
	else
		dead_first = cache;
	dead_last = cache;
}

/* The order of a slab that leaves the least over, the lowest that is good enough. */
static unsigned order_for(size_t size)
{
	unsigned best = ORDER_TRIED;
	size_t best_waste = SIZE_MAX;

	for (unsigned order = 0; order <= ORDER_TRIED; order++) {
		size_t bytes = GRANULE_SIZE << order;
		size_t waste = bytes % size;

		if (bytes < size)
			continue;
		if (waste <= bytes / WASTE_SHARE)
			return order;
		/* as a share of the slab: compared in units of the largest one */
		if (waste << (ORDER_TRIED - order) < best_waste) {
			best_waste = waste << (ORDER_TRIED - order);
			best = order;
		}
	}
	return best;
}

struct kmem_cache *kmem_cache_new(const struct kmem_cache_spec *spec)
{
	size_t align = max_size(spec->align, MIN_ALIGN);
	size_t size = align_up(max_size(spec->object_size, 1), align);
	unsigned capacity = kmem_cache_capacity_for(size);
	struct kmem_cache *cache;

	if (!is_power_of_2(align) || align > GRANULE_SIZE || spec->object_size > MAX_OBJECT ||
	    size > GRANULE_SIZE << ORDER_TRIED)
		return NULL;
	if (spec->capacity > capacity)
		capacity = spec->capacity > SHEAF_CAPACITY_MAX ? SHEAF_CAPACITY_MAX :
								 spec->capacity;
	lock_acquire(&slab_mutex);
	cache = take_struct_locked(spec->slotless);
	if (cache) {
		cache->size = (uint32_t)size;
		cache->object_size = (uint32_t)spec->object_size;
		cache->align = (uint32_t)align;
		cache->order = (uint8_t)order_for(size);
		cache->flags = (uint8_t)(spec->flags | KMEM_CACHE_CREATED);
		cache->slab_flags = spec->slab_flags;
		cache->ctor = spec->ctor;
		strncpy(cache->name, spec->name, sizeof(cache->name) - 1);
		kmem_cache_enliven(cache, capacity);
	}
	lock_release(&slab_mutex);
	return cache;
}

/* What the CPUs held, and then all that is behind them, back to the pages. */
static void drain_locked(struct kmem_cache *cache, struct slab_sheaf *sheaves)
{
	lock_assert_held(&slab_mutex);
	kmem_cache_flush_list(cache, sheaves);
	kmem_cache_flush_deferred(cache);
	kmem_cache_flush_list(cache, barn_shrink(cache, true));
	slab_reap(cache);
	slab_drop_empty(cache);
}

void kmem_cache_drain(struct kmem_cache *cache)
{
	struct slab_sheaf *sheaves = NULL;

	lock_acquire(&slab_mutex);
	if (kmem_cache_has_slot(cache) && !percpu_drain_slot(cache->index, &sheaves))
		kmem_cache_drain_this_cpu(cache);
	drain_locked(cache, sheaves);
	lock_release(&slab_mutex);
}

static size_t shutdown_locked(struct kmem_cache *cache, size_t max, kmem_cache_report *report)
{
	struct slab_sheaf *sheaves = NULL;
	bool drained = true;
	size_t left;

	lock_assert_held(&slab_mutex);
	cache->flags &= (uint8_t)~KMEM_CACHE_TYPESAFE;
	if (kmem_cache_has_slot(cache))
		drained = percpu_drain_idle_slot(cache->index, &sheaves);
	drain_locked(cache, sheaves);
	/* what stands in sheaves that can't be taken is nobody's, and can't be told from the rest */
	left = drained ? slab_report(cache, max, report) : 0;
	if (left || !drained)
		atomic_store_explicit(&cache->state, KMEM_CACHE_ZOMBIE, memory_order_release);
	else
		put_struct_locked(cache);
	return left;
}

bool kmem_cache_shutdown(struct kmem_cache *cache, size_t max, kmem_cache_report *report,
			 size_t *left)
{
	bool live;

	lock_acquire(&slab_mutex);
	live = kmem_cache_state(cache) == KMEM_CACHE_LIVE;
	if (live)
		*left = shutdown_locked(cache, max, report);
	lock_release(&slab_mutex);
	return live;
}
