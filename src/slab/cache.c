/* SPDX-License-Identifier: MIT */
/*
 * cache.c - the miss paths of a cache: what happens when a CPU's main sheaf is
 * empty (alloc) or full (free).
 *
 * Mirrors __pcs_replace_empty_main() and __pcs_replace_full_main() of
 * mm/slub.c. Differences: no lock is held on the CPU meanwhile; the thread owns
 * the sheaf it brings, and each exchange is one restartable step on
 * whatever CPU it runs by then.
 *
 * alloc:                                  free:
 *  1. main again (we may have moved)       1. main again
 *  2. a full sheaf: spare, barn            2. an empty sheaf: spare, barn,
 *  3. else an empty sheaf, refilled           new metadata
 *     from the slabs                       3. the object goes into it
 *  4. one object out of it                 4. it becomes main; the full one
 *  5. it becomes main; the empty one          becomes spare, or goes to the barn,
 *     becomes spare or goes to the barn       or is flushed to the slabs
 *  6. if the CPU changed under us:         5. if the CPU changed: back to 1,
 *     spare, or barn, or flush                at last straight to the slab
 *
 * While samples are taken pops are from another sheaf than main, of objects that were tested (percpu_sample.c): then alloc 2 tries
 * main first, and takes it as it is; of its objects those that pass go on to 5; the empty one becomes main, if there is
 * none. When that is over, what is left of such a sheaf comes first at 2.
 *
 * Where no area can be used (drain, vfork child), for large objects, and for caches
 * without a slot (KMEM_CACHE_SHARED), single objects come straight from the slab and go
 * there. An allocation in a handler
 * that interrupted the allocator (gfp without DIRECT_RECLAIM) takes the same
 * path, but only tries locks.
 *
 * Before memory is said to be out (RECLAIM_ALL), the barns and this CPU's own
 * sheaves are flushed; other CPUs keep theirs, since taking them needs a barrier from
 * the system, which is asked for in malloc_trim() alone.
 *
 * Caches that were created can be destroyed: whoever goes over all caches holds slab_mutex
 * (rank SLAB_MUTEX) while it looks at those. The shrinker, which stands on the way of
 * allocations, and the reaper of deferred frees only try it, and leave them out when it is busy.
 *
 * A sheaf that a context which may not wait can put nowhere, every lock being busy, waits on the
 * cache's deferred list; the next miss that may wait flushes it, or a shrinker or a drain.
 *
 * A sheaf in this file is owned by the running thread until a step hands it
 * over; a thread that dies or a process that forks in between leaks it, and
 * nothing else.
 */
#include "lib/valid.h"
#include "page/meta.h"
#include "page/reclaim.h"
#include "slab/barn.h"
#include "slab/cache_internal.h"
#include "slab/memcg.h"
#include "slab/percpu_internal.h"
#include "slab/slab.h"
#include "slab/valid.h"

#include <string.h>

#define BARN_BYTES (256UL << 10) /* of objects in full sheaves, per cache */
#define MAX_FULL 10
#define SINGLE_FROM 8192U /* from this size on a refill takes one object */
#define MAX_TRIES 3
#define FEW_OBJECTS 8

struct kmem_cache kmem_caches[KMEM_CACHES_MAX] hidden __attribute__((aligned(64)));
struct kmem_cache *_Atomic kmem_cache_first hidden;
struct lock slab_mutex;

_Atomic bool kmem_cache_any_deferred hidden; /* some cache's mark may be up */

/*
 * Objects in a sheaf: more than the kernel's calculate_sheaf_capacity(), which keeps 60 of
 * the smallest, as a miss costs more here. Bounded by bytes: a CPU holds two of them.
 */
unsigned kmem_cache_capacity_for(size_t size)
{
	if (size > 32768)
		return 2;
	if (size > 16384)
		return 4;
	if (size > 8192)
		return 8;
	if (size > 4096)
		return 12;
	if (size > 1024)
		return 28;
	if (size > 256)
		return 60;
	return SHEAF_CAPACITY_MAX;
}

