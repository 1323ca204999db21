/* SPDX-License-Identifier: MIT */
/*
 * observe.c - pages and batches of objects become events and probes.
 *
 * The kernel's counterparts are trace_mm_page_alloc() and trace_mm_page_free() in mm/page_alloc.c. Differences: only blocks that
 * become slabs are told of, as no others are handed out; what slabs and sheaves exchange is an event too.
 *
 * Written only where all calls are (TRACE_ALL): a sampling trace is about the program's objects. Such an event is told of
 * without waiting for the reader where this thread holds a lock, as a drain does: then it may be lost, and counted.
 *
 * No state, no locks.
 */
#include "slab/observe.h"

#include "trace/probes.h"

#define ORDER_OF_GRANULE (GRANULE_SHIFT - 12) /* in the kernel's pages, of 4 KiB */

static void tell(struct trace_event *event, const char *name, size_t order)
{
	if (percpu_is_vfork_child())
		return;
	probe_event(event, name, order);
	if (trace_mode() != TRACE_ALL)
		return;
	if (lock_in_atomic())
		event->gfp &= ~__GFP_DIRECT_RECLAIM;
	trace_write(event);
}

cold_path void slab_tell_pages(enum trace_type type, const struct page *page, gfp_t gfp)
{
	struct trace_event event = {
		.type = type,
		.ptr = page_address(page),
		.bytes_req = GRANULE_SIZE << page->order,
		.gfp = gfp,
	};

	tell(&event, NULL, page->order + (size_t)ORDER_OF_GRANULE);
}

cold_path void slab_tell_objects(enum trace_type type, const struct kmem_cache *cache, unsigned n,
				 gfp_t gfp)
{
	struct trace_event event = {
		.type = type,
		.cache = cache->id,
		.bytes_req = n,
		.gfp = gfp,
	};

	if (n)
		tell(&event, cache->name, 0);
}
