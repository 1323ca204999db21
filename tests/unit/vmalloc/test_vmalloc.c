/* SPDX-License-Identifier: MIT */
/*
 * test_vmalloc.c - areas as callers see them: size, alignment, guards, reuse, purge,
 * damaged pointers. meson runs the program a second time as on a kernel without
 * guard pages.
 */
#include "areas.h"

static void area_of_every_size_holds_it(void)
{
	for (size_t size = 1; size < 40 * P; size += size < 3 * P ? 13 : 777) {
		char *ptr = area_of(size);

		CHECK_EQ((uintptr_t)ptr % P, 0);
		CHECK_EQ(vmalloc_size(ptr), align_up(size, P));
		CHECK(unit_is_zero(ptr, size));
		memset(ptr, 1, vmalloc_size(ptr));
	}
	ranges_check();
}

static void area_of_every_alignment_is_aligned(void)
{
	static const size_t sizes[] = { 1, P, 131072, 3 * M };

	for (size_t align = 1; align <= 1UL << 30; align *= 2) {
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			char *ptr = vmalloc_area(sizes[i], align, GFP_KERNEL, NULL);

			CHECK(ptr != NULL);
			CHECK_EQ((uintptr_t)ptr % align, 0);
			CHECK_EQ((uintptr_t)ptr % P, 0);
			CHECK(vmalloc_size(ptr) >= sizes[i]);
			ptr[0] = ptr[sizes[i] - 1] = 1;
			if (i % 2)
				give_back(ptr);
		}
	}
	ranges_check();
}

static void area_after_every_way_to_get_one_ends_in_a_guard(void)
{
	char *fresh = area_of(3 * P), *big = area_of(64 * P), *cut, *rest, *reused, *aligned;

	check_guard(fresh);
	check_guard(big);
	give_back(fresh);
	reused = area_of(3 * P);
	CHECK(reused == fresh);
	check_guard(reused);
	give_back(big);
	cut = area_of(10 * P); /* off the lazy one of 64 */
	CHECK(cut == big);
	check_guard(cut);
	rest = area_of(20 * P);
	CHECK(rest == cut + 11 * P);
	check_guard(rest);
	check_guard(cut);
	aligned = vmalloc_area(5 * P, 64 * K, GFP_KERNEL, NULL);
	check_guard(aligned);
	reclaim_run(RECLAIM_ALL);
	check_guard(area_of(4 * P)); /* out of a hole */
	check_guard(cut);
	check_guard(rest);
	ranges_check();
}

static void area_joined_from_neighbours_has_one_guard(void)
{
	char *parts[4], *joined;

	for (int i = 0; i < 4; i++) {
		parts[i] = area_of(7 * P);
		memset(parts[i], 0x77, 7 * P);
	}
	area_of(P);
	for (int i = 0; i < 4; i++)
		give_back(parts[i]);
	joined = area_of(24 * P);
	memset(joined, 1, vmalloc_size(joined));
	check_guard(joined);
	ranges_check();
}

static void freed_area_is_used_again_for_its_size(void)
{
	char *ptr = area_of(300 * K), *other = area_of(500 * K);
	bool zeroed = true;

	memset(ptr, 1, 300 * K);
	give_back(ptr);
	CHECK(vmalloc_area(300 * K, 0, GFP_KERNEL, &zeroed) == ptr);
	CHECK(!zeroed);
	give_back(other);
	ranges_check();
}

