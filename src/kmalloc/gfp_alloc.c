/* SPDX-License-Identifier: MIT */
/*
 * gfp_alloc.c - what the flags mean once the hit path is left.
 *
 * Mirrors the slow side of mm/slub.c's slab_alloc_node(), the retries of mm/page_alloc.c's
 * __alloc_pages_slowpath(), and mm/vmalloc.c's __vmalloc_node_range(). Differences: there is
 * no OOM killer, so "tries hard" is a count of rounds; the costly orders are not told from
 * others; an area is never given where the flags forbid to sleep.
 *
 * An allocation:
 *  1. flags that no cache knows are taken off, with a line (GFP_SLAB_BUG_MASK); the scopes of the
 *     thread are applied (context.c);
 *  2. where it may sleep: what others put off is done, the reserve filled, notes printed;
 *  3. the cache's miss path, which purges once before it says no, but for __GFP_NORETRY;
 *  4. where it may sleep, rounds: every CPU is drained and everything free returned, then 3 again. None with
 *     __GFP_NORETRY, one by default, RETRY_ROUNDS with __GFP_RETRY_MAYFAIL, without end with
 *     __GFP_NOFAIL; from the second on after a pause;
 *  5. with __GFP_HIGH or __GFP_MEMALLOC, but not __GFP_NOMEMALLOC: the reserve;
 *  6. a report, but for __GFP_NOWARN.
 * Objects of accounted caches, and areas with __GFP_ACCOUNT, are charged to the thread's group before 3; over its
 * limit the answer is NULL, but with __GFP_NOFAIL.
 * __GFP_ZERO clears the object, all of it, unless it is known to be zero.
 *
 * No state, no locks of its own; any context.
 */
#include "kmalloc/gfp_alloc.h"

#include "kmalloc/caller.h"
#include "kmalloc/kmalloc_caches.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/report.h"
#include "kmalloc/reserve.h"
#include "kmalloc/start.h"
#include "os/os.h"
#include "page/memcg.h"
#include "page/reclaim.h"
#include "slab/memcg.h"
#include "vmalloc/vmalloc.h"
#include "vmalloc/vmap_area.h"

#include <string.h>

#define GFP_SLAB_BUG_MASK (__GFP_DMA32 | __GFP_HIGHMEM | ~__GFP_BITS_MASK)
#define RETRY_ROUNDS 4U
#define PAUSE_MAX_MS 64U

static cold_path gfp_t fix_bug(gfp_t gfp, const void *caller)
{
	gfp_t bug = gfp & GFP_SLAB_BUG_MASK;
	char bad[GFP_FORMAT_MAX], good[GFP_FORMAT_MAX];

	gfp &= ~bug;
	if (context_first_time(caller, PLACE_BUG_MASK))
		report_fault(gfp, caller,
			     "Unexpected gfp: 0x%x (%s). Fixing up to gfp: 0x%x (%s). Fix your "
			     "code! Called from " REPORT_CALLER,
			     bug, gfp_format(bad, sizeof(bad), bug), gfp,
			     gfp_format(good, sizeof(good), gfp));
	return gfp;
}

/* NOFAIL where nothing may be waited for: nobody can promise that. */
static cold_path gfp_t fix_nofail(gfp_t gfp, const void *caller)
{
	if (context_first_time(caller, PLACE_NOFAIL))
		report_fault(gfp, caller,
			     "__GFP_NOFAIL where nothing may sleep can't be kept: it may fail. "
			     "Called from " REPORT_CALLER);
	return gfp & ~__GFP_NOFAIL;
}

static gfp_t apply_context(gfp_t gfp, const char *what, const void *caller)
{
	if (unlikely(gfp & GFP_SLAB_BUG_MASK))
		gfp = fix_bug(gfp, caller);
	gfp = context_apply(gfp, what, caller);
	if (unlikely((gfp & (__GFP_NOFAIL | __GFP_DIRECT_RECLAIM)) == __GFP_NOFAIL))
		gfp = fix_nofail(gfp, caller);
	return gfp;
}

