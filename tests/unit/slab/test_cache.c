/* SPDX-License-Identifier: MIT */
/*
 * test_cache.c - the miss paths of a cache: sheaf, spare, barn, slabs, and back.
 *
 * Objects in use are counted from outside: a cache's active objects, less those
 * in the barn, less those that a drain then brings back, are what the test holds.
 */
#include "unit.h"

#include "kmalloc/kvmalloc.h"
#include "page/meta.h"
#include "page/reclaim.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

static struct kmem_cache *cache_of(size_t size)
{
	return &kmem_caches[kmalloc_index(size)];
}

static void *cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
	void *object;
	bool zeroed;

	if (percpu_pop(cache->index, &object))
		return object;
	return kmem_cache_alloc_slow(cache, gfp, &zeroed);
}

static void cache_free(struct kmem_cache *cache, void *object)
{
	if (!percpu_push(cache->index, object))
		CHECK(kmem_cache_free_slow(cache, object, GFP_KERNEL));
}

static struct kmem_cache_stat stat_of(struct kmem_cache *cache)
{
	struct kmem_cache_stat stat;

	kmem_cache_stat(cache, &stat);
	return stat;
}

/* Everything that is free is in slabs after this. */
static size_t objects_in_use(struct kmem_cache *cache)
{
	kmem_cache_drain_all();
	reclaim_run(RECLAIM_ALL);
	CHECK_EQ(stat_of(cache).cached_objs, 0);
	return stat_of(cache).active_objs;
}

static void object_freed_last_is_allocated_first(void)
{
	unit_pin(0);
	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++) {
		struct kmem_cache *cache = &kmem_caches[i];
		void *a = cache_alloc(cache, GFP_KERNEL), *b = cache_alloc(cache, GFP_KERNEL);

		CHECK(a && b && a != b);
		cache_free(cache, a);
		cache_free(cache, b);
		CHECK(cache_alloc(cache, GFP_KERNEL) == b);
		CHECK(cache_alloc(cache, GFP_KERNEL) == a);
	}
}

static void refilled_sheaf_hands_out_ascending_addresses(void)
{
	struct kmem_cache *cache = cache_of(96);
	char *last;

	unit_pin(0);
	last = cache_alloc(cache, GFP_KERNEL);
	for (unsigned i = 1; i < cache->nr_objects; i++) {
		char *object = cache_alloc(cache, GFP_KERNEL);

		CHECK(object == last + cache->size);
		last = object;
	}
}

static void cache_of_every_class_counts_what_is_out(void)
{
	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++) {
		struct kmem_cache *cache = &kmem_caches[i];
		unsigned n = cache->capacity * 5U + 3;
		char **objects = calloc(n, sizeof(*objects));

		for (unsigned k = 0; k < n; k++) {
			objects[k] = cache_alloc(cache, GFP_KERNEL);
			CHECK(objects[k] != NULL);
			CHECK(kmem_cache_is_object(cache, objects[k]));
			unit_fill(objects[k], cache->object_size, k);
		}
		CHECK_EQ(objects_in_use(cache), n);
		for (unsigned k = 0; k < n; k += 2)
			cache_free(cache, objects[k]);
		CHECK_EQ(objects_in_use(cache), n / 2);
		for (unsigned k = 1; k < n; k += 2)
			CHECK(unit_is_filled(objects[k], cache->object_size, k));
		for (unsigned k = 1; k < n; k += 2)
			cache_free(cache, objects[k]);
		CHECK_EQ(objects_in_use(cache), 0);
		CHECK_EQ(stat_of(cache).num_slabs, 0);
		free(objects);
	}
}

/* What a CPU and the barn keep is bounded: the rest of many frees goes to the slabs. */
static void cache_after_many_frees_keeps_a_bounded_rest(void)
{
	unit_pin(0);
	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++) {
		struct kmem_cache *cache = &kmem_caches[i];
		unsigned n = cache->capacity * 16U;
		void **objects = calloc(n, sizeof(*objects));
		size_t bound = (cache->max_full + 2UL) * cache->capacity;

		for (unsigned k = 0; k < n; k++)
			objects[k] = cache_alloc(cache, GFP_KERNEL);
		for (unsigned k = 0; k < n; k++)
			cache_free(cache, objects[k]);
		CHECK(stat_of(cache).active_objs <= bound);
		CHECK_EQ(stat_of(cache).cached_objs, cache->max_full * (size_t)cache->capacity);
		CHECK(cache->barn.nr_empty <= 10);
		free(objects);
	}
}

