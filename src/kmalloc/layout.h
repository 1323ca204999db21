/* SPDX-License-Identifier: MIT */
/*
 * layout.h - a number that tells builds apart whose structs `kmem` would misread. Included by those who know all rooms.
 *
 * It mixes the size of each struct that is read from outside, and the offset of its last field that is.
 */
#ifndef KMALLOC_LAYOUT_H
#define KMALLOC_LAYOUT_H

#include "lib/param.h"
#include "page/page_internal.h"
#include "slab/kmem_cache.h"
#include "trace/format.h"
#include "vmalloc/vmalloc_internal.h"

#include <stddef.h>

#define TRACE_MIX(sum, number) ((sum)*0x9e3779b97f4a7c15UL + (uint64_t)(number))
#define TRACE_MIX_FIELD(sum, type, field)                                                          \
	TRACE_MIX(TRACE_MIX(sum, sizeof(type)), offsetof(type, field))

static inline uint64_t trace_layout(void)
{
	uint64_t sum = TRACE_VERSION;

	sum = TRACE_MIX_FIELD(sum, struct kmem_cache, nr_inuse);
	sum = TRACE_MIX_FIELD(sum, struct kmem_cache, name);
	sum = TRACE_MIX(sum, KMEM_CACHES_MAX);
	sum = TRACE_MIX(sum, PERCPU_WORDS);
	sum = TRACE_MIX_FIELD(sum, struct percpu, backing);
	sum = TRACE_MIX_FIELD(sum, struct slab_sheaf, slots);
	sum = TRACE_MIX_FIELD(sum, struct page, dma);
	sum = TRACE_MIX_FIELD(sum, struct page_window, max_granules);
	sum = TRACE_MIX(sum, META_REGION_BYTES);
	sum = TRACE_MIX_FIELD(sum, struct meta_region, start);
	sum = TRACE_MIX_FIELD(sum, struct vmap_area, charged);
	sum = TRACE_MIX_FIELD(sum, struct vmalloc_counts, purged);
	sum = TRACE_MIX_FIELD(sum, struct params, trace_sample);
	return TRACE_MIX(sum, sizeof(struct trace_places));
}

#define TRACE_LAYOUT trace_layout()

#endif
