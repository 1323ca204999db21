/* SPDX-License-Identifier: MIT */
/*
 * kmem_cache.h - caches of objects of one size: per-CPU sheaves, then the
 * barn, then slabs, then pages.
 *
 * A cache's index is also its slot in the per-CPU areas and its owner byte in
 * the page map; index 0 is no cache.
 */
#ifndef SLAB_KMEM_CACHE_H
#define SLAB_KMEM_CACHE_H

#include "lib/gfp.h"
#include "lib/list.h"
#include "lib/lock.h"
#include "page/page.h"
#include "slab/percpu.h"
#include "slab/sheaf.h"

/* Full and empty sheaves between the CPUs and the slabs. */
struct barn {
	struct lock lock;
	/* all guarded by lock */
	struct slab_sheaf *full; /* LIFO; NULL: none. May be partly filled */
	struct slab_sheaf *empty;
	unsigned nr_full;
	unsigned nr_empty;
	unsigned low_full; /* fewest full ones since the last age pass: what was not needed */
};

struct kmem_cache {
	/* constant after kmem_cache_init(), but for deferred */
	uint32_t size;	      /* bytes from object to object */
	uint32_t object_size; /* bytes for the caller */
	uint32_t reciprocal;  /* 2^32 / size, rounded up */
	uint16_t nr_objects;  /* in a slab */
	uint8_t index;
	uint8_t order;	  /* of a slab, in granules */
	uint8_t capacity; /* of a sheaf */
	uint8_t batch;	  /* objects that a refill takes at once */
	uint8_t max_full; /* full sheaves that the barn keeps */
	char name[15];
	/*
	 * Sheaves with objects in them that a context which may not wait could put nowhere;
	 * NULL: none. Looked at on each miss, and hardly ever anything else. No lock: pushed by
	 * compare-and-swap, taken whole by an exchange.
	 */
	_Atomic(struct slab_sheaf *) deferred;

	struct barn barn __attribute__((aligned(64)));

	struct lock lock __attribute__((aligned(64)));
	/* guarded by lock */
	struct list_head partial; /* slabs with a free object; used from the head */
	unsigned nr_partial;
	size_t nr_slabs;
	size_t nr_inuse; /* objects out of slabs: live or in sheaves */
};

extern struct kmem_cache kmem_caches[KMEM_CACHES_MAX] hidden;

/* [start] Register the shrinker. After page_init(). */
void kmem_cache_init_room(void);
/*
 * [start] Set up cache `index` for objects `size` bytes apart, of which the
 * caller gets object_size, in slabs of 1 << order granules.
 */
void kmem_cache_init(unsigned index, const char *name, size_t size, size_t object_size,
		     unsigned order);

/*
 * The miss paths of allocation and free. Any context that gfp states.
 * alloc: NULL when there is no memory, or none without waiting. *zeroed, if
 * asked for, tells whether the object is known to read as zero.
 * free: false when gfp forbids to wait and nothing could take the object.
 */
void *kmem_cache_alloc_slow(struct kmem_cache *cache, gfp_t gfp, bool *zeroed);
bool kmem_cache_free_slow(struct kmem_cache *cache, void *object, gfp_t gfp);

/* Bring all free objects of all CPUs back to their slabs. Only where the user asked. */
void kmem_cache_drain_all(void);

struct kmem_cache_stat {
	size_t active_objs; /* out of slabs: live, or in sheaves */
	size_t num_objs;
	size_t num_slabs;
	size_t cached_objs; /* of the active ones, those in the barn */
};

void kmem_cache_stat(struct kmem_cache *cache, struct kmem_cache_stat *stat);

/* Which object of its slab is this; and is it the start of one? */
static inline unsigned kmem_cache_object_index(const struct kmem_cache *cache, size_t offset)
{
	return (unsigned)((offset * cache->reciprocal) >> 32);
}

/* Is this address the start of an object of the cache's slab that holds it? */
bool kmem_cache_is_object(const struct kmem_cache *cache, const void *ptr);

#endif
