/* SPDX-License-Identifier: MIT */
/*
 * test_mempool.c - memory pools under an allocator that fails when it is told to.
 *
 * The pool's allocator counts what it gave; `failing` makes it give nothing, `patient` only where
 * it may not wait.
 */
#include "unit.h"

#include "kmalloc/mempool.h"
#include "slab/kmem_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

static _Atomic int out;
static _Atomic bool failing;
static bool patient;
static _Atomic unsigned nr_asked;

static void *give(gfp_t gfp, void *pool_data)
{
	nr_asked++;
	CHECK(!(gfp & __GFP_ZERO));
	CHECK(gfp & __GFP_NOWARN || pool_data);
	if (failing || (patient && !(gfp & __GFP_DIRECT_RECLAIM)))
		return NULL;
	out++;
	return kmalloc(64, gfp | GFP_KERNEL);
}

static void take_back(void *element, void *pool_data)
{
	(void)pool_data;
	out--;
	kfree(element);
}

static mempool_t *create(int min_nr)
{
	mempool_t *pool = mempool_create(min_nr, give, take_back, &out);

	CHECK(pool != NULL);
	CHECK_EQ(out, min_nr);
	CHECK(mempool_initialized(pool) && mempool_is_saturated(pool));
	return pool;
}

static void reserve_is_used_when_the_allocator_fails(void)
{
	mempool_t *pool = create(5);
	void *elements[6];

	failing = true;
	for (unsigned i = 0; i < 5; i++) {
		elements[i] = mempool_alloc(pool, GFP_NOWAIT);
		CHECK(elements[i] != NULL);
		CHECK_EQ(pool->curr_nr, 4 - (int)i);
		for (unsigned j = 0; j < i; j++)
			CHECK(elements[i] != elements[j]);
	}
	CHECK(mempool_alloc(pool, GFP_ATOMIC) == NULL);
	CHECK(mempool_alloc_preallocated(pool) == NULL);
	for (unsigned i = 0; i < 5; i++)
		mempool_free(elements[i], pool);
	CHECK(mempool_is_saturated(pool));
	CHECK_EQ(out, 5);
	failing = false;
	elements[5] = mempool_alloc(pool, GFP_KERNEL);
	CHECK_EQ(out, 6);
	CHECK(mempool_is_saturated(pool));
	mempool_free(elements[5], pool);
	CHECK_EQ(out, 5);
	mempool_free(NULL, pool);
	mempool_destroy(pool);
	CHECK_EQ(out, 0);
	mempool_destroy(NULL);
}

static void allocator_may_wait_only_when_the_reserve_is_empty(void)
{
	mempool_t *pool;
	void *first, *second;

	patient = true;
	pool = create(1);
	first = mempool_alloc(pool, GFP_KERNEL);
	CHECK_EQ(out, 1);
	second = mempool_alloc(pool, GFP_KERNEL);
	CHECK_EQ(out, 2);
	CHECK(mempool_alloc(pool, GFP_NOIO & ~__GFP_DIRECT_RECLAIM) == NULL);
	mempool_free(first, pool);
	mempool_free(second, pool);
	CHECK_EQ(out, 1);
	mempool_destroy(pool);
}

static void pool_that_cannot_be_filled_is_not_created(void)
{
	mempool_t pool;

	failing = true;
	CHECK(mempool_create(3, give, take_back, &out) == NULL);
	CHECK_EQ(mempool_init(&pool, 3, give, take_back, &out), -ENOMEM);
	CHECK_EQ(out, 0);
	failing = false;
	CHECK_EQ(mempool_init(&pool, 3, give, take_back, &out), 0);
	CHECK_EQ(out, 3);
	mempool_exit(&pool);
	CHECK_EQ(out, 0);
	CHECK(!mempool_initialized(&pool));
	CHECK_EQ(mempool_init(&pool, 0, give, take_back, &out), 0);
	CHECK_EQ(out, 0);
	mempool_free(mempool_alloc(&pool, GFP_KERNEL), &pool);
	CHECK_EQ(out, 0);
	mempool_exit(&pool);
}

static void resized_pool_keeps_as_many_as_it_should(void)
{
	mempool_t *pool = create(4);
	void *elements[40];

	CHECK_EQ(mempool_resize(pool, 40), 0);
	CHECK_EQ(out, 40);
	failing = true;
	for (unsigned i = 0; i < 40; i++)
		CHECK((elements[i] = mempool_alloc(pool, GFP_NOWAIT)) != NULL);
	CHECK_EQ(mempool_resize(pool, 10), 0);
	for (unsigned i = 0; i < 40; i++)
		mempool_free(elements[i], pool);
	CHECK_EQ(out, 10);
	CHECK_EQ(mempool_resize(pool, 3), 0);
	CHECK_EQ(out, 3);
	/* without memory it grows by what is freed */
	CHECK_EQ(mempool_resize(pool, 6), 0);
	CHECK(!mempool_is_saturated(pool));
	failing = false;
	for (unsigned i = 0; i < 4; i++)
		elements[i] = mempool_alloc(pool, GFP_KERNEL);
	for (unsigned i = 0; i < 4; i++)
		mempool_free(elements[i], pool);
	CHECK_EQ(out, 6);
	mempool_destroy(pool);
	CHECK_EQ(out, 0);
}

