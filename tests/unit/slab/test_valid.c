/* SPDX-License-Identifier: MIT */
/*
 * test_valid.c - the validators of caches: one at work passes, each damage is named.
 *
 * A slab of 64-byte objects has some out, and a sheaf holds the first four of them:
 *
 *	sheaf:  sentinel | a3 | a2 | a1 | a0 | ... | sentinel
 *	                                      ^ top
 */
#include "damage.h"

#include "kmalloc/account.h"
#include "kmalloc/size_class.h"
#include "lib/bitmap.h"
#include "page/meta.h"
#include "slab/barn.h"
#include "slab/slab.h"
#include "slab/valid.h"

static struct kmem_cache *cache;
static struct page *slab;
static struct slab_sheaf *sheaf;
static struct account_stopped stopped;
static void *objects[5]; /* the last stays out */

static void cache_start(void)
{
	bool zeroed;

	cache = &kmem_caches[kmalloc_index(64)];
	sheaf = meta_alloc(sheaf_bytes(cache->capacity), GFP_KERNEL);
	sheaf_init(sheaf, cache->capacity);
	for (unsigned i = 0; i < ARRAY_SIZE(objects); i++)
		CHECK((objects[i] = slab_alloc_one(cache, GFP_KERNEL, &zeroed)) != NULL);
	for (unsigned i = 4; i-- > 0;)
		*sheaf->top++ = objects[i];
	slab = page_of_granule(page_granule_of(objects[0]));
	CHECK(sheaf_is_valid(cache, sheaf));
	CHECK(slab_is_valid(cache, slab));
	CHECK(kmem_cache_is_valid(cache));
	CHECK(barn_is_valid(cache, true));
}

static void sheaf_damaged_is_named(void)
{
	cache_start();
	const char *name = cache->name;
	void *p = sheaf, *foreign = &cache;

	NOTICES(sheaf->slots[0] = NULL, sheaf_is_valid(cache, sheaf),
		"%s: sheaf %p: lower sentinel is 0x0", name, p);
	NOTICES(sheaf->slots[cache->capacity + 1] = p, sheaf_is_valid(cache, sheaf),
		"%s: sheaf %p: upper sentinel is %p", name, p, p);
	NOTICES(sheaf->slots[9] = (void *)17UL, sheaf_is_valid(cache, sheaf),
		"%s: sheaf %p: slot 9 holds 0x11, a sentinel", name, p);
	NOTICES(sheaf->top = &sheaf->slots[cache->capacity + 2], sheaf_is_valid(cache, sheaf),
		"%s: sheaf %p: top %p is outside", name, p,
		(void *)&sheaf->slots[cache->capacity + 2]);
	NOTICES(sheaf->top = &sheaf->slots[0], sheaf_is_valid(cache, sheaf),
		"%s: sheaf %p: top %p is outside", name, p, (void *)&sheaf->slots[0]);
	NOTICES(sheaf->slots[2] = foreign, sheaf_is_valid(cache, sheaf),
		"%s: sheaf %p: object %p is of cache 0", name, p, foreign);
	NOTICES(sheaf->slots[2] = (char *)objects[1] + 16, sheaf_is_valid(cache, sheaf),
		"%s: sheaf %p: %p is not the start of an object", name, p,
		(void *)((char *)objects[1] + 16));
	NOTICES(sheaf->slots[2] = sheaf->slots[1], sheaf_is_valid(cache, sheaf),
		"%s: sheaf %p: object %p is in it twice", name, p, sheaf->slots[1]);
	NOTICES(bitmap_set(slab->bitmap, 2), sheaf_is_valid(cache, sheaf),
		"%s: sheaf %p: object %p is free in its slab", name, p, objects[2]);
	NOTICES(slab->state = PAGE_BUSY, sheaf_is_valid(cache, sheaf),
		"%s: sheaf %p: object %p is in no slab", name, p, sheaf->slots[1]);
	/* the shape alone: the same, but for the objects */
	NOTICES(sheaf->slots[0] = NULL, sheaf_shape_is_valid(cache, sheaf),
		"%s: sheaf %p: lower sentinel is 0x0", name, p);
	sheaf->slots[2] = sheaf->slots[1];
	CHECK(sheaf_shape_is_valid(cache, sheaf));
}

