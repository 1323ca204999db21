/* SPDX-License-Identifier: MIT */
/*
 * test_vrealloc.c - areas that grow and shrink: in place, by moving pages, by copying.
 *
 *	| area | guard | what follows: nothing, a hole, a lazy range, a busy area
 */
#include "areas.h"

#include <sys/mman.h>

static char *resize(char *ptr, size_t size)
{
	char *to = vrealloc_area(ptr, size, GFP_KERNEL);

	CHECK(to != NULL);
	CHECK(vmalloc_size(to) >= size);
	return to;
}

static bool is_moved(const char *ptr)
{
	return vmap_find((uintptr_t)ptr)->moved;
}

static void area_at_the_top_grows_in_place(void)
{
	char *ptr = area_of(200 * K);

	unit_fill(ptr, 200 * K, 1);
	CHECK(resize(ptr, 4 * M) == ptr);
	CHECK(unit_is_filled(ptr, 200 * K, 1));
	CHECK(unit_is_zero(ptr + 200 * K, 4 * M - 200 * K));
	memset(ptr, 1, 4 * M);
	check_guard(ptr);
	CHECK_EQ(vmalloc_size(ptr), 4 * M);
	ranges_check();
}

static void area_before_a_hole_grows_into_it(void)
{
	char *ptr = area_of(200 * K), *next = area_of(2 * M);

	area_of(P);
	unit_fill(ptr, 200 * K, 1);
	memset(next, 7, 2 * M);
	give_back(next);
	reclaim_run(RECLAIM_ALL);
	CHECK(resize(ptr, M) == ptr);
	CHECK(unit_is_filled(ptr, 200 * K, 1));
	memset(ptr, 1, M);
	check_guard(ptr);
	CHECK_EQ(ranges_check().holes, 1); /* the rest of it */
}

static void area_before_a_lazy_range_grows_into_it(void)
{
	char *ptr = area_of(200 * K), *next = area_of(2 * M);
	struct vmalloc_stat stat;

	area_of(P);
	unit_fill(ptr, 200 * K, 1);
	memset(next, 7, 2 * M);
	give_back(next);
	CHECK(resize(ptr, M) == ptr);
	CHECK(unit_is_filled(ptr, 200 * K, 1));
	memset(ptr, 1, M);
	check_guard(ptr);
	vmalloc_stat(&stat);
	CHECK(stat.lazy > M && stat.lazy < 2 * M);
	ranges_check();
}

static void area_before_a_busy_one_moves_its_pages(void)
{
	char *ptr = area_of(4 * M), *wall = area_of(P), *to;
	struct vmalloc_stat stat;

	unit_fill(ptr, 4 * M, 1);
	memset(wall, 9, P);
	to = resize(ptr, 6 * M);
	CHECK(to != ptr);
	CHECK(is_moved(to));
	CHECK(!unit_is_mapped(ptr));
	CHECK(unit_is_filled(to, 4 * M, 1));
	CHECK(unit_is_zero(to + 4 * M, 2 * M));
	memset(to, 1, 6 * M);
	check_guard(to);
	CHECK_EQ(wall[0], 9);
	check_guard(wall);
	vmalloc_stat(&stat);
	CHECK_EQ(stat.nr_areas, 2);
	CHECK_EQ(stat.bytes, 6 * M + P);
	ranges_check();
}

/* The first move leaves room behind, so the next growth happens where it is. */
static void area_that_moved_grows_in_place_after(void)
{
	char *ptr = area_of(M), *to;

	area_of(P);
	unit_fill(ptr, M, 1);
	to = resize(ptr, 2 * M);
	CHECK(is_moved(to));
	CHECK(resize(to, 3 * M) == to);
	CHECK(unit_is_filled(to, M, 1));
	CHECK(unit_is_zero(to + M, 2 * M));
	memset(to, 1, 3 * M);
	check_guard(to);
	ranges_check();
}

static void area_that_moved_is_cut_and_reused_like_others(void)
{
	char *ptr = area_of(M), *to, *cut[4];

	area_of(P);
	to = resize(ptr, 2 * M);
	area_of(P);
	CHECK(is_moved(to));
	memset(to, 3, 2 * M);
	give_back(to);
	for (int i = 0; i < 4; i++) {
		cut[i] = area_of(300 * K);
		CHECK(cut[i] >= to && cut[i] < to + 2 * M);
		unit_fill(cut[i], 300 * K, (uint64_t)i);
		check_guard(cut[i]);
	}
	for (int i = 0; i < 4; i++)
		cut[i] = resize(cut[i], 800 * K);
	for (int i = 0; i < 4; i++) {
		CHECK(unit_is_filled(cut[i], 300 * K, (uint64_t)i));
		memset(cut[i], 1, 800 * K);
		check_guard(cut[i]);
		give_back(cut[i]);
	}
	reclaim_run(RECLAIM_ALL);
	ranges_check();
}