static void *free_later(void *arg)
{
	void **pair = arg;
	mempool_t *pool = pair[0];

	while (!__atomic_load_n(&pool->nr_waiting, __ATOMIC_RELAXED))
		usleep(1000);
	mempool_free(pair[1], pool);
	return NULL;
}

static void allocation_that_may_wait_sleeps_until_an_element_is_freed(void)
{
	mempool_t *pool = create(1);
	void *pair[2] = { pool, mempool_alloc_preallocated(pool) };
	pthread_t thread;
	void *element;

	CHECK(pair[1] != NULL);
	failing = true;
	CHECK(pthread_create(&thread, NULL, free_later, pair) == 0);
	element = mempool_alloc(pool, GFP_KERNEL);
	CHECK(element == pair[1]);
	pthread_join(thread, NULL);
	CHECK_EQ(pool->nr_waiting, 0);
	mempool_free(element, pool);
	mempool_destroy(pool);
	CHECK_EQ(out, 0);
}

static mempool_t *shared_pool;

static void *work(void *unused)
{
	for (unsigned i = 0; i < 3000; i++) {
		unsigned long *element = mempool_alloc(shared_pool, GFP_NOIO);

		CHECK(element != NULL);
		*element = (unsigned long)&unused;
		if (i % 64 == 0)
			sched_yield();
		CHECK_EQ(*element, (unsigned long)&unused);
		mempool_free(element, shared_pool);
	}
	return unused;
}

/* More threads than elements: each waits for the others, none for ever, and no element is in two hands. */
static void threads_share_a_reserve_that_is_all_there_is(void)
{
	pthread_t threads[6];

	shared_pool = create(3);
	failing = true;
	for (unsigned i = 0; i < 6; i++)
		CHECK(pthread_create(&threads[i], NULL, work, NULL) == 0);
	for (unsigned i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	CHECK(mempool_is_saturated(shared_pool));
	mempool_destroy(shared_pool);
	CHECK_EQ(out, 0);
}

static void pools_of_a_cache_and_of_kmalloc_objects(void)
{
	struct kmem_cache *cache = kmem_cache_create("pooled", 100, NULL, 0);
	mempool_t *slab = mempool_create_slab_pool(4, cache);
	mempool_t *kmalloced = mempool_create_kmalloc_pool(4, 500);
	void *object = mempool_alloc(slab, GFP_KERNEL),
	     *other = mempool_alloc(kmalloced, GFP_KERNEL);

	CHECK(virt_to_cache(object) == cache);
	CHECK_EQ(ksize(other), 512);
	mempool_free(object, slab);
	mempool_free(other, kmalloced);
	mempool_destroy(slab);
	mempool_destroy(kmalloced);
	kmem_cache_destroy(cache);
	CHECK_EQ(kmem_cache_state(cache), KMEM_CACHE_DEAD);
}

static void ask_for_zeroes(void *unused)
{
	(void)unused;
	CHECK(mempool_alloc(create(1), GFP_KERNEL | __GFP_ZERO) != NULL);
}

static void zeroes_are_not_to_be_had(void)
{
	struct unit_end end = unit_child(ask_for_zeroes, NULL);

	CHECK_EQ(end.status, 0);
	CHECK(strstr(end.text, "libkmalloc: mempool_alloc: __GFP_ZERO is ignored, called from ") ==
	      end.text);
}

int main(void)
{
	const struct unit_case cases[] = {
		UNIT_TEST(reserve_is_used_when_the_allocator_fails),
		UNIT_TEST(allocator_may_wait_only_when_the_reserve_is_empty),
		UNIT_TEST(pool_that_cannot_be_filled_is_not_created),
		UNIT_TEST(resized_pool_keeps_as_many_as_it_should),
		UNIT_TEST(allocation_that_may_wait_sleeps_until_an_element_is_freed),
		UNIT_TEST(threads_share_a_reserve_that_is_all_there_is),
		UNIT_TEST(pools_of_a_cache_and_of_kmalloc_objects),
		UNIT_TEST(zeroes_are_not_to_be_had),
	};

	return UNIT_MAIN(cases);
}