static uint8_t max_full_for(size_t size, unsigned capacity)
{
	size_t n = BARN_BYTES / (size * capacity);

	return (uint8_t)(n > MAX_FULL ? MAX_FULL : n);
}

/* Once in the life of the struct: what stays when the cache goes. */
static void bear(struct kmem_cache *cache)
{
	lock_init(&cache->barn.lock, LOCK_RANK_BARN);
	lock_init(&cache->lock, LOCK_RANK_CACHE);
	list_init(&cache->partial);
	list_init(&cache->full);
	cache->born = true;
	cache->next = atomic_load_explicit(&kmem_cache_first, memory_order_relaxed);
}

void kmem_cache_enliven(struct kmem_cache *cache, unsigned capacity)
{
	bool newborn = !cache->born;
	size_t size = cache->size;

	cache->reciprocal = (uint32_t)((1UL << 32) / size + 1);
	cache->nr_objects = (uint16_t)((GRANULE_SIZE << cache->order) / size);
	cache->capacity = (uint8_t)capacity;
	cache->batch = (uint8_t)(size >= SINGLE_FROM ? 1 : capacity);
	cache->max_full = max_full_for(size, capacity);
	if (newborn)
		bear(cache);
	/* pairs with kmem_cache_state() and for_each_kmem_cache() */
	atomic_store_explicit(&cache->state, KMEM_CACHE_LIVE, memory_order_release);
	if (newborn)
		atomic_store_explicit(&kmem_cache_first, cache, memory_order_release);
}

void kmem_cache_init(unsigned index, const char *name, size_t size, size_t object_size,
		     unsigned order)
{
	struct kmem_cache *cache = &kmem_caches[index];

	cache->index = (uint8_t)index;
	cache->id = cache->index;
	cache->size = (uint32_t)size;
	cache->object_size = (uint32_t)object_size;
	cache->align = cache->size & -cache->size;
	cache->order = (uint8_t)order;
	strncpy(cache->name, name, sizeof(cache->name) - 1);
	kmem_cache_enliven(cache, kmem_cache_capacity_for(size));
}

static struct slab_sheaf *sheaf_create(const struct kmem_cache *cache, gfp_t gfp)
{
	struct slab_sheaf *sheaf = meta_alloc(sheaf_bytes(cache->capacity), gfp);

	if (sheaf)
		sheaf_init(sheaf, cache->capacity);
	return sheaf;
}

static struct slab_sheaf *get_empty_sheaf(struct kmem_cache *cache, gfp_t gfp)
{
	struct slab_sheaf *sheaf = percpu_take_spare(cache->index, false, gfp);

	if (!sheaf)
		sheaf = barn_get_empty(cache, gfp);
	if (!sheaf)
		return sheaf_create(cache, gfp);
	sheaf->top = &sheaf->slots[1];
	return sheaf;
}

static void put_empty_sheaf(struct kmem_cache *cache, struct slab_sheaf *sheaf, gfp_t gfp)
{
	if (!sheaf)
		return;
	if (percpu_put_spare(cache->index, sheaf, false, gfp) || barn_put_empty(cache, sheaf, gfp))
		return;
	meta_free(sheaf, sheaf_bytes(cache->capacity), gfp);
}

/* All objects of a sheaf that we own go to the slabs. False: busy, nothing done. */
static bool flush_sheaf(struct kmem_cache *cache, struct slab_sheaf *sheaf, gfp_t gfp)
{
	if (!slab_flush(cache, &sheaf->slots[1], sheaf_count(sheaf), gfp))
		return false;
	sheaf->top = &sheaf->slots[1];
	return true;
}

cold_path void kmem_cache_defer_sheaf(struct kmem_cache *cache, struct slab_sheaf *sheaf)
{
	sheaf->next = atomic_load_explicit(&cache->deferred, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&cache->deferred, &sheaf->next, sheaf,
						      memory_order_release, memory_order_relaxed))
		;
}