static void area_of_several_mappings_is_copied(void)
{
	char *ptr = area_of(M), *to;

	area_of(P);
	unit_fill(ptr, M, 5);
	CHECK(madvise(ptr + 64 * K, 64 * K, MADV_DONTFORK) == 0); /* splits the mapping */
	to = resize(ptr, 3 * M);
	CHECK(to != ptr);
	CHECK(!is_moved(to));
	CHECK(unit_is_filled(to, M, 5));
	memset(to, 1, 3 * M);
	check_guard(to);
	CHECK(area_of(M) == ptr); /* which waited for reuse */
	memset(ptr, 1, M);
	ranges_check();
}

static void shrink_gives_the_tail_back(void)
{
	char *ptr = area_of(4 * M);
	struct vmalloc_stat stat;

	unit_fill(ptr, 4 * M, 1);
	CHECK(resize(ptr, M) == ptr);
	CHECK(unit_is_filled(ptr, M, 1));
	CHECK_EQ(vmalloc_size(ptr), M);
	check_guard(ptr);
	vmalloc_stat(&stat);
	CHECK_EQ(stat.bytes, M);
	CHECK(stat.lazy > 2 * M);
	area_of(2 * M);
	CHECK(unit_is_filled(ptr, M, 1));
	reclaim_run(RECLAIM_ALL);
	CHECK(unit_is_filled(ptr, M, 1));
	check_guard(ptr);
	ranges_check();
}

static void shrink_of_a_moved_area_splits_it(void)
{
	char *ptr = area_of(M), *to;

	area_of(P);
	to = resize(ptr, 4 * M);
	CHECK(is_moved(to));
	unit_fill(to, 4 * M, 1);
	CHECK(resize(to, M) == to);
	check_guard(to);
	CHECK(unit_is_filled(to, M, 1));
	CHECK(area_of(2 * M) == to + M + P);
	memset(to + M + P, 1, 2 * M);
	check_guard(to + M + P);
	CHECK(unit_is_filled(to, M, 1));
	CHECK(resize(to, 900 * K) == to);
	to = resize(to, 2 * M);
	CHECK(unit_is_filled(to, 900 * K, 1));
	ranges_check();
}

static void shrink_by_less_than_a_quarter_changes_nothing(void)
{
	char *ptr = area_of(M);

	CHECK(resize(ptr, 900 * K) == ptr);
	CHECK_EQ(vmalloc_size(ptr), M);
	CHECK_EQ(ranges_check().lazy, 0);
}

static void growth_over_a_limit_fails_and_keeps_the_area(void)
{
	char *ptr = area_of(4 * M);

	area_of(P);
	unit_fill(ptr, 4 * M, 1);
	unit_limit_address_space(16 * M);
	for (int i = 0; i < 50; i++)
		CHECK(vrealloc_area(ptr, 64 * M, GFP_KERNEL) == NULL);
	CHECK(vrealloc_area(ptr, SIZE_MAX, GFP_KERNEL) == NULL);
	CHECK(vrealloc_area(ptr, 100UL << 40, GFP_KERNEL) == NULL);
	CHECK_EQ(vmalloc_size(ptr), 4 * M);
	CHECK(unit_is_filled(ptr, 4 * M, 1));
	check_guard(ptr);
	ranges_check();
	unit_limit_address_space(SIZE_MAX);
	ptr = resize(ptr, 64 * M);
	CHECK(unit_is_filled(ptr, 4 * M, 1));
}

static void growth_at_the_top_over_a_limit_fails_and_keeps_the_area(void)
{
	char *ptr = area_of(4 * M);

	unit_fill(ptr, 4 * M, 1);
	unit_limit_address_space(16 * M);
	CHECK(vrealloc_area(ptr, 64 * M, GFP_KERNEL) == NULL);
	CHECK(unit_is_filled(ptr, 4 * M, 1));
	check_guard(ptr);
	CHECK(resize(ptr, 8 * M) != NULL);
	ranges_check();
}

