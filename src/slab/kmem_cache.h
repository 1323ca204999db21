/* SPDX-License-Identifier: MIT */
/*
 * kmem_cache.h - caches of objects of one size: per-CPU sheaves, then the
 * barn, then slabs, then pages.
 *
 * A cache's index is its slot in the per-CPU areas and its owner byte in the
 * page map. Index 0 is no cache. There are more caches than indices: those without one
 * of their own share KMEM_CACHE_SHARED. That slot's words stay as in the
 * empty area for good, so the hit paths miss by themselves, and the miss paths
 * find the cache through the slab's struct page (virt_to_cache()). They have no
 * sheaves: each object comes from a slab and goes back there, under the
 * cache's lock.
 *
 * A struct kmem_cache is type-stable: one that is destroyed only ever becomes another
 * cache. All are on one list for good (kmem_cache_first, `next`).
 */
#ifndef SLAB_KMEM_CACHE_H
#define SLAB_KMEM_CACHE_H

#include "lib/gfp.h"
#include "lib/list.h"
#include "lib/lock.h"
#include "page/page.h"
#include "slab/percpu.h"
#include "slab/sheaf.h"

/* The index that all caches without one of their own share. */
#define KMEM_CACHE_SHARED (KMEM_CACHES_MAX - 1)
#define KMEM_CACHE_NAME_MAX 40

/* kmem_cache.flags */
#define KMEM_CACHE_CREATED                                                                         \
	0x1U		    /* not one of the kmalloc classes: never writes into a free object */
#define KMEM_CACHE_DMA 0x2U /* its slabs come from the DMA zone */
#define KMEM_CACHE_ACCOUNT 0x4U	 /* each object has an owner group */
#define KMEM_CACHE_TYPESAFE 0x8U /* its slabs stay its own until it is destroyed */
#define KMEM_CACHE_PROGRAM 0x20U /* the program's own: kmem_cache_create() */
#define KMEM_CACHE_SAMPLED 0x10U /* a trace told of the allocation of each object */

enum kmem_cache_state {
	KMEM_CACHE_UNUSED, /* never was a cache */
	KMEM_CACHE_LIVE,
	KMEM_CACHE_ZOMBIE, /* destroyed with objects left: they may still be freed */
	KMEM_CACHE_DEAD,   /* destroyed; may become another cache */
};

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
	/* constant from creation to destruction, but for what says so */
	uint32_t size;		      /* bytes from object to object */
	uint32_t object_size;	      /* bytes for the caller */
	uint32_t reciprocal;	      /* 2^32 / size, rounded up */
	uint16_t nr_objects;	      /* in a slab */
	uint8_t index;		      /* KMEM_CACHE_SHARED: none of its own */
	uint8_t order;		      /* of a slab, in granules */
	uint8_t capacity;	      /* of a sheaf */
	uint8_t batch;		      /* objects that a refill takes at once */
	uint8_t max_full;	      /* full sheaves that the barn keeps */
	uint8_t flags;		      /* KMEM_CACHE_* */
	uint32_t slab_flags;	      /* SLAB_* that it was created with, for reports */
	uint32_t align;		      /* of every object */
	_Atomic uint8_t state;	      /* enum kmem_cache_state; changed under slab_mutex */
	bool born;		      /* its locks are on the list of locks */
	_Atomic bool put_off;	      /* a slab has objects whose free was put off (slab_defer()) */
	void (*ctor)(void *);	      /* called for each object when a slab is made; NULL: none */
	struct kmem_cache *next;      /* all caches; NULL ends it. Set once */
	struct kmem_cache *next_dead; /* DEAD and without a slot: the list of those; else unused */

	/*
	 * Sheaves with objects in them that a context which may not wait could put nowhere;
	 * NULL: none. Looked at on each miss, and hardly ever anything else. No lock: pushed by
	 * compare-and-swap, taken whole by an exchange.
	 */
	_Atomic(struct slab_sheaf *) deferred;

	struct barn barn __attribute__((aligned(64)));
	uint16_t
		id; /* constant: what events call it; the index, or, without a slot, one of its own */

	struct lock lock __attribute__((aligned(64)));
	/* guarded by lock */
	struct list_head partial; /* slabs with a free object; used from the head */
	struct list_head full;	  /* slabs without one; only of caches that were created */
	unsigned nr_partial;
	unsigned nr_slabs;
	size_t nr_inuse; /* objects out of slabs: live, in sheaves, or put off */

	char name
		[KMEM_CACHE_NAME_MAX]; /* constant too; here, so that the struct stays at 256 bytes */
};

_Static_assert(sizeof(struct kmem_cache) == 256, "an index into kmem_caches[] is a shift");

extern struct kmem_cache kmem_caches[KMEM_CACHES_MAX] hidden;
/* The newest cache; the others follow by `next`. Any state. */
extern struct kmem_cache *_Atomic kmem_cache_first hidden;

#define for_each_kmem_cache(cache)                                                                 \
	for (struct kmem_cache *cache =                                                            \
		     atomic_load_explicit(&kmem_cache_first, memory_order_acquire);                \
	     cache; cache = cache->next)

static inline enum kmem_cache_state kmem_cache_state(const struct kmem_cache *cache)
{
	return (enum kmem_cache_state)atomic_load_explicit(&cache->state, memory_order_acquire);
}

/* Has it a slot in the per-CPU areas, and so sheaves? */
static inline bool kmem_cache_has_slot(const struct kmem_cache *cache)
{
	return cache->index != KMEM_CACHE_SHARED;
}

/*
 * The cache of an address that has the owner byte `owner`, not 0. For a live object that
 * is its cache; for any other address a cache all the same.
 */
