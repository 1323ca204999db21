/* SPDX-License-Identifier: MIT */
/*
 * ranges.h - the invariants of vmap_area.c, checked over the whole window.
 */
#ifndef TESTS_UNIT_VMALLOC_RANGES_H
#define TESTS_UNIT_VMALLOC_RANGES_H

#include "unit.h"

#include "vmalloc/vmap_area.h"

/* What a walk over all ranges found. */
struct ranges {
	size_t busy, lazy, holes, moving, foreign; /* how many */
	size_t busy_bytes, lazy_bytes;
};

/*
 * Ranges tile the window up to vmap_top; both ends of each are in the table; holes
 * are never neighbours; the counters are right.
 */
static inline struct ranges ranges_check_locked(void)
{
	struct ranges found = { 0 };
	size_t dirty = 0;
	bool hole_before = false;
	uintptr_t addr = vmap_base;

	while (addr < vmap_top) {
		struct vmap_area *area = vmap_find(addr);

		CHECK(area != NULL);
		CHECK_EQ(area->addr, addr);
		CHECK(area->span > 0 && area->span % 4096 == 0);
		CHECK(vmap_find(addr + area->span - 4096) == area);
		CHECK(!hole_before || area->state != VMAP_HOLE);
		hole_before = area->state == VMAP_HOLE;
		found.busy += area->state == VMAP_BUSY;
		found.busy_bytes += area->state == VMAP_BUSY ? area->span : 0;
		found.lazy += area->state == VMAP_LAZY;
		found.lazy_bytes += area->state == VMAP_LAZY ? area->span : 0;
		dirty += area->state == VMAP_LAZY && !area->zeroed ? area->span : 0;
		found.holes += area->state == VMAP_HOLE;
		found.moving += area->state == VMAP_MOVING;
		found.foreign += area->state == VMAP_FOREIGN;
		addr += area->span;
	}
	CHECK_EQ(addr, vmap_top);
	CHECK(vmap_top <= vmap_end);
	CHECK_EQ(vmap_nr_holes, found.holes);
	CHECK_EQ(vmap_nr_lazy, found.lazy);
	CHECK_EQ(vmap_lazy_bytes, dirty);
	return found;
}

static inline struct ranges ranges_check(void)
{
	struct ranges found;

	lock_acquire(&vmap_lock);
	found = ranges_check_locked();
	lock_release(&vmap_lock);
	return found;
}

#endif