/* A sheaf with objects in it that the CPU has no place for. */
static void put_full_sheaf(struct kmem_cache *cache, struct slab_sheaf *sheaf, gfp_t gfp)
{
	if (sheaf_full(sheaf) && percpu_put_spare(cache->index, sheaf, true, gfp))
		return;
	if (barn_put_full(cache, sheaf, gfp))
		return;
	if (flush_sheaf(cache, sheaf, gfp))
		put_empty_sheaf(cache, sheaf, gfp);
	else
		kmem_cache_defer_sheaf(cache, sheaf);
}

void kmem_cache_flush_list(struct kmem_cache *cache, struct slab_sheaf *list)
{
	while (list) {
		struct slab_sheaf *sheaf = list;

		list = sheaf->next;
		flush_sheaf(cache, sheaf, GFP_KERNEL);
		meta_free(sheaf, sheaf_bytes(cache->capacity), GFP_KERNEL);
	}
}

void kmem_cache_flush_deferred(struct kmem_cache *cache)
{
	/* pairs with kmem_cache_defer_sheaf() */
	if (unlikely(atomic_load_explicit(&cache->deferred, memory_order_relaxed)))
		kmem_cache_flush_list(cache, atomic_exchange_explicit(&cache->deferred, NULL,
								      memory_order_acquire));
}

/* What a miss that may wait does besides. */
static void poll(struct kmem_cache *cache, gfp_t gfp)
{
	if (!gfpflags_allow_blocking(gfp))
		return;
	reclaim_poll();
	kmem_cache_flush_deferred(cache);
}

/* The bits of a top that say where in its sheaf it is, one of the cache's: pieces of metadata are aligned to their size. */
static uintptr_t sheaf_mask(const struct kmem_cache *cache)
{
	return meta_piece_bytes(sheaf_bytes(cache->capacity)) - 1;
}

static struct slab_sheaf *sheaf_with_top(const struct kmem_cache *cache, void **top)
{
	struct slab_sheaf *sheaf = (struct slab_sheaf *)((uintptr_t)top & ~sheaf_mask(cache));

	sheaf->top = top;
	return sheaf;
}

/* The sheaf at that word of the CPU's area, ours now. NULL: it has no objects, or there is none. */
static struct slab_sheaf *take_sheaf(struct kmem_cache *cache, size_t word, gfp_t gfp)
{
	void **top = percpu_take_sheaf(word, gfp);
	struct slab_sheaf *sheaf;

	if (!top)
		return NULL;
	sheaf = sheaf_with_top(cache, top);
	/* that it has some was a hint, perhaps of what another sheaf's memory was before */
	if (likely(!sheaf_empty(sheaf)))
		return sheaf;
	put_empty_sheaf(cache, sheaf, gfp);
	return NULL;
}

/* Are objects of the cache ever samples? */
static bool is_sampled(const struct kmem_cache *cache)
{
	return !(cache->flags & KMEM_CACHE_CREATED);
}

/* The CPU's own other one, which pops are not from: freed objects while samples are taken; tested ones, that were left, else. */
static struct slab_sheaf *get_other_sheaf(struct kmem_cache *cache, size_t from, gfp_t gfp)
{
	size_t other = from == PERCPU_TESTED ? PERCPU_MAIN : PERCPU_TESTED;
	struct slab_sheaf *sheaf = take_sheaf(cache, other + cache->index, gfp);

	if (sheaf && other == PERCPU_TESTED && is_sampled(cache))
		percpu_untest(cache->index, sheaf_count(sheaf));
	return sheaf;
}

static struct slab_sheaf *get_refilled_sheaf(struct kmem_cache *cache, gfp_t gfp)
{
	struct slab_sheaf *sheaf = get_empty_sheaf(cache, gfp);

	if (!sheaf)
		return NULL;
	if (slab_refill(cache, sheaf, gfp)) {
		debug_valid(sheaf_is_valid(cache, sheaf));
		return sheaf;
	}
	put_empty_sheaf(cache, sheaf, gfp);
	return NULL;
}

/*
 * A hint, of the main sheaf: are there so few that to take it over for so many pops, while samples are taken, costs more than they gain?
 */
