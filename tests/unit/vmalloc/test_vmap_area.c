/* SPDX-License-Identifier: MIT */
/*
 * test_vmap_area.c - ranges alone, in windows of the test's own: nothing is mapped there.
 *
 *	base                                        top          end
 *	| range | range | ...                       |   unused    |
 *
 * P is a page. Every test ends with a walk that checks the invariants.
 */
#include "ranges.h"

#include "os/os.h"
#include "page/meta.h"

#define P 4096UL
#define BASE (48UL << 40)
#define GIB (1UL << 30)

static void window_of(size_t size)
{
	os_init();
	meta_init();
	vmap_area_init(BASE, size);
	lock_acquire(&vmap_lock);
}

static struct vmap_area *extend(size_t pages)
{
	struct vmap_area *area = vmap_extend(pages * P, 0, GFP_KERNEL);

	CHECK(area != NULL);
	return area;
}

static struct vmap_area *busy(size_t pages)
{
	struct vmap_area *area = extend(pages);

	area->state = VMAP_BUSY;
	return area;
}

static void extend_to_the_end_of_the_window_then_fails(void)
{
	window_of(10 * P);
	CHECK_EQ(busy(3)->addr, BASE);
	CHECK_EQ(busy(7)->addr, BASE + 3 * P);
	CHECK(vmap_extend(P, 0, GFP_KERNEL) == NULL);
	CHECK_EQ(ranges_check_locked().busy, 2);
	CHECK_EQ(vmap_top, vmap_end);
}

static void extend_aligned_leaves_a_hole_before(void)
{
	struct vmap_area *area;

	window_of(8 * GIB);
	busy(3);
	for (size_t align = 2 * P; align <= GIB; align *= 2) {
		area = vmap_extend(5 * P, align, GFP_KERNEL);
		CHECK(area != NULL);
		CHECK_EQ(area->addr % align, 0);
		CHECK_EQ(area->span, 5 * P);
		area->state = VMAP_BUSY;
	}
	ranges_check_locked();
	CHECK(vmap_extend(P, 1UL << 50, GFP_KERNEL) == NULL);
}

static void neighbours_of_a_range_are_those_beside_it(void)
{
	struct vmap_area *a, *b, *c;

	window_of(GIB);
	a = busy(1);
	b = busy(2);
	c = busy(300);
	CHECK(vmap_prev(a) == NULL);
	CHECK(vmap_next(a) == b);
	CHECK(vmap_prev(b) == a);
	CHECK(vmap_next(b) == c);
	CHECK(vmap_prev(c) == b);
	CHECK(vmap_next(c) == NULL);
}

static void find_of_an_address_without_a_range_is_null(void)
{
	window_of(4 * GIB);
	busy(4);
	CHECK(vmap_find(0) == NULL);
	CHECK(vmap_find(BASE - 1) == NULL);
	CHECK(vmap_find(vmap_top) == NULL);
	CHECK(vmap_find(vmap_end) == NULL);
	CHECK(vmap_find(UINTPTR_MAX) == NULL);
	CHECK(vmap_find(BASE + P) == NULL);
}

static void split_and_join_restore_the_range(void)
{
	struct vmap_area *area, *upper;

	window_of(GIB);
	area = busy(100);
	area->guard = VMAP_GUARD_MARK;
	for (size_t at = 1; at < 100; at++) {
		upper = vmap_split(area, at * P, GFP_KERNEL);
		CHECK(upper != NULL);
		CHECK_EQ(upper->addr, area->addr + at * P);
		CHECK_EQ(area->span, at * P);
		CHECK_EQ(upper->span, (100 - at) * P);
		CHECK_EQ(upper->state, VMAP_MOVING);
		CHECK_EQ(area->guard, VMAP_GUARD_NONE);
		CHECK_EQ(upper->guard, VMAP_GUARD_MARK);
		CHECK_EQ(ranges_check_locked().moving, 1);
		vmap_join(area, upper);
		CHECK_EQ(area->guard, VMAP_GUARD_MARK);
		CHECK_EQ(area->span, 100 * P);
		CHECK_EQ(ranges_check_locked().busy, 1);
	}
}

static void split_across_leaves_of_the_table_finds_both_parts(void)
{
	struct vmap_area *area, *upper;

	window_of(16 * GIB);
	area = busy(5 * GIB / P);
	for (size_t at = 3 * GIB + 7 * P; at > GIB; at = at > 3 * GIB ? 2 * GIB : GIB) {
		upper = vmap_split(area, at, GFP_KERNEL);
		CHECK(upper != NULL);
		CHECK(vmap_next(area) == upper);
		CHECK(vmap_prev(upper) == area);
	}
	ranges_check_locked();
}

static void split_of_a_zeroed_range_makes_two(void)
{
	struct vmap_area *area;

	window_of(GIB);
	area = extend(100);
	area->zeroed = true;
	CHECK(vmap_split(area, 30 * P, GFP_KERNEL)->zeroed);
	CHECK(area->zeroed);
}

