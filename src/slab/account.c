/* SPDX-License-Identifier: MIT */
/*
 * account.c - walk slabs, sheaves and per-CPU areas, and count objects.
 *
 * The kernel's counterpart is get_slabinfo(), which counts what is in sheaves as in use.
 * Here the sheaves are walked too, so that what the program holds is known exactly, if
 * no thread is inside the allocator: one that is may carry a sheaf, and its objects
 * then look live.
 *
 * Every lock is held and the areas are stopped; nothing is changed.
 */
#include "slab/account.h"

#include "lib/bitmap.h"
#include "page/account.h"
#include "page/memcg.h"
#include "page/meta.h"
#include "slab/slab.h"

typedef void visit_sheaf(struct kmem_cache *cache, struct slab_sheaf *sheaf, unsigned count,
			 void *arg);

static void walk_top(struct kmem_cache *cache, void **top, visit_sheaf *visit, void *arg)
{
	unsigned count = 0;
	struct slab_sheaf *sheaf;

	while (!sheaf_is_sentinel(top[-1 - (ptrdiff_t)count]))
		count++;
	sheaf = (struct slab_sheaf *)((uintptr_t)top[-1 - (ptrdiff_t)count] & ~SHEAF_SENTINEL);
	if (sheaf)
		visit(cache, sheaf, count, arg);
}

static void walk_slot(struct kmem_cache *cache, const uintptr_t *area, visit_sheaf *visit,
		      void *arg)
{
	uintptr_t spare = area[PERCPU_SPARE + cache->index];

	walk_top(cache, (void **)area[PERCPU_MAIN + cache->index], visit, arg);
	walk_top(cache, (void **)area[PERCPU_TESTED + cache->index], visit, arg);
	if (spare)
		visit(cache, (struct slab_sheaf *)(spare & ~SPARE_FULL),
		      spare & SPARE_FULL ? cache->capacity : 0, arg);
}

void percpu_walk(void (*visit)(struct kmem_cache *cache, struct slab_sheaf *sheaf, unsigned count,
			       void *arg),
		 void *arg)
{
	for (unsigned index = 0; index < percpu_nr_areas(); index++) {
		const uintptr_t *area = percpu_area(index);

		for (unsigned i = 1; area && i < KMEM_CACHE_SHARED; i++)
			if (kmem_caches[i].size)
				walk_slot(&kmem_caches[i], area, visit, arg);
	}
}

static void count_sheaf(struct kmem_cache *cache, struct slab_sheaf *sheaf, unsigned count,
			void *arg)
{
	struct slab_account *account = arg;

	(void)sheaf;
	account->caches[cache->index].cpu += count;
	account->sheaves += meta_piece_bytes(sheaf_bytes(cache->capacity));
}

static void count_list(const struct kmem_cache *cache, const struct slab_sheaf *list, bool full,
		       struct slab_account *account)
{
	for (const struct slab_sheaf *sheaf = list; sheaf; sheaf = sheaf->next) {
		account->sheaves += meta_piece_bytes(sheaf_bytes(cache->capacity));
		if (full)
			account->caches[cache->index].barn += sheaf_count(sheaf);
	}
}

static size_t count_put_off(const struct kmem_cache *cache, const struct page *page)
{
	const _Atomic uint64_t *words;
	size_t count = 0;

	if (!(cache->flags & KMEM_CACHE_CREATED))
		return 0;
	words = slab_deferred_words(cache, page);
	for (unsigned i = 0; i < BITMAP_WORDS(cache->nr_objects); i++)
		count += (size_t)__builtin_popcountl(
			atomic_load_explicit(&words[i], memory_order_relaxed));
	return count;
}

void slab_account_slab(const struct page *page, void *arg)
{
	struct slab_account *account = arg;

	/* a slab that a thread is just making is described without a lock */
	const struct kmem_cache *cache = __atomic_load_n(&page->cache, __ATOMIC_RELAXED);
	unsigned inuse = __atomic_load_n(&page->inuse, __ATOMIC_RELAXED);
	struct cache_account *counts = &account->caches[cache->index];

	counts->slabs++;
	counts->free += (size_t)cache->nr_objects - inuse;
	counts->out += inuse;
	account->free += ((size_t)cache->nr_objects - inuse) * cache->size;
	account->out += (size_t)inuse * cache->size;
	account->put_off += count_put_off(cache, page) * cache->size;
	account->rest += (GRANULE_SIZE << cache->order) - (size_t)cache->nr_objects * cache->size;
	if (__atomic_load_n(&page->bitmap, __ATOMIC_RELAXED) != page->own_bits)
		account->bitmaps += meta_piece_bytes(slab_bitmap_bytes(cache));
}

/* The slabs have been counted; what is in sheaves is not out. */
static void total(struct slab_account *account)
{
	for (unsigned i = 1; i < KMEM_CACHE_SHARED; i++) {
		struct cache_account *counts = &account->caches[i];
		size_t size = kmem_caches[i].size;

		counts->out -= counts->cpu + counts->barn;
		account->cpu += counts->cpu * size;
		account->barn += counts->barn * size;
	}
	account->out -= account->cpu + account->barn;
}

void slab_account(struct slab_account *account)
{
	percpu_walk(count_sheaf, account);
	for_each_kmem_cache(cache)
	{
		if (!kmem_cache_has_slot(cache)) {
			account->structs += meta_piece_bytes(sizeof(*cache));
			continue;
		}
		count_list(cache, cache->barn.full, true, account);
		count_list(cache, cache->barn.empty, false, account);
		count_list(cache, atomic_load_explicit(&cache->deferred, memory_order_acquire),
			   true, account);
	}
	for (unsigned index = 0; index < percpu_nr_areas(); index++)
		if (percpu_area(index))
			account->areas += meta_piece_bytes(PERCPU_WORDS * sizeof(uintptr_t));
	account->structs += memcg_account();
	total(account);
}
