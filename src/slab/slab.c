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
 * Caches that were created (kmem_cache_create()) may have a constructor: their free
 * objects keep their state, so a free that can't have the lock may not link the object
 * through itself. It sets a bit for it in a second bitmap, behind the first, by one atomic step
 * (slab_defer()); the object stays in use, so its slab stays. After that step the slab
 * is not touched any more, only the cache's mark, which is type-stable. slab_reap() takes
 * the mark down first, then the bits, under the lock: a bit that comes later comes with
 * the mark up. To find such slabs, those caches keep a list of full ones.
 *
 * Accounted caches have a third array there: the owner of each object (slab/memcg.c).
 *
 * Locks: cache->lock (rank CACHE). Pages and metadata are asked for without it.
 * Corruption: one line that names the cache and the object, then death.
 */
#include "slab/slab.h"

#include "lib/bitmap.h"
#include "lib/die.h"
#include "lib/valid.h"
#include "page/meta.h"
#include "page/zone_dma.h"
#include "slab/memcg.h"
#include "slab/observe.h"
#include "slab/valid.h"

#define OWN_WORDS 2 /* of bitmap that fit into struct page */

static void *object_at(const struct kmem_cache *cache, const struct page *slab, unsigned index)
{
	return (char *)page_address(slab) + (size_t)index * cache->size;
}

static struct page *slab_of(const struct kmem_cache *cache, const void *object)
{
	size_t granule = page_granule_of(object) & ~((1UL << cache->order) - 1);

	return page_of_granule(granule);
}

static bool is_created(const struct kmem_cache *cache)
{
	return cache->flags & KMEM_CACHE_CREATED;
}

static bool is_accounted(const struct kmem_cache *cache)
{
	return cache->flags & KMEM_CACHE_ACCOUNT;
}

/* The bits of free objects, and behind them, if it was created, those of deferred frees. */
static size_t bitmap_words(const struct kmem_cache *cache)
{
	return BITMAP_WORDS(cache->nr_objects) * (is_created(cache) ? 2U : 1U);
}

size_t slab_bitmap_bytes(const struct kmem_cache *cache)
{
	return bitmap_words(cache) * sizeof(uint64_t) +
	       (is_accounted(cache) ? cache->nr_objects * sizeof(uint16_t) : 0);
}

_Atomic uint64_t *slab_deferred_words(const struct kmem_cache *cache, const struct page *slab)
{
	return (_Atomic uint64_t *)&slab->bitmap[BITMAP_WORDS(cache->nr_objects)];
}

/* From the zone that the cache's flags name. */
static struct page *take_pages(const struct kmem_cache *cache, gfp_t gfp, bool *zeroed)
{
	struct page *page;

	*zeroed = false;
	if (unlikely(cache->flags & KMEM_CACHE_DMA))
		page = zone_dma_alloc(cache->order, gfp);
	else
		page = page_alloc(cache->order, gfp, zeroed);
	if (likely(page))
		slab_observe_pages(TRACE_MM_PAGE_ALLOC, page, gfp);
	return page;
}

static void put_pages(const struct kmem_cache *cache, struct page *page, gfp_t gfp)
{
	slab_observe_pages(TRACE_MM_PAGE_FREE, page, gfp);
	if (unlikely(cache->flags & KMEM_CACHE_DMA))
		zone_dma_free(page);
	else
		page_free(page, gfp);
}

static void slab_destroy(struct kmem_cache *cache, struct page *slab, gfp_t gfp)
{
	page_set_owner(slab, 0);
	/* no slab any more before its bitmap goes: who walks all slabs counts that once at most */
	page_set_state(slab, PAGE_BUSY);
	if (slab->bitmap != slab->own_bits)
		meta_free(slab->bitmap, slab_bitmap_bytes(cache), gfp);
	put_pages(cache, slab, gfp);
}

/* The program's function; no lock is held. */
static void construct_objects(const struct kmem_cache *cache, const struct page *slab)
{
	for (unsigned i = 0; i < cache->nr_objects; i++)
		cache->ctor(object_at(cache, slab, i));
}

