/* SPDX-License-Identifier: MIT */
/*
 * places.c - tell who looks from outside where things are.
 *
 * The kernel's counterpart is vmcoreinfo: a list of addresses by which a debugger finds its way in another's memory. Here the
 * reader is `kmem` (tools/kmem/remote.h), which knows the structs, as it is built from the same headers (kmalloc/layout.h).
 *
 * Written once, at the start, before the control block is made known (trace_init()). No locks.
 */
#include "kmalloc/places.h"

#include "kmalloc/kvmalloc.h"
#include "lib/param.h"
#include "page/account.h"
#include "slab/kmem_cache.h"
#include "trace/format.h"
#include "vmalloc/account.h"

#ifndef KMALLOC_VERSION
#define KMALLOC_VERSION "unknown" /* the build defines it */
#endif

static struct trace_places all;

static void note_pages(void)
{
	struct page_places pages;

	page_places(&pages);
	all.window = (uintptr_t)&window;
	all.free_dirty = (uintptr_t)pages.free_dirty;
	all.free_clean = (uintptr_t)pages.free_clean;
	all.nr_online = (uintptr_t)pages.nr_online;
	all.purged = (uintptr_t)pages.purged;
	all.meta_mapped = (uintptr_t)pages.meta_mapped;
	all.meta_regions = (uintptr_t)pages.meta_regions;
}

static void note_areas(void)
{
	struct vmalloc_places areas;

	vmalloc_places(&areas);
	all.vmap_base = (uintptr_t)areas.base;
	all.vmap_top = (uintptr_t)areas.top;
	all.vmap_leaves = (uintptr_t)areas.leaves;
	all.nr_leaves = areas.nr_leaves;
	all.leaf_bytes = areas.leaf_bytes;
	all.vmap_lazy_bytes = (uintptr_t)areas.lazy_bytes;
	all.vmap_nr_lazy = (uintptr_t)areas.nr_lazy;
	all.vmalloc_counts = (uintptr_t)areas.counts;
}

const struct trace_places *places(void)
{
	const uintptr_t *offsets;
	const unsigned *number;

	percpu_places(&offsets, &number);
	all.version = (uintptr_t)KMALLOC_VERSION;
	all.mode_name = (uintptr_t)percpu_mode_name();
	all.mode_reason = (uintptr_t)percpu_mode_reason();
	all.params = (uintptr_t)&params;
	all.kmem_caches = (uintptr_t)kmem_caches;
	all.percpu = (uintptr_t)&percpu;
	all.areas = (uintptr_t)offsets;
	all.nr_areas = (uintptr_t)number;
	all.deferred = (uintptr_t)kvmalloc_deferred_place();
	note_pages();
	note_areas();
	return &all;
}