/* What every call that may sleep does for those that may not. */
static void help_others(gfp_t gfp)
{
	kvmalloc_poll_deferred(gfp);
	if (!gfpflags_allow_blocking(gfp))
		return;
	reserve_fill();
	if (unlikely(report_is_pending()))
		report_flush();
}

static unsigned rounds_of(gfp_t gfp)
{
	if (gfp & __GFP_NOFAIL)
		return UINT32_MAX;
	if (gfp & __GFP_NORETRY)
		return 0;
	return gfp & __GFP_RETRY_MAYFAIL ? RETRY_ROUNDS : 1;
}

/* Before one more try: everything free goes back. False: no more tries. */
static bool next_round(gfp_t gfp, unsigned *round)
{
	unsigned rounds = rounds_of(gfp);

	if (!gfpflags_allow_blocking(gfp) || *round >= rounds)
		return false;
	if (*round)
		os_sleep_ms(min_size(1UL << min_size(*round, 16), PAUSE_MAX_MS));
	++*round;
	kvmalloc_poll_deferred(gfp);
	kmem_cache_drain_all();
	reclaim_run(RECLAIM_ALL);
	return true;
}

static bool may_use_reserve(gfp_t gfp)
{
	return gfp & (__GFP_HIGH | __GFP_MEMALLOC) && !(gfp & __GFP_NOMEMALLOC);
}

/* Caches whose objects the reserve can stand in for: it knows no zone and no owners. */
static cold_path void *alloc_reserve(const struct kmem_cache *cache)
{
	bool created = cache->flags & KMEM_CACHE_CREATED;
	void *object;

	if (cache->flags & (KMEM_CACHE_DMA | KMEM_CACHE_ACCOUNT))
		return NULL;
	object = reserve_alloc(cache->object_size, cache->align, created ? cache : NULL);
	if (object && cache->ctor)
		cache->ctor(object);
	return object;
}

static void *alloc_object(struct kmem_cache *cache, gfp_t gfp, bool *zeroed)
{
	unsigned round = 0;
	void *object;

	do
		object = kmem_cache_alloc_slow(cache, gfp, zeroed);
	while (unlikely(!object) && next_round(gfp, &round));
	if (unlikely(!object) && may_use_reserve(gfp)) {
		*zeroed = false;
		object = alloc_reserve(cache);
	}
	return object;
}

exported struct mem_cgroup *mem_cgroup_create(const char *name)
{
	/* a handler may have interrupted this very call */
	return context_is_atomic() || !kmalloc_start() ? NULL : memcg_create(name);
}

/* An object of an accounted cache, in the name of the thread's active group. */
static cold_path void *alloc_accounted(struct kmem_cache *cache, gfp_t gfp, bool *zeroed)
{
	struct mem_cgroup *group = memcg_active();
	void *object;

	if (!group)
		return alloc_object(cache, gfp, zeroed);
	if (!memcg_charge(group, cache->size, gfp))
		return NULL;
	object = alloc_object(cache, gfp, zeroed);
	if (likely(object))
		memcg_set_owner(cache, object, group);
	else
		memcg_uncharge(group, cache->size);
	return object;
}

/* What ksize() says: an object of the reserve may be larger than those of its cache. */
static size_t whole_size(const struct kmem_cache *cache, const void *object)
{
	return reserve_owns(object) ? reserve_size(object) : cache->object_size;
}