/* The promise is kept whenever it is given: dirty ranges are cut, joined, purged and reused. */
static void zeroed_by_chance_is_true_when_promised(void)
{
	enum { COUNT = 40 };
	char *areas[COUNT];
	uint64_t random = unit_seed();
	unsigned count = 0, promised = 0;

	for (int i = 0; i < 6000; i++) {
		uint64_t r = unit_random(&random);
		bool zeroed = false;
		char *ptr;

		if (count == COUNT || (count && r % 16 < 7)) {
			unsigned victim = (unsigned)((r >> 8) % count);

			give_back(areas[victim]);
			areas[victim] = areas[--count];
			continue;
		}
		ptr = vmalloc_area(1 + (r >> 16) % (60 * P), (r >> 8) % 8 ? 0 : P << (r >> 48) % 6,
				   GFP_KERNEL, &zeroed);
		CHECK(ptr != NULL);
		CHECK(!zeroed || unit_is_zero(ptr, vmalloc_size(ptr)));
		promised += zeroed;
		memset(ptr, 0xee, vmalloc_size(ptr));
		areas[count++] = ptr;
		if ((r >> 40) % 128 == 0)
			reclaim_run(RECLAIM_ALL);
	}
	CHECK(promised > 100);
	ranges_check();
}

static void areas_many_at_once_keep_their_bytes(void)
{
	enum { COUNT = 4000 };
	static struct {
		char *ptr;
		size_t size;
	} areas[COUNT];
	uint64_t random = unit_seed();
	size_t bytes = 0;

	for (int turn = 0; turn < 3 * COUNT; turn++) {
		unsigned i = (unsigned)(unit_random(&random) % COUNT);

		if (areas[i].ptr) {
			CHECK_EQ(vmalloc_size(areas[i].ptr) >= areas[i].size, true);
			CHECK(unit_is_filled(areas[i].ptr, 64, i));
			CHECK(unit_is_filled(areas[i].ptr + areas[i].size - 64, 64, i + 1));
			bytes -= vmalloc_size(areas[i].ptr);
			give_back(areas[i].ptr);
			areas[i].ptr = NULL;
			continue;
		}
		areas[i].size = 128 * K + unit_random(&random) % M;
		areas[i].ptr = area_of(areas[i].size);
		bytes += vmalloc_size(areas[i].ptr);
		unit_fill(areas[i].ptr, 64, i);
		unit_fill(areas[i].ptr + areas[i].size - 64, 64, i + 1);
	}
	CHECK_EQ(stat_now().bytes, bytes);
	CHECK_EQ(stat_now().nr_areas, ranges_check().busy);
	CHECK(unit_maps() < 25000);
}

static void lazy_bytes_stay_below_the_limit(void)
{
	static char *areas[100];
	size_t purged = stat_now().purged;

	for (int i = 0; i < 100; i++) {
		areas[i] = area_of(M);
		memset(areas[i], 1, M);
	}
	for (int i = 0; i < 100; i++) {
		give_back(areas[i]);
		CHECK(stat_now().lazy <= 8 * M);
	}
	CHECK(stat_now().purged - purged >= 92 * M);
	ranges_check();
}

static void area_over_the_limit_goes_back_at_once(void)
{
	char *ptr = area_of(9 * M);

	memset(ptr, 1, 9 * M);
	give_back(ptr);
	CHECK_EQ(stat_now().lazy, 0);
	CHECK(!unit_is_mapped(ptr));
	CHECK(!unit_is_mapped(ptr + 9 * M - P));
	ranges_check();
}

static void purge_of_all_unmaps_what_waits(void)
{
	char *a = area_of(M), *b = area_of(M);

	memset(a, 1, M);
	memset(b, 2, M);
	give_back(a);
	CHECK_EQ(unit_resident(a, M), M / P);
	reclaim_run(RECLAIM_AGE); /* too young */
	CHECK_EQ(unit_resident(a, M), M / P);
	reclaim_run(RECLAIM_ALL);
	CHECK(!unit_is_mapped(a));
	CHECK(!unit_is_mapped(a + M - P));
	CHECK_EQ(unit_resident(b, M), M / P);
	CHECK_EQ(stat_now().lazy, 0);
	CHECK(area_of(M) == a);
	CHECK(unit_is_zero(a, M));
	ranges_check();
}

