/* SPDX-License-Identifier: MIT */
/*
 * test_vmap_guard.c - guard pages put up and taken away, as marks and as gaps, and the
 * bounds on what costs a mapping of its own.
 */
#include "ranges.h"

#include "vmalloc/vmap_guard.h"

#define P 4096UL
#define GAPS_MAX 16384 /* of vmap_guard.c */
#define MOVED_MAX 8192

static struct vmap_area *range_of(size_t pages)
{
	struct vmap_area *area;

	lock_acquire(&vmap_lock);
	area = vmap_extend(pages * P, 0, GFP_KERNEL);
	lock_release(&vmap_lock);
	CHECK(area != NULL);
	return area;
}

static struct vmap_area *mapped(size_t pages)
{
	struct vmap_area *area = range_of(pages);

	CHECK_EQ(vmap_map(area), 0);
	return area;
}

static char *last_page(const struct vmap_area *area)
{
	return (char *)area->addr + area->span - P;
}

static bool old_kernel(void)
{
	struct vmap_area *area = mapped(2);

	vmap_guard_install(area);
	return area->guard == VMAP_GUARD_GAP;
}

static void guard_is_of_the_kind_that_the_kernel_has(void)
{
	struct vmap_area *area = mapped(4);

	vmap_guard_install(area);
	CHECK(getenv("UNIT_OLD_KERNEL") ? area->guard == VMAP_GUARD_GAP :
					  area->guard != VMAP_GUARD_NONE);
}

static void guard_faults_and_the_page_before_does_not(void)
{
	struct vmap_area *area = mapped(4);

	CHECK(!unit_faults(last_page(area)));
	vmap_guard_install(area);
	CHECK(unit_faults(last_page(area)));
	CHECK(unit_write_faults(last_page(area)));
	CHECK(!unit_write_faults(last_page(area) - 1));
	vmap_guard_install(area); /* a second time: nothing */
	CHECK(unit_faults(last_page(area)));
}

static void guard_removed_is_a_zero_page(void)
{
	struct vmap_area *area = mapped(4);

	memset((char *)area->addr, 0x55, 4 * P);
	vmap_guard_install(area);
	CHECK(vmap_guard_remove(area));
	CHECK_EQ(area->guard, VMAP_GUARD_NONE);
	CHECK(unit_is_zero(last_page(area), P));
	memset(last_page(area), 1, P);
	CHECK(((char *)area->addr)[3 * P - 1] == 0x55);
	CHECK(vmap_guard_remove(area)); /* there is none: done */
}

static void guard_of_a_moved_range_is_a_gap(void)
{
	struct vmap_area *area = mapped(4);

	area->moved = true;
	vmap_guard_install(area);
	CHECK_EQ(area->guard, VMAP_GUARD_GAP);
	CHECK(!unit_is_mapped(last_page(area)));
	CHECK(unit_is_mapped(last_page(area) - P));
}

static void range_unmapped_has_no_guard_left(void)
{
	struct vmap_area *area = mapped(4);

	vmap_guard_install(area);
	CHECK(vmap_unmap(area));
	CHECK_EQ(area->guard, VMAP_GUARD_NONE);
	for (size_t i = 0; i < 4; i++)
		CHECK(!unit_is_mapped((char *)area->addr + i * P));
	CHECK_EQ(vmap_map(area), 0);
	CHECK_EQ(vmap_map(area) != 0, true); /* it is mapped already */
}

/* Where guards are gaps there are only so many; later areas have none, and work. */
static void gaps_over_the_bound_are_not_made(void)
{
	struct vmap_area *area = NULL;

	if (!old_kernel())
		return;
	for (int i = 0; i < GAPS_MAX + 10; i++) {
		area = mapped(2);
		vmap_guard_install(area);
	}
	CHECK_EQ(area->guard, VMAP_GUARD_NONE);
	CHECK(!unit_faults(last_page(area)));
	CHECK(unit_maps() < GAPS_MAX + 200);
	/* one goes, one may come */
	CHECK(vmap_unmap(vmap_find(vmap_base)));
	vmap_guard_install(area);
	CHECK_EQ(area->guard, VMAP_GUARD_GAP);
	CHECK(unit_faults(last_page(area)));
}

static void moved_ranges_over_the_bound_are_refused(void)
{
	for (int i = 0; i < MOVED_MAX; i++)
		CHECK(vmap_moved_get());
	CHECK(!vmap_moved_get());
	CHECK(!vmap_moved_get());
	vmap_moved_put();
	CHECK(vmap_moved_get());
	CHECK(!vmap_moved_get());
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(guard_is_of_the_kind_that_the_kernel_has),
		UNIT_TEST(guard_faults_and_the_page_before_does_not),
		UNIT_TEST(guard_removed_is_a_zero_page),
		UNIT_TEST(guard_of_a_moved_range_is_a_gap),
		UNIT_TEST(range_unmapped_has_no_guard_left),
		UNIT_TEST(gaps_over_the_bound_are_not_made),
		UNIT_TEST(moved_ranges_over_the_bound_are_refused),
	};

	return UNIT_MAIN(tests);
}
