/* SPDX-License-Identifier: MIT */
/* layout.h - a number that tells builds apart whose structs `kmem` would misread. Included by those who know all rooms. */
#ifndef KMALLOC_LAYOUT_H
#define KMALLOC_LAYOUT_H

#include "slab/kmem_cache.h"
#include "trace/format.h"

#include <stddef.h>

#define TRACE_LAYOUT                                                                               \
	((uint64_t)TRACE_VERSION << 48 | (uint64_t)sizeof(struct kmem_cache) << 32 |               \
	 (uint64_t)offsetof(struct kmem_cache, nr_inuse) << 20 |                                   \
	 (uint64_t)offsetof(struct kmem_cache, name) << 8 | KMEM_CACHES_MAX)

#endif
