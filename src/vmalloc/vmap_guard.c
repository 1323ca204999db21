/* SPDX-License-Identifier: MIT */
/*
 * vmap_guard.c - guard pages and the bound on VMAs.
 *
 * The kernel leaves an unmapped page after each area (VM_NO_GUARD aside). Here
 * MADV_GUARD_INSTALL (6.13) marks the page in the page table: all areas share
 * one VMA. Before 6.13 the page is a gap: every area is then a VMA, so there are at
 * most GAPS_MAX gaps, and later areas have no guard.
 *
 * vm.max_map_count is 65530. Ours stay below GAPS_MAX + MOVED_MAX + HOLES_MAX
 * (vmalloc.c), each of which costs at most one VMA, moved ones two.
 *
 * No lock: an area's guard is changed by whoever has the area, and read by who walks them all (account.c);
 * counters are atomic, bounds may be passed by as many as there are threads.
 */
#include "vmalloc/vmap_guard.h"

#include "os/os.h"

#include <errno.h>
#include <stdatomic.h>

#define GAPS_MAX 16384
#define MOVED_MAX 8192

static _Atomic bool no_marks; /* MADV_GUARD_INSTALL was refused */
static _Atomic size_t nr_gaps;
static _Atomic size_t nr_moved;

static char *guard_page(const struct vmap_area *area)
{
	return (char *)area->addr + area->span - os_page_size;
}

static bool gap_allowed(void)
{
	return atomic_load_explicit(&nr_gaps, memory_order_relaxed) < GAPS_MAX;
}

static void guard_set(struct vmap_area *area, enum vmap_guard guard)
{
	__atomic_store_n(&area->guard, (uint8_t)guard, __ATOMIC_RELAXED);
}

static void gap_made(struct vmap_area *area)
{
	guard_set(area, VMAP_GUARD_GAP);
	atomic_fetch_add_explicit(&nr_gaps, 1, memory_order_relaxed);
}

static void gap_gone(struct vmap_area *area)
{
	guard_set(area, VMAP_GUARD_NONE);
	atomic_fetch_sub_explicit(&nr_gaps, 1, memory_order_relaxed);
}

int vmap_map(struct vmap_area *area)
{
	bool gap = atomic_load_explicit(&no_marks, memory_order_relaxed) && gap_allowed();
	size_t size = area->span - (gap ? os_page_size : 0);
	/* a single page, by which an area grows, is its new gap: there is nothing to map */
	int err = size ? os_map_at((void *)area->addr, size) : 0;

	if (err == 0 && gap)
		gap_made(area);
	return err;
}

void vmap_guard_install(struct vmap_area *area)
{
	if (area->guard != VMAP_GUARD_NONE)
		return;
	if (!area->moved && !atomic_load_explicit(&no_marks, memory_order_relaxed)) {
		int err = os_guard_install(guard_page(area), os_page_size);

		if (err == 0) {
			guard_set(area, VMAP_GUARD_MARK);
			return;
		}
		/* any other error is of this moment */
		if (err == -EINVAL)
			atomic_store_explicit(&no_marks, true, memory_order_relaxed);
	}
	if (gap_allowed() && os_unmap(guard_page(area), os_page_size) == 0)
		gap_made(area);
}

bool vmap_guard_remove(struct vmap_area *area)
{
	switch (area->guard) {
	case VMAP_GUARD_MARK:
		if (os_guard_remove(guard_page(area), os_page_size) != 0)
			return false;
		guard_set(area, VMAP_GUARD_NONE);
		return true;
	case VMAP_GUARD_GAP:
		if (os_map_at(guard_page(area), os_page_size) != 0)
			return false;
		gap_gone(area);
		return true;
	default:
		return true;
	}
}

size_t vmap_make_whole(struct vmap_area *area)
{
	if (area->guard == VMAP_GUARD_MARK && !vmap_guard_remove(area))
		return 0;
	/* behind a moved range the last page is another VMA, which goes without a split */
	if (area->guard == VMAP_GUARD_NONE && area->moved) {
		if (os_unmap(guard_page(area), os_page_size) != 0)
			return 0;
		gap_made(area);
	}
	return area->span - (area->guard == VMAP_GUARD_GAP ? os_page_size : 0);
}

void vmap_unmapped(struct vmap_area *area)
{
	if (area->guard == VMAP_GUARD_GAP)
		gap_gone(area);
	guard_set(area, VMAP_GUARD_NONE);
	if (area->moved)
		vmap_moved_put();
	area->moved = false;
}

bool vmap_unmap(struct vmap_area *area)
{
	if (os_unmap((void *)area->addr, area->span) != 0)
		return false;
	vmap_unmapped(area);
	return true;
}

bool vmap_moved_get(void)
{
	if (atomic_fetch_add_explicit(&nr_moved, 1, memory_order_relaxed) < MOVED_MAX)
		return true;
	vmap_moved_put();
	return false;
}

void vmap_moved_add(void)
{
	atomic_fetch_add_explicit(&nr_moved, 1, memory_order_relaxed);
}

void vmap_moved_put(void)
{
	atomic_fetch_sub_explicit(&nr_moved, 1, memory_order_relaxed);
}
