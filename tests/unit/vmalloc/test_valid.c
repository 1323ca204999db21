/* SPDX-License-Identifier: MIT */
/*
 * test_valid.c - the validators of the ranges: a window at work passes, each damage is named.
 *
 *	| a: busy | b: lazy | c: busy | d: hole | e: busy |
 */
#include "damage.h"

#include "os/os.h"
#include "page/reclaim.h"
#include "vmalloc/valid.h"
#include "vmalloc/vmalloc.h"
#include "vmalloc/vmalloc_internal.h"

#define SIZE (1UL << 20)
#define SPAN (SIZE + os_page_size)

static struct vmap_area *a, *b, *c, *d, *e;

static struct vmap_area *area_new(void)
{
	void *ptr = vmalloc_area(SIZE, 0, GFP_KERNEL, NULL);

	CHECK(ptr != NULL);
	return vmalloc_lookup(ptr);
}

static void window_start(void)
{
	a = area_new();
	b = area_new();
	c = area_new();
	d = area_new();
	e = area_new();
	CHECK_EQ(e->addr, a->addr + 4 * SPAN);
	CHECK(vfree_area((void *)d->addr, GFP_KERNEL) == VFREE_DONE);
	reclaim_run(RECLAIM_ALL);
	CHECK(vfree_area((void *)b->addr, GFP_KERNEL) == VFREE_DONE);
	CHECK(b->state == VMAP_LAZY && d->state == VMAP_HOLE);
	CHECK(vmap_is_valid());
}

static void window_at_work_is_valid(void)
{
	void *held[64] = { 0 };
	uint64_t random = unit_seed();

	for (int i = 0; i < 2000; i++) {
		unsigned k = (unsigned)(unit_random(&random) % ARRAY_SIZE(held));
		size_t size = 1 + unit_random(&random) % (2UL << 20);

		if (!held[k]) {
			held[k] = vmalloc_area(size, 0, GFP_KERNEL, NULL);
		} else if (i % 3) {
			CHECK(vfree_area(held[k], GFP_KERNEL) == VFREE_DONE);
			held[k] = NULL;
		} else {
			held[k] = vrealloc_area(held[k], size, GFP_KERNEL);
		}
		if (i % 200 == 199)
			reclaim_run(RECLAIM_ALL);
		CHECK(vmap_is_valid());
	}
}

static void range_damaged_is_named(void)
{
	window_start();
	void *pa = (void *)a->addr, *pb = (void *)b->addr, *pc = (void *)c->addr;
	void *pd = (void *)d->addr;

	NOTICES(a->state = 9, vmap_area_is_valid(a), "range %p: state 9", pa);
	NOTICES(a->span += 7, vmap_area_is_valid(a),
		"range %p: %zu bytes (busy) are not pages of the window", pa, SPAN + 7);
	NOTICES(a->span = vmap_top, vmap_area_is_valid(a),
		"range %p: %zu bytes (busy) are not pages of the window", pa, vmap_top);
	NOTICES(a->addr = b->addr, vmap_area_is_valid(a),
		"range %p: the table has %p for its first page", pb, (void *)b);
	NOTICES(a->span += SPAN, vmap_area_is_valid(a),
		"range %p: the table has %p for its last page", pa, (void *)b);
	NOTICES(list_del(&b->bin), vmap_area_is_valid(b), "range %p: lazy, and not in a bin", pb);
	NOTICES(list_add(&c->bin, &b->bin), vmap_area_is_valid(c), "range %p: busy, and in a bin",
		pc);
	NOTICES(list_del(&b->age), vmap_area_is_valid(b), "range %p: lazy, and not on the age list",
		pb);
	NOTICES(list_add(&c->age, &vmap_age), vmap_area_is_valid(c),
		"range %p: busy, and on the age list", pc);
	NOTICES(d->guard = VMAP_GUARD_MARK, vmap_area_is_valid(d),
		"range %p: a hole with a guard, or moved", pd);
	NOTICES((b->state = VMAP_HOLE, b->guard = VMAP_GUARD_NONE, c->state = VMAP_HOLE,
		 list_del(&b->age)),
		vmap_area_is_valid(b), "range %p: a hole beside a hole", pb);
}

