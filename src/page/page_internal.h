/* SPDX-License-Identifier: MIT */
/*
 * page_internal.h - the inside of the room's objects, for those who walk them: the
 * account and the validators. Internal to the room.
 *
 * A view is what an object keeps static, as it is while its lock is held.
 */
#ifndef PAGE_INTERNAL_H
#define PAGE_INTERNAL_H

#include "lib/lock.h"
#include "page/page.h"

#define NR_ORDERS (MAX_ORDER + 1)

/* Free blocks of one kind; guarded by the zone's lock. */
struct free_area {
	struct list_head list[NR_ORDERS]; /* head: freed last */
	unsigned nonempty;		  /* a bit per order */
	size_t bytes;
};

struct zone_view {
	struct lock *lock;
	struct free_area *areas;	  /* 0: DIRTY, 1: CLEAN */
	struct list_head *offline;	  /* head descriptors of unmapped sections */
	size_t nr_online;		  /* sections mapped */
	const struct list_head *deferred; /* freed without the lock, linked by next; NULL: none */
};

void zone_view(struct zone_view *view);

struct page_places;
/* Each its own part, for page_places(). */
void zone_places(struct page_places *places);
void meta_places(struct page_places *places);
/* The lock under which a view is to be taken. */
struct lock *zone_view_lock(void);

/* Bytes of address space that the two maps of the window take, committed or not. */
size_t window_maps_bytes(void);
/* Sections that may have descriptors; those past nr_granules have not been mapped yet. */
size_t window_described(void);

#define META_MIN_SHIFT 6 /* a cache line */
#define META_POOLS 9	 /* 64 bytes to META_MAX_SIZE */
#define META_REGION_BYTES (256UL << 10)
#define META_REGION_USABLE (META_REGION_BYTES - 64)

struct meta_free {
	struct meta_free *next; /* NULL ends the pool */
};

/* Stands in the last cache line of its region. */
struct meta_region {
	struct meta_region *next; /* the one mapped before; NULL ends it */
	char *start;
};

struct meta_view {
	struct lock *lock;
	struct meta_free *const *pools; /* META_POOLS, of 1 << (META_MIN_SHIFT + pool) bytes */
	struct meta_free *deferred[META_POOLS]; /* the same, freed without the lock */
	const struct meta_region *regions;	/* NULL: none */
	const char *uncut;			/* what is left of the newest region */
	size_t uncut_bytes;
	size_t mapped;
};

void meta_view(struct meta_view *view);
struct lock *meta_view_lock(void);

#endif