static bool has_few(const struct kmem_cache *cache)
{
	uintptr_t top;

	return !percpu_look(PERCPU_MAIN + cache->index, &top) ||
	       (top & sheaf_mask(cache)) <= offsetof(struct slab_sheaf, slots[1 + FEW_OBJECTS]);
}

/* A sheaf with objects, from what is nearest. NULL: there is none, or the slabs give single ones. */
static struct slab_sheaf *get_full_sheaf(struct kmem_cache *cache, size_t from, gfp_t gfp)
{
	bool few = from == PERCPU_TESTED && has_few(cache);
	struct slab_sheaf *sheaf = NULL;

	if (from == PERCPU_TESTED && !few)
		sheaf = get_other_sheaf(cache, from, gfp);
	if (sheaf)
		return sheaf;
	sheaf = percpu_take_spare(cache->index, true, gfp);
	if (sheaf) {
		sheaf->top = &sheaf->slots[cache->capacity + 1];
		return sheaf;
	}
	sheaf = barn_get_full(cache, gfp);
	/* what samples have left is looked for late, as there hardly ever is any */
	if (!sheaf && from == PERCPU_MAIN)
		sheaf = get_other_sheaf(cache, from, gfp);
	if (!sheaf && cache->batch > 1)
		sheaf = get_refilled_sheaf(cache, gfp);
	if (!sheaf && few)
		sheaf = get_other_sheaf(cache, from, gfp);
	return sheaf;
}

/* A sheaf that pops can't be from now: where the CPU's frees go, if there is none, so that the next miss finds it. */
static void put_back(struct kmem_cache *cache, struct slab_sheaf *sheaf, size_t from, gfp_t gfp)
{
	if (from == PERCPU_TESTED && percpu_put_sheaf(PERCPU_MAIN + cache->index, sheaf, gfp))
		return;
	if (sheaf_empty(sheaf))
		put_empty_sheaf(cache, sheaf, gfp);
	else
		put_full_sheaf(cache, sheaf, gfp);
}

/*
 * While samples are taken: of a sheaf that we own, one with those of its objects that are none. The others, if there are any, are
 * put back. NULL: there is no such object, or no sheaf for them.
 */
static struct slab_sheaf *test_sheaf(struct kmem_cache *cache, struct slab_sheaf *sheaf, gfp_t gfp)
{
	unsigned n = sheaf_count(sheaf), passing = n ? percpu_test(cache->index, n) : 0;
	struct slab_sheaf *tested = NULL;

	if (likely(n && passing == n))
		return sheaf;
	if (passing)
		tested = get_empty_sheaf(cache, gfp);
	if (tested) {
		sheaf->top -= passing;
		memcpy(tested->top, sheaf->top, passing * sizeof(void *));
		tested->top += passing;
	} else if (passing) {
		percpu_untest(cache->index, passing);
	}
	put_back(cache, sheaf, PERCPU_TESTED, gfp);
	return tested;
}

/* The sheaf that an allocation took its object of becomes the one that pops are from. */
static void put_popped_sheaf(struct kmem_cache *cache, struct slab_sheaf *sheaf, size_t from,
			     gfp_t gfp)
{
	struct slab_sheaf *old;

	if (from == PERCPU_TESTED && is_sampled(cache)) {
		sheaf = test_sheaf(cache, sheaf, gfp);
		if (!sheaf)
			return;
	}
	if (likely(percpu_replace_empty(from + cache->index, sheaf, &old, gfp))) {
		if (old)
			put_back(cache, old, from, gfp);
		return;
	}
	if (from == PERCPU_TESTED && is_sampled(cache))
		percpu_untest(cache->index, sheaf_count(sheaf));
	put_back(cache, sheaf, from, gfp);
}

static void *alloc_one_tested(struct kmem_cache *cache)
{
	void *object;

	if (!percpu_test_all(cache->index, 1))
		return NULL;
	if (percpu_pop_slow(PERCPU_MAIN + cache->index, &object, GFP_NOWAIT))
		return object;
	percpu_untest(cache->index, 1);
	return NULL;
}

