/* SPDX-License-Identifier: MIT */
/*
 * account.h - where every byte is that the library has from the system.
 */
#ifndef KMALLOC_ACCOUNT_H
#define KMALLOC_ACCOUNT_H

#include "kmalloc/reserve.h"
#include "page/account.h"
#include "slab/account.h"
#include "vmalloc/account.h"

struct account {
	struct page_account page;
	struct slab_account slab;
	struct vmalloc_account vmalloc;
	struct reserve_account reserve;
	size_t deferred_objects; /* bytes of freed objects that wait for a miss that may wait */
	size_t deferred_areas;	 /* the same of areas */
	size_t emergency;	 /* bytes of mappings of their own */
	size_t nr_emergency;
	size_t stuck;	  /* bytes of such mappings that the system refused to unmap */
	size_t lost_meta; /* metadata handed out that nothing was found to use */
	bool exact;	  /* the per-CPU areas could be stopped */

	/* the terms, in bytes; together they are `accounted` */
	size_t live; /* handed out: objects by the size of their class, areas, emergency mappings */
	size_t cached;	   /* free objects in sheaves: of CPUs, barns, deferred */
	size_t waiting;	   /* freed, on the deferred list, or marked in their slab */
	size_t free_slabs; /* free objects in slabs, and slots in pages of the reserve */
	size_t free_pages; /* free blocks, dirty and clean, deferred ones, the zone's and the reserve's */
	size_t free_areas; /* lazy ranges, and mappings that could not be unmapped */
	size_t metadata; /* in use: descriptors, sheaves, bitmaps, areas, ranges, tables and maps */
	size_t spare_meta; /* metadata free, or not cut yet, and the regions' links */
	size_t rest;	   /* ends of slabs, and guard pages that are mapped */
	size_t lost;	   /* blocks, ranges and metadata in a thread's hands, or nobody's */

	size_t accounted;
	size_t reserved; /* from the system, by the counters: mapped, or reserved without access */
	size_t unmapped; /* of the windows' addresses used so far: offline, holes, gaps, foreign */
};

/*
 * Walk everything. accounted == reserved holds at any time. Exact when no other
 * thread is inside the allocator: else what such a thread carries is called lost, or,
 * single objects and those in a sheaf that it carries, live.
 *
 * It stops the world: every lock is taken, in rank order as for fork, and the per-CPU areas
 * are switched off with a barrier; threads that hit meanwhile miss, and wait for a
 * lock. So: only where the user asked. False, and nothing done: in a handler that
 * interrupted the allocator, or the library could not start.
 */
bool account_read(struct account *account);
/* Print the terms to standard error. */
void account_print(const struct account *account);

/*
 * The world stopped, for others who walk everything: no thread is under a lock or in an area but this
 * one, which takes no signals. False: the areas could not be stopped.
 */
struct account_stopped {
	uint64_t signals; /* the thread's mask before */
};

bool account_stop(struct account_stopped *stopped);
void account_start(const struct account_stopped *stopped);

#endif