static inline struct kmem_cache *page_cache(unsigned owner, const void *ptr)
{
	if (likely(owner != KMEM_CACHE_SHARED))
		return &kmem_caches[owner];
	return __atomic_load_n(&page_of_granule(page_granule_of(ptr))->cache, __ATOMIC_RELAXED);
}

/* The cache of an object; NULL: the address belongs to none. Follows nothing of the caller's. */
static inline struct kmem_cache *virt_to_cache(const void *ptr)
{
	unsigned owner = page_owner(ptr);

	return owner ? page_cache(owner, ptr) : NULL;
}

/* [start] Register the shrinker. After page_init(). */
void kmem_cache_init_room(void);
/*
 * [start] Set up kmalloc cache `index` for objects `size` bytes apart, of which the
 * caller gets object_size, in slabs of 1 << order granules.
 */
void kmem_cache_init(unsigned index, const char *name, size_t size, size_t object_size,
		     unsigned order);

struct kmem_cache_spec {
	const char *name; /* copied, cut to KMEM_CACHE_NAME_MAX - 1 */
	size_t object_size;
	size_t align; /* a power of two up to GRANULE_SIZE; 0: the least, 16 */
	unsigned
		capacity; /* at least so many objects in a sheaf, up to SHEAF_CAPACITY_MAX; 0: by size */
	unsigned flags;	      /* KMEM_CACHE_DMA, _ACCOUNT, _TYPESAFE, _SAMPLED, _PROGRAM */
	uint32_t slab_flags;  /* kept for reports */
	void (*ctor)(void *); /* NULL: none */
	bool slotless; /* have no slot, even if one is free: every call takes the slow path */
};

/*
 * Create a cache. May block. Takes a slot if one is free. NULL: no memory, or no slab
 * could hold such an object.
 */
struct kmem_cache *kmem_cache_new(const struct kmem_cache_spec *spec);
/* Told of an object that is in use, at so many bytes from the start of its slab. */
typedef void kmem_cache_report(const struct kmem_cache *cache, const void *object, size_t offset);
/*
 * Destroy it: all CPUs' sheaves go back to the slabs, and those to the pages. May block.
 * Nobody else may use the cache meanwhile or after. *left is how many objects are left; if
 * any, it becomes a zombie, to which these may still be freed, and report() is called for the
 * first `max` of them. False: it is not LIVE, and nothing is done. Only for a cache that was created.
 */
bool kmem_cache_shutdown(struct kmem_cache *cache, size_t max, kmem_cache_report *report,
			 size_t *left);
/*
 * Bring all its free objects of all CPUs to the slabs, and empty slabs to the pages. May block; asks
 * the system for a barrier. Where that is refused, of this CPU alone.
 */
void kmem_cache_drain(struct kmem_cache *cache);

/*
 * The miss paths of allocation and free. Any context that gfp states.
 * alloc: NULL when there is no memory, or none without waiting. *zeroed, if
 * asked for, tells whether the object is known to read as zero.
 * free: false when gfp forbids to wait and nothing could take the object.
 */
void *kmem_cache_alloc_slow(struct kmem_cache *cache, gfp_t gfp, bool *zeroed);
/*
 * [percpu_hits_are_tested()] The short way of a miss of a kmalloc class, any context: an object of what was freed on this CPU, if
 * neither it nor what lies there with it is a sample. NULL: it is to take the long one.
 */
void *kmem_cache_alloc_tested(struct kmem_cache *cache);
bool kmem_cache_free_slow(struct kmem_cache *cache, void *object, gfp_t gfp);
/*
 * Put off the free of an object of a cache that was created, without a lock and without
 * writing to the object. Any context. kmem_cache_reap_deferred() frees it.
 */
void kmem_cache_defer(struct kmem_cache *cache, void *object);
/* May there be something to reap? */
extern _Atomic bool kmem_cache_any_deferred hidden;
/* Free what was put off. May block. */
void kmem_cache_reap_deferred(void);

/* Bring all free objects of all CPUs back to their slabs. Only where the user asked. */
void kmem_cache_drain_all(void);

/* In the child of fork: caches of the DMA zone start anew. */
void kmem_cache_fork_child(void);

struct kmem_cache_stat {
	size_t active_objs; /* out of slabs: live, or in sheaves */
	size_t num_objs;
	size_t num_slabs;
	size_t slab_bytes; /* of all slabs */
	size_t object_bytes; /* from object to object; 0: it has no slabs, and may be no cache any more */
	size_t cached_objs; /* of the active ones, those in the barn */
};

void kmem_cache_stat(struct kmem_cache *cache, struct kmem_cache_stat *stat);

/* Which object of its slab is this; and is it the start of one? */
static inline unsigned kmem_cache_object_index(const struct kmem_cache *cache, size_t offset)
{
	return (unsigned)((offset * cache->reciprocal) >> 32);
}

/*
 * Is this address the start of an object of the cache's slab that holds it? A slab is aligned, in the window, to its
 * size, so that where it begins need not be looked up.
 */
static inline bool kmem_cache_is_object(const struct kmem_cache *cache, const void *ptr)
{
	size_t offset = ((uintptr_t)ptr - window.base) & ((GRANULE_SIZE << cache->order) - 1);
	unsigned index = kmem_cache_object_index(cache, offset);

	return index < cache->nr_objects && (size_t)index * cache->size == offset;
}
/*
 * Dies with a report if not. Every object is looked at when it reaches its slab; here it is before a sheaf takes it, where
 * that is off the hit path: else malloc() may hand out again what was never an object.
 */
void kmem_cache_check_object(const struct kmem_cache *cache, const void *ptr);

#endif
