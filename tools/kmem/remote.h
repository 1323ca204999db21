/* SPDX-License-Identifier: MIT */
/*
 * remote.h - what the library in another process has: its caches, sheaves, areas and counts.
 *
 * Read while it works, from the addresses that it notes of itself (struct trace_places), so numbers that change meanwhile may
 * disagree, and a list may be another one by the time its end is read. So nothing that comes from there is believed: every list and
 * loop is bounded, every size compared with what it can be, every address only read through the system, text cleaned of what
 * a terminal might obey. What does not fit is left out. A damaged or hostile process costs as much work as it has memory, at
 * most. Where that is not good enough, stop the process before (freeze.h).
 *
 * Calls return 0, or -1: the process is gone, or what is there makes no sense. They say nothing.
 */
#ifndef KMEM_REMOTE_H
#define KMEM_REMOTE_H

#include "slab/kmem_cache.h"
#include "target.h"
#include "vmalloc/vmap_area.h"

/*
 * Has a list come back to where it was? Zeroed, and asked with the address of each of its links: a ring is found
 * before it has been gone around three times (Brent's way).
 */
struct list_watch {
	uint64_t mark, steps, next_mark;
};

static inline bool list_is_ring(struct list_watch *watch, uint64_t address)
{
	if (address == watch->mark)
		return true;
	if (watch->steps++ == watch->next_mark) {
		watch->mark = address;
		watch->next_mark = watch->next_mark * 2 + 1;
		watch->steps = 0;
	}
	return false;
}

/* What can't be printed becomes '?'. */
void remote_clean(char *text);

/* Each cache that ever was, oldest last; `cache` is a copy, `address` where it is. Stops when visit says false. */
int remote_caches(const struct target *target,
		  bool (*visit)(const struct kmem_cache *cache, uint64_t address, void *arg),
		  void *arg);
/* Is the library there built from the same structs? If not that is said. */
bool remote_layout_fits(const struct target *target);

int remote_places(const struct target *target, struct trace_places *places);
/* A size_t. */
int remote_size(const struct target *target, uint64_t address, uint64_t *value);
/* Text of at most size - 1 bytes, "?" where there is none; what can't be printed becomes '?'. Returns buf. */
const char *remote_string(const struct target *target, uint64_t address, char *buf, size_t size);

/*
 * Each sheaf that has objects in it: of CPUs, of barns, and those that wait to be flushed. `slot` is its cache's index.
 */
int remote_sheaves(const struct target *target, const struct trace_places *places,
		   void (*visit)(unsigned slot, const uint64_t *objects, size_t count, void *arg),
		   void *arg);

/* The sheaf at an address, if it looks like one: its objects, SHEAF_CAPACITY_MAX at most; 0: it is none, or empty. */
size_t remote_sheaf_at(const struct target *target, uint64_t address,
		       uint64_t objects[SHEAF_CAPACITY_MAX]);

/* Each range of the vmalloc window, lowest first, in any state. Stops when visit says false. */
int remote_areas(const struct target *target, const struct trace_places *places,
		 bool (*visit)(const struct vmap_area *area, void *arg), void *arg);

struct remote_counts {
	uint64_t caches, slabs, slab_bytes;  /* those that have slabs */
	uint64_t objects, object_bytes;	     /* out of slabs: live or in sheaves */
	uint64_t in_sheaves, in_sheaf_bytes; /* of those */
	uint64_t areas, area_bytes;	     /* live, without guard pages */
	uint64_t lazy, lazy_bytes;
	uint64_t area_allocs, area_frees;	 /* so far */
	uint64_t mapped, free_dirty, free_clean; /* bytes of the window */
	uint64_t purged_pages, purged_areas;	 /* bytes given back so far */
	uint64_t metadata;			 /* bytes mapped */
	unsigned nr_cpus;			 /* areas of CPUs */
};

int remote_count(const struct target *target, const struct trace_places *places,
		 struct remote_counts *counts);

#endif
