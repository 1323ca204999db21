/* SPDX-License-Identifier: MIT */
/*
 * barn.c - full and empty sheaves of one cache, exchanged under a short lock.
 *
 * Mirrors struct node_barn in mm/slub.c: it only relinks, it calls nothing. One
 * node. The limits bound what a cache may hold beyond its CPUs: max_full (by
 * bytes, see cache.c) full sheaves and BARN_MAX_EMPTY empty ones.
 *
 * Ageing: low_full remembers the fewest full sheaves since the last age
 * pass; that many were never needed in a whole period and go back to the slabs.
 *
 * Lock: barn->lock (rank BARN), nothing is taken under it.
 */
#include "slab/barn.h"

#include "lib/valid.h"
#include "slab/valid.h"

/* The counts are read without the lock, as a hint: so they are stored whole. */
static void count(unsigned *nr, int delta)
{
	__atomic_store_n(nr, *nr + (unsigned)delta, __ATOMIC_RELAXED);
}

struct slab_sheaf *barn_get_full(struct kmem_cache *cache, gfp_t gfp)
{
	struct barn *barn = &cache->barn;
	struct slab_sheaf *sheaf;

	if (!__atomic_load_n(&barn->nr_full, __ATOMIC_RELAXED) || !lock_get(&barn->lock, gfp))
		return NULL;
	sheaf = barn->full;
	if (sheaf) {
		barn->full = sheaf->next;
		count(&barn->nr_full, -1);
		if (barn->nr_full < barn->low_full)
			barn->low_full = barn->nr_full;
	}
	debug_valid(barn_is_valid(cache, false));
	lock_release(&barn->lock);
	return sheaf;
}

struct slab_sheaf *barn_get_empty(struct kmem_cache *cache, gfp_t gfp)
{
	struct barn *barn = &cache->barn;
	struct slab_sheaf *sheaf;

	if (!__atomic_load_n(&barn->nr_empty, __ATOMIC_RELAXED) || !lock_get(&barn->lock, gfp))
		return NULL;
	sheaf = barn->empty;
	if (sheaf) {
		barn->empty = sheaf->next;
		count(&barn->nr_empty, -1);
	}
	debug_valid(barn_is_valid(cache, false));
	lock_release(&barn->lock);
	return sheaf;
}

bool barn_put_full(struct kmem_cache *cache, struct slab_sheaf *sheaf, gfp_t gfp)
{
	struct barn *barn = &cache->barn;
	bool room;

	if (!lock_get(&barn->lock, gfp))
		return false;
	room = barn->nr_full < cache->max_full;
	if (room) {
		sheaf->next = barn->full;
		barn->full = sheaf;
		count(&barn->nr_full, 1);
	}
	debug_valid(barn_is_valid(cache, false));
	lock_release(&barn->lock);
	return room;
}

bool barn_put_empty(struct kmem_cache *cache, struct slab_sheaf *sheaf, gfp_t gfp)
{
	struct barn *barn = &cache->barn;
	bool room;

	if (!lock_get(&barn->lock, gfp))
		return false;
	room = barn->nr_empty < BARN_MAX_EMPTY;
	if (room) {
		sheaf->next = barn->empty;
		barn->empty = sheaf;
		count(&barn->nr_empty, 1);
	}
	debug_valid(barn_is_valid(cache, false));
	lock_release(&barn->lock);
	return room;
}

struct slab_sheaf *barn_shrink(struct kmem_cache *cache, bool all)
{
	struct barn *barn = &cache->barn;
	struct slab_sheaf *list = NULL;
	unsigned n;

	lock_acquire(&barn->lock);
	n = all ? barn->nr_full : barn->low_full;
	for (; n; n--) {
		struct slab_sheaf *sheaf = barn->full;

		barn->full = sheaf->next;
		count(&barn->nr_full, -1);
		sheaf->next = list;
		list = sheaf;
	}
	while (all && barn->empty) {
		struct slab_sheaf *sheaf = barn->empty;

		barn->empty = sheaf->next;
		count(&barn->nr_empty, -1);
		sheaf->next = list;
		list = sheaf;
	}
	barn->low_full = barn->nr_full;
	debug_valid(barn_is_valid(cache, false));
	lock_release(&barn->lock);
	return list;
}