static void purge_by_age_takes_what_is_old(void)
{
	char *a = area_of(M);

	memset(a, 1, M);
	give_back(a);
	reclaim_run(RECLAIM_AGE);
	CHECK_EQ(stat_now().lazy, 0);
	CHECK(!unit_is_mapped(a));
}

static void free_twice(void *arg)
{
	vfree_area(arg, GFP_KERNEL);
	vfree_area(arg, GFP_KERNEL);
}

static void second_free_of_an_area_reports(void)
{
	char *ptr = area_of(200 * K);
	char report[100];

	snprintf(report, sizeof(report),
		 "libkmalloc: BUG vmalloc: Area already free: %p (double free)\n", (void *)ptr);
	unit_dies(free_twice, ptr, report);
}

static void second_free_of_a_purged_area_is_not_an_area(void)
{
	char *ptr = area_of(200 * K);

	give_back(ptr);
	reclaim_run(RECLAIM_ALL);
	CHECK_EQ(vfree_area(ptr, GFP_KERNEL), VFREE_NOT_AREA);
	ranges_check();
}

static void free_and_size_of_garbage_find_no_area(void)
{
	char *ptr = area_of(50 * P), *cut;
	uint64_t random = unit_seed();

	/* stale entries of the table: a range that was cut, and one that was moved away */
	give_back(area_of(400 * P));
	cut = area_of(100 * P);
	CHECK_EQ(vmalloc_size(ptr + P), 0);
	CHECK_EQ(vmalloc_size(ptr + 8), 0);
	CHECK_EQ(vmalloc_size(ptr + 49 * P), 0);
	CHECK_EQ(vmalloc_size(ptr + 50 * P), 0);
	CHECK_EQ(vmalloc_size(cut + 101 * P), 0);
	CHECK_EQ(vmalloc_size(NULL), 0);
	CHECK(!vmalloc_owns(NULL));
	CHECK(!vmalloc_owns(&ptr));
	for (int i = 0; i < 200000; i++) {
		uint64_t r = unit_random(&random);
		uintptr_t addr = i % 4 ? vmap_base + r % (vmap_end - vmap_base) :
					 vmap_base + r % (600 * P);

		if (addr == (uintptr_t)ptr || addr == (uintptr_t)cut)
			continue;
		CHECK_EQ(vmalloc_size((void *)addr), 0);
		CHECK(vrealloc_area((void *)addr, 100 * P, GFP_KERNEL) == NULL);
		if (addr % P == 0 && vmap_find(addr) && vmap_find(addr)->addr == addr)
			continue; /* the start of a free range: that dies, see above */
		CHECK_EQ(vfree_area((void *)addr, GFP_KERNEL), VFREE_NOT_AREA);
	}
	CHECK_EQ(vmalloc_size(ptr), 50 * P);
	ranges_check();
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(area_of_every_size_holds_it),
		UNIT_TEST(area_of_every_alignment_is_aligned),
		UNIT_TEST(area_after_every_way_to_get_one_ends_in_a_guard),
		UNIT_TEST(area_joined_from_neighbours_has_one_guard),
		UNIT_TEST(freed_area_is_used_again_for_its_size),
		UNIT_TEST(zeroed_by_chance_is_true_when_promised),
		UNIT_TEST(areas_many_at_once_keep_their_bytes),
		UNIT_TEST_WITH(lazy_bytes_stay_below_the_limit, "vmalloc.lazy_max=8M"),
		UNIT_TEST_WITH(area_over_the_limit_goes_back_at_once, "vmalloc.lazy_max=8M"),
		UNIT_TEST(purge_of_all_unmaps_what_waits),
		UNIT_TEST_WITH(purge_by_age_takes_what_is_old, "reclaim.age_ms=0"),
		UNIT_TEST(second_free_of_an_area_reports),
		UNIT_TEST(second_free_of_a_purged_area_is_not_an_area),
		UNIT_TEST(free_and_size_of_garbage_find_no_area),
	};

	return UNIT_MAIN(tests);
}