static void hole_joins_the_holes_beside_it(void)
{
	struct vmap_area *ranges[9];

	window_of(GIB);
	for (int i = 0; i < 9; i++)
		ranges[i] = busy(4);
	for (int i = 1; i < 9; i += 2)
		vmap_put_hole(ranges[i]);
	CHECK_EQ(ranges_check_locked().holes, 4);
	vmap_put_hole(ranges[2]); /* between two */
	CHECK_EQ(ranges_check_locked().holes, 3);
	vmap_put_hole(ranges[0]); /* before one, at the start of the window */
	vmap_put_hole(ranges[8]); /* after one, at its top */
	CHECK_EQ(ranges_check_locked().holes, 3);
	vmap_put_hole(ranges[4]);
	vmap_put_hole(ranges[6]);
	CHECK_EQ(ranges_check_locked().holes, 1);
	CHECK_EQ(vmap_find(BASE)->span, 36 * P);
}

static void take_of_a_hole_is_the_best_fit_cut_to_size(void)
{
	static const size_t pages[] = { 40, 12, 300, 13, 900, 11 };
	struct vmap_area *area;

	window_of(GIB);
	for (int i = 0; i < 6; i++) {
		area = extend(pages[i]);
		vmap_put_hole(area);
		busy(1);
	}
	area = vmap_take(VMAP_HOLE, 12 * P, 0, GFP_KERNEL);
	CHECK_EQ(area->addr, BASE + 41 * P);
	CHECK_EQ(area->span, 12 * P);
	area = vmap_take(VMAP_HOLE, 12 * P, 0, GFP_KERNEL);
	CHECK_EQ(area->addr, BASE + (41 + 13 + 301) * P);
	CHECK_EQ(area->span, 12 * P); /* of 13 */
	area = vmap_take(VMAP_HOLE, 290 * P, 0, GFP_KERNEL);
	CHECK_EQ(area->addr, BASE + (41 + 13) * P);
	area = vmap_take(VMAP_HOLE, 901 * P, 0, GFP_KERNEL);
	CHECK(area == NULL);
	CHECK_EQ(ranges_check_locked().moving, 3);
}

static void take_finds_the_one_range_there_is_for_any_smaller_size(void)
{
	struct vmap_area *area;

	window_of(1024 * GIB);
	for (size_t have = 1; have < 200000; have += 1 + have / 9) {
		size_t wants[] = { 1, have / 2, have - have / 8, have - have / 16, have - 1, have };

		for (int i = 0; i < 6; i++) {
			if (!wants[i])
				continue;
			vmap_put_lazy(extend(have), 1);
			area = vmap_take(VMAP_LAZY, wants[i] * P, 0, GFP_KERNEL);
			CHECK(area != NULL);
			area->state = VMAP_BUSY;
			while ((area = vmap_take(VMAP_LAZY, P, 0, GFP_KERNEL)) != NULL)
				area->state = VMAP_BUSY;
		}
	}
	ranges_check_locked();
}

static void take_of_a_lazy_range_is_large_enough_and_wastes_an_eighth_at_most(void)
{
	window_of(16 * GIB);
	for (size_t have = 2; have < 400; have += 3) {
		for (size_t want = 1; want <= have; want += 1 + want / 4) {
			struct vmap_area *area = extend(have);

			vmap_put_lazy(area, 1);
			area = vmap_take(VMAP_LAZY, want * P, 0, GFP_KERNEL);
			CHECK(area != NULL);
			CHECK(area->span >= want * P);
			CHECK(area->span <= want * P + want * P / VMAP_SLACK);
			area->state = VMAP_BUSY;
			while ((area = vmap_take(VMAP_LAZY, P, 0, GFP_KERNEL)) != NULL)
				area->state = VMAP_BUSY;
		}
	}
	ranges_check_locked();
}

static void take_aligned_gives_back_both_ends(void)
{
	struct vmap_area *area;

	window_of(8 * GIB);
	busy(1);
	vmap_put_hole(extend(2 * GIB / P));
	area = vmap_take(VMAP_HOLE, 3 * P, GIB, GFP_KERNEL);
	CHECK(area != NULL);
	CHECK_EQ(area->addr % GIB, 0);
	CHECK_EQ(area->span, 3 * P);
	CHECK_EQ(ranges_check_locked().holes, 2);
	CHECK(vmap_take(VMAP_HOLE, GIB, 4 * GIB, GFP_KERNEL) == NULL);
}

