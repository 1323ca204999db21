/* SPDX-License-Identifier: MIT */
/*
 * account.h - where the bytes of the kmalloc window and of the metadata are. All with every
 * lock held (kmalloc/account.c).
 */
#ifndef PAGE_ACCOUNT_H
#define PAGE_ACCOUNT_H

#include "page/page.h"

/* Bytes; found by walking, but for those that say counter. */
struct page_account {
	/* of the window, mapped */
	size_t slabs;	 /* blocks that are slabs */
	size_t dirty;	 /* free, may be resident */
	size_t clean;	 /* free, not resident */
	size_t deferred; /* freed without the lock, not merged yet */
	size_t dma_free; /* free in the DMA zone */
	size_t lost;	 /* allocated, and no slab: in a thread's hands, or nobody's */
	/* of the window, not mapped */
	size_t offline; /* free sections given back */
	size_t foreign; /* sections where somebody else mapped something */
	size_t window;	/* counter: all the addresses used so far, the sum of the above */
	size_t mapped;	/* counter: sections online */
	/* metadata */
	size_t maps;	    /* reserved for the owner bytes and the section table */
	size_t descriptors; /* pieces of metadata that are struct page arrays */
	size_t meta_mapped; /* counter: regions */
	size_t meta_pooled; /* free pieces */
	size_t meta_uncut;  /* what is left of the newest region */
	size_t meta_links;  /* the links at the ends of the regions */
	size_t meta_used;   /* the rest: pieces handed out */
};

/* Where these counters are, for who reads them from outside. */
struct page_places {
	const size_t *free_dirty, *free_clean, *nr_online, *purged, *meta_mapped;
	const void *meta_regions; /* a struct meta_region * */
};

void page_places(struct page_places *places);

/*
 * Takes the account; each slab is shown to `slab` too, in the same walk: slabs are made and
 * taken apart without a lock, so a second walk might find others.
 */
void page_account(struct page_account *account, void (*slab)(const struct page *page, void *arg),
		  void *arg);

/*
 * Call visit for the head of every block of every section that has descriptors, in
 * address order, until it says false. Sections that are not online have a head in state
 * PAGE_NONE. A block of the DMA zone is visited as one, with what heads its first granule. Returns the first descriptor that can't be a head where one must stand, or NULL.
 * With the zone's lock.
 */
const struct page *page_walk(bool (*visit)(const struct page *page, void *arg), void *arg);

#endif
