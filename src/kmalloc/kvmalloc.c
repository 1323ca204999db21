/* SPDX-License-Identifier: MIT */
/*
 * kvmalloc.c - the cut-over between the two paths, and what comes after a miss.
 *
 * Mirrors mm/slub.c's kmalloc/kfree/krealloc over mm/util.c's kvmalloc
 * family. Difference: kvmalloc() tries kmalloc first for any size; here the
 * size alone decides, and the vmalloc path takes a small request only when the slab
 * window has no memory left.
 *
 * Allocation, after the hit path missed:
 *  1. start the library, if this is the first request;
 *  2. up to KMALLOC_MAX_SIZE: the cache's miss path (slab/cache.c); above: an area;
 *  3. a cache that has no memory: an area all the same;
 *  4. in a handler that interrupted the allocator, nothing waits: when the tries
 *     of 2 failed, an emergency mapping.
 * Free, after the hit path missed:
 *  1. by the owner byte to its cache; by the address to the areas; by the table to
 *     the emergency mappings; else the pointer is foreign;
 *  2. where a handler may not wait, the object goes onto the deferred list,
 *     linked through its own first word, and the next miss that may wait frees it. An
 *     object of a cache that was created is marked beside its slab instead: it keeps its
 *     constructed state (slab/slab.c).
 *
 * The context is not passed in: see kmalloc/context.h. Where it is atomic, the reserve comes
 * before the emergency mapping, which is a system call and so not for an atomic scope.
 *
 * Races: the deferred list is pushed by compare-and-swap and taken whole by an
 * exchange, so no element is ever popped singly, and a reused address can't fool it.
 * No locks of its own.
 */
#include "kmalloc/kvmalloc.h"

#include "kmalloc/context.h"
#include "kmalloc/emergency.h"
#include "kmalloc/observe.h"
#include "kmalloc/recorded.h"
#include "kmalloc/reserve.h"
#include "kmalloc/start.h"
#include "kmalloc/valid.h"
#include "lib/die.h"
#include "lib/fmt.h"
#include "lib/param.h"
#include "lib/valid.h"
#include "page/reclaim.h"
#include "vmalloc/vmalloc.h"

#include <stdatomic.h>
#include <string.h>

#define SHORT_WAYS 16U

static _Thread_local uint32_t short_ways initial_exec;
static _Atomic(void *) deferred; /* freed objects, linked by their first word; NULL: none */

static void defer_free(void *ptr)
{
	void *head = atomic_load_explicit(&deferred, memory_order_relaxed);

	do
		memcpy(ptr, &head, sizeof(head));
	while (!atomic_compare_exchange_weak_explicit(&deferred, &head, ptr, memory_order_release,
						      memory_order_relaxed));
}

static cold_path void foreign_free(const void *ptr)
{
	switch (params.foreign_free) {
	case PARAM_FOREIGN_WARN:
		fmt_warn("free of %p, which is not from this allocator, is ignored", ptr);
		break;
	case PARAM_FOREIGN_PANIC:
		die("BUG free of %p, which is not from this allocator", ptr);
	default:
		break;
	}
}

static void free_object(struct kmem_cache *cache, void *ptr, gfp_t gfp)
{
	if (likely(kmem_cache_free_slow(cache, ptr, gfp)))
		return;
	if (cache->flags & KMEM_CACHE_CREATED)
		kmem_cache_defer(cache, ptr);
	else
		defer_free(ptr);
}

static void free_any(void *ptr, gfp_t gfp)
{
	unsigned owner = page_owner(ptr);

	if (likely(owner)) {
		free_object(page_cache(owner, ptr), ptr, gfp);
		return;
	}
	if (!ptr)
		return;
	if (vmalloc_owns(ptr)) {
		enum vfree result = vfree_area(ptr, gfp);

		if (result == VFREE_DONE)
			return;
		if (result == VFREE_BUSY && vmalloc_size(ptr)) {
			defer_free(ptr);
			return;
		}
	} else if (reserve_owns(ptr)) {
		reserve_free(ptr);
		return;
	} else if (emergency_free(ptr,
				  gfpflags_allow_blocking(gfp) ||
					  (gfp != GFP_NOWAIT && !(context_scope & SCOPE_ATOMIC)))) {
		return;
	}
	foreign_free(ptr);
}

