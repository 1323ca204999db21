/* SPDX-License-Identifier: MIT */
/*
 * test_slab.c - slabs by themselves: geometry, refill, flush, reports, the zeroed promise.
 *
 * Most tests go over all the kmalloc classes. A cache starts with no slab:
 *
 *	slab:  object 0 | object 1 | ... | object nr_objects - 1 | what is left over
 *	       size       size             size                    < size
 */
#include "unit.h"

#include "kmalloc/size_class.h"
#include "page/reclaim.h"
#include "slab/slab.h"

#include <pthread.h>

#define for_each_class(cache)                                                                      \
	for (struct kmem_cache *cache = &kmem_caches[1]; cache < &kmem_caches[NR_KMALLOC_CLASSES]; \
	     cache++)

static size_t slab_bytes(const struct kmem_cache *cache)
{
	return GRANULE_SIZE << cache->order;
}

static void *alloc_one(struct kmem_cache *cache)
{
	bool zeroed;
	void *object = slab_alloc_one(cache, GFP_KERNEL, &zeroed);

	CHECK(object != NULL);
	return object;
}

static void free_one(struct kmem_cache *cache, void *object)
{
	CHECK(slab_flush(cache, &object, 1, GFP_KERNEL));
}

static struct kmem_cache_stat stat_of(struct kmem_cache *cache)
{
	struct kmem_cache_stat stat;

	kmem_cache_stat(cache, &stat);
	return stat;
}

static void geometry_of_every_class_fits(void)
{
	for_each_class(cache)
	{
		CHECK(cache->nr_objects >= 1);
		CHECK(cache->nr_objects * (size_t)cache->size <= slab_bytes(cache));
		CHECK((cache->nr_objects + 1UL) * cache->size > slab_bytes(cache));
		CHECK(cache->capacity >= 2);
		CHECK(cache->batch >= 1 && cache->batch <= cache->capacity);
		CHECK_EQ(cache->object_size,
			 cache->size > KMALLOC_MAX_SIZE ? KMALLOC_MAX_SIZE : cache->size);
	}
}

/* Only multiples of 16 get that far: page_owner() turns the others away. */
static void object_index_of_every_aligned_offset_is_the_quotient(void)
{
	for_each_class(cache) for (size_t offset = 0; offset < slab_bytes(cache); offset += 16)
		CHECK_EQ(kmem_cache_object_index(cache, offset), offset / cache->size);
}

static void is_object_holds_for_starts_alone(void)
{
	for_each_class(cache)
	{
		char *slab = alloc_one(cache);

		CHECK_EQ((uintptr_t)slab % slab_bytes(cache), 0);
		for (size_t offset = 0; offset < slab_bytes(cache); offset += 16) {
			bool start = offset % cache->size == 0 &&
				     offset / cache->size < cache->nr_objects;

			CHECK_EQ(kmem_cache_is_object(cache, slab + offset), start);
		}
	}
}

static void refill_of_a_new_slab_is_in_address_order(void)
{
	for_each_class(cache)
	{
		struct slab_sheaf *sheaf = calloc(1, sheaf_bytes(cache->capacity));
		unsigned n;

		sheaf_init(sheaf, cache->capacity);
		n = slab_refill(cache, sheaf, GFP_KERNEL);
		CHECK_EQ(n, cache->batch < cache->nr_objects ? cache->batch : cache->nr_objects);
		CHECK_EQ(sheaf_count(sheaf), n);
		CHECK_EQ((uintptr_t)sheaf->top[-1] % slab_bytes(cache), 0);
		for (unsigned i = 1; i < n; i++)
			CHECK_EQ((char *)sheaf->top[-1 - (long)i] - (char *)sheaf->top[-(long)i],
				 cache->size);
		CHECK_EQ(stat_of(cache).active_objs, n);
		CHECK_EQ(stat_of(cache).num_slabs, 1);
	}
}

static void refill_of_a_partial_slab_takes_its_holes_lowest_first(void)
{
	static const unsigned freed[] = { 40, 3, 17, 100, 4, 63, 64 };
	static const unsigned sorted[] = { 3, 4, 17, 40, 63, 64, 100 };
	struct kmem_cache *cache = &kmem_caches[kmalloc_index(160)];
	struct slab_sheaf *sheaf = calloc(1, sheaf_bytes(cache->capacity));
	char *slab = alloc_one(cache);

	for (unsigned i = 1; i < cache->nr_objects; i++)
		CHECK(alloc_one(cache) == slab + i * cache->size);
	for (unsigned i = 0; i < ARRAY_SIZE(freed); i++)
		free_one(cache, slab + freed[i] * cache->size);
	sheaf_init(sheaf, cache->capacity);
	/* the partial slab gives all it has; a new one is not made for the rest */
	CHECK_EQ(slab_refill(cache, sheaf, GFP_KERNEL), ARRAY_SIZE(freed));
	CHECK_EQ(stat_of(cache).num_slabs, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(sorted); i++)
		CHECK(*--sheaf->top == slab + sorted[i] * cache->size);
}

