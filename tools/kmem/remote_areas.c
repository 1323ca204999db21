/* SPDX-License-Identifier: MIT */
/*
 * remote_areas.c - the ranges of the vmalloc window, in another process.
 *
 * The ranges tile the window, and the table has a true entry for the first page of each (src/vmalloc/vmap_area.c): so the walk
 * goes from one to the next. An entry that was just changed points to a struct with another address; it is read again,
 * and if that does not help the walk goes on with the next page whose entry is true. A window that is larger than its table has
 * entries for, or is outside of user space, is refused: so the walk is as long as the table at most.
 */
#include "remote.h"

#include "vmalloc/vmalloc_internal.h"

#include <string.h>
#include <unistd.h>

#define TRIES 3
#define LEAVES_MAX (1UL << 16)
#define LEAF_ENTRIES_MAX (1UL << 20)
#define ADDRESS_MAX (1UL << 47)
#define BATCH 512UL /* entries read at once in search of a true one */

struct table {
	const struct target *target;
	const struct trace_places *places;
	uint64_t base, page, per_leaf; /* per_leaf: entries */
	uint64_t leaf_number, leaf;    /* the leaf at hand; UINT64_MAX: none */
};

/* The address of the leaf that has an address' entry; 0: it has none. */
static uint64_t leaf_of(struct table *table, uint64_t addr)
{
	uint64_t number = (addr - table->base) / table->page / table->per_leaf;

	if (number == table->leaf_number)
		return table->leaf;
	table->leaf = 0;
	table->leaf_number = number;
	if (number >= table->places->nr_leaves ||
	    remote_size(table->target, table->places->vmap_leaves + number * sizeof(uint64_t),
			&table->leaf) != 0)
		table->leaf = 0;
	return table->leaf;
}

static bool is_range(const struct table *table, const struct vmap_area *area, uint64_t addr,
		     uint64_t top)
{
	uint8_t zeroed;

	/* it is read as a truth value, which must be 0 or 1 */
	memcpy(&zeroed, &area->zeroed, 1);
	return zeroed <= 1 && area->addr == addr && area->span >= table->page &&
	       area->span % table->page == 0 && area->span <= top - addr;
}

static bool find(struct table *table, uint64_t addr, uint64_t top, struct vmap_area *area)
{
	for (int i = 0; i < TRIES; i++) {
		uint64_t leaf = leaf_of(table, addr), entry;
		uint64_t index = (addr - table->base) / table->page % table->per_leaf;

		if (leaf &&
		    remote_size(table->target, leaf + index * sizeof(uint64_t), &entry) == 0 &&
		    entry && target_read(table->target, entry, area, sizeof(*area)) == 0 &&
		    is_range(table, area, addr, top))
			return true;
	}
	return false;
}

/* The next page that has an entry; it need not be a true one. */
static uint64_t skip(struct table *table, uint64_t addr, uint64_t top)
{
	uint64_t entries[BATCH];

	for (addr += table->page; addr < top;) {
		uint64_t leaf = leaf_of(table, addr);
		uint64_t index = (addr - table->base) / table->page % table->per_leaf;
		uint64_t n = table->per_leaf - index;

		if (!leaf) {
			addr += n * table->page;
			continue;
		}
		n = n < BATCH ? n : BATCH;
		if (target_read(table->target, leaf + index * sizeof(uint64_t), entries,
				n * sizeof(uint64_t)) != 0)
			return top;
		for (uint64_t i = 0; i < n; i++)
			if (entries[i])
				return addr + i * table->page;
		addr += n * table->page;
	}
	return top;
}

static bool makes_sense(const struct table *table, uint64_t top)
{
	uint64_t leaves = table->places->nr_leaves, entries = table->per_leaf;

	return entries && entries <= LEAF_ENTRIES_MAX && leaves <= LEAVES_MAX &&
	       table->base % table->page == 0 && top % table->page == 0 && table->base <= top &&
	       top <= ADDRESS_MAX && top - table->base <= leaves * entries * table->page;
}

int remote_areas(const struct target *target, const struct trace_places *places,
		 bool (*visit)(const struct vmap_area *area, void *arg), void *arg)
{
	struct table table = { .target = target, .places = places, .leaf_number = UINT64_MAX };
	uint64_t top;

	table.page = (uint64_t)sysconf(_SC_PAGESIZE);
	table.per_leaf = places->leaf_bytes / sizeof(uint64_t);
	if (remote_size(target, places->vmap_base, &table.base) != 0 ||
	    remote_size(target, places->vmap_top, &top) != 0 || !makes_sense(&table, top))
		return -1;
	for (uint64_t addr = table.base; addr < top;) {
		struct vmap_area area;

		if (!find(&table, addr, top, &area)) {
			addr = skip(&table, addr, top);
			continue;
		}
		if (!visit(&area, arg))
			break;
		addr += area.span;
	}
	return 0;
}