/* The bits of its objects, all free. NULL: no memory. */
static uint64_t *create_bitmap(const struct kmem_cache *cache, struct page *slab, gfp_t gfp)
{
	uint64_t *bitmap = slab->own_bits;

	if (slab_bitmap_bytes(cache) > sizeof(slab->own_bits))
		bitmap = meta_alloc(slab_bitmap_bytes(cache), gfp);
	else
		slab->own_bits[1] = 0;
	if (bitmap)
		bitmap_fill(bitmap, cache->nr_objects);
	return bitmap;
}

static struct page *slab_create(struct kmem_cache *cache, gfp_t gfp)
{
	bool zeroed;
	struct page *slab = take_pages(cache, gfp, &zeroed);
	uint64_t *bitmap;

	if (!slab)
		return NULL;
	bitmap = create_bitmap(cache, slab, gfp);
	if (!bitmap) {
		put_pages(cache, slab, gfp);
		return NULL;
	}
	if (cache->ctor)
		construct_objects(cache, slab);
	/* who walks all slabs may read these, though the slab is nobody's yet */
	__atomic_store_n(&slab->bitmap, bitmap, __ATOMIC_RELAXED);
	__atomic_store_n(&slab->inuse, 0, __ATOMIC_RELAXED);
	/* a block is within a section, so its descriptors follow each other */
	for (size_t i = 0; i < 1UL << cache->order; i++)
		__atomic_store_n(&slab[i].cache, cache, __ATOMIC_RELAXED);
	slab->virgin = 0;
	slab->zeroed = zeroed && !cache->ctor;
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
		if (slab->inuse == cache->nr_objects) {
			remove_partial_locked(cache, slab);
			if (is_created(cache))
				list_add(&slab->list, &cache->full);
		}
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
	slab_observe_objects(TRACE_SLAB_REFILL, cache, n, gfp);
	return n;
}

void *slab_alloc_one(struct kmem_cache *cache, gfp_t gfp, bool *zeroed)
{
	void *object;

	if (!take_batch(cache, &object, 1, gfp, zeroed))
		return NULL;
	slab_observe_objects(TRACE_SLAB_REFILL, cache, 1, gfp);
	return object;
}

static _Noreturn cold_path void die_interior(const struct kmem_cache *cache, const void *ptr)
{
	die("BUG %s: Invalid object pointer %p: not the start of an object (free of an "
	    "interior pointer)",
	    cache->name, ptr);
}

void kmem_cache_check_object(const struct kmem_cache *cache, const void *ptr)
{
	if (unlikely(!kmem_cache_is_object(cache, ptr)))
		die_interior(cache, ptr);
}

/* Mark one object free; returns its slab if that is empty now and should go. */
static struct page *put_object_locked(struct kmem_cache *cache, void *object)
{
	struct page *slab = slab_of(cache, object);
	size_t offset = (uintptr_t)object - (uintptr_t)page_address(slab);
	unsigned index = kmem_cache_object_index(cache, offset);

	lock_assert_held(&cache->lock);
	if (unlikely(page_state(slab) != PAGE_SLAB || slab->cache != cache))
		die("BUG %s: Object already free: %p, and its slab is gone (double free)",
		    cache->name, object);
	if (unlikely(index >= cache->nr_objects || (size_t)index * cache->size != offset))
		die_interior(cache, object);
	if (unlikely(bitmap_test(slab->bitmap, index)))
		die("BUG %s: Object already free: %p (double free)", cache->name, object);

	bitmap_set(slab->bitmap, index);
	if (slab->inuse-- == cache->nr_objects) {
		list_del(&slab->list); /* the list of full ones, or none */
		add_partial_locked(cache, slab);
	}
	if (slab->inuse || cache->nr_partial == 1 || (cache->flags & KMEM_CACHE_TYPESAFE)) {
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
	slab_observe_objects(TRACE_SLAB_FLUSH, cache, n, gfp);
	for (unsigned i = 0; i < nr_gone; i++)
		slab_destroy(cache, gone[i], gfp);
	return true;
}

void slab_defer(struct kmem_cache *cache, void *object)
{
	const struct page *slab = slab_of(cache, object);
	size_t offset = (uintptr_t)object - (uintptr_t)page_address(slab);
	unsigned index = kmem_cache_object_index(cache, offset);
	uint64_t bit = 1UL << (index % 64), old;

	if (unlikely(index >= cache->nr_objects || (size_t)index * cache->size != offset))
		die_interior(cache, object);
	/* from here on the slab may go */
	old = atomic_fetch_or(&slab_deferred_words(cache, slab)[index / 64], bit);
	if (unlikely(old & bit))
		die("BUG %s: Object already free: %p (double free)", cache->name, object);
	/* pairs with slab_reap(): the bit is set before the mark */
	atomic_store(&cache->put_off, true);
}

/* Free the deferred objects of one slab; returns it if it is empty now and should go. */
static struct page *reap_locked(struct kmem_cache *cache, struct page *slab)
{
	_Atomic uint64_t *words = slab_deferred_words(cache, slab);
	struct page *gone = NULL;