static void slab_of_every_class_holds_its_objects_apart(void)
{
	for_each_class(cache)
	{
		unsigned n = cache->nr_objects * 2U + 1;
		char **objects = calloc(n, sizeof(*objects));

		for (unsigned i = 0; i < n; i++) {
			objects[i] = alloc_one(cache);
			CHECK_EQ(page_owner(objects[i]), cache->index);
			CHECK_EQ(page_owner(objects[i] + cache->object_size - 16), cache->index);
			unit_fill(objects[i], cache->object_size, i * 31UL);
		}
		CHECK_EQ(stat_of(cache).num_slabs, 3);
		CHECK_EQ(stat_of(cache).active_objs, n);
		for (unsigned i = 0; i < n; i++)
			CHECK(unit_is_filled(objects[i], cache->object_size, i * 31UL));
		for (unsigned i = 0; i < n; i++)
			free_one(cache, objects[i]);
		CHECK_EQ(stat_of(cache).active_objs, 0);
		CHECK_EQ(stat_of(cache).num_slabs, 1);
		free(objects);
	}
}

static void slab_when_empty_returns_to_the_pages(void)
{
	for_each_class(cache)
	{
		struct page_stat before, after;
		char *object = alloc_one(cache);

		free_one(cache, object);
		CHECK_EQ(stat_of(cache).num_slabs, 1); /* the last one stays */
		CHECK_EQ(page_owner(object), cache->index);
		page_stat(&before);
		slab_drop_empty(cache);
		page_stat(&after);
		CHECK_EQ(stat_of(cache).num_slabs, 0);
		CHECK_EQ(page_owner(object), 0);
		CHECK_EQ(after.free_dirty + after.free_clean,
			 before.free_dirty + before.free_clean + slab_bytes(cache));
	}
}

static void slab_with_bitmap_of_its_own_gives_it_back(void)
{
	struct kmem_cache *cache = &kmem_caches[kmalloc_index(16)];
	void *object = alloc_one(cache);
	uint64_t *bitmap = page_of_granule(page_granule_of(object))->bitmap;

	CHECK(cache->nr_objects > 128);
	for (int i = 0; i < 3; i++) {
		free_one(cache, object);
		slab_drop_empty(cache);
		object = alloc_one(cache);
		CHECK(page_of_granule(page_granule_of(object))->bitmap == bitmap);
	}
}

/* Reports. */

struct flush {
	struct kmem_cache *cache;
	void *objects[4];
	unsigned n;
};

static void flush(void *arg)
{
	struct flush *batch = arg;

	slab_flush(batch->cache, batch->objects, batch->n, GFP_KERNEL);
}

static void flush_of_a_free_object_reports(void)
{
	for_each_class(cache)
	{
		struct flush batch = { cache, { alloc_one(cache) }, 1 };
		char report[200];

		alloc_one(cache);
		free_one(cache, batch.objects[0]);
		snprintf(report, sizeof(report),
			 "libkmalloc: BUG %s: Object already free: %p (double free)\n", cache->name,
			 batch.objects[0]);
		unit_dies(flush, &batch, report);
	}
}

static void flush_of_one_object_twice_in_a_batch_reports(void)
{
	struct kmem_cache *cache = &kmem_caches[kmalloc_index(1000)];
	void *a = alloc_one(cache), *b = alloc_one(cache), *c = alloc_one(cache);
	struct flush batch = { cache, { a, b, a, c }, 4 };
	char report[200];

	snprintf(report, sizeof(report),
		 "libkmalloc: BUG kmalloc-1k: Object already free: %p (double free)\n", a);
	unit_dies(flush, &batch, report);
}

static void flush_of_an_interior_pointer_reports(void)
{
	for_each_class(cache)
	{
		char *object = alloc_one(cache);
		struct flush batch = { cache, { object + 16 }, 1 };
		char report[200];

		if (cache->size == 16)
			continue;
		snprintf(
			report, sizeof(report),
			"libkmalloc: BUG %s: Invalid object pointer %p: not the start of an object "
			"(free of an interior pointer)\n",
			cache->name, batch.objects[0]);
		unit_dies(flush, &batch, report);
	}
}

static void flush_of_the_rest_behind_the_last_object_reports(void)
{
	struct kmem_cache *cache = &kmem_caches[kmalloc_index(48)];
	char *object = alloc_one(cache);
	struct flush batch = { cache, { object + (size_t)cache->nr_objects * 48 }, 1 };
	char report[200];

	CHECK_EQ(page_owner(batch.objects[0]), cache->index);
	snprintf(
		report, sizeof(report),
		"libkmalloc: BUG kmalloc-48: Invalid object pointer %p: not the start of an object "
		"(free of an interior pointer)\n",
		batch.objects[0]);
	unit_dies(flush, &batch, report);
}

