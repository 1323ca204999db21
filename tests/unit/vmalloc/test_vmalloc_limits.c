/* SPDX-License-Identifier: MIT */
/*
 * test_vmalloc_limits.c - areas where something stands in the way: limits of the
 * system, callers that may not wait, mappings of others, too many mappings, other threads.
 */
#include "areas.h"

#include "page/page.h"

#include <pthread.h>
#include <sys/mman.h>

static void request_that_is_too_large_is_refused(void)
{
	static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - P, SIZE_MAX / 2, 1UL << 62,
					80UL << 40 /* all of the layout */ };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		CHECK(vmalloc_area(sizes[i], 0, GFP_KERNEL, NULL) == NULL);
		CHECK(vmalloc_area(sizes[i], 1UL << 30, GFP_KERNEL, NULL) == NULL);
		CHECK(vmalloc_area(sizes[i], 0, GFP_ATOMIC, NULL) == NULL);
	}
	CHECK(vmalloc_area(P, 1UL << 63, GFP_KERNEL, NULL) == NULL);
	CHECK(vmalloc_area(P, 1UL << 46, GFP_KERNEL, NULL) == NULL);
	CHECK_EQ(stat_now().nr_areas, 0);
	area_of(P);
	ranges_check();
}

static void limit_of_the_address_space_gives_null_until_it_is_lifted(void)
{
	char *ptr = area_of(M);

	unit_limit_address_space(16 * M);
	CHECK(vmalloc_area(64 * M, 0, GFP_KERNEL, NULL) == NULL);
	CHECK(vmalloc_area(64 * M, 64 * M, GFP_KERNEL, NULL) == NULL);
	give_back(area_of(2 * M));
	CHECK_EQ(stat_now().nr_areas, 1);
	for (int i = 0; i < 100; i++)
		CHECK(vmalloc_area(64 * M, 0, GFP_KERNEL, NULL) == NULL);
	ranges_check();
	unit_limit_address_space(SIZE_MAX);
	CHECK(vmalloc_area(64 * M, 0, GFP_KERNEL, NULL) != NULL);
	CHECK_EQ(vmalloc_size(ptr), M);
	ranges_check();
}

/* Freed memory that waits must not stand in the way of a request under a limit. */
static void lazy_memory_under_a_limit_makes_room(void)
{
	char *areas[8];

	for (int i = 0; i < 8; i++)
		areas[i] = area_of(4 * M);
	unit_limit_address_space(8 * M);
	for (int i = 0; i < 8; i += 2)
		give_back(areas[i]);
	CHECK(vmalloc_area(20 * M, 0, GFP_KERNEL, NULL) != NULL);
	ranges_check();
}

static void free_slab_pages_under_a_limit_make_room(void)
{
	struct page *pages[16];
	bool zeroed;

	for (int i = 0; i < 16; i++)
		CHECK((pages[i] = page_alloc(MAX_ORDER, GFP_KERNEL, &zeroed)) != NULL);
	for (int i = 0; i < 16; i++)
		page_free(pages[i], GFP_KERNEL);
	unit_limit_address_space(8 * M);
	CHECK(vmalloc_area(40 * M, 0, GFP_KERNEL, NULL) != NULL);
}

/* So that memory that waits never adds to a new peak. */
static void new_memory_takes_the_place_of_what_waits(void)
{
	char *areas[60];

	for (int i = 0; i < 60; i++)
		areas[i] = area_of(M);
	for (int i = 0; i < 60; i++)
		give_back(areas[i]);
	CHECK(stat_now().lazy > 60 * M);
	area_of(40 * M);
	CHECK(stat_now().lazy < 21 * M);
	ranges_check();
}

static void atomic_request_takes_only_what_waits(void)
{
	char *ptr;

	CHECK(vmalloc_area(M, 0, GFP_ATOMIC, NULL) == NULL);
	CHECK_EQ(vmap_top, vmap_base);
	ptr = area_of(M);
	give_back(ptr);
	CHECK(vmalloc_area(M, 0, GFP_ATOMIC, NULL) == ptr);
	CHECK(vmalloc_area(M, 0, GFP_ATOMIC, NULL) == NULL);
	CHECK_EQ(vfree_area(ptr, GFP_ATOMIC), VFREE_DONE);
	ranges_check();
}

static pthread_barrier_t barrier;

static void *hold_lock(void *unused)
{
	lock_acquire(&vmap_lock);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	lock_release(&vmap_lock);
	return unused;
}

static void lock_busy_makes_atomic_calls_fail(void)
{
	char *ptr = area_of(M), *lazy = area_of(2 * M);
	pthread_t thread;

	give_back(lazy);
	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(pthread_create(&thread, NULL, hold_lock, NULL) == 0);
	pthread_barrier_wait(&barrier);
	CHECK(vmalloc_area(2 * M, 0, GFP_ATOMIC, NULL) == NULL);
	CHECK_EQ(vfree_area(ptr, GFP_ATOMIC), VFREE_BUSY);
	CHECK_EQ(vmalloc_size(ptr), M); /* asks without the lock */
	CHECK_EQ(lock_depth, 0);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	CHECK_EQ(vfree_area(ptr, GFP_ATOMIC), VFREE_DONE);
	ranges_check();
}

