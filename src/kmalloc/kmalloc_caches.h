/* SPDX-License-Identifier: MIT */
/* kmalloc_caches.h - the caches behind kmalloc() for flags that the classes of malloc() can't serve. */
#ifndef KMALLOC_KMALLOC_CACHES_H
#define KMALLOC_KMALLOC_CACHES_H

#include "slab/kmem_cache.h"

/* KMALLOC_SAMPLED: objects whose allocation a trace told of, so that it is told of their free (trace/sample.c) */
enum kmalloc_kind { KMALLOC_DMA, KMALLOC_CGROUP, KMALLOC_SAMPLED, NR_KMALLOC_KINDS };

/*
 * The cache of a kind for the class `index`. Made when first asked for, if gfp may sleep. NULL:
 * there is none yet, or no memory for it.
 */
struct kmem_cache *kmalloc_cache_of_kind(enum kmalloc_kind kind, unsigned index, gfp_t gfp);

#endif
