/* SPDX-License-Identifier: MIT */
/* valid.h - the validators of the room; what they report is in lib/valid.h. */
#ifndef SLAB_VALID_H
#define SLAB_VALID_H

#include "slab/kmem_cache.h"

/* A sheaf in the caller's hands, or in a place that nobody changes now, with its top true. */
bool sheaf_is_valid(const struct kmem_cache *cache, const struct slab_sheaf *sheaf);
/*
 * The same but for the objects: those that the program freed may be wrong by the program's fault, which
 * the flush to their slabs reports.
 */
bool sheaf_shape_is_valid(const struct kmem_cache *cache, const struct slab_sheaf *sheaf);
/* The barn's lists, and with `deep` each sheaf on them. With the barn's lock. */
bool barn_is_valid(const struct kmem_cache *cache, bool deep);
/* A slab that the cache counts. With the cache's lock. */
bool slab_is_valid(const struct kmem_cache *cache, const struct page *slab);
/* All slabs of a cache, found by the owner map, and its counts. With the cache's lock. */
bool kmem_cache_is_valid(const struct kmem_cache *cache);
/* One CPU's area; all of them. With the areas stopped. */
bool percpu_area_is_valid(const uintptr_t *area);
bool percpu_is_valid(void);
/*
 * Is no object in two places? Of all that is cached, each object at most once, and none free in
 * its slab. With every lock held and the areas stopped. Marks objects, and takes the marks away.
 */
bool cached_objects_are_valid(void);
/* Every cache with its barn, under their locks, one after the other; takes those not held. */
bool kmem_caches_are_valid(void);

#endif
