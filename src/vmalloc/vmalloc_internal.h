/* SPDX-License-Identifier: MIT */
/*
 * vmalloc_internal.h - what vmalloc.c and vrealloc.c share. Internal to the room.
 */
#ifndef VMALLOC_INTERNAL_H
#define VMALLOC_INTERNAL_H

#include "os/os.h"
#include "vmalloc/vmap_area.h"

#define VMALLOC_STAMP_SHIFT 8

/* Guarded by vmap_lock. */
struct vmalloc_counts {
	size_t nr_areas; /* live */
	size_t bytes;	 /* spans of live areas */
	size_t nr_alloc;
	size_t bytes_alloc; /* spans of all areas handed out, growth included */
	size_t nr_free;
	size_t purged;
};

extern struct vmalloc_counts vmalloc_counts;

/* Bytes of address space for a request, a page at least; size is below half the address space. */
static inline size_t vmalloc_span(size_t size)
{
	return align_up(size + !size, os_page_size) + os_page_size;
}

uint32_t vmalloc_stamp(void);
/*
 * The range whose first address is ptr, in any state; NULL: none. With vmap_lock
 * for any address; without it for a live area of the caller's.
 */
struct vmap_area *vmalloc_lookup(const void *ptr);
/* A busy area becomes MOVING and is no longer counted. vmap_lock held. */
void vmalloc_take_back_locked(struct vmap_area *area);
/* So many bytes more are going to be mapped: purge what waits beyond its share of the live bytes. Without vmap_lock. */
void vmalloc_purge_for(size_t bytes);
/* Addresses, not mapped: MOVING. NULL: none are left. Without vmap_lock. */
struct vmap_area *vmalloc_take_addresses(size_t span, size_t align);
/* The mapping failed with err: give them back, or never use them again. Without vmap_lock. */
void vmalloc_give_up_addresses(struct vmap_area *area, int err);
/* What vmap_area.c keeps static, as it is while vmap_lock is held; for those who walk it. */
struct vmap_bins_view {
	struct list_head *lists;
	const uint64_t *nonempty; /* a bit per list */
	unsigned count;
};

struct vmap_view {
	struct vmap_bins_view lazy, holes;
	struct vmap_area **const *leaves; /* of the table; NULL: not mapped */
	size_t nr_leaves;
	size_t leaf_bytes; /* of the table, not of the window */
};

void vmap_view(struct vmap_view *view);
/* The list for ranges of so many bytes. */
unsigned vmap_bin_of(size_t span);

/* Addresses, mapped: MOVING. NULL: no memory. Without vmap_lock. */
struct vmap_area *vmalloc_map_new(size_t span, size_t align);

#endif