	for (unsigned i = 0; i < BITMAP_WORDS(cache->nr_objects); i++) {
		uint64_t bits = atomic_load_explicit(&words[i], memory_order_relaxed);

		if (bits)
			bits = atomic_exchange(&words[i], 0);
		for (; bits; bits &= bits - 1) {
			unsigned index = i * 64 + (unsigned)__builtin_ctzl(bits);

			gone = put_object_locked(cache, object_at(cache, slab, index));
			cache->nr_inuse--;
		}
	}
	return gone;
}

static void destroy_list(struct kmem_cache *cache, struct list_head *gone)
{
	struct page *slab, *next;

	list_for_each_entry_safe(slab, next, gone, list) {
		list_del(&slab->list);
		slab_destroy(cache, slab, GFP_KERNEL);
	}
}

void slab_reap(struct kmem_cache *cache)
{
	struct list_head *lists[] = { &cache->partial, &cache->full };
	struct page *slab, *next;
	struct list_head gone;

	list_init(&gone);
	lock_acquire(&cache->lock);
	atomic_store(&cache->put_off, false);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		list_for_each_entry_safe(slab, next, lists[i], list) {
			struct page *empty = reap_locked(cache, slab);

			if (empty)
				list_add(&empty->list, &gone);
		}
	}
	lock_release(&cache->lock);
	destroy_list(cache, &gone);
}

size_t slab_report(struct kmem_cache *cache, size_t max, kmem_cache_report *report)
{
	struct list_head *lists[] = { &cache->partial, &cache->full };
	const struct page *slab;
	size_t n = 0;

	lock_acquire(&cache->lock);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		list_for_each_entry(slab, lists[i], list) {
			for (unsigned index = 0; index < cache->nr_objects && n < max; index++) {
				if (bitmap_test(slab->bitmap, index))
					continue;
				report(cache, object_at(cache, slab, index),
				       (size_t)index * cache->size);
				n++;
			}
		}
	}
	n = cache->nr_inuse;
	lock_release(&cache->lock);
	return n;
}

void slab_drop_empty(struct kmem_cache *cache)
{
	struct page *slab, *next;
	struct list_head gone;

	if (cache->flags & KMEM_CACHE_TYPESAFE)
		return;
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
	destroy_list(cache, &gone);
}

/* Whoever the objects of these slabs are charged to has them no more. */
static void uncharge_list(const struct kmem_cache *cache, struct list_head *slabs)
{
	struct page *slab;

	list_for_each_entry(slab, slabs, list) {
		char *object = page_address(slab);

		for (unsigned i = 0; i < cache->nr_objects; i++, object += cache->size)
			memcg_free_object(cache, object);
	}
}

void slab_forget(struct kmem_cache *cache)
{
	if (cache->flags & KMEM_CACHE_ACCOUNT) {
		uncharge_list(cache, &cache->partial);
		uncharge_list(cache, &cache->full);
	}
	list_init(&cache->partial);
	list_init(&cache->full);
	cache->nr_partial = 0;
	cache->nr_slabs = 0;
	cache->nr_inuse = 0;
	atomic_store_explicit(&cache->put_off, false, memory_order_relaxed);
}

_Atomic uint16_t *slab_owner(const struct kmem_cache *cache, const void *ptr)
{
	const struct page *slab = slab_of(cache, ptr);
	size_t offset = (uintptr_t)ptr - (uintptr_t)page_address(slab);
	unsigned index = kmem_cache_object_index(cache, offset);

	if (page_state(slab) != PAGE_SLAB || slab->cache != cache || index >= cache->nr_objects ||
	    (size_t)index * cache->size != offset)
		return NULL;
	return (_Atomic uint16_t *)&slab->bitmap[bitmap_words(cache)] + index;
}
