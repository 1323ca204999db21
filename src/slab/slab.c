/* SPDX-License-Identifier: MIT */
/*
 * slab.c - slabs and their bitmaps: batch refill and batch flush.
 *
 * Mirrors the slab part of mm/slub.c (refill_objects, __slab_free,
 * new_slab, discard_slab). Differences: which objects are free is a bitmap
 * outside the objects, under the cache's lock, instead of a list through them
 * changed by cmpxchg: free memory is never touched, a free object can't be
 * used to corrupt the allocator, and a second free is seen for certain here.
 *
 * A slab is on the partial list while at least one bit is set. "virgin"
 * is the first object never handed out: since objects leave in address order,
 * all from there on still are as the system gave them, so a slab from a clean
 * block can promise zero for them.
 *
 * Refill: 1. under the cache's lock, bits of the partial slabs, from the head of
 * the list; 2. if there was none: without the lock, a new slab; then 1 again.
 * Flush: one acquisition for the whole batch; slabs that became empty are taken
 * off under the lock and go back to the pages after it. One empty slab stays
 * if the cache has no other free object, so a program that allocates and
 * frees at the edge does not build and tear down.
 *
 * Locks: cache->lock (rank CACHE). Pages and metadata are asked for without it.
 * Corruption: one line that names the cache and the object, then death.
 */
#include "slab/slab.h"

#include "lib/bitmap.h"
#include "lib/die.h"
#include "lib/valid.h"
#include "page/meta.h"
#include "slab/valid.h"

#define OWN_BITS 128 /* objects whose bits fit into struct page */

static void *object_at(const struct kmem_cache *cache, const struct page *slab, unsigned index)
{
	return (char *)page_address(slab) + (size_t)index * cache->size;
}

static struct page *slab_of(const struct kmem_cache *cache, const void *object)
{
	size_t granule = page_granule_of(object) & ~((1UL << cache->order) - 1);

	return page_of_granule(granule);
}

static size_t bitmap_bytes(const struct kmem_cache *cache)
{
	return BITMAP_WORDS(cache->nr_objects) * sizeof(uint64_t);
}

static void slab_destroy(struct kmem_cache *cache, struct page *slab, gfp_t gfp)
{
	page_set_owner(slab, 0);
	/* no slab any more before its bitmap goes: who walks all slabs counts that once at most */
	page_set_state(slab, PAGE_BUSY);
	if (slab->bitmap != slab->own_bits)
		meta_free(slab->bitmap, bitmap_bytes(cache), gfp);
	page_free(slab, gfp);
}

static struct page *slab_create(struct kmem_cache *cache, gfp_t gfp)
{
	bool zeroed;
	struct page *slab = page_alloc(cache->order, gfp, &zeroed);
	uint64_t *bitmap;

	if (!slab)
		return NULL;
	bitmap = slab->own_bits;
	if (cache->nr_objects > OWN_BITS) {
		bitmap = meta_alloc(bitmap_bytes(cache), gfp);
		if (!bitmap) {
			page_free(slab, gfp);
			return NULL;
		}
	}
	bitmap_fill(bitmap, cache->nr_objects);
	/* who walks all slabs may read these, though the slab is nobody's yet */
	__atomic_store_n(&slab->bitmap, bitmap, __ATOMIC_RELAXED);
	__atomic_store_n(&slab->cache, cache->index, __ATOMIC_RELAXED);
	__atomic_store_n(&slab->inuse, 0, __ATOMIC_RELAXED);
	slab->virgin = 0;
	slab->zeroed = zeroed;
	page_set_state(slab, PAGE_SLAB);
	page_set_owner(slab, cache->index);
	return slab;
}

static void add_partial_locked(struct kmem_cache *cache, struct page *slab)
{
	list_add(&slab->list, &cache->partial);
	cache->nr_partial++;
}

static void remove_partial_locked(struct kmem_cache *cache, struct page *slab)
{
	list_del(&slab->list);
	cache->nr_partial--;
}

/* The next object of a slab that has one, lowest address first, from bit *from on. */
static void *take_object_locked(struct kmem_cache *cache, struct page *slab, unsigned *from,
				bool *zeroed)
{
	unsigned index = bitmap_next(slab->bitmap, cache->nr_objects, *from);

	if (index == cache->nr_objects)
		return NULL;
	bitmap_clear(slab->bitmap, index);
	slab->inuse++;
	*from = index + 1;
	*zeroed = slab->zeroed && index >= slab->virgin;
	if (index >= slab->virgin)
		slab->virgin = (uint16_t)(index + 1);
	return object_at(cache, slab, index);
}

