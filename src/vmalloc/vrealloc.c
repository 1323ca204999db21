/* SPDX-License-Identifier: MIT */
/*
 * vrealloc.c - resize an area without copying bytes.
 *
 * The kernel's vrealloc() grows in place within the mapped pages and copies
 * otherwise; here:
 *
 *   shrink  the tail becomes a lazy range if it is worth it (a quarter);
 *   grow 1. the free range that follows gives its first pages: a hole, the unused
 *           top of the window, or a lazy range;
 *        2. else new addresses, with as much again left free behind them for the next
 *           growth, and mremap moves the page tables there;
 *        3. else (the system refuses to move: the area is several VMAs, or there are
 *           too many, or too many areas were moved already) new memory and a copy. A
 *           refused mremap may have unmapped what was at the new addresses.
 *
 * A moved area keeps its old page offsets, so it stays a VMA of its own; it
 * grows in place by mremap, and the page behind it is a gap.
 *
 * The area belongs to the caller, who may not use it meanwhile: its struct
 * stays BUSY and is changed by this thread only; what is taken from neighbours is
 * MOVING. vmap_lock is held for the lists and the table, never over a system call.
 * On failure the area is as it was.
 *
 * What is charged to a group follows what was asked for, before anything else.
 */
#include "page/memcg.h"
#include "page/reclaim.h"
#include "vmalloc/vmalloc.h"
#include "vmalloc/vmalloc_internal.h"
#include "vmalloc/vmap_guard.h"

#include <errno.h>
#include <string.h>

/* Charge its group, if it has one, for so many pages instead. False: over the limit. */
static bool recharge(struct vmap_area *area, size_t pages, gfp_t gfp)
{
	struct mem_cgroup *group = area->owner ? memcg_from_id(area->owner) : NULL;

	if (likely(!group))
		return true;
	if (pages > UINT32_MAX)
		return false;
	if (pages > area->charged &&
	    !memcg_grow(group, (pages - area->charged) << os_page_shift, gfp))
		return false;
	if (pages < area->charged)
		memcg_shrink(group, (area->charged - pages) << os_page_shift);
	area->charged = (uint32_t)pages;
	return true;
}

static void shrink(struct vmap_area *area, size_t span)
{
	struct vmap_area *tail;

	lock_acquire(&vmap_lock);
	tail = vmap_split(area, span, GFP_KERNEL);
	if (tail) {
		vmalloc_counts.bytes -= tail->span;
		vmap_put_lazy(tail, vmalloc_stamp());
	}
	lock_release(&vmap_lock);
	if (!tail)
		return;
	vmap_guard_install(area);
}

/* The first `need` bytes of the free range after an area, MOVING; *state is what it was. */
static struct vmap_area *take_following(struct vmap_area *area, size_t need, uint8_t *state)
{
	struct vmap_area *next;

	lock_acquire(&vmap_lock);
	next = vmap_next(area);
	if (!next && area->addr + area->span == vmap_top) {
		next = vmap_extend(need, 0, GFP_KERNEL);
		*state = VMAP_HOLE;
	} else if (next && next->span >= need &&
		   (next->state == VMAP_HOLE || (next->state == VMAP_LAZY && !next->moved))) {
		*state = next->state;
		vmap_isolate(next);
		if (next->span > need) {
			uint32_t stamp = next->stamp;
			struct vmap_area *rest = vmap_split(next, need, GFP_KERNEL);
			struct vmap_area *back = rest ? rest : next;

			if (*state == VMAP_HOLE)
				vmap_put_hole(back);
			else
				vmap_put_lazy(back, stamp);
			next = rest ? next : NULL;
		}
	} else {
		next = NULL;
	}
	lock_release(&vmap_lock);
	return next;
}

static void put_following(struct vmap_area *next, uint8_t state, int err)
{
	if (state == VMAP_HOLE) {
		vmalloc_give_up_addresses(next, err);
		return;
	}
	lock_acquire(&vmap_lock);
	vmap_put_lazy(next, vmalloc_stamp());
	lock_release(&vmap_lock);
}

/* Map what was a hole so that it continues the area. 0, or why not; *state is what it is then. */
static int map_following(struct vmap_area *area, struct vmap_area *next, uint8_t *state)
{
	int err;

	if (!area->moved) {
		err = vmap_map(next);
		if (err || vmap_guard_remove(area))
			return err;
		/* mapped for nothing; where it can't be unmapped it waits for another use */
		if (!vmap_unmap(next)) {
			next->zeroed = true;
			*state = VMAP_LAZY;
		}
		return -1;
	}
	/* its guard is a gap: the VMA ends where the guard begins, and grows over both */
	if (area->guard != VMAP_GUARD_GAP)
		return -1;
	err = os_grow((void *)area->addr, area->span - os_page_size,
		      area->span + next->span - os_page_size);
	if (!err)
		next->guard = VMAP_GUARD_GAP;
	return err;
}

static bool grow_in_place(struct vmap_area *area, size_t span)
{
	uint8_t state = VMAP_HOLE;
	struct vmap_area *next = take_following(area, span - area->span, &state);
	int err;

	if (!next)
		return false;
	if (state == VMAP_HOLE) {
		vmalloc_purge_for(next->span);
		err = map_following(area, next, &state);
	} else {
		err = !area->moved && vmap_guard_remove(area) ? 0 : -1;
	}
	if (err) {
		put_following(next, state, err);
		return false;
	}
	lock_acquire(&vmap_lock);
	vmalloc_counts.bytes += next->span;
	vmalloc_counts.bytes_alloc += next->span;
	vmap_join(area, next);
	lock_release(&vmap_lock);
	vmap_guard_install(area);
	return true;
}

