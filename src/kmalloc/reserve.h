/* SPDX-License-Identifier: MIT */
/*
 * reserve.h - memory that is there whatever happens: for GFP_ATOMIC, when everything else would
 * have to wait. Any context, but for the calls marked [may sleep].
 */
#ifndef KMALLOC_RESERVE_H
#define KMALLOC_RESERVE_H

#include "slab/kmem_cache.h"

#define RESERVE_MAX_BYTES (1UL << 30)

/* [start] Chunks will stand in [base, base + RESERVE_MAX_BYTES). */
void reserve_init(uintptr_t base);
/* [may sleep] Make it ready, if it is not, and bring it back to its size, if it was used. */
void reserve_fill(void);
/* Is there a reserve, so that reserve_fill() has to look after it? */
bool reserve_is_ready(void);

/*
 * `size` bytes, at most KMALLOC_TOP_BLOCK, aligned to `align` (a power of two up to that), not
 * cleared. `cache`, if not NULL, is remembered. NULL: nothing is left.
 */
void *reserve_alloc(size_t size, size_t align, const struct kmem_cache *cache);
/* Is the address in the reserve's window? Follows nothing. */
bool reserve_owns(const void *ptr);
/* Give an object back. Dies with a report on what is no object, or is free already. */
void reserve_free(void *ptr);
/* Usable bytes of an object; 0: it is none. */
size_t reserve_size(const void *ptr);
/* The cache that an object was allocated for; NULL: none. Only for comparing. */
const struct kmem_cache *reserve_cache(const void *ptr);

/* What a page says of itself. */
struct reserve_page {
	bool free;
	bool run;	 /* heads a run of `pages`; else, if tag is not 0, cut into slots */
	unsigned pages;	 /* of the run */
	unsigned shift;	 /* log2 of a slot's bytes */
	uint64_t slots;	 /* those that are free */
	uint64_t others; /* bits of slots that such a page has not; none may be set in `slots` */
	uint64_t tag;	 /* all of it; 0: it heads nothing */
};

/* The tag of page number `at`, counted from the start; NULL: there is none. For tests of the validator. */
_Atomic uint64_t *reserve_tag(size_t at);
/* Read page number `at`; others may be at work on it. False: there is none. */
bool reserve_read_page(size_t at, struct reserve_page *page);

struct reserve_stat {
	size_t bytes; /* of all chunks */
	size_t free;
};

void reserve_stat(struct reserve_stat *stat);

/* Bytes of the reserve, found by walking its pages; they add up to `mapped`. */
struct reserve_account {
	size_t mapped;	   /* of all chunks */
	size_t live;	   /* objects */
	size_t free_slots; /* of pages that are cut */
	size_t free_pages;
	size_t rest;   /* of pages that are cut, too little for a slot, or one too many */
	size_t lost;   /* pages in a thread's hands */
	size_t chunks; /* metadata that describes them */
};

/* With every lock held; handlers may take and give objects meanwhile all the same. */
void reserve_account(struct reserve_account *account);

#endif
