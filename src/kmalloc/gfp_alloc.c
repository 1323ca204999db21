/* SPDX-License-Identifier: MIT */
/*
 * gfp_alloc.c - what the flags mean once the hit path is left.
 *
 * Mirrors the slow side of mm/slub.c's slab_alloc_node() and mm/vmalloc.c's
 * __vmalloc_node_range(). A thread that is inside the allocator itself (a handler that
 * interrupted it) may not wait, whatever it asked for.
 *
 * No state, no locks of its own; any context.
 */
#include "kmalloc/gfp_alloc.h"

#include "kmalloc/size_class.h"
#include "kmalloc/start.h"
#include "vmalloc/vmalloc.h"

#include <string.h>

gfp_t gfp_in_context(gfp_t gfp)
{
	return lock_in_atomic() ? gfp & ~__GFP_DIRECT_RECLAIM : gfp;
}

struct kmem_cache *kmalloc_cache_for(size_t size, gfp_t gfp)
{
	(void)gfp;
	return &kmem_caches[kmalloc_index(size)];
}

void *kmem_cache_alloc_gfp(struct kmem_cache *cache, gfp_t gfp, const void *caller)
{
	bool zeroed;
	void *object;

	(void)caller;
	if (unlikely(!kmalloc_start()))
		return NULL;
	object = kmem_cache_alloc_slow(cache, gfp_in_context(gfp), &zeroed);
	if (object && (gfp & __GFP_ZERO) && !zeroed)
		memset(object, 0, cache->object_size);
	return object;
}

void *vmalloc_gfp(size_t size, size_t align, gfp_t gfp, const void *caller)
{
	bool zeroed;
	void *area;

	(void)caller;
	if (unlikely(!kmalloc_start()))
		return NULL;
	area = vmalloc_area(size, align, gfp_in_context(gfp), &zeroed);
	if (area && (gfp & __GFP_ZERO) && !zeroed)
		memset(area, 0, size);
	return area;
}