static void neighbours_that_do_not_meet_are_named(void)
{
	window_start();
	void *pb = (void *)b->addr;

	NOTICES(a->span -= os_page_size, vmap_area_is_valid(b),
		"range %p: the range before it does not end there", pb);
	NOTICES(c->addr += os_page_size, vmap_area_is_valid(b),
		"range %p: no range begins where it ends", pb);
	NOTICES(c->addr += os_page_size, vmap_is_valid(), "range %p: no range begins where it ends",
		pb);
	NOTICES(vmap_top += os_page_size, vmap_is_valid(),
		"range %p: no range begins where it ends", (void *)e->addr);
	NOTICES(vmap_top = vmap_end + 1, vmap_is_valid(), "vmalloc: top %p is outside of %p to %p",
		(void *)(vmap_end + 1), (void *)vmap_base, (void *)vmap_end);
}

static void list_damaged_is_named(void)
{
	struct vmap_view view;

	window_start();
	vmap_view(&view);
	unsigned bin = vmap_bin_of(SPAN);
	uint64_t *nonempty = (uint64_t *)(uintptr_t)view.lazy.nonempty;

	NOTICES(nonempty[bin / 64] &= ~(1UL << bin % 64), vmap_is_valid(),
		"lazy ranges: bit %u of nonempty is wrong", bin);
	NOTICES(nonempty[1] |= 1, vmap_is_valid(), "lazy ranges: bit 64 of nonempty is wrong");
	NOTICES((list_del(&b->bin), list_add(&b->bin, &view.lazy.lists[70]),
		 nonempty[bin / 64] &= ~(1UL << bin % 64), nonempty[1] |= 1UL << 6),
		vmap_is_valid(), "lazy ranges: bin 70 holds %p, lazy, of %zu bytes",
		(void *)b->addr, SPAN);
	/* in a list, but in no one's */
	static struct list_head astray;

	list_init(&astray);
	NOTICES((list_del(&b->bin), list_add(&b->bin, &astray),
		 nonempty[bin / 64] &= ~(1UL << bin % 64)),
		vmap_is_valid(), "lazy ranges: 0 in bins, 1 in the window");
	NOTICES((list_del(&b->age), list_add(&b->age, &astray)), vmap_is_valid(),
		"age list: 0 ranges, 1 in the window");
	NOTICES(list_add_tail(&astray, &view.lazy.lists[bin]), vmap_is_valid(),
		"lazy ranges: bin %u is damaged, or has more than the window", bin);
}

static void count_that_is_wrong_is_named(void)
{
	window_start();
	NOTICES(vmalloc_counts.nr_areas++, vmap_is_valid(), "vmalloc: 3 areas, 4 counted");
	NOTICES(vmalloc_counts.bytes -= 64, vmap_is_valid(),
		"vmalloc: %zu bytes of areas, %zu counted", 3 * SPAN, 3 * SPAN - 64);
	NOTICES(vmap_nr_lazy = 7, vmap_is_valid(), "vmalloc: 1 lazy ranges, 7 counted");
	NOTICES(vmap_lazy_bytes = 0, vmap_is_valid(), "vmalloc: %zu lazy bytes, 0 counted", SPAN);
	NOTICES(vmap_nr_holes = 0, vmap_is_valid(), "vmalloc: 1 holes, 0 counted");
	NOTICES(vmalloc_counts.nr_free++, vmap_is_valid(), "vmalloc: 2 areas ever, 3 counted");
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(window_at_work_is_valid),
		UNIT_TEST(range_damaged_is_named),
		UNIT_TEST(neighbours_that_do_not_meet_are_named),
		UNIT_TEST(list_damaged_is_named),
		UNIT_TEST(count_that_is_wrong_is_named),
	};

	return UNIT_MAIN(tests);
}
