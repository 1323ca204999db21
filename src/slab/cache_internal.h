/* SPDX-License-Identifier: MIT */
/* cache_internal.h - what cache.c and create.c share. Internal to the room. */
#ifndef SLAB_CACHE_INTERNAL_H
#define SLAB_CACHE_INTERNAL_H

#include "slab/kmem_cache.h"

/*
 * Creation, destruction, and whatever goes over caches that may be destroyed: drains,
 * shrinkers, deferred frees. Rank SLAB_MUTEX, the lowest.
 */
extern struct lock slab_mutex;

/* Objects in a sheaf of a cache of that size. */
unsigned kmem_cache_capacity_for(size_t size);
/*
 * Make `cache` live, once everything else in it is set, with sheaves of `capacity`; the
 * first time it also joins the lists of locks and of caches. Under slab_mutex, or at start.
 */
void kmem_cache_enliven(struct kmem_cache *cache, unsigned capacity);
/* Flush a list of sheaves with valid tops and free them. May block. */
void kmem_cache_flush_list(struct kmem_cache *cache, struct slab_sheaf *list);
/*
 * What this CPU holds of a cache with a slot goes to the slabs, in restartable steps: no
 * barrier is needed. May block.
 */
void kmem_cache_drain_this_cpu(struct kmem_cache *cache);

/* A sheaf that nobody has a place for waits for who may block. Any context. */
void kmem_cache_defer_sheaf(struct kmem_cache *cache, struct slab_sheaf *sheaf);
/* Flush those. May block. */
void kmem_cache_flush_deferred(struct kmem_cache *cache);

#endif