void *kmem_cache_alloc_tested(struct kmem_cache *cache)
{
	struct slab_sheaf *sheaf, *old;
	void *object;
	unsigned n;

	/* where a refill brings more, that is the long way's to get */
	if (has_few(cache))
		return cache->batch > 1 ? NULL : alloc_one_tested(cache);
	sheaf = take_sheaf(cache, PERCPU_MAIN + cache->index, GFP_NOWAIT);
	if (unlikely(!sheaf))
		return NULL;
	n = sheaf_count(sheaf);
	if (unlikely(!percpu_test_all(cache->index, n))) {
		put_back(cache, sheaf, PERCPU_TESTED, GFP_NOWAIT);
		return NULL;
	}
	object = *--sheaf->top;
	if (likely(percpu_replace_empty(PERCPU_TESTED + cache->index, sheaf, &old, GFP_NOWAIT))) {
		if (likely(old))
			put_back(cache, old, PERCPU_TESTED, GFP_NOWAIT);
	} else {
		percpu_untest(cache->index, n - 1);
		put_back(cache, sheaf, PERCPU_TESTED, GFP_NOWAIT);
	}
	return object;
}

/* 2 to 6. */
static cold_path void *alloc_from_sheaf(struct kmem_cache *cache, size_t from, gfp_t gfp,
					bool *zeroed)
{
	struct slab_sheaf *sheaf;
	void *object;

	poll(cache, gfp);
	sheaf = get_full_sheaf(cache, from, gfp);
	if (!sheaf)
		return slab_alloc_one(cache, gfp, zeroed);
	debug_valid(sheaf_shape_is_valid(cache, sheaf));
	/* before anybody else may have the sheaf */
	object = *--sheaf->top;
	put_popped_sheaf(cache, sheaf, from, gfp);
	return object;
}

void *kmem_cache_alloc_slow(struct kmem_cache *cache, gfp_t gfp, bool *zeroed)
{
	size_t from;
	void *object;

	*zeroed = false;
	if (!kmem_cache_has_slot(cache) || !percpu_prepare(gfp))
		return slab_alloc_one(cache, gfp, zeroed);
	from = percpu_takes_samples() ? PERCPU_TESTED : PERCPU_MAIN;
	if (!percpu_pop_slow(from + cache->index, &object, gfp))
		return alloc_from_sheaf(cache, from, gfp, zeroed);
	/* it was tested, and so was the one that this call is for */
	if (from == PERCPU_TESTED && is_sampled(cache))
		percpu_untest(cache->index, 1);
	return object;
}

bool kmem_cache_free_slow(struct kmem_cache *cache, void *object, gfp_t gfp)
{
	if (unlikely(cache->flags & KMEM_CACHE_ACCOUNT))
		memcg_free_object(cache, object);
	if (!kmem_cache_has_slot(cache) || !percpu_prepare(gfp))
		return slab_flush(cache, &object, 1, gfp);
	for (int i = 0; i < MAX_TRIES; i++) {
		struct slab_sheaf *sheaf, *old;

		if (percpu_push_slow(cache->index, object, gfp))
			return true;
		kmem_cache_check_object(cache, object);
		poll(cache, gfp);
		sheaf = get_empty_sheaf(cache, gfp);
		if (!sheaf)
			break;
		*sheaf->top++ = object;
		if (percpu_replace_full(cache->index, sheaf, &old, gfp)) {
			if (old) {
				old->top = &old->slots[cache->capacity + 1];
				debug_valid(sheaf_shape_is_valid(cache, old));
				put_full_sheaf(cache, old, gfp);
			}
			return true;
		}
		sheaf->top--;
		put_empty_sheaf(cache, sheaf, gfp);
	}
	return slab_flush(cache, &object, 1, gfp);
}

void kmem_cache_drain_all(void)
{
	struct slab_sheaf *lists[KMEM_CACHES_MAX];

	lock_acquire(&slab_mutex);
	percpu_drain(lists);
	for (unsigned i = 1; i < KMEM_CACHES_MAX; i++)
		if (kmem_cache_state(&kmem_caches[i]) != KMEM_CACHE_UNUSED) {
			kmem_cache_flush_list(&kmem_caches[i], lists[i]);
			kmem_cache_flush_deferred(&kmem_caches[i]);
		}
	lock_release(&slab_mutex);
}

