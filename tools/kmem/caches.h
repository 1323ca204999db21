/* SPDX-License-Identifier: MIT */
/* caches.h - the caches of a process at one moment, in the order in which they are shown. */
#ifndef KMEM_CACHES_H
#define KMEM_CACHES_H

#include "process.h"

struct cache_row {
	struct kmem_cache cache; /* a copy */
	uint64_t address;
	uint64_t in_sheaves; /* of nr_inuse */
};

struct cache_rows {
	struct cache_row *row;
	size_t count, room;
};

/*
 * Those that are caches now: the kmalloc classes by size, then those that were created, oldest first. 0; -1: the
 * process is gone.
 */
int cache_rows_read(const struct process *process, struct cache_rows *rows);
void cache_rows_free(struct cache_rows *rows);

static inline uint64_t cache_row_objects(const struct cache_row *row)
{
	return (uint64_t)row->cache.nr_slabs * row->cache.nr_objects;
}

static inline uint64_t cache_row_live(const struct cache_row *row)
{
	return row->cache.nr_inuse -
	       (row->in_sheaves < row->cache.nr_inuse ? row->in_sheaves : row->cache.nr_inuse);
}

static inline uint64_t cache_row_slab_bytes(const struct cache_row *row)
{
	return GRANULE_SIZE << (row->cache.order & 15);
}

#endif