static void full_sheaf_of_the_barn_is_used_before_the_slabs(void)
{
	struct kmem_cache *cache = cache_of(512);
	unsigned n = cache->capacity * 4U;
	void **objects = calloc(n, sizeof(*objects));
	size_t active;

	unit_pin(0);
	for (unsigned k = 0; k < n; k++)
		objects[k] = cache_alloc(cache, GFP_KERNEL);
	for (unsigned k = 0; k < n; k++)
		cache_free(cache, objects[k]);
	active = stat_of(cache).active_objs;
	CHECK(active >= n);
	for (unsigned k = 0; k < active; k++)
		CHECK(cache_alloc(cache, GFP_KERNEL) != NULL);
	CHECK_EQ(stat_of(cache).active_objs, active);
	cache_alloc(cache, GFP_KERNEL);
	CHECK(stat_of(cache).active_objs > active);
}

static void barn_unused_for_two_periods_goes_to_the_slabs(void)
{
	struct kmem_cache *cache = cache_of(64);
	unsigned n = cache->capacity * 8U;
	void **objects = calloc(n, sizeof(*objects));

	unit_pin(0);
	for (unsigned k = 0; k < n; k++)
		objects[k] = cache_alloc(cache, GFP_KERNEL);
	for (unsigned k = 0; k < n; k++)
		cache_free(cache, objects[k]);
	CHECK(stat_of(cache).cached_objs > 0);
	reclaim_run(RECLAIM_AGE);
	CHECK(stat_of(cache).cached_objs > 0);
	reclaim_run(RECLAIM_AGE);
	CHECK_EQ(stat_of(cache).cached_objs, 0);
}

/* Sheaves and bitmaps that were lost on the way would show as metadata that grows. */
static void metadata_under_steady_use_does_not_grow(void)
{
	enum { COUNT = 3000 };
	struct kmem_cache *cache = cache_of(64);
	static void *objects[COUNT];
	size_t after_warm_up = 0;

	for (int turn = 0; turn < 1500; turn++) {
		int n = turn % 2 ? 720 : COUNT;

		for (int i = 0; i < n; i++)
			objects[i] = cache_alloc(cache, GFP_KERNEL);
		unit_pin((unsigned)turn);
		for (int i = 0; i < n; i++)
			cache_free(cache, objects[i]);
		if (turn % 8 == 7)
			kmem_cache_drain_all();
		if (turn % 16 == 15)
			reclaim_run(RECLAIM_ALL);
		if (turn == 100)
			after_warm_up = meta_bytes();
	}
	CHECK_EQ(meta_bytes(), after_warm_up);
}

static void vfork_child_takes_and_gives_single_objects(void)
{
	struct kmem_cache *cache = cache_of(128);
	void *mine, *borrowed;
	bool zeroed;

	unit_pin(0);
	mine = cache_alloc(cache, GFP_KERNEL);
	size_t active = stat_of(cache).active_objs;

	percpu_vfork_child();
	borrowed = kmem_cache_alloc_slow(cache, GFP_KERNEL, &zeroed);
	CHECK(borrowed && borrowed != mine);
	CHECK_EQ(stat_of(cache).active_objs, active + 1);
	CHECK(kmem_cache_free_slow(cache, borrowed, GFP_KERNEL));
	CHECK(kmem_cache_free_slow(cache, mine, GFP_KERNEL));
	CHECK_EQ(stat_of(cache).active_objs, active - 1);
	percpu_vfork_parent();
	CHECK_EQ(objects_in_use(cache), 0);
}

static pthread_barrier_t barrier;

static void *hold_locks(void *arg)
{
	struct kmem_cache *cache = arg;

	lock_acquire(&cache->barn.lock);
	lock_acquire(&cache->lock);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	lock_release(&cache->lock);
	lock_release(&cache->barn.lock);
	return NULL;
}

/* With every lock of the cache busy, what this CPU has is still there; nothing else, and no wait. */
static void locks_busy_leave_the_cpu_its_own_objects(void)
{
	struct kmem_cache *cache = cache_of(1024);
	pthread_t thread;
	unsigned got = 0;
	bool zeroed;
	void *object;

	unit_pin(0);
	cache_free(cache, cache_alloc(cache, GFP_KERNEL));
	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(pthread_create(&thread, NULL, hold_locks, cache) == 0);
	pthread_barrier_wait(&barrier);
	while ((object = cache_alloc(cache, GFP_ATOMIC)) != NULL)
		got++;
	CHECK_EQ(got, min_size(cache->capacity, cache->nr_objects)); /* a refill makes one slab */
	CHECK(kmem_cache_alloc_slow(cache, GFP_ATOMIC, &zeroed) == NULL);
	CHECK_EQ(lock_depth, 0);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	CHECK(kmem_cache_alloc_slow(cache, GFP_ATOMIC, &zeroed) != NULL);
}