void kmem_cache_drain_this_cpu(struct kmem_cache *cache)
{
	struct slab_sheaf *spare = percpu_take_spare(cache->index, true, GFP_KERNEL), *tested;
	void *batch[SHEAF_CAPACITY_MAX];
	unsigned n = 0;

	tested = get_other_sheaf(cache, PERCPU_MAIN, GFP_KERNEL);
	if (tested) {
		tested->next = NULL;
		kmem_cache_flush_list(cache, tested);
	}
	if (spare) {
		spare->top = &spare->slots[cache->capacity + 1];
		spare->next = NULL;
		kmem_cache_flush_list(cache, spare);
	}
	while (n < cache->capacity && percpu_pop_slow(cache->index, &batch[n], GFP_KERNEL))
		n++;
	if (n)
		slab_flush(cache, batch, n, GFP_KERNEL);
}

static void shrink_one(struct kmem_cache *cache, enum reclaim what, bool drain)
{
	if (what == RECLAIM_EXCESS)
		return;
	if (drain && kmem_cache_has_slot(cache))
		kmem_cache_drain_this_cpu(cache);
	kmem_cache_flush_deferred(cache);
	kmem_cache_flush_list(cache, barn_shrink(cache, what == RECLAIM_ALL));
	if (what == RECLAIM_ALL)
		slab_drop_empty(cache);
}

static size_t shrink(enum reclaim what)
{
	bool drain = what == RECLAIM_ALL && percpu_prepare(GFP_KERNEL);
	bool all = lock_try(&slab_mutex);

	for_each_kmem_cache(cache) if (!(cache->flags & KMEM_CACHE_CREATED) ||
				       (all && kmem_cache_state(cache) == KMEM_CACHE_LIVE))
		shrink_one(cache, what, drain);
	if (all)
		lock_release(&slab_mutex);
	return 0;
}

void kmem_cache_init_room(void)
{
	static struct shrinker shrinker = { shrink, NULL };

	lock_init(&slab_mutex, LOCK_RANK_SLAB_MUTEX);
	shrinker_register(&shrinker);
}

void kmem_cache_defer(struct kmem_cache *cache, void *object)
{
	slab_defer(cache, object);
	/* pairs with kmem_cache_reap_deferred(): the cache's mark is up before this one */
	atomic_store(&kmem_cache_any_deferred, true);
}

void kmem_cache_reap_deferred(void)
{
	if (!lock_try(&slab_mutex))
		return;
	atomic_store(&kmem_cache_any_deferred, false);
	for_each_kmem_cache(cache) if (atomic_load(&cache->put_off)) slab_reap(cache);
	lock_release(&slab_mutex);
}

void kmem_cache_fork_child(void)
{
	for_each_kmem_cache(cache) if (cache->flags & KMEM_CACHE_DMA) slab_forget(cache);
}

void kmem_cache_stat(struct kmem_cache *cache, struct kmem_cache_stat *stat)
{
	lock_acquire(&cache->barn.lock);
	stat->cached_objs = 0;
	for (struct slab_sheaf *sheaf = cache->barn.full; sheaf; sheaf = sheaf->next)
		stat->cached_objs += sheaf_count(sheaf);
	lock_release(&cache->barn.lock);
	lock_acquire(&cache->lock);
	stat->active_objs = cache->nr_inuse;
	stat->num_slabs = cache->nr_slabs;
	/* what has slabs is a cache and keeps its sizes; they are read nowhere else for one that may go */
	stat->slab_bytes = stat->num_slabs ? stat->num_slabs * (GRANULE_SIZE << cache->order) : 0;
	stat->object_bytes = stat->num_slabs ? cache->size : 0;
	stat->num_objs = stat->num_slabs ? stat->num_slabs * cache->nr_objects : 0;
	lock_release(&cache->lock);
}