void kvmalloc_walk_deferred(bool (*visit)(void *ptr, void *arg), void *arg)
{
	void *ptr = atomic_load_explicit(&deferred, memory_order_acquire);

	while (ptr) {
		void *next;

		memcpy(&next, ptr, sizeof(next));
		if (!visit(ptr, arg))
			return;
		ptr = next;
	}
}

const void *kvmalloc_deferred_place(void)
{
	return &deferred;
}

static cold_path void free_deferred(gfp_t gfp)
{
	void *ptr = atomic_exchange_explicit(&deferred, NULL, memory_order_acquire);

	while (ptr) {
		void *next;

		memcpy(&next, ptr, sizeof(next));
		free_any(ptr, gfp);
		ptr = next;
	}
}

/*
 * On the way of each miss. What can't be freed without waiting comes back onto the list; a handler that
 * interrupted the allocator does not try, since what it needs is likely held below it.
 */
void kvmalloc_poll_deferred(gfp_t gfp)
{
	observe_poll_probes();
	if (unlikely(atomic_load_explicit(&deferred, memory_order_relaxed)) && !lock_in_atomic())
		free_deferred(gfp);
	if (!gfpflags_allow_blocking(gfp))
		return;
	if (unlikely(reserve_is_ready()))
		reserve_fill();
	if (unlikely(atomic_load_explicit(&kmem_cache_any_deferred, memory_order_relaxed)))
		kmem_cache_reap_deferred();
	debug_valid(valid_poll());
}

/*
 * While calls are diverted: look at the pointer and tell of the free, unless it can't be of a sample and nobody asks for
 * others: those have no slot. True: it would have been a hit, and is done.
 */
static bool observed_push(void *ptr, gfp_t gfp, const void *caller)
{
	unsigned owner = page_owner(ptr);
	bool has_slot = owner && owner != KMEM_CACHE_SHARED;

	if (!has_slot || !observe_samples_only()) {
		if (has_slot)
			kmem_cache_check_object(&kmem_caches[owner], ptr);
		observe_free(ptr, gfp, caller);
	}
	if (!has_slot)
		return false;
	/* frees find back to their hit path while samples are taken */
	if (percpu_diverted_for_samples())
		percpu_prepare(gfp);
	return percpu_push_slow(owner, ptr, gfp);
}

static void free_missed(void *ptr, gfp_t gfp)
{
	kvmalloc_poll_deferred(gfp);
	free_any(ptr, gfp);
}

static void free_slow(void *ptr, gfp_t gfp, const void *caller)
{
	if (!observed() || !ptr || !observed_push(ptr, gfp, caller))
		free_missed(ptr, gfp);
}

static void free_slow_here(void *ptr, const void *caller)
{
	free_slow(ptr, context_gfp(), caller);
}

/* Not cold: while calls are recorded each comes here. */
static busy_path void free_recorded(void *ptr, const void *caller)
{
	switch (kfree_recorded(ptr, caller)) {
	case RECORDED_FREE_DONE:
		return;
	case RECORDED_FREE_NOT:
		free_slow_here(ptr, caller);
		return;
	case RECORDED_FREE_TOLD:
		free_missed(ptr, GFP_KERNEL);
	}
}

cold_path void kvfree_slow(void *ptr, const void *caller)
{
	if (percpu_diverted_for_all())
		free_recorded(ptr, caller);
	else
		free_slow_here(ptr, caller);
}

cold_path void kfree_nowait_slow(void *ptr, const void *caller)
{
	free_slow(ptr, GFP_NOWAIT, caller);
}

/* What all objects of a cache are aligned to. */
static size_t natural_alignment(const struct kmem_cache *cache)
{
	return cache->size & -cache->size;
}

static void *alloc_small(unsigned index, gfp_t gfp, bool *zeroed)
{
	struct kmem_cache *cache = &kmem_caches[index], *sampled = NULL;
	void *object;

	if (observed())
		sampled = observe_sampled_cache(index, gfp);
	object = unlikely(sampled != NULL) ? kmem_cache_alloc_slow(sampled, gfp, zeroed) : NULL;
	/* a sampled one has no sheaves: what it can't give its class may */
	if (likely(!object))
		object = kmem_cache_alloc_slow(cache, gfp, zeroed);
	if (likely(object) || !gfpflags_allow_blocking(gfp))
		return object;
	return vmalloc_area(cache->object_size, natural_alignment(cache), gfp, zeroed);
}

