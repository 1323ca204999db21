/* SPDX-License-Identifier: MIT */
/*
 * barn.h - a bounded store of sheaves behind the CPUs of one cache.
 */
#ifndef SLAB_BARN_H
#define SLAB_BARN_H

#include "slab/kmem_cache.h"

#define BARN_MAX_EMPTY 10

/* A full sheaf, or NULL: none, or the lock is busy and gfp forbids to wait. */
struct slab_sheaf *barn_get_full(struct kmem_cache *cache, gfp_t gfp);
struct slab_sheaf *barn_get_empty(struct kmem_cache *cache, gfp_t gfp);
/* Store a sheaf. False: the barn is at its limit, or busy. The caller keeps it. */
bool barn_put_full(struct kmem_cache *cache, struct slab_sheaf *sheaf, gfp_t gfp);
bool barn_put_empty(struct kmem_cache *cache, struct slab_sheaf *sheaf, gfp_t gfp);
/*
 * Take out what was not needed since the last call (all = false), or all; a list
 * of sheaves, full and empty mixed.
 */
struct slab_sheaf *barn_shrink(struct kmem_cache *cache, bool all);

#endif
