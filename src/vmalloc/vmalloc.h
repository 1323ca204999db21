/* SPDX-License-Identifier: MIT */
/*
 * vmalloc.h - page-granular areas of address space for large requests: mapped
 * regions, contiguous only in virtual addresses, with a guard page after each.
 */
#ifndef VMALLOC_VMALLOC_H
#define VMALLOC_VMALLOC_H

#include "lib/gfp.h"

struct mem_cgroup;

/* [start] Areas come from [base, base + size). */
void vmalloc_init(uintptr_t base, size_t size);
/* Is this address in the window of areas? Follows nothing. */
bool vmalloc_owns(const void *ptr);

/*
 * `size` bytes (rounded up to pages) aligned to `align`, a power of two (0 or
 * anything up to the page size: page). *zeroed, if not NULL, tells whether the
 * area reads as zero. NULL: no address space, no memory, or gfp forbids to wait and the
 * lock was busy or memory had to be mapped. May block if gfp allows.
 */
void *vmalloc_area(size_t size, size_t align, gfp_t gfp, bool *zeroed);
/*
 * Give an area back. Foreign and damaged pointers: VFREE_NOT_AREA. The second
 * free of an area dies with a report while the area still waits for reuse.
 * VFREE_BUSY, and nothing done: the lock was busy and gfp forbids to wait.
 */
enum vfree { VFREE_DONE, VFREE_NOT_AREA, VFREE_BUSY };
enum vfree vfree_area(void *ptr, gfp_t gfp);
/* Usable bytes of an area, constant for its life; 0: not the start of one. Any context. */
size_t vmalloc_size(const void *ptr);
/*
 * Mark a live area as one of vmalloc(), which kfree() does not take; and is it? By its owner;
 * for any other address the worst is a wrong answer.
 */
void vmalloc_mark(const void *ptr);
bool vmalloc_is_marked(const void *ptr);
/* The same for one whose allocation a trace told of. */
void vmalloc_mark_sampled(const void *ptr, bool sampled);
bool vmalloc_is_sampled(const void *ptr);
/* A live area without an owner, of so many bytes (whole pages), was charged to the group. */
void vmalloc_set_owner(const void *ptr, const struct mem_cgroup *group, size_t bytes);
/*
 * Change the size of an area, keeping the bytes up to the smaller size: in
 * place, or by moving its pages. NULL: no memory, or its group is at its limit; the area is as before.
 */
void *vrealloc_area(void *ptr, size_t size, gfp_t gfp);

struct vmalloc_stat {
	size_t nr_areas; /* live */
	size_t bytes;	 /* of live areas */
	size_t lazy;	 /* bytes of freed areas that wait for reuse */
	size_t nr_lazy;
	size_t purged;	 /* bytes given back so far */
	size_t nr_alloc; /* areas handed out so far */
	size_t nr_free;
	size_t bytes_alloc; /* of all areas handed out so far */
};

void vmalloc_stat(struct vmalloc_stat *stat);

#endif