/* Where nothing may be waited for, and the caches have nothing. */
static cold_path void *alloc_last(size_t size, size_t align, bool *zeroed)
{
	void *object = reserve_alloc(size, align, NULL);

	*zeroed = !object;
	if (object || context_scope & SCOPE_ATOMIC)
		return object;
	return emergency_alloc(size, align);
}

static void *alloc_class(unsigned index, bool *zeroed)
{
	gfp_t gfp = context_gfp();
	void *object;

	kvmalloc_poll_deferred(gfp);
	object = alloc_small(index, gfp, zeroed);
	if (likely(object) || gfpflags_allow_blocking(gfp))
		return object;
	return alloc_last(kmem_caches[index].object_size, natural_alignment(&kmem_caches[index]),
			  zeroed);
}

static void *alloc_area(size_t size, size_t align, bool *zeroed)
{
	gfp_t gfp = context_gfp();
	void *area;

	kvmalloc_poll_deferred(gfp);
	if (context_scope & SCOPE_ATOMIC)
		return alloc_last(size, align, zeroed);
	area = vmalloc_area(size, align, gfp, zeroed);
	if (likely(area) || gfpflags_allow_blocking(gfp))
		return area;
	return alloc_last(size, align, zeroed);
}

/* The allocation, on its way out. */
static void *told(void *object, size_t size, const void *caller)
{
	if (observed() && object)
		observe_alloc(object, virt_to_cache(object), size, context_gfp(), caller);
	return object;
}

/* While calls are diverted: what would have been a hit, told of. NULL: none, and nothing was told or counted. */
static void *observed_pop(size_t size, const void *caller)
{
	unsigned index = size > KMALLOC_MAX_SIZE ? 0 : (unsigned)kmalloc_index(size);
	void *object;

	if (!index || (observe_samples() && trace_sample_is_due(kmem_caches[index].size)) ||
	    !percpu_pop_slow(PERCPU_MAIN + index, &object, context_gfp()))
		return NULL;
	if (observe_samples())
		trace_sample(kmem_caches[index].size);
	return observe_samples_only() ? object : told(object, size, caller);
}

/*
 * While samples are taken, and nothing else: a miss that is hardly more than a hit. NULL: it is more, as now and then it has to be,
 * for what a miss does besides.
 */
void *kvmalloc_tested(size_t size)
{
	if (size > KMALLOC_MAX_SIZE || !(++short_ways % SHORT_WAYS) || !percpu_hits_are_tested() ||
	    probes_armed())
		return NULL;
	return kmem_cache_alloc_tested(&kmem_caches[kmalloc_index(size)]);
}

void *kvmalloc_missed(size_t size, bool *zeroed, const void *caller)
{
	bool unused;

	if (!zeroed)
		zeroed = &unused;
	*zeroed = true;
	if (unlikely(!kmalloc_start()))
		return emergency_alloc(size, KMALLOC_MIN_SIZE);
	if (size <= KMALLOC_MAX_SIZE)
		return told(alloc_class((unsigned)kmalloc_index(size), zeroed), size, caller);
	return told(alloc_area(size, 0, zeroed), size, caller);
}

void *kvmalloc_observed(size_t size, bool *zeroed, const void *caller)
{
	void *object = observed_pop(size, caller);

	if (!object)
		return kvmalloc_missed(size, zeroed, caller);
	if (zeroed)
		*zeroed = false;
	return object;
}

/* Not cold: while calls are recorded, those of realloc() that move come here. */
static busy_path void *alloc_recorded(size_t size, const void *caller, uintptr_t caller_sp)
{
	return kmalloc_recorded(size, caller, caller_sp);
}

static cold_path void *alloc_slow(size_t size, bool *zeroed, const void *caller,
				  uintptr_t caller_sp)
{
	void *object;

	if (!observed())
		return kvmalloc_missed(size, zeroed, caller);
	object = percpu_diverted_for_all() ? alloc_recorded(size, caller, caller_sp) :
					     kvmalloc_tested(size);
	if (object) {
		if (zeroed)
			*zeroed = false;
		return object;
	}
	if (observed_each())
		return kvmalloc_observed(size, zeroed, caller);
	return kvmalloc_missed(size, zeroed, caller);
}

cold_path void *kvmalloc_slow(size_t size, bool *zeroed, const void *caller)
{
	return alloc_slow(size, zeroed, caller, 0);
}

/*
 * The first class from that of `size` on whose objects are all aligned; 0: none. A slab
 * is aligned to its size, so an object is where its class size is a multiple.
 */
