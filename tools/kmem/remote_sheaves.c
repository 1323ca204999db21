/* SPDX-License-Identifier: MIT */
/*
 * remote_sheaves.c - the free objects that are in sheaves, in another process.
 *
 * The walk of src/slab/account.c, from outside. A main sheaf is found from its top downwards, to the sentinel, which is its own
 * address; as a CPU's owner may push and pop meanwhile, that is what the sheaf was when its words were read. Sheaves are
 * pieces of metadata, which never cross a page; so reading never goes below the page of the top.
 */
#include "remote.h"

#define PAGE 4096UL
#define SLOTS offsetof(struct slab_sheaf, slots)
#define BARN_LIST_MAX 256
#define DEFERRED_MAX 65536
#define LISTED_MAX (1U << 18) /* sheaves on lists, of all caches */

struct walk {
	const struct target *target;
	void (*visit)(unsigned slot, const uint64_t *objects, size_t count, void *arg);
	void *arg;
	unsigned listed; /* sheaves on lists so far */
};

static unsigned capacity_of(const struct kmem_cache *cache)
{
	return cache->capacity < SHEAF_CAPACITY_MAX ? cache->capacity : SHEAF_CAPACITY_MAX;
}

/* The objects below a top that is at the end of words[]; it may have none. False: no sentinel is there. */
static bool count_below(const uint64_t *words, size_t nr, size_t *count)
{
	for (*count = 0; *count < nr; ++*count)
		if (words[nr - 1 - *count] & SHEAF_SENTINEL)
			return true;
	return false;
}

/* A sheaf that has its top in a CPU's area: where its objects go, or where they are taken from. */
static void walk_top(const struct walk *walk, const struct kmem_cache *cache, unsigned slot,
		     uint64_t top)
{
	uint64_t words[SHEAF_CAPACITY_MAX + 1], below = ((top - 1) & (PAGE - 1)) + 1;
	size_t nr = capacity_of(cache) + 1UL, count;

	if (!top || top % sizeof(uint64_t))
		return;
	if (nr > below / sizeof(uint64_t))
		nr = below / sizeof(uint64_t);
	if (target_read(walk->target, top - nr * sizeof(uint64_t), words, nr * sizeof(uint64_t)) !=
	    0)
		return;
	if (count_below(words, nr, &count) && count)
		walk->visit(slot, words + nr - count, count, walk->arg);
}

/* A sheaf that is no CPU's main one, with `count` objects. */
static void walk_sheaf(const struct walk *walk, unsigned slot, uint64_t sheaf, size_t count)
{
	uint64_t words[SHEAF_CAPACITY_MAX];

	if (count && target_read(walk->target, sheaf + SLOTS + sizeof(uint64_t), words,
				 count * sizeof(uint64_t)) == 0)
		walk->visit(slot, words, count, walk->arg);
}

static void walk_list(struct walk *walk, const struct kmem_cache *cache, unsigned slot,
		      uint64_t sheaf, unsigned max)
{
	struct list_watch watch = { 0 };

	for (unsigned i = 0; sheaf && i < max && walk->listed < LISTED_MAX; i++, walk->listed++) {
		struct slab_sheaf head;
		uint64_t count;

		if (list_is_ring(&watch, sheaf) ||
		    target_read(walk->target, sheaf, &head, sizeof(head)) != 0)
			return;
		count = ((uint64_t)(uintptr_t)head.top - sheaf - SLOTS) / sizeof(uint64_t) - 1;
		if (count <= capacity_of(cache))
			walk_sheaf(walk, slot, sheaf, count);
		sheaf = (uintptr_t)head.next;
	}
}

static void walk_area(const struct walk *walk, const struct kmem_cache *caches,
		      const uint64_t area[PERCPU_WORDS])
{
	for (unsigned slot = 1; slot < KMEM_CACHE_SHARED; slot++) {
		uint64_t spare = area[PERCPU_SPARE + slot];

		if (!caches[slot].size)
			continue;
		walk_top(walk, &caches[slot], slot, area[PERCPU_MAIN + slot]);
		walk_top(walk, &caches[slot], slot, area[PERCPU_TESTED + slot]);
		if (spare & SPARE_FULL)
			walk_sheaf(walk, slot, spare & ~SPARE_FULL, capacity_of(&caches[slot]));
	}
}

int remote_sheaves(const struct target *target, const struct trace_places *places,
		   void (*visit)(unsigned slot, const uint64_t *objects, size_t count, void *arg),
		   void *arg)
{
	static struct kmem_cache caches[KMEM_CACHES_MAX];
	static uint64_t offsets[RSEQ_NR_CPUS], area[PERCPU_WORDS];
	struct walk walk = { target, visit, arg, 0 };
	uint32_t nr;

	if (target_read(target, places->kmem_caches, caches, sizeof(caches)) != 0 ||
	    target_read(target, places->nr_areas, &nr, sizeof(nr)) != 0 || nr > RSEQ_NR_CPUS ||
	    target_read(target, places->areas, offsets, nr * sizeof(*offsets)) != 0)
		return -1;
	for (unsigned i = 0; i < nr; i++)
		if (offsets[i] &&
		    target_read(target, places->percpu + offsets[i], area, sizeof(area)) == 0)
			walk_area(&walk, caches, area);
	for (unsigned slot = 1; slot < KMEM_CACHE_SHARED; slot++) {
		const struct kmem_cache *cache = &caches[slot];

		if (!cache->size)
			continue;
		walk_list(&walk, cache, slot, (uintptr_t)cache->barn.full, BARN_LIST_MAX);
		walk_list(&walk, cache, slot, (uintptr_t)cache->deferred, DEFERRED_MAX);
	}
	return 0;
}

size_t remote_sheaf_at(const struct target *target, uint64_t address,
		       uint64_t objects[SHEAF_CAPACITY_MAX])
{
	uint64_t words[SHEAF_CAPACITY_MAX + 2], room = (PAGE - (address & (PAGE - 1)));
	size_t nr = sizeof(words), count = 0;

	if (address % sizeof(uint64_t) || room < SLOTS + 2 * sizeof(uint64_t))
		return 0;
	if (nr > room - SLOTS)
		nr = room - SLOTS;
	nr /= sizeof(uint64_t);
	if (target_read(target, address + SLOTS, words, nr * sizeof(uint64_t)) != 0 ||
	    words[0] != (address | SHEAF_SENTINEL))
		return 0;
	while (count + 1 < nr && count < SHEAF_CAPACITY_MAX &&
	       words[count + 1] != (address | SHEAF_SENTINEL)) {
		objects[count] = words[count + 1];
		count++;
	}
	return count;
}