/* A sheaf that a handler can put nowhere waits, and the next miss that may wait flushes it. */
static void sheaf_full_with_the_locks_busy_is_not_lost(void)
{
	struct kmem_cache *cache = cache_of(1024);
	unsigned count = cache->capacity * 4U;
	void *objects[4 * UINT8_MAX];
	pthread_t thread;

	unit_pin(0);
	CHECK(count <= ARRAY_SIZE(objects));
	for (unsigned i = 0; i < count; i++)
		objects[i] = cache_alloc(cache, GFP_KERNEL);
	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(pthread_create(&thread, NULL, hold_locks, cache) == 0);
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < count; i++)
		CHECK(kmem_cache_free_slow(cache, objects[i], GFP_ATOMIC));
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	CHECK(atomic_load(&cache->deferred) != NULL);
	CHECK(sheaf_full(atomic_load(&cache->deferred)));
	/* as many again miss once at least, now with the right to wait */
	for (unsigned i = 0; i < count; i++)
		objects[i] = cache_alloc(cache, GFP_KERNEL);
	CHECK(atomic_load(&cache->deferred) == NULL);
	for (unsigned i = 0; i < count; i++)
		cache_free(cache, objects[i]);
	kmem_cache_drain_all();
	reclaim_run(RECLAIM_ALL);
	CHECK_EQ(cache->nr_inuse, 0);
}

/* Threads that hand objects of one cache to each other, while another drains and ages. */

#define THREADS 5
#define SHELF 512
#define ROUNDS 400000

static _Atomic(void *) shelf[SHELF];
static _Atomic int nr_running;
static struct kmem_cache *shared;

static void stamp(void *object, uintptr_t owner)
{
	uintptr_t *words = object;

	for (unsigned i = 0; i < shared->object_size / sizeof(*words); i++)
		words[i] = owner ^ i;
}

static void check_stamp(const void *object)
{
	const uintptr_t *words = object;

	for (unsigned i = 1; i < shared->object_size / sizeof(*words); i++)
		CHECK_EQ(words[i] ^ i, words[0]);
}

static void *trade(void *arg)
{
	uint64_t random = (uintptr_t)arg + 5;

	for (int i = 0; i < ROUNDS; i++) {
		_Atomic(void *) *place = &shelf[unit_random(&random) % SHELF];
		void *object = NULL;

		if (unit_random(&random) % 2) {
			object = cache_alloc(shared, GFP_KERNEL);
			CHECK(object != NULL);
			stamp(object, unit_random(&random));
		}
		object = atomic_exchange(place, object);
		if (object) {
			check_stamp(object);
			stamp(object, 0);
			cache_free(shared, object);
		}
		if (i % 1024 == 0)
			unit_pin((unsigned)unit_random(&random));
	}
	atomic_fetch_sub(&nr_running, 1);
	return NULL;
}

static void on_tick(int sig)
{
	(void)sig;
}

static void trade_objects_of(size_t size)
{
	struct itimerval often = { { 0, 700 }, { 0, 700 } };
	pthread_t threads[THREADS];

	shared = cache_of(size);
	signal(SIGPROF, on_tick);
	CHECK(setitimer(ITIMER_PROF, &often, NULL) == 0);
	nr_running = THREADS;
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, trade, (void *)i) == 0);
	for (unsigned turn = 0; atomic_load(&nr_running); turn++) {
		kmem_cache_drain_all();
		reclaim_run(turn % 4 ? RECLAIM_AGE : RECLAIM_ALL);
		usleep(300);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < SHELF; i++) {
		if (shelf[i]) {
			check_stamp(shelf[i]);
			cache_free(shared, shelf[i]);
		}
		shelf[i] = NULL;
	}
	CHECK_EQ(objects_in_use(shared), 0);
}

static void small_objects_between_threads_stay_whole(void)
{
	trade_objects_of(64);
}

static void large_objects_between_threads_stay_whole(void)
{
	trade_objects_of(2000);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(object_freed_last_is_allocated_first),
		UNIT_TEST(refilled_sheaf_hands_out_ascending_addresses),
		UNIT_TEST(cache_of_every_class_counts_what_is_out),
		UNIT_TEST(cache_after_many_frees_keeps_a_bounded_rest),
		UNIT_TEST(full_sheaf_of_the_barn_is_used_before_the_slabs),
		UNIT_TEST(barn_unused_for_two_periods_goes_to_the_slabs),
		UNIT_TEST(metadata_under_steady_use_does_not_grow),
		UNIT_TEST(vfork_child_takes_and_gives_single_objects),
		UNIT_TEST(locks_busy_leave_the_cpu_its_own_objects),
		UNIT_TEST(sheaf_full_with_the_locks_busy_is_not_lost),
		UNIT_TEST(small_objects_between_threads_stay_whole),
		UNIT_TEST(large_objects_between_threads_stay_whole),
	};

	return UNIT_MAIN(tests);
}
