/* SPDX-License-Identifier: MIT */
/*
 * valid.c - do the ranges tile the window, and does everything that finds them?
 *
 * The kernel's counterpart is augment_tree_propagate_check(). Under vmap_lock all of it
 * is exact, whoever else is at work: what a thread has in hand is MOVING, on no list, and
 * keeps its place in the window. Not looked at is what an area's owner changes without
 * the lock: guard, moved, and of a BUSY range zeroed.
 */
#include "vmalloc/valid.h"

#include "lib/valid.h"
#include "page/memcg.h"
#include "vmalloc/vmalloc_internal.h"

static const char *const state_names[] = { "busy", "lazy", "hole", "moving", "foreign" };

static const char *state_name(const struct vmap_area *area)
{
	return area->state < ARRAY_SIZE(state_names) ? state_names[area->state] : "unknown";
}

static bool is_listed(const struct list_head *entry)
{
	return entry->next != entry;
}

static bool place_is_valid(const struct vmap_area *area)
{
	if (area->state > VMAP_FOREIGN)
		return invalid("range %p: state %u", (void *)area->addr, area->state);
	if (area->addr < vmap_base || area->addr & (os_page_size - 1) || !area->span ||
	    area->span & (os_page_size - 1) || area->span > vmap_top - area->addr)
		return invalid("range %p: %zu bytes (%s) are not pages of the window",
			       (void *)area->addr, area->span, state_name(area));
	if (vmap_find(area->addr) != area)
		return invalid("range %p: the table has %p for its first page", (void *)area->addr,
			       (void *)vmap_find(area->addr));
	if (vmap_find(area->addr + area->span - os_page_size) != area)
		return invalid("range %p: the table has %p for its last page", (void *)area->addr,
			       (void *)vmap_find(area->addr + area->span - os_page_size));
	return true;
}

/* Linked where it should be, and nowhere else; which list that is, the walk of the lists says. */
static bool links_are_valid(const struct vmap_area *area)
{
	bool binned = area->state == VMAP_LAZY || area->state == VMAP_HOLE;
	bool aged = area->state == VMAP_LAZY && !area->zeroed;
	/* its owner writes it without the lock */
	uint16_t owner = __atomic_load_n(&area->owner, __ATOMIC_RELAXED);

	if (is_listed(&area->bin) != binned)
		return invalid("range %p: %s, and %s a bin", (void *)area->addr, state_name(area),
			       binned ? "not in" : "in");
	if (is_listed(&area->age) != aged)
		return invalid("range %p: %s, and %s the age list", (void *)area->addr,
			       state_name(area), aged ? "not on" : "on");
	if (area->state == VMAP_HOLE && (area->guard != VMAP_GUARD_NONE || area->moved))
		return invalid("range %p: a hole with a guard, or moved", (void *)area->addr);
	if (area->state == VMAP_BUSY && owner && !memcg_from_id(owner))
		return invalid("range %p: it is charged to group %u, which there is not",
			       (void *)area->addr, (unsigned)owner);
	return true;
}

bool vmap_area_is_valid(const struct vmap_area *area)
{
	if (!place_is_valid(area) || !links_are_valid(area))
		return false;

	const struct vmap_area *prev = vmap_prev(area);
	const struct vmap_area *next = vmap_next(area);

	if (area->addr != vmap_base && (!prev || prev->addr + prev->span != area->addr))
		return invalid("range %p: the range before it does not end there",
			       (void *)area->addr);
	if (area->addr + area->span != vmap_top && (!next || next->addr != area->addr + area->span))
		return invalid("range %p: no range begins where it ends", (void *)area->addr);
	if (area->state == VMAP_HOLE &&
	    ((prev && prev->state == VMAP_HOLE) || (next && next->state == VMAP_HOLE)))
		return invalid("range %p: a hole beside a hole", (void *)area->addr);
	return true;
}

struct found {
	size_t ranges[VMAP_FOREIGN + 1];
	size_t bytes[VMAP_FOREIGN + 1];
	size_t lazy_dirty, nr_dirty;
};