static void *map_fixed(uintptr_t addr, size_t size)
{
	void *ptr = mmap((void *)addr, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	CHECK(ptr == (void *)addr);
	unit_fill(ptr, size, 99);
	return ptr;
}

static void foreign_mapping_in_the_window_is_skipped(void)
{
	char *before = area_of(M), *foreign[3];

	for (int i = 0; i < 3; i++) {
		foreign[i] = map_fixed(vmap_top + 3 * P, 2 * P);
		for (int k = 0; k < 20; k++) {
			char *ptr = area_of(M);

			CHECK(ptr + M <= foreign[i] || ptr >= foreign[i] + 2 * P);
			memset(ptr, 1, M);
		}
	}
	for (int i = 0; i < 3; i++)
		CHECK(unit_is_filled(foreign[i], 2 * P, 99));
	CHECK(ranges_check().foreign >= 3);
	give_back(before);
}

static void foreign_mapping_where_an_area_was_is_skipped(void)
{
	char *ptr = area_of(M), *foreign;

	area_of(P);
	give_back(ptr);
	reclaim_run(RECLAIM_ALL);
	foreign = map_fixed((uintptr_t)ptr + 100 * P, P);
	for (int k = 0; k < 5; k++) {
		char *next = area_of(M);

		CHECK(next + M <= foreign || next >= foreign + P);
		memset(next, 1, M);
	}
	CHECK(unit_is_filled(foreign, P, 99));
	ranges_check();
}

/* Every second area freed and purged: as many holes as can be. */
static void mappings_stay_bounded_with_many_holes(void)
{
	enum { COUNT = 24000 };
	static char *areas[COUNT];

	for (int i = 0; i < COUNT; i++)
		areas[i] = area_of(132 * K);
	for (int round = 0; round < 3; round++) {
		bool promise = round != 2;

		for (int i = 0; i < COUNT; i += 2) {
			areas[i][0] = 1;
			give_back(areas[i]);
		}
		/* the last time the range that was promised zero is used again as it is */
		if (promise) {
			reclaim_run(RECLAIM_ALL);
			CHECK_EQ(stat_now().lazy, 0);
		}
		CHECK(vmap_nr_holes < 8192 + 64);
		CHECK(unit_maps() < 8192 * 2 + 16384 * 2 + 1000);
		for (int i = 0; i < COUNT; i += 2) {
			bool zeroed = false;

			areas[i] = vmalloc_area(132 * K, 0, GFP_KERNEL, &zeroed);
			CHECK(areas[i] && zeroed >= promise);
			CHECK(!zeroed || unit_is_zero(areas[i], P));
		}
	}
	ranges_check();
}

static _Atomic int nr_running;

static void *churn(void *arg)
{
	enum { COUNT = 12 };
	uint64_t random = unit_seed() + (uintptr_t)arg;
	char *areas[COUNT] = { 0 };

	for (int i = 0; i < 4000; i++) {
		uint64_t r = unit_random(&random);
		unsigned k = (unsigned)(r % COUNT);
		uint64_t seed = k + (uintptr_t)arg;

		if (areas[k]) {
			CHECK(unit_is_filled(areas[k] + vmalloc_size(areas[k]) - 256, 256, seed));
			CHECK(unit_is_filled(areas[k], 256, seed));
			give_back(areas[k]);
			areas[k] = NULL;
			continue;
		}
		areas[k] = area_of(1 + (r >> 8) % (300 * K));
		unit_fill(areas[k] + vmalloc_size(areas[k]) - 256, 256, seed);
		unit_fill(areas[k], 256, seed);
	}
	for (int k = 0; k < COUNT; k++)
		if (areas[k])
			give_back(areas[k]);
	__atomic_fetch_sub(&nr_running, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void areas_of_many_threads_under_purge_keep_their_bytes(void)
{
	pthread_t threads[4];

	nr_running = 4;
	for (uintptr_t i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, churn, (void *)(i * 100)) == 0);
	while (nr_running) {
		reclaim_run(RECLAIM_ALL);
		usleep(500);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(ranges_check().busy, 0);
	CHECK_EQ(stat_now().nr_areas, 0);
	CHECK_EQ(stat_now().bytes, 0);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(request_that_is_too_large_is_refused),
		UNIT_TEST(limit_of_the_address_space_gives_null_until_it_is_lifted),
		UNIT_TEST(lazy_memory_under_a_limit_makes_room),
		UNIT_TEST(free_slab_pages_under_a_limit_make_room),
		UNIT_TEST(new_memory_takes_the_place_of_what_waits),
		UNIT_TEST(atomic_request_takes_only_what_waits),
		UNIT_TEST(lock_busy_makes_atomic_calls_fail),
		UNIT_TEST(foreign_mapping_in_the_window_is_skipped),
		UNIT_TEST(foreign_mapping_where_an_area_was_is_skipped),
		UNIT_TEST(mappings_stay_bounded_with_many_holes),
		UNIT_TEST(areas_of_many_threads_under_purge_keep_their_bytes),
	};

	return UNIT_MAIN(tests);
}