static unsigned aligned_index(size_t size, size_t align)
{
	unsigned index;

	if (size > KMALLOC_MAX_SIZE || align > KMALLOC_TOP_BLOCK)
		return 0;
	for (index = (unsigned)kmalloc_index(size); index < NR_KMALLOC_CLASSES; index++)
		if (!(kmem_caches[index].size & (align - 1)))
			return index;
	return 0;
}

void *kvmalloc_aligned(size_t size, size_t align, const void *caller)
{
	bool zeroed;
	void *object;
	unsigned index;

	if (align <= KMALLOC_MIN_SIZE)
		return kmalloc_hit(size, &object) ? object : kvmalloc_slow(size, NULL, caller);
	if (unlikely(!kmalloc_start()))
		return emergency_alloc(size, align);
	index = aligned_index(size, align);
	if (!index)
		return told(alloc_area(size, align, &zeroed), size, caller);
	if (likely(percpu_pop(index, &object)))
		return object;
	return told(alloc_class(index, &zeroed), size, caller);
}

cold_path void *kvmalloc_zeroed_slow(size_t size, const void *caller)
{
	bool zeroed;
	void *object = kvmalloc_slow(size, &zeroed, caller);

	if (!object || zeroed)
		return object;
	if (size <= KMALLOC_MAX_SIZE)
		size = kmem_caches[kmalloc_index(size)].object_size;
	return memset(object, 0, size);
}

size_t kvmalloc_size(const void *ptr)
{
	unsigned owner = page_owner(ptr);

	if (likely(owner))
		return page_cache(owner, ptr)->object_size;
	if (vmalloc_owns(ptr))
		return vmalloc_size(ptr);
	if (reserve_owns(ptr))
		return reserve_size(ptr);
	return emergency_size(ptr);
}

/* May the object stay where it is? It does down to half of its size. */
static bool fits(size_t old_size, size_t size)
{
	return size <= old_size && size > old_size / 2;
}

static void *alloc_and_copy(void *ptr, size_t old_size, size_t size, const void *caller,
			    uintptr_t caller_sp)
{
	void *object;

	if (!kmalloc_hit(size, &object))
		object = alloc_slow(size, NULL, caller, caller_sp);
	if (!object)
		return size <= old_size ? ptr : NULL; /* what gets smaller may stay */
	memcpy(object, ptr, min_size(old_size, size));
	if (unlikely(!kfree_hit(ptr)))
		kvfree_slow(ptr, caller);
	return object;
}

/* As resize_area(), told of as a free and an allocation. The area is the caller's, whatever comes between. */
static cold_path void *observed_resize(void *ptr, size_t old_size, size_t size, const void *caller)
{
	void *area;

	observe_free(ptr, context_gfp(), caller);
	area = vrealloc_area(ptr, size, context_gfp());
	observe_alloc(area ? area : ptr, NULL, area ? size : old_size, context_gfp(), caller);
	return area;
}

static void *resize_area(void *ptr, size_t old_size, size_t size, const void *caller)
{
	if (observed())
		return observed_resize(ptr, old_size, size, caller);
	return vrealloc_area(ptr, size, context_gfp());
}

void *kvmalloc_resize_at(void *ptr, size_t size, const void *caller, uintptr_t caller_sp)
{
	size_t old_size = kvmalloc_size(ptr);

	if (unlikely(!old_size)) {
		foreign_free(ptr);
		return NULL;
	}
	if (fits(old_size, size) || (old_size <= KMALLOC_MIN_SIZE && size <= KMALLOC_MIN_SIZE))
		return ptr;
	if (old_size > KMALLOC_MAX_SIZE && size > KMALLOC_MAX_SIZE && vmalloc_owns(ptr)) {
		void *area = resize_area(ptr, old_size, size, caller);

		/* it moves what it can without waiting; a copy is the last way */
		if (area || !context_is_atomic())
			return area;
	}
	return alloc_and_copy(ptr, old_size, size, caller, caller_sp);
}

bool kmalloc_trim(void)
{
	bool gave;

	if (!kmalloc_start() || context_is_atomic())
		return false;
	free_deferred(GFP_KERNEL);
	emergency_trim();
	kmem_cache_drain_all();
	gave = reclaim_run(RECLAIM_ALL) > 0;
	debug_valid(params.valid_shift < 64 && kmalloc_is_valid());
	return gave;
}
