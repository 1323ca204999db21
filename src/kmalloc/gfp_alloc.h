/* SPDX-License-Identifier: MIT */
/*
 * gfp_alloc.h - allocation as flags ask for it: what the kernel's calls come to when their
 * hit path missed, or when the flags ask for more than a hit gives.
 *
 * `caller` is the return address of the call in the program, for reports.
 */
#ifndef KMALLOC_GFP_ALLOC_H
#define KMALLOC_GFP_ALLOC_H

#include "kmalloc/context.h"
#include "slab/kmem_cache.h"

/* What kmalloc() comes to when its hit path missed. */
void *kmalloc_slow(size_t size, gfp_t gfp, const void *caller);
/* An object of the cache. NULL: no memory, or none as the flags demand. Starts the library. */
void *kmem_cache_alloc_gfp(struct kmem_cache *cache, gfp_t gfp, const void *caller);
/* The cache for `size` bytes, at most KMALLOC_MAX_SIZE, with these flags. NULL: there is none. */
struct kmem_cache *kmalloc_cache_for(size_t size, gfp_t gfp);
/* Where that gives none: the report. Returns NULL. */
void *kmalloc_no_cache(size_t size, gfp_t gfp, const void *caller);
/* An area of `size` bytes aligned to `align` (0: page). NULL: no memory, or not in this context. */
void *vmalloc_gfp(size_t size, size_t align, gfp_t gfp, const void *caller);

#endif
