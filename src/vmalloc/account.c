/* SPDX-License-Identifier: MIT */
/*
 * account.c - walk the ranges of the vmalloc window, from its base to its top.
 *
 * The kernel's counterpart is /proc/vmallocinfo with what show_purge_info() adds. Every
 * lock is held, nothing is changed. A range in state MOVING is in the hands of a thread that
 * makes system calls about it without the lock; in the child of fork that thread may be gone.
 * Whether its pages are mapped is not known then: it is called lost.
 */
#include "vmalloc/account.h"

#include "page/meta.h"
#include "vmalloc/vmalloc_internal.h"
#include "vmalloc/vmap_guard.h"

static void count_range(const struct vmap_area *area, struct vmalloc_account *account)
{
	account->ranges += meta_piece_bytes(sizeof(*area));
	switch (area->state) {
	case VMAP_BUSY:
		account->live += area->span - os_page_size;
		account->guards += os_page_size;
		break;
	case VMAP_LAZY:
		*(area->zeroed ? &account->lazy_clean : &account->lazy) += area->span;
		break;
	case VMAP_HOLE:
		account->holes += area->span;
		return;
	case VMAP_FOREIGN:
		account->foreign += area->span;
		return;
	default:
		account->lost += area->span;
		return;
	}
	if (__atomic_load_n(&area->guard, __ATOMIC_RELAXED) == VMAP_GUARD_GAP)
		account->gaps += os_page_size;
}

void vmalloc_account(struct vmalloc_account *account)
{
	*account = (struct vmalloc_account){ 0 };
	for (const struct vmap_area *area = vmap_find(vmap_base); area; area = vmap_next(area))
		count_range(area, account);
	account->window = vmap_top - vmap_base;
	account->tables = vmap_table_bytes();
	account->mapped = vmalloc_counts.bytes + vmap_lazy_bytes + account->lazy_clean +
			  account->lost - account->gaps;
}

void vmalloc_places(struct vmalloc_places *places)
{
	struct vmap_view view;

	vmap_view(&view);
	*places = (struct vmalloc_places){
		.base = &vmap_base,
		.top = &vmap_top,
		.leaves = view.leaves,
		.nr_leaves = view.nr_leaves,
		.leaf_bytes = view.leaf_bytes,
		.lazy_bytes = &vmap_lazy_bytes,
		.nr_lazy = &vmap_nr_lazy,
		.counts = &vmalloc_counts,
	};
}
