/* SPDX-License-Identifier: MIT */
/*
 * heap.h - every block that a stopped process holds: objects in slabs, and areas.
 *
 * An object that is free in its slab, in a sheaf, or waits to be freed is not held. Blocks are numbered; the number is the
 * slab's first number plus the object's index, areas come behind the slabs.
 */
#ifndef KMEM_HEAP_H
#define KMEM_HEAP_H

#include "process.h"

struct heap_slab {
	uint64_t base;
	uint32_t size; /* from object to object */
	uint32_t nr;
	uint32_t cache; /* index into heap.cache */
	uint64_t first; /* number of its first object */
};

struct heap_cache {
	uint64_t address;
	struct kmem_cache cache;
};

struct heap_range {
	uint64_t start, end;
};

struct heap {
	struct heap_cache *cache; /* by address */
	size_t nr_caches, cache_room;
	struct heap_slab *slab; /* by base */
	size_t nr_slabs, slab_room;
	uint64_t window, window_end; /* of slabs */
	uint32_t *slab_at;	     /* by granule: number of the slab + 1; 0: none */
	struct heap_range *area;     /* busy ones, by address, without guard pages */
	size_t nr_areas, area_room;
	uint64_t areas, areas_end; /* the window that they are in */
	struct heap_range
		*skip; /* what of the process' memory is the library's own, in any order */
	size_t nr_skip, skip_room;
	uint64_t nr_blocks;
	uint64_t *held;	  /* a bit for each block */
	size_t held_room; /* words */
};

#define HEAP_NONE UINT64_MAX

/* Read all of it. False: said why not. */
bool heap_read(struct heap *heap, const struct process *process);
void heap_free(struct heap *heap);

/* The block that an address is in, held or not; HEAP_NONE: it is in none. */
uint64_t heap_find(const struct heap *heap, uint64_t address);
struct heap_range heap_block(const struct heap *heap, uint64_t number);
/* The same of an address that heap_find() found a block for. */
struct heap_range heap_block_at(const struct heap *heap, uint64_t address);
/* The slab that it is in; NULL: in none. */
const struct heap_slab *heap_slab_at(const struct heap *heap, uint64_t address);
/* Its cache; NULL: an area. */
const struct kmem_cache *heap_block_cache(const struct heap *heap, uint64_t number);

static inline bool heap_is_held(const struct heap *heap, uint64_t number)
{
	return heap->held[number / 64] >> (number % 64) & 1;
}

static inline void heap_release(struct heap *heap, uint64_t number)
{
	heap->held[number / 64] &= ~(1UL << (number % 64));
}

#endif