/* Up to n objects of the partial slabs into out[], lowest first of each slab. */
static unsigned take_batch_locked(struct kmem_cache *cache, void **out, unsigned n, bool *zeroed)
{
	unsigned taken = 0;

	lock_assert_held(&cache->lock);
	while (taken < n && !list_empty(&cache->partial)) {
		struct page *slab = list_first_entry(&cache->partial, struct page, list);
		unsigned from = 0;

		while (taken < n) {
			void *object = take_object_locked(cache, slab, &from, zeroed);

			if (!object)
				break;
			out[taken++] = object;
		}
		if (slab->inuse == cache->nr_objects)
			remove_partial_locked(cache, slab);
		debug_valid(slab_is_valid(cache, slab));
	}
	cache->nr_inuse += taken;
	return taken;
}

static unsigned take_batch(struct kmem_cache *cache, void **out, unsigned n, gfp_t gfp,
			   bool *zeroed)
{
	unsigned taken;

	if (!lock_get(&cache->lock, gfp))
		return 0;
	taken = take_batch_locked(cache, out, n, zeroed);
	lock_release(&cache->lock);
	if (likely(taken))
		return taken;

	struct page *slab = slab_create(cache, gfp);

	if (!slab)
		return 0;
	if (!lock_get(&cache->lock, gfp)) {
		slab_destroy(cache, slab, gfp);
		return 0;
	}
	cache->nr_slabs++;
	add_partial_locked(cache, slab);
	taken = take_batch_locked(cache, out, n, zeroed);
	lock_release(&cache->lock);
	return taken;
}

unsigned slab_refill(struct kmem_cache *cache, struct slab_sheaf *sheaf, gfp_t gfp)
{
	void *batch[SHEAF_CAPACITY_MAX];
	bool zeroed;
	unsigned n = take_batch(cache, batch, cache->batch, gfp, &zeroed);

	for (unsigned i = n; i-- > 0;)
		*sheaf->top++ = batch[i];
	return n;
}

void *slab_alloc_one(struct kmem_cache *cache, gfp_t gfp, bool *zeroed)
{
	void *object;

	return take_batch(cache, &object, 1, gfp, zeroed) ? object : NULL;
}

bool kmem_cache_is_object(const struct kmem_cache *cache, const void *ptr)
{
	const struct page *slab = slab_of(cache, ptr);
	size_t offset = (uintptr_t)ptr - (uintptr_t)page_address(slab);
	unsigned index = kmem_cache_object_index(cache, offset);

	return index < cache->nr_objects && (size_t)index * cache->size == offset;
}

/* Mark one object free; returns its slab if that is empty now and should go. */
static struct page *put_object_locked(struct kmem_cache *cache, void *object)
{
	struct page *slab = slab_of(cache, object);
	size_t offset = (uintptr_t)object - (uintptr_t)page_address(slab);
	unsigned index = kmem_cache_object_index(cache, offset);

	lock_assert_held(&cache->lock);
	if (unlikely(page_state(slab) != PAGE_SLAB || slab->cache != cache->index))
		die("BUG %s: Object already free: %p, and its slab is gone (double free)",
		    cache->name, object);
	if (unlikely(index >= cache->nr_objects || (size_t)index * cache->size != offset))
		die("BUG %s: Invalid object pointer %p: not the start of an object (free of an "
		    "interior pointer)",
		    cache->name, object);
	if (unlikely(bitmap_test(slab->bitmap, index)))
		die("BUG %s: Object already free: %p (double free)", cache->name, object);

	bitmap_set(slab->bitmap, index);
	if (slab->inuse-- == cache->nr_objects)
		add_partial_locked(cache, slab);
	if (slab->inuse || cache->nr_partial == 1) {
		debug_valid(slab_is_valid(cache, slab));
		return NULL;
	}
	remove_partial_locked(cache, slab);
	cache->nr_slabs--;
	return slab;
}

bool slab_flush(struct kmem_cache *cache, void *const *objects, unsigned n, gfp_t gfp)
{
	struct page *gone[SHEAF_CAPACITY_MAX];
	unsigned nr_gone = 0;

	if (!lock_get(&cache->lock, gfp))
		return false;
	for (unsigned i = 0; i < n; i++) {
		struct page *slab = put_object_locked(cache, objects[i]);

		if (slab)
			gone[nr_gone++] = slab;
	}
	cache->nr_inuse -= n;
	lock_release(&cache->lock);
	for (unsigned i = 0; i < nr_gone; i++)
		slab_destroy(cache, gone[i], gfp);
	return true;
}

void slab_drop_empty(struct kmem_cache *cache)
{
	struct page *slab, *next;
	struct list_head gone;

	list_init(&gone);
	lock_acquire(&cache->lock);
	list_for_each_entry_safe(slab, next, &cache->partial, list) {
		if (slab->inuse)
			continue;
		remove_partial_locked(cache, slab);
		cache->nr_slabs--;
		list_add(&slab->list, &gone);
	}
	lock_release(&cache->lock);
	list_for_each_entry_safe(slab, next, &gone, list) {
		list_del(&slab->list);
		slab_destroy(cache, slab, GFP_KERNEL);
	}
}
