/* SPDX-License-Identifier: MIT */
/*
 * observe.c - calls become events, and counts.
 *
 * The kernel's counterparts are the trace_kmalloc() and so on in mm/slub.c, with its names: malloc() and its like are
 * kmalloc up to KMALLOC_MAX_SIZE and vmalloc above it, free() is kfree or vfree, new and delete too. Differences: an area is an
 * event of its own kind (the kernel has none for vmalloc()); free(NULL) is none; a block that realloc() finds large enough
 * is none, one that it moves or resizes is a free and an allocation.
 *
 * An allocation is told of after it, a free before it: so between the two events of an object, its address is
 * nobody else's.
 *
 * Sampling: what is sampled comes from caches of its own (kmalloc_caches.c), or is an area with a mark. So its free
 * is known for what it is, however much later, and no other free is looked at.
 *
 * No state, no locks; any context.
 */
#include "kmalloc/observe.h"

#include "kmalloc/context.h"
#include "kmalloc/kmalloc_caches.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/reserve.h"
#include "kmalloc/stat.h"
#include "lib/param.h"
#include "vmalloc/vmalloc.h"

/* malloc_trim(), if the reader asked for it. */
static void poll_trim(gfp_t gfp)
{
	uint32_t wanted = __atomic_load_n(&trace_control.want_trim, __ATOMIC_RELAXED);

	if (likely(wanted == __atomic_load_n(&trace_control.trimmed, __ATOMIC_RELAXED)) ||
	    !gfpflags_allow_blocking(gfp) || context_is_atomic())
		return;
	/* first, so that what the trim frees does not come here again */
	__atomic_store_n(&trace_control.trimmed, wanted, __ATOMIC_RELAXED);
	kmalloc_trim();
	if (trace_mode() == TRACE_OFF)
		__atomic_store_n(&percpu.divert[PERCPU_DIVERT_TRACE], 0, __ATOMIC_RELAXED);
}

static void poll(gfp_t gfp)
{
	trace_poll(gfp);
	poll_trim(gfp);
}

static enum trace_type alloc_type(const struct kmem_cache *cache)
{
	if (!cache)
		return TRACE_VMALLOC;
	return cache->flags & KMEM_CACHE_PROGRAM ? TRACE_KMEM_CACHE_ALLOC : TRACE_KMALLOC;
}

void observe_alloc(const void *object, const struct kmem_cache *cache, size_t size, gfp_t gfp,
		   const void *caller)
{
	bool area = !cache && vmalloc_owns(object);
	struct trace_event event = {
		.type = area || cache ? alloc_type(cache) : TRACE_KMALLOC,
		.cache = cache ? cache->id : 0,
		.ptr = object,
		.call_site = caller,
		.bytes_req = size,
		.gfp = gfp,
	};

	if (params.stat && cache)
		stat_count_alloc(cache->index, size);
	if (percpu_is_vfork_child())
		return;
	poll(gfp);
	switch (trace_mode()) {
	case TRACE_ALL:
		trace_write(&event);
		break;
	case TRACE_SAMPLE:
		if (area ? !trace_sample(size) : !cache || !(cache->flags & KMEM_CACHE_SAMPLED))
			break;
		if (area)
			vmalloc_mark_sampled(object);
		trace_write(&event);
		break;
	default:
		break;
	}
}

/* What kind of free that is; TRACE_NONE: of nothing that is ours. */
static enum trace_type free_type(const void *ptr, const struct kmem_cache *cache)
{
	if (cache)
		return cache->flags & KMEM_CACHE_PROGRAM ? TRACE_KMEM_CACHE_FREE : TRACE_KFREE;
	if (vmalloc_owns(ptr))
		return vmalloc_size(ptr) ? TRACE_VFREE : TRACE_NONE;
	return ptr && kvmalloc_size(ptr) ? TRACE_KFREE : TRACE_NONE;
}

static bool is_told_of(const void *ptr, const struct kmem_cache *cache)
{
	if (trace_mode() != TRACE_SAMPLE)
		return trace_mode() == TRACE_ALL;
	return cache ? (cache->flags & KMEM_CACHE_SAMPLED) != 0 : vmalloc_is_sampled(ptr);
}

void observe_free(const void *ptr, gfp_t gfp, const void *caller)
{
	const struct kmem_cache *cache = virt_to_cache(ptr);
	struct trace_event event = { .ptr = ptr, .call_site = caller, .gfp = gfp };

	if (params.stat)
		stat_count_free(page_owner(ptr));
	if (percpu_is_vfork_child())
		return;
	poll(gfp);
	if (!is_told_of(ptr, cache))
		return;
	event.type = free_type(ptr, cache);
	event.cache = cache ? cache->id : 0;
	if (event.type != TRACE_NONE)
		trace_write(&event);
}

struct kmem_cache *observe_sampled_cache(unsigned index, size_t size, gfp_t gfp)
{
	if (likely(trace_mode() != TRACE_SAMPLE) || percpu_is_vfork_child() || !trace_sample(size))
		return NULL;
	return kmalloc_cache_of_kind(KMALLOC_SAMPLED, index, gfp);
}