static void slab_damaged_is_named(void)
{
	cache_start();
	const char *name = cache->name;
	void *p = page_address(slab);
	unsigned all = cache->nr_objects;

	NOTICES(slab->state = PAGE_DIRTY, slab_is_valid(cache, slab),
		"%s: slab %p: state %u, of cache %p", name, p, PAGE_DIRTY, (void *)cache);
	NOTICES(slab->cache = &kmem_caches[9], slab_is_valid(cache, slab),
		"%s: slab %p: state %u, of cache %p", name, p, PAGE_SLAB, (void *)&kmem_caches[9]);
	NOTICES(slab->order = 1, slab_is_valid(cache, slab), "%s: slab %p: granule %u, order 1",
		name, p, slab->granule);
	NOTICES(window.kmap[slab->granule] = 9, slab_is_valid(cache, slab),
		"%s: slab %p: granule %u has owner 9", name, p, slab->granule);
	NOTICES(slab->inuse++, slab_is_valid(cache, slab),
		"%s: slab %p: %u objects free and 6 in use of %u", name, p, all - 5, all);
	NOTICES(bitmap_clear(slab->bitmap, 20), slab_is_valid(cache, slab),
		"%s: slab %p: %u objects free and 5 in use of %u", name, p, all - 6, all);
	NOTICES(slab->virgin = (uint16_t)(all + 1), slab_is_valid(cache, slab),
		"%s: slab %p: object %u is virgin", name, p, all + 1);
	NOTICES(slab->virgin = 2, slab_is_valid(cache, slab),
		"%s: slab %p: object 2 is virgin and in use", name, p);
	NOTICES(list_del(&slab->list), slab_is_valid(cache, slab),
		"%s: slab %p: 5 of %u in use, and not on a list", name, p, all);
}

static void slab_full_on_the_partial_list_is_named(void)
{
	bool zeroed;
	struct page *full;
	void *object = NULL;

	cache = &kmem_caches[kmalloc_index(20000)];
	for (unsigned i = 0; i < cache->nr_objects; i++)
		object = slab_alloc_one(cache, GFP_KERNEL, &zeroed);
	full = page_of_granule(page_granule_of(object) & ~((1UL << cache->order) - 1));
	CHECK(kmem_cache_is_valid(cache));
	NOTICES(list_add(&full->list, &cache->partial), slab_is_valid(cache, full),
		"%s: slab %p: %u of %u in use, and on a list", cache->name, page_address(full),
		cache->nr_objects, cache->nr_objects);
	/* the bits past the last object */
	NOTICES(bitmap_set(full->bitmap, cache->nr_objects), slab_is_valid(cache, full),
		"%s: slab %p: bits past object %u are set", cache->name, page_address(full),
		cache->nr_objects);
}

static void cache_damaged_is_named(void)
{
	cache_start();
	const char *name = cache->name;

	NOTICES(cache->nr_partial = 2, kmem_cache_is_valid(cache),
		"%s: partial list: 1 slabs, 2 counted", name);
	NOTICES(cache->nr_partial = 0, kmem_cache_is_valid(cache),
		"%s: partial list: damaged, or more slabs than the 0 counted", name);
	NOTICES(slab->cache = &kmem_caches[9], kmem_cache_is_valid(cache),
		"%s: partial list: %p is no slab of this cache", name, (void *)slab);
	NOTICES(cache->nr_slabs = 3, kmem_cache_is_valid(cache), "%s: 1 slabs, 3 counted", name);
	NOTICES(cache->nr_inuse = 4, kmem_cache_is_valid(cache), "%s: 5 objects in use, 4 counted",
		name);
	NOTICES(slab->inuse = 4, kmem_cache_is_valid(cache),
		"%s: slab %p: %u objects free and 4 in use of %u", name, page_address(slab),
		cache->nr_objects - 5, cache->nr_objects);
	NOTICES(cache->nr_slabs = 3, kmem_caches_are_valid(), "%s: 1 slabs, 3 counted", name);
	NOTICES(cache->barn.nr_full = 1, kmem_caches_are_valid(),
		"%s: barn: 0 full sheaves, 1 counted", name);
}

static void barn_damaged_is_named(void)
{
	cache_start();
	const char *name = cache->name;
	struct barn *barn = &cache->barn;
	struct slab_sheaf *empty = meta_alloc(sheaf_bytes(cache->capacity), GFP_KERNEL);

	sheaf_init(empty, cache->capacity);
	CHECK(barn_put_full(cache, sheaf, GFP_KERNEL));
	CHECK(barn_put_empty(cache, empty, GFP_KERNEL));
	CHECK(barn_is_valid(cache, true));
	NOTICES(barn->nr_full = 200, barn_is_valid(cache, false),
		"%s: barn: 200 full and 1 empty sheaves, %u and 10 allowed", name, cache->max_full);
	NOTICES(barn->nr_empty = 11, barn_is_valid(cache, false),
		"%s: barn: 1 full and 11 empty sheaves, %u and 10 allowed", name, cache->max_full);
	NOTICES(barn->low_full = 2, barn_is_valid(cache, false),
		"%s: barn: 1 full sheaves, and never less than 2", name);
	NOTICES(barn->nr_full = 2, barn_is_valid(cache, false),
		"%s: barn: 1 full sheaves, 2 counted", name);
	NOTICES(sheaf->next = sheaf, barn_is_valid(cache, false),
		"%s: barn: more full sheaves than the 1 counted", name);
	NOTICES(barn->empty = NULL, barn_is_valid(cache, false),
		"%s: barn: 0 empty sheaves, 1 counted", name);
	NOTICES(sheaf->top = &sheaf->slots[1], barn_is_valid(cache, true),
		"%s: barn: full sheaf %p is empty", name, (void *)sheaf);
	NOTICES(sheaf->slots[1] = sheaf->slots[2], barn_is_valid(cache, true),
		"%s: sheaf %p: object %p is in it twice", name, (void *)sheaf, sheaf->slots[2]);
	NOTICES(empty->slots[0] = NULL, barn_is_valid(cache, true),
		"%s: sheaf %p: lower sentinel is 0x0", name, (void *)empty);
}