static void flush_into_a_slab_that_is_gone_reports(void)
{
	struct kmem_cache *cache = &kmem_caches[kmalloc_index(512)];
	struct flush batch = { cache, { alloc_one(cache) }, 1 };
	char report[200];

	free_one(cache, batch.objects[0]);
	slab_drop_empty(cache);
	snprintf(report, sizeof(report),
		 "libkmalloc: BUG kmalloc-512: Object already free: %p, and its slab is gone "
		 "(double free)\n",
		 batch.objects[0]);
	unit_dies(flush, &batch, report);
}

/* The zeroed promise: kept whenever it is given, and given where it can be. */

static void zeroed_of_fresh_slabs_is_promised_and_true(void)
{
	for_each_class(cache)
	{
		for (unsigned i = 0; i < cache->nr_objects; i++) {
			bool zeroed = false;
			char *object = slab_alloc_one(cache, GFP_KERNEL, &zeroed);

			CHECK(zeroed);
			CHECK(unit_is_zero(object, cache->object_size));
			memset(object, 0xff, cache->size);
		}
	}
}

static void zeroed_by_chance_is_true_when_promised(void)
{
	uint64_t random = unit_seed();

	for_each_class(cache)
	{
		unsigned max = cache->nr_objects * 3U, count = 0;
		void **objects = calloc(max, sizeof(*objects));

		for (unsigned i = 0; i < 4 * max + 200; i++) {
			bool zeroed = false;

			if (count == max || (count && unit_random(&random) % 100 < 49)) {
				unsigned victim = (unsigned)(unit_random(&random) % count);

				free_one(cache, objects[victim]);
				objects[victim] = objects[--count];
			} else {
				objects[count] = slab_alloc_one(cache, GFP_KERNEL, &zeroed);
				CHECK(!zeroed || unit_is_zero(objects[count], cache->size));
				memset(objects[count++], 0x5a, cache->size);
			}
			if (unit_random(&random) % 256 == 0)
				reclaim_run(RECLAIM_ALL);
		}
		while (count)
			free_one(cache, objects[--count]);
		free(objects);
	}
}

/* Without DIRECT_RECLAIM nobody waits. */

static pthread_barrier_t barrier;

static void *hold_lock(void *arg)
{
	lock_acquire(arg);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	lock_release(arg);
	return NULL;
}

static void cache_lock_busy_makes_atomic_calls_fail(void)
{
	struct kmem_cache *cache = &kmem_caches[kmalloc_index(64)];
	void *object = alloc_one(cache);
	pthread_t thread;
	bool zeroed;

	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(pthread_create(&thread, NULL, hold_lock, &cache->lock) == 0);
	pthread_barrier_wait(&barrier);
	CHECK(slab_alloc_one(cache, GFP_ATOMIC, &zeroed) == NULL);
	CHECK(!slab_flush(cache, &object, 1, GFP_ATOMIC));
	CHECK_EQ(lock_depth, 0);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	CHECK_EQ(stat_of(cache).active_objs, 1);
	CHECK(slab_flush(cache, &object, 1, GFP_ATOMIC));
	CHECK_EQ(stat_of(cache).active_objs, 0);
	CHECK(slab_alloc_one(cache, GFP_ATOMIC, &zeroed) == object);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(geometry_of_every_class_fits),
		UNIT_TEST(object_index_of_every_aligned_offset_is_the_quotient),
		UNIT_TEST(is_object_holds_for_starts_alone),
		UNIT_TEST(refill_of_a_new_slab_is_in_address_order),
		UNIT_TEST(refill_of_a_partial_slab_takes_its_holes_lowest_first),
		UNIT_TEST(slab_of_every_class_holds_its_objects_apart),
		UNIT_TEST(slab_when_empty_returns_to_the_pages),
		UNIT_TEST(slab_with_bitmap_of_its_own_gives_it_back),
		UNIT_TEST(flush_of_a_free_object_reports),
		UNIT_TEST(flush_of_one_object_twice_in_a_batch_reports),
		UNIT_TEST(flush_of_an_interior_pointer_reports),
		UNIT_TEST(flush_of_the_rest_behind_the_last_object_reports),
		UNIT_TEST(flush_into_a_slab_that_is_gone_reports),
		UNIT_TEST(zeroed_of_fresh_slabs_is_promised_and_true),
		UNIT_TEST(zeroed_by_chance_is_true_when_promised),
		UNIT_TEST(cache_lock_busy_makes_atomic_calls_fail),
	};

	return UNIT_MAIN(tests);
}
