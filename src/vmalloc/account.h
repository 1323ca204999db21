/* SPDX-License-Identifier: MIT */
/* account.h - where the bytes of the vmalloc window are. With every lock held (kmalloc/account.c). */
#ifndef VMALLOC_ACCOUNT_H
#define VMALLOC_ACCOUNT_H

#include "lib/compiler.h"

/* Bytes; found by walking, but for those that say counter. */
struct vmalloc_account {
	/* mapped */
	size_t live;	   /* areas handed out, without their guard pages */
	size_t guards;	   /* the last page of each of these */
	size_t lazy;	   /* freed, may be resident */
	size_t lazy_clean; /* freed, not resident */
	size_t gaps;	   /* of guards and lazy: guard pages that are not mapped */
	size_t lost;	   /* between two states: in a thread's hands, or nobody's */
	/* not mapped */
	size_t holes;
	size_t foreign; /* where somebody else mapped something */
	size_t window; /* counter: all the addresses used so far, the sum of the above, gaps aside */
	size_t mapped; /* counters: of live and lazy ranges, without gaps; clean and lost ones walked */
	/* metadata */
	size_t ranges; /* pieces of metadata that describe ranges */
	size_t tables; /* mapped for the table of pages */
};

void vmalloc_account(struct vmalloc_account *account);

/* Where the room keeps its areas and its counts, for who reads them from outside. */
struct vmalloc_places {
	const uintptr_t *base, *top;
	const void *leaves; /* struct vmap_area **[nr_leaves] */
	size_t nr_leaves;
	size_t leaf_bytes; /* of a leaf, not of the window */
	const size_t *lazy_bytes, *nr_lazy;
	const void *counts; /* struct vmalloc_counts */
};

void vmalloc_places(struct vmalloc_places *places);

#endif