static bool tiles_are_valid(struct found *found)
{
	uintptr_t addr = vmap_base;

	while (addr < vmap_top) {
		const struct vmap_area *area = vmap_find(addr);

		if (!area || area->addr != addr)
			return invalid("vmalloc: no range begins at %p", (void *)addr);
		if (!vmap_area_is_valid(area))
			return false;
		found->ranges[area->state]++;
		found->bytes[area->state] += area->span;
		if (area->state == VMAP_LAZY && !area->zeroed) {
			found->nr_dirty++;
			found->lazy_dirty += area->span;
		}
		addr += area->span;
	}
	if (addr != vmap_top)
		return invalid("vmalloc: ranges end at %p, the top is %p", (void *)addr,
			       (void *)vmap_top);
	return true;
}

static bool bins_are_valid(const struct vmap_bins_view *bins, enum vmap_state state, size_t count)
{
	size_t listed = 0;

	for (unsigned i = 0; i < bins->count; i++) {
		const struct vmap_area *area;

		if (list_empty(&bins->lists[i]) == (bins->nonempty[i / 64] >> i % 64 & 1))
			return invalid("%s ranges: bit %u of nonempty is wrong", state_names[state],
				       i);
		list_for_each_entry(area, &bins->lists[i], bin) {
			if (++listed > count || area->bin.next->prev != &area->bin)
				return invalid("%s ranges: bin %u is damaged, or has more than "
					       "the window",
					       state_names[state], i);
			if (area->state != state || vmap_bin_of(area->span) != i)
				return invalid("%s ranges: bin %u holds %p, %s, of %zu bytes",
					       state_names[state], i, (void *)area->addr,
					       state_name(area), area->span);
		}
	}
	if (listed != count)
		return invalid("%s ranges: %zu in bins, %zu in the window", state_names[state],
			       listed, count);
	return true;
}

static bool age_is_valid(const struct found *found)
{
	const struct vmap_area *area;
	size_t listed = 0;

	list_for_each_entry(area, &vmap_age, age) {
		if (++listed > found->nr_dirty || area->age.next->prev != &area->age)
			return invalid("age list: damaged, or longer than the %zu lazy ranges",
				       found->nr_dirty);
		if (area->state != VMAP_LAZY || area->zeroed)
			return invalid("age list: range %p is %s", (void *)area->addr,
				       area->zeroed ? "zeroed" : state_name(area));
	}
	if (listed != found->nr_dirty)
		return invalid("age list: %zu ranges, %zu in the window", listed, found->nr_dirty);
	return true;
}

static bool counts_are_valid(const struct found *found)
{
	const struct {
		const char *name;
		size_t found, counted;
	} counts[] = {
		{ "areas", found->ranges[VMAP_BUSY], vmalloc_counts.nr_areas },
		{ "bytes of areas", found->bytes[VMAP_BUSY], vmalloc_counts.bytes },
		{ "lazy ranges", found->ranges[VMAP_LAZY], vmap_nr_lazy },
		{ "lazy bytes", found->lazy_dirty, vmap_lazy_bytes },
		{ "holes", found->ranges[VMAP_HOLE], vmap_nr_holes },
		{ "areas ever", vmalloc_counts.nr_alloc - vmalloc_counts.nr_free,
		  vmalloc_counts.nr_areas },
	};

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		if (counts[i].found != counts[i].counted)
			return invalid("vmalloc: %zu %s, %zu counted", counts[i].found,
				       counts[i].name, counts[i].counted);
	return true;
}

static bool vmap_is_valid_locked(void)
{
	struct found found = { 0 };
	struct vmap_view view;

	vmap_view(&view);
	if (vmap_base > vmap_top || vmap_top > vmap_end)
		return invalid("vmalloc: top %p is outside of %p to %p", (void *)vmap_top,
			       (void *)vmap_base, (void *)vmap_end);
	return tiles_are_valid(&found) &&
	       bins_are_valid(&view.lazy, VMAP_LAZY, found.ranges[VMAP_LAZY]) &&
	       bins_are_valid(&view.holes, VMAP_HOLE, found.ranges[VMAP_HOLE]) &&
	       age_is_valid(&found) && counts_are_valid(&found);
}

bool vmap_is_valid(void)
{
	bool held = lock_is_mine(&vmap_lock), valid;

	if (!held)
		lock_acquire(&vmap_lock);
	valid = vmap_is_valid_locked();
	if (!held)
		lock_release(&vmap_lock);
	return valid;
}
