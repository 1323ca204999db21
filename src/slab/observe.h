/* SPDX-License-Identifier: MIT */
/*
 * observe.h - what slabs tell of: pages that come and go, and objects that do, in batches. Internal to the room.
 *
 * Called where no lock of the allocator is held but those of who drains. Any context that gfp states.
 */
#ifndef SLAB_OBSERVE_H
#define SLAB_OBSERVE_H

#include "slab/kmem_cache.h"
#include "trace/trace.h"

void slab_tell_pages(enum trace_type type, const struct page *page, gfp_t gfp);
void slab_tell_objects(enum trace_type type, const struct kmem_cache *cache, unsigned n, gfp_t gfp);

/* TRACE_MM_PAGE_*: a block of pages was allocated, or is going to be freed. */
static inline void slab_observe_pages(enum trace_type type, const struct page *page, gfp_t gfp)
{
	if (unlikely(percpu_diverted()))
		slab_tell_pages(type, page, gfp);
}

/* TRACE_SLAB_*: so many objects left the slabs of a cache, or came back there. */
static inline void slab_observe_objects(enum trace_type type, const struct kmem_cache *cache,
					unsigned n, gfp_t gfp)
{
	if (unlikely(percpu_diverted()))
		slab_tell_objects(type, cache, n, gfp);
}

#endif