static void take_without_metadata_leaves_all_as_it_was(void)
{
	struct ranges before, after;

	window_of(GIB);
	vmap_put_lazy(extend(50), 1);
	/* use up what metadata there is without mapping more */
	while (meta_alloc(sizeof(struct vmap_area), GFP_ATOMIC))
		;
	before = ranges_check_locked();
	CHECK(vmap_take(VMAP_LAZY, 10 * P, 0, GFP_ATOMIC) == NULL);
	CHECK(vmap_take(VMAP_LAZY, 10 * P, 16 * P, GFP_ATOMIC) == NULL);
	after = ranges_check_locked();
	CHECK(!memcmp(&before, &after, sizeof(before)));
	CHECK(vmap_take(VMAP_LAZY, 50 * P, 0, GFP_ATOMIC) != NULL);
}

static void lazy_ranges_are_ordered_by_age_unless_zeroed(void)
{
	struct vmap_area *a, *b, *c;

	window_of(GIB);
	a = extend(5);
	b = extend(5);
	c = extend(5);
	b->zeroed = true;
	vmap_put_lazy(a, 1);
	vmap_put_lazy(b, 2);
	vmap_put_lazy(c, 3);
	CHECK(list_entry(vmap_age.prev, struct vmap_area, age) == a);
	CHECK(list_entry(vmap_age.next, struct vmap_area, age) == c);
	CHECK_EQ(vmap_lazy_bytes, 10 * P);
	CHECK_EQ(vmap_nr_lazy, 3);
	CHECK(vmap_can_join(a, b));
	CHECK(!vmap_can_join(c, vmap_next(c)));
	vmap_isolate(a);
	CHECK(!vmap_can_join(a, b));
	vmap_isolate(b);
	CHECK_EQ(vmap_lazy_bytes, 5 * P);
	CHECK_EQ(ranges_check_locked().moving, 2);
}

/* Any sequence of the operations keeps the invariants. */
static void ranges_by_chance_keep_the_invariants(void)
{
	enum { COUNT = 300 };
	struct vmap_area *held[COUNT];
	uint64_t random = unit_seed();
	unsigned count = 0;

	window_of(64 * GIB);
	for (int i = 0; i < 20000; i++) {
		uint64_t r = unit_random(&random);
		size_t span = (1 + (r >> 8) % (r & 16 ? 40 : 3000)) * P;
		size_t align = (r >> 32) % 4 ? 0 : P << (r >> 40) % 10;
		struct vmap_area *area;

		if (count == COUNT || (count && r % 8 < 3)) {
			unsigned victim = (unsigned)((r >> 48) % count);

			area = held[victim];
			held[victim] = held[--count];
			area->zeroed = r & 256;
			if (r & 512)
				vmap_put_hole(area);
			else
				vmap_put_lazy(area, (uint32_t)i);
			continue;
		}
		if (count && r % 8 == 3 && held[count - 1]->span > P) {
			area = vmap_split(held[count - 1], held[count - 1]->span / (2 * P) * P,
					  GFP_KERNEL);
			CHECK(area != NULL);
			vmap_put_lazy(area, (uint32_t)i);
			continue;
		}
		area = vmap_take(r & 1024 ? VMAP_HOLE : VMAP_LAZY, span, align, GFP_KERNEL);
		if (!area)
			area = vmap_extend(span, align, GFP_KERNEL);
		CHECK(area != NULL);
		CHECK_EQ(area->state, VMAP_MOVING);
		CHECK(area->span >= span);
		CHECK(!align || area->addr % align == 0);
		held[count++] = area;
		if (i % 50 == 0)
			CHECK_EQ(ranges_check_locked().moving, count);
	}
	for (unsigned i = 0; i < count; i++)
		vmap_put_hole(held[i]);
	ranges_check_locked();
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST_RAW(extend_to_the_end_of_the_window_then_fails),
		UNIT_TEST_RAW(extend_aligned_leaves_a_hole_before),
		UNIT_TEST_RAW(neighbours_of_a_range_are_those_beside_it),
		UNIT_TEST_RAW(find_of_an_address_without_a_range_is_null),
		UNIT_TEST_RAW(split_and_join_restore_the_range),
		UNIT_TEST_RAW(split_across_leaves_of_the_table_finds_both_parts),
		UNIT_TEST_RAW(split_of_a_zeroed_range_makes_two),
		UNIT_TEST_RAW(hole_joins_the_holes_beside_it),
		UNIT_TEST_RAW(take_of_a_hole_is_the_best_fit_cut_to_size),
		UNIT_TEST_RAW(take_finds_the_one_range_there_is_for_any_smaller_size),
		UNIT_TEST_RAW(take_of_a_lazy_range_is_large_enough_and_wastes_an_eighth_at_most),
		UNIT_TEST_RAW(take_aligned_gives_back_both_ends),
		UNIT_TEST_RAW(take_without_metadata_leaves_all_as_it_was),
		UNIT_TEST_RAW(lazy_ranges_are_ordered_by_age_unless_zeroed),
		UNIT_TEST_RAW(ranges_by_chance_keep_the_invariants),
	};

	return UNIT_MAIN(tests);
}