void *kmem_cache_alloc_gfp(struct kmem_cache *cache, gfp_t gfp, const void *caller)
{
	bool zeroed;
	void *object;

	if (unlikely(!kmalloc_start()))
		return NULL;
	gfp = apply_context(gfp, cache->flags & KMEM_CACHE_CREATED ? "kmem_cache_alloc" : "kmalloc",
			    caller);
	/* huge pages and locked memory do not come by waiting for them */
	if (unlikely(cache->flags & KMEM_CACHE_DMA && gfp & __GFP_NOFAIL))
		gfp = (gfp & ~__GFP_NOFAIL) | __GFP_RETRY_MAYFAIL;
	help_others(gfp);
	if (unlikely(cache->flags & KMEM_CACHE_ACCOUNT))
		object = alloc_accounted(cache, gfp, &zeroed);
	else
		object = alloc_object(cache, gfp, &zeroed);
	if (unlikely(!object))
		report_no_object(cache, gfp, caller);
	else if (gfp & __GFP_ZERO && !zeroed)
		memset(object, 0, whole_size(cache, object));
	return object;
}

/* One of those that are made when first asked for; that needs memory too, with the same flags. */
static cold_path struct kmem_cache *cache_of_kind(enum kmalloc_kind kind, unsigned index, gfp_t gfp)
{
	struct kmem_cache *cache;
	unsigned round = 0;

	if (unlikely(!kmalloc_start()))
		return NULL;
	gfp = current_gfp_context(gfp);
	do
		cache = kmalloc_cache_of_kind(kind, index, gfp);
	while (unlikely(!cache) && next_round(gfp, &round));
	return cache;
}

struct kmem_cache *kmalloc_cache_for(size_t size, gfp_t gfp)
{
	unsigned index = (unsigned)kmalloc_index(size);

	if (unlikely(gfp & __GFP_DMA))
		return cache_of_kind(KMALLOC_DMA, index, gfp);
	if (unlikely(gfp & __GFP_ACCOUNT && memcg_active()))
		return cache_of_kind(KMALLOC_CGROUP, index, gfp);
	return &kmem_caches[index];
}

void *kmalloc_no_cache(size_t size, gfp_t gfp, const void *caller)
{
	report_no_memory("kmalloc", size, apply_context(gfp, "kmalloc", caller), caller);
	return NULL;
}

static void *alloc_area(size_t size, size_t align, gfp_t gfp, bool *zeroed)
{
	unsigned round = 0;
	void *area;

	do
		area = vmalloc_area(size, align, gfp, zeroed);
	while (unlikely(!area) && next_round(gfp, &round));
	return area;
}

/* An area in the name of the thread's active group. */
static cold_path void *alloc_accounted_area(size_t size, size_t align, gfp_t gfp, bool *zeroed)
{
	struct mem_cgroup *group = memcg_active();
	size_t bytes = align_up(size, os_page_size);
	void *area;

	if (!group)
		return alloc_area(size, align, gfp, zeroed);
	if (bytes >> os_page_shift > UINT32_MAX || !memcg_charge(group, bytes, gfp))
		return NULL;
	area = alloc_area(size, align, gfp, zeroed);
	if (likely(area))
		vmalloc_set_owner(area, group, bytes);
	else
		memcg_uncharge(group, bytes);
	return area;
}

void *vmalloc_gfp(size_t size, size_t align, gfp_t gfp, const void *caller)
{
	bool zeroed;
	void *area;

	if (unlikely(!kmalloc_start()))
		return NULL;
	gfp = apply_context(gfp, "vmalloc", caller);
	help_others(gfp);
	if (unlikely(!gfpflags_allow_blocking(gfp))) {
		report_no_memory("vmalloc", size, gfp, caller);
		return NULL;
	}
	if (unlikely(size > vmap_end - vmap_base || align > vmap_end - vmap_base))
		gfp &= ~(__GFP_NOFAIL |
			 __GFP_ACCOUNT); /* it never will: there are not so many addresses */
	if (unlikely(gfp & __GFP_ACCOUNT))
		area = alloc_accounted_area(size, align, gfp, &zeroed);
	else
		area = alloc_area(size, align, gfp, &zeroed);
	if (unlikely(!area))
		report_no_memory("vmalloc", size, gfp, caller);
	else if (gfp & __GFP_ZERO && !zeroed)
		memset(area, 0, vmalloc_size(area)); /* vrealloc() counts on all of it */
	return area;
}