/* New addresses for a growing area, mapped, with room to grow behind; MOVING. */
static struct vmap_area *map_roomy(size_t span)
{
	struct vmap_area *area = vmalloc_take_addresses(span * 2, 0);
	struct vmap_area *room;
	int err;

	if (!area)
		return vmalloc_map_new(span, 0);
	lock_acquire(&vmap_lock);
	room = vmap_split(area, span, GFP_KERNEL);
	if (room)
		vmap_put_hole(room);
	lock_release(&vmap_lock);
	err = vmap_map(area);
	if (!err)
		return area;
	vmalloc_give_up_addresses(area, err);
	return vmalloc_map_new(span, 0);
}

/* Move the pages. True: nothing of the old range is mapped any more. */
static bool move_pages(struct vmap_area *old, struct vmap_area *to)
{
	size_t old_size;

	if (!vmap_moved_get())
		return false;
	old_size = vmap_make_whole(old);
	if (!old_size ||
	    os_move((void *)old->addr, old_size, to->span - os_page_size, (void *)to->addr) != 0) {
		vmap_moved_put();
		return false;
	}
	vmap_unmapped(old);
	to->moved = true;
	/* a marked or mapped page behind a VMA of its own would be one VMA more */
	vmap_guard_install(to);
	return true;
}

/* Only the last page of a range is mapped, if any: a hole, and that page to be unmapped some time. */
static void give_up_pages(struct vmap_area *to)
{
	bool unmapped = vmap_unmap(to);
	struct vmap_area *last = NULL;

	lock_acquire(&vmap_lock);
	if (!unmapped)
		last = vmap_split(to, to->span - os_page_size, GFP_KERNEL);
	if (last)
		vmap_put_lazy(last, vmalloc_stamp());
	if (unmapped || last)
		vmap_put_hole(to);
	else
		to->state = VMAP_FOREIGN;
	lock_release(&vmap_lock);
}

/* Somebody else mapped something there meanwhile: never more, but for the last page, if that is ours. */
static void leave_to_others(struct vmap_area *to)
{
	if (to->guard != VMAP_GUARD_GAP)
		os_unmap((char *)to->addr + to->span - os_page_size, os_page_size);
	lock_acquire(&vmap_lock);
	to->state = VMAP_FOREIGN;
	lock_release(&vmap_lock);
}

/*
 * After a refused move: the system may have unmapped what was at the new addresses before
 * it refused. Returns a range that is mapped, this or another; NULL: no memory.
 */
static struct vmap_area *map_again(struct vmap_area *to, size_t span)
{
	size_t size = to->span - os_page_size;
	int err;

	/* it reads as zero as yet: to discard it only asks whether all of it is there */
	if (os_discard((void *)to->addr, size) != -ENOMEM)
		return to;
	err = os_map_at((void *)to->addr, size);
	if (err == 0)
		return to;
	if (err == -EEXIST)
		leave_to_others(to);
	else
		give_up_pages(to);
	return vmalloc_map_new(span, 0);
}

/* The area is at new addresses now; the old ones wait, or, without pages, are a hole. */
static void replace(struct vmap_area *old, struct vmap_area *to, bool moved)
{
	lock_acquire(&vmap_lock);
	vmalloc_take_back_locked(old);
	to->state = VMAP_BUSY;
	to->marked = old->marked;
	to->sampled = old->sampled;
	to->owner = old->owner;
	to->charged = old->charged;
	vmalloc_counts.nr_areas++;
	vmalloc_counts.nr_alloc++;
	vmalloc_counts.bytes_alloc += to->span - os_page_size;
	vmalloc_counts.bytes += to->span;
	if (moved)
		vmap_put_hole(old);
	else
		vmap_put_lazy(old, vmalloc_stamp());
	lock_release(&vmap_lock);
}

static void *move(struct vmap_area *old, size_t span)
{
	struct vmap_area *to;
	bool moved;

	vmalloc_purge_for(span - old->span);
	to = map_roomy(span);
	if (!to) {
		reclaim_run(RECLAIM_ALL);
		to = vmalloc_map_new(span, 0);
		if (!to)
			return NULL;
	}
	moved = move_pages(old, to);
	if (!moved) {
		to = map_again(to, span);
		if (!to) {
			vmap_guard_install(old);
			return NULL;
		}
		memcpy((void *)to->addr, (void *)old->addr, old->span - os_page_size);
		vmap_guard_install(to);
	}
	replace(old, to, moved);
	return (void *)to->addr;
}

static void *grow(struct vmap_area *area, size_t span, gfp_t gfp)
{
	void *ptr = (void *)area->addr;
	size_t charged = area->charged;

	if (unlikely(!recharge(area, (span >> os_page_shift) - 1, gfp)))
		return NULL;
	if (grow_in_place(area, span))
		return ptr;
	ptr = move(area, span);
	if (unlikely(!ptr))
		recharge(area, charged, gfp);
	return ptr;
}

void *vrealloc_area(void *ptr, size_t size, gfp_t gfp)
{
	struct vmap_area *area;
	size_t span;

	if (size > vmap_end - vmap_base)
		return NULL;
	span = vmalloc_span(size);
	area = vmalloc_lookup(ptr);
	if (!area || area->state != VMAP_BUSY)
		return NULL;
	if (span <= area->span) {
		/* within what it has beyond what was asked for; less is never refused */
		if (unlikely(!recharge(area, (span >> os_page_shift) - 1, gfp)))
			return NULL;
		if (area->span - span > area->span / 4 && gfpflags_allow_blocking(gfp))
			shrink(area, span);
		return ptr;
	}
	return gfpflags_allow_blocking(gfp) ? grow(area, span, gfp) : NULL;
}
