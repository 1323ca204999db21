/* SPDX-License-Identifier: MIT */
/*
 * test_barn.c - the store of sheaves behind the CPUs: limits, order, ageing, busy.
 */
#include "unit.h"

#include "kmalloc/size_class.h"
#include "slab/barn.h"

#include <pthread.h>

#define MAX_EMPTY 10 /* of barn.c */

static struct slab_sheaf *sheaf_new(const struct kmem_cache *cache)
{
	struct slab_sheaf *sheaf = calloc(1, sheaf_bytes(cache->capacity));

	CHECK(sheaf != NULL);
	sheaf_init(sheaf, cache->capacity);
	return sheaf;
}

static struct kmem_cache *cache_of(size_t size)
{
	return &kmem_caches[kmalloc_index(size)];
}

static unsigned length(const struct slab_sheaf *list)
{
	unsigned n = 0;

	for (; list; list = list->next)
		n++;
	return n;
}

static void barn_when_new_is_empty(void)
{
	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++) {
		CHECK(barn_get_full(&kmem_caches[i], GFP_KERNEL) == NULL);
		CHECK(barn_get_empty(&kmem_caches[i], GFP_KERNEL) == NULL);
		CHECK(barn_shrink(&kmem_caches[i], true) == NULL);
	}
}

static void barn_of_every_class_keeps_full_sheaves_up_to_its_limit(void)
{
	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++) {
		struct kmem_cache *cache = &kmem_caches[i];

		CHECK(cache->max_full <= 10);
		CHECK(cache->max_full * (size_t)cache->capacity * cache->size <= 256UL << 10);
		for (unsigned n = 0; n < cache->max_full; n++)
			CHECK(barn_put_full(cache, sheaf_new(cache), GFP_KERNEL));
		CHECK(!barn_put_full(cache, sheaf_new(cache), GFP_KERNEL));
		CHECK_EQ(length(barn_shrink(cache, true)), cache->max_full);
		CHECK(cache->max_full == 0 || barn_put_full(cache, sheaf_new(cache), GFP_KERNEL));
	}
	CHECK(cache_of(16)->max_full == 10);
	CHECK(cache_of(64)->max_full == 10);
	CHECK(cache_of(KMALLOC_MAX_SIZE)->max_full == 1);
}

static void barn_keeps_empty_sheaves_up_to_its_limit(void)
{
	struct kmem_cache *cache = cache_of(256);

	for (unsigned n = 0; n < MAX_EMPTY; n++)
		CHECK(barn_put_empty(cache, sheaf_new(cache), GFP_KERNEL));
	CHECK(!barn_put_empty(cache, sheaf_new(cache), GFP_KERNEL));
	CHECK(barn_get_empty(cache, GFP_KERNEL) != NULL);
	CHECK(barn_put_empty(cache, sheaf_new(cache), GFP_KERNEL));
}

static void barn_gives_what_came_last(void)
{
	struct kmem_cache *cache = cache_of(64);
	struct slab_sheaf *a = sheaf_new(cache), *b = sheaf_new(cache), *c = sheaf_new(cache);

	CHECK(barn_put_full(cache, a, GFP_KERNEL));
	CHECK(barn_put_empty(cache, c, GFP_KERNEL));
	CHECK(barn_put_full(cache, b, GFP_KERNEL));
	CHECK(barn_get_full(cache, GFP_KERNEL) == b);
	CHECK(barn_get_full(cache, GFP_KERNEL) == a);
	CHECK(barn_get_full(cache, GFP_KERNEL) == NULL);
	CHECK(barn_get_empty(cache, GFP_KERNEL) == c);
	CHECK(barn_get_empty(cache, GFP_KERNEL) == NULL);
}

static void shrink_by_age_takes_what_a_whole_period_did_not_need(void)
{
	struct kmem_cache *cache = cache_of(64);
	struct slab_sheaf *sheaves[3];

	for (int i = 0; i < 8; i++)
		CHECK(barn_put_full(cache, sheaf_new(cache), GFP_KERNEL));
	CHECK_EQ(length(barn_shrink(cache, false)), 0); /* they have just come */
	for (int i = 0; i < 3; i++)
		sheaves[i] = barn_get_full(cache, GFP_KERNEL);
	for (int i = 0; i < 3; i++)
		CHECK(barn_put_full(cache, sheaves[i], GFP_KERNEL));
	CHECK_EQ(length(barn_shrink(cache, false)), 5);
	CHECK_EQ(cache->barn.nr_full, 3);
	CHECK_EQ(length(barn_shrink(cache, false)), 3);
	CHECK_EQ(length(barn_shrink(cache, false)), 0);
}

static void shrink_by_age_leaves_empty_sheaves(void)
{
	struct kmem_cache *cache = cache_of(64);

	CHECK(barn_put_empty(cache, sheaf_new(cache), GFP_KERNEL));
	CHECK(barn_put_full(cache, sheaf_new(cache), GFP_KERNEL));
	barn_shrink(cache, false);
	CHECK_EQ(length(barn_shrink(cache, false)), 1);
	CHECK_EQ(cache->barn.nr_empty, 1);
	CHECK_EQ(length(barn_shrink(cache, true)), 1);
}

static pthread_barrier_t barrier;

static void *hold_lock(void *arg)
{
	lock_acquire(arg);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	lock_release(arg);
	return NULL;
}

static void barn_lock_busy_makes_atomic_calls_fail(void)
{
	struct kmem_cache *cache = cache_of(64);
	struct slab_sheaf *sheaf = sheaf_new(cache);
	pthread_t thread;

	CHECK(barn_put_full(cache, sheaf_new(cache), GFP_KERNEL));
	CHECK(barn_put_empty(cache, sheaf_new(cache), GFP_KERNEL));
	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(pthread_create(&thread, NULL, hold_lock, &cache->barn.lock) == 0);
	pthread_barrier_wait(&barrier);
	CHECK(barn_get_full(cache, GFP_ATOMIC) == NULL);
	CHECK(barn_get_empty(cache, GFP_ATOMIC) == NULL);
	CHECK(!barn_put_full(cache, sheaf, GFP_ATOMIC));
	CHECK(!barn_put_empty(cache, sheaf, GFP_ATOMIC));
	CHECK_EQ(lock_depth, 0);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	CHECK(barn_put_full(cache, sheaf, GFP_ATOMIC));
	CHECK(barn_get_full(cache, GFP_ATOMIC) == sheaf);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(barn_when_new_is_empty),
		UNIT_TEST(barn_of_every_class_keeps_full_sheaves_up_to_its_limit),
		UNIT_TEST(barn_keeps_empty_sheaves_up_to_its_limit),
		UNIT_TEST(barn_gives_what_came_last),
		UNIT_TEST(shrink_by_age_takes_what_a_whole_period_did_not_need),
		UNIT_TEST(shrink_by_age_leaves_empty_sheaves),
		UNIT_TEST(barn_lock_busy_makes_atomic_calls_fail),
	};

	return UNIT_MAIN(tests);
}