/* How many objects are below a main sheaf's top. */
static unsigned area_count(void **top)
{
	unsigned count = 0;

	while (!sheaf_is_sentinel(top[-1 - (ptrdiff_t)count]))
		count++;
	return count;
}

/* This CPU's main sheaf and its spare are full; the process is on one CPU. */
static uintptr_t *area_with_sheaves(void)
{
	void *got[3 * UINT8_MAX];
	uintptr_t *area = NULL;
	bool zeroed;

	unit_pin(0);
	cache_start();
	for (unsigned i = 0; i < 3U * cache->capacity; i++)
		CHECK((got[i] = kmem_cache_alloc_slow(cache, GFP_KERNEL, &zeroed)) != NULL);
	for (unsigned i = 0; i < 3U * cache->capacity; i++)
		CHECK(kmem_cache_free_slow(cache, got[i], GFP_KERNEL));
	for (unsigned index = 0; index < percpu_nr_areas() && !area; index++) {
		area = percpu_area(index);
		if (area && !(area[PERCPU_SPARE + cache->index] & SPARE_FULL))
			area = NULL;
	}
	CHECK(area != NULL);
	CHECK(account_stop(&stopped));
	CHECK(percpu_is_valid());
	CHECK(cached_objects_are_valid());
	CHECK(percpu_is_valid());
	return area;
}

static void area_damaged_is_named(void)
{
	uintptr_t *area = area_with_sheaves();
	uintptr_t *main = &area[PERCPU_MAIN + cache->index];
	const char *name = cache->name;
	struct slab_sheaf *spare =
		(struct slab_sheaf *)(area[PERCPU_SPARE + cache->index] & ~SPARE_FULL);
	void **top = (void **)*main;

	NOTICES(area[PERCPU_SPARE] = 64, percpu_area_is_valid(area), "area %p: slot 0 is in use",
		(void *)area);
	NOTICES(*main = 0, percpu_area_is_valid(area), "%s: main sheaf: top 0x0", name);
	NOTICES(*main += 4, percpu_area_is_valid(area), "%s: main sheaf: top %p", name,
		(void *)(*main + 4));
	NOTICES(area[PERCPU_TESTED + cache->index] = 12, percpu_area_is_valid(area),
		"%s: tested sheaf: top 0xc", name);
	NOTICES(top[-1] = top[-2], percpu_area_is_valid(area),
		"%s: sheaf %p: object %p is in it twice", name,
		(void *)((uintptr_t) * (top - (ptrdiff_t)area_count(top) - 1) & ~1UL), top[-2]);
	NOTICES(spare->slots[3] = spare->slots[4], percpu_area_is_valid(area),
		"%s: sheaf %p: object %p is in it twice", name, (void *)spare, spare->slots[4]);
	NOTICES(spare->slots[0] = NULL, percpu_is_valid(), "%s: sheaf %p: lower sentinel is 0x0",
		name, (void *)spare);
	NOTICES(percpu.empty[7] = 8, percpu_is_valid(), "area of none: word 7 is 8");
	NOTICES(percpu.empty[PERCPU_SPARE + 7] = 8, percpu_is_valid(), "area of none: word %u is 8",
		PERCPU_SPARE + 7);
	account_start(&stopped);
}

static void object_in_two_sheaves_is_named(void)
{
	uintptr_t *area = area_with_sheaves();
	void **top = (void **)area[PERCPU_MAIN + cache->index];
	struct slab_sheaf *spare =
		(struct slab_sheaf *)(area[PERCPU_SPARE + cache->index] & ~SPARE_FULL);

	NOTICES(spare->slots[5] = top[-1], (percpu_is_valid() && cached_objects_are_valid()),
		"%s: sheaf %p: object %p is in another sheaf too", cache->name, (void *)spare,
		top[-1]);
	account_start(&stopped);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(sheaf_damaged_is_named),
		UNIT_TEST(slab_damaged_is_named),
		UNIT_TEST(slab_full_on_the_partial_list_is_named),
		UNIT_TEST(cache_damaged_is_named),
		UNIT_TEST(barn_damaged_is_named),
		UNIT_TEST(area_damaged_is_named),
		UNIT_TEST(object_in_two_sheaves_is_named),
	};

	return UNIT_MAIN(tests);
}
