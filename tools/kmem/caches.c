/* SPDX-License-Identifier: MIT */
/* caches.c - the caches of a process at one moment. */
#include "caches.h"

#include "say.h"

#include <stdlib.h>

static bool add(const struct kmem_cache *cache, uint64_t address, void *arg)
{
	struct cache_rows *rows = arg;

	if (cache->state != KMEM_CACHE_LIVE && cache->state != KMEM_CACHE_ZOMBIE)
		return true;
	if (rows->count == rows->room) {
		rows->room = rows->room * 2 + 128;
		rows->row = xrealloc(rows->row, rows->room * sizeof(*rows->row));
	}
	rows->row[rows->count++] = (struct cache_row){ *cache, address, 0 };
	return true;
}

static void add_sheaf(unsigned slot, const uint64_t *objects, size_t count, void *arg)
{
	uint64_t *in_sheaves = arg;

	(void)objects;
	in_sheaves[slot] += count;
}

static bool is_created(const struct cache_row *row)
{
	return row->cache.flags & KMEM_CACHE_CREATED;
}

/* The classes by size, which is the order of their ids; behind them those that were created, whose ids grow. */
static int compare(const void *a, const void *b)
{
	const struct cache_row *x = a, *y = b;

	if (is_created(x) != is_created(y))
		return is_created(x) ? 1 : -1;
	return x->cache.id < y->cache.id ? -1 : x->cache.id > y->cache.id;
}

int cache_rows_read(const struct process *process, struct cache_rows *rows)
{
	uint64_t in_sheaves[KMEM_CACHES_MAX] = { 0 };

	rows->count = 0;
	if (remote_caches(&process->target, add, rows) != 0 ||
	    remote_sheaves(&process->target, &process->places, add_sheaf, in_sheaves) != 0)
		return -1;
	for (size_t i = 0; i < rows->count; i++)
		rows->row[i].in_sheaves = in_sheaves[rows->row[i].cache.index % KMEM_CACHES_MAX];
	if (rows->count)
		qsort(rows->row, rows->count, sizeof(*rows->row), compare);
	return 0;
}

void cache_rows_free(struct cache_rows *rows)
{
	free(rows->row);
	*rows = (struct cache_rows){ 0 };
}