static void growth_into_a_foreign_mapping_goes_elsewhere(void)
{
	char *ptr = area_of(M), *foreign, *to;

	foreign = mmap((void *)(vmap_top + 8 * P), P, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	CHECK((uintptr_t)foreign == vmap_top + 8 * P);
	memset(foreign, 4, P);
	unit_fill(ptr, M, 1);
	to = resize(ptr, 3 * M);
	CHECK(unit_is_filled(to, M, 1));
	memset(to, 1, 3 * M);
	for (size_t i = 0; i < P; i++)
		CHECK_EQ(foreign[i], 4);
	ranges_check();
}

static void atomic_call_shrinks_in_name_only_and_never_grows(void)
{
	char *ptr = area_of(M);

	CHECK(vrealloc_area(ptr, 200 * K, GFP_ATOMIC) == ptr);
	CHECK_EQ(vmalloc_size(ptr), M);
	CHECK(vrealloc_area(ptr, 2 * M, GFP_ATOMIC) == NULL);
	CHECK_EQ(vmalloc_size(ptr), M);
	ranges_check();
}

/* Growth of one area step by step, as a program builds a large array. */
static void growth_by_steps_keeps_all_that_was_written(void)
{
	char *ptr = area_of(132 * K), *other = area_of(132 * K);
	size_t size = 132 * K;
	unsigned moves = 0;

	memset(ptr, 1, size);
	while (size < 200 * M) {
		size_t more = size + size / 4;
		char *to = resize(ptr, more);

		moves += to != ptr;
		ptr = to;
		for (size_t i = align_up(size, P); i < more; i += P)
			ptr[i] = (char)(i / P);
		size = more;
		other = resize(other, vmalloc_size(other) + 5 * P);
	}
	for (size_t i = align_up(132 * K, P); i < size; i += P)
		CHECK(ptr[i] == (char)(i / P));
	CHECK(moves < 20);
	check_guard(ptr);
	ranges_check();
}

/* Whatever each step costs, guards must not run out by it. */
static void growth_of_a_moved_area_by_many_small_steps_keeps_its_guard(void)
{
	char *ptr = area_of(M), *other = area_of(M);
	size_t size = M;

	area_of(P);
	for (int i = 0; i < 18000; i++) {
		size += P;
		ptr = resize(ptr, size);
		if (i % 4000 == 0)
			area_of(P); /* in its way */
	}
	CHECK(is_moved(ptr));
	check_guard(ptr);
	other = resize(other, 4 * M);
	CHECK(is_moved(other));
	check_guard(other);
	ranges_check();
}

static void resizes_by_chance_keep_the_bytes(void)
{
	enum { COUNT = 24 };
	struct {
		char *ptr;
		size_t size;
		uint64_t seed;
	} areas[COUNT] = { 0 };
	uint64_t random = unit_seed();

	for (int i = 0; i < 3000; i++) {
		uint64_t r = unit_random(&random);
		size_t size = 1 + (r >> 16) % (r & 7 ? 60 * P : 900 * P);
		unsigned k = (unsigned)((r >> 8) % COUNT);

		if (!areas[k].ptr) {
			areas[k].ptr = area_of(size);
		} else if (r % 5 == 0) {
			CHECK(unit_is_filled(areas[k].ptr, areas[k].size, areas[k].seed));
			give_back(areas[k].ptr);
			areas[k].ptr = NULL;
			continue;
		} else {
			areas[k].ptr = resize(areas[k].ptr, size);
			CHECK(unit_is_filled(areas[k].ptr, min_size(size, areas[k].size),
					     areas[k].seed));
		}
		areas[k].size = size;
		areas[k].seed = r;
		unit_fill(areas[k].ptr, size, r);
		if (r % 97 == 0)
			reclaim_run(RECLAIM_ALL);
		if (i % 100 == 0) {
			check_guard(areas[k].ptr);
			ranges_check();
		}
	}
	for (unsigned k = 0; k < COUNT; k++)
		CHECK(!areas[k].ptr || unit_is_filled(areas[k].ptr, areas[k].size, areas[k].seed));
	CHECK(unit_maps() < 1000);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(area_at_the_top_grows_in_place),
		UNIT_TEST(area_before_a_hole_grows_into_it),
		UNIT_TEST(area_before_a_lazy_range_grows_into_it),
		UNIT_TEST(area_before_a_busy_one_moves_its_pages),
		UNIT_TEST(area_that_moved_grows_in_place_after),
		UNIT_TEST(area_that_moved_is_cut_and_reused_like_others),
		UNIT_TEST(area_of_several_mappings_is_copied),
		UNIT_TEST(shrink_gives_the_tail_back),
		UNIT_TEST(shrink_of_a_moved_area_splits_it),
		UNIT_TEST(shrink_by_less_than_a_quarter_changes_nothing),
		UNIT_TEST(growth_over_a_limit_fails_and_keeps_the_area),
		UNIT_TEST(growth_at_the_top_over_a_limit_fails_and_keeps_the_area),
		UNIT_TEST(growth_into_a_foreign_mapping_goes_elsewhere),
		UNIT_TEST(atomic_call_shrinks_in_name_only_and_never_grows),
		UNIT_TEST(growth_by_steps_keeps_all_that_was_written),
		UNIT_TEST(growth_of_a_moved_area_by_many_small_steps_keeps_its_guard),
		UNIT_TEST(resizes_by_chance_keep_the_bytes),
	};

	return UNIT_MAIN(tests);
}
