/* SPDX-License-Identifier: MIT */
/*
 * slab.h - slabs: blocks of pages cut into objects, with a bitmap outside.
 * Internal to the room.
 */
#ifndef SLAB_SLAB_H
#define SLAB_SLAB_H

#include "slab/kmem_cache.h"

/*
 * Put up to cache->batch objects into an empty sheaf, in address order: the
 * lowest is on top. Takes a new slab only if there is no partial one. Returns how many.
 */
unsigned slab_refill(struct kmem_cache *cache, struct slab_sheaf *sheaf, gfp_t gfp);
/* One object; *zeroed as kmem_cache_alloc_slow(). NULL: no memory, or busy. */
void *slab_alloc_one(struct kmem_cache *cache, gfp_t gfp, bool *zeroed);
/*
 * Put n objects back. Dies with a report on an object that is free already or
 * not an object. False, and nothing done: the lock was busy and gfp forbids to wait.
 */
bool slab_flush(struct kmem_cache *cache, void *const *objects, unsigned n, gfp_t gfp);
/*
 * For caches that were created: mark an object, which stays in use, to be freed later, without a
 * lock; and free those so marked. A cache that has some says so in `put_off`.
 */
void slab_defer(struct kmem_cache *cache, void *object);
void slab_reap(struct kmem_cache *cache);
/* Call report() for the first `max` objects that are in use, under the lock; returns how many are. */
size_t slab_report(struct kmem_cache *cache, size_t max, kmem_cache_report *report);
/* Bytes of the bitmaps (and owners) of a slab, which stand in struct page if they fit. */
size_t slab_bitmap_bytes(const struct kmem_cache *cache);
/* The bits of a slab's objects whose free was put off. Only of a cache that was created. */
_Atomic uint64_t *slab_deferred_words(const struct kmem_cache *cache, const struct page *slab);
/*
 * Where the owner of an object of an accounted cache stands; a fresh object has owner 0. NULL: ptr is no
 * object of a slab of the cache. For live objects, by who holds them.
 */
_Atomic uint16_t *slab_owner(const struct kmem_cache *cache, const void *ptr);
/* In the child of fork, for a cache whose memory is the parent's: it has no slabs any more. */
void slab_forget(struct kmem_cache *cache);
/* Give back the empty slab that stayed as the cache's last partial one. May block. */
void slab_drop_empty(struct kmem_cache *cache);

#endif
