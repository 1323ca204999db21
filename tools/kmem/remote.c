/* SPDX-License-Identifier: MIT */
/* remote.c - read the library's structs in another process: its caches, strings, and counts. */
#include "remote.h"

#include "kmalloc/layout.h"
#include "say.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CACHES_MAX 65536 /* as many as there are ids */
#define NEAR_CACHES 32U

bool remote_layout_fits(const struct target *target)
{
	if (target->state.layout == TRACE_LAYOUT)
		return true;
	say("process %d runs another build of libkmalloc: use the kmem that came with it",
	    target->pid);
	return false;
}

/* Caches that lie together, as those of the table do, and were read at once: one by one they take longer than all else. */
struct near_caches {
	uint64_t address; /* of the first; 0: none were read */
	struct kmem_cache cache[NEAR_CACHES];
};

static int read_cache(const struct target *target, struct near_caches *near, uint64_t address,
		      struct kmem_cache *cache)
{
	uint64_t behind = sizeof(near->cache) - sizeof(*cache);

	/* the list goes from the newest one down */
	if (address - near->address > behind || (address - near->address) % sizeof(*cache)) {
		near->address = address - behind;
		if (address < behind ||
		    target_read(target, near->address, near->cache, sizeof(near->cache)) != 0) {
			near->address = 0;
			return target_read(target, address, cache, sizeof(*cache));
		}
	}
	*cache = near->cache[(address - near->address) / sizeof(*cache)];
	return 0;
}

int remote_caches(const struct target *target,
		  bool (*visit)(const struct kmem_cache *cache, uint64_t address, void *arg),
		  void *arg)
{
	struct list_watch watch = { 0 };
	struct near_caches near = { 0 };
	uint64_t address;

	if (target_read(target, target->state.caches, &address, sizeof(address)) != 0)
		return -1;
	for (int i = 0; address && i < CACHES_MAX; i++) {
		struct kmem_cache cache;

		if (list_is_ring(&watch, address) ||
		    read_cache(target, &near, address, &cache) != 0)
			return -1;
		cache.name[sizeof(cache.name) - 1] = 0;
		remote_clean(cache.name);
		if (!visit(&cache, address, arg))
			break;
		address = (uintptr_t)cache.next;
	}
	return 0;
}

void remote_clean(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

int remote_places(const struct target *target, struct trace_places *places)
{
	return target_read(target, target->state.places, places, sizeof(*places));
}

int remote_size(const struct target *target, uint64_t address, uint64_t *value)
{
	return target_read(target, address, value, sizeof(*value));
}

const char *remote_string(const struct target *target, uint64_t address, char *buf, size_t size)
{
	size_t n = 0;

	while (n < size - 1 && target_read(target, address + n, &buf[n], 1) == 0 && buf[n])
		n++;
	buf[n] = 0;
	remote_clean(buf);
	if (!n)
		snprintf(buf, size, "?");
	return buf;
}

static bool count_cache(const struct kmem_cache *cache, uint64_t address, void *arg)
{
	struct remote_counts *counts = arg;

	(void)address;
	if (!cache->nr_slabs)
		return true;
	counts->caches++;
	counts->slabs += cache->nr_slabs;
	counts->slab_bytes += cache->nr_slabs * (GRANULE_SIZE << (cache->order & 15));
	counts->objects += cache->nr_inuse;
	counts->object_bytes += cache->nr_inuse * cache->size;
	return true;
}

struct sheaf_sums {
	const struct kmem_cache *caches;
	struct remote_counts *counts;
};

static void count_sheaf(unsigned slot, const uint64_t *objects, size_t count, void *arg)
{
	const struct sheaf_sums *sums = arg;

	(void)objects;
	sums->counts->in_sheaves += count;
	sums->counts->in_sheaf_bytes += count * sums->caches[slot].size;
}

static int count_areas(const struct target *target, const struct trace_places *places,
		       struct remote_counts *counts)
{
	struct vmalloc_counts areas;

	if (target_read(target, places->vmalloc_counts, &areas, sizeof(areas)) != 0 ||
	    remote_size(target, places->vmap_lazy_bytes, &counts->lazy_bytes) != 0 ||
	    remote_size(target, places->vmap_nr_lazy, &counts->lazy) != 0)
		return -1;
	counts->areas = areas.nr_areas;
	counts->area_bytes = areas.bytes - areas.nr_areas * (uint64_t)sysconf(_SC_PAGESIZE);
	counts->area_allocs = areas.nr_alloc;
	counts->area_frees = areas.nr_free;
	counts->purged_areas = areas.purged;
	return 0;
}

static int count_pages(const struct target *target, const struct trace_places *places,
		       struct remote_counts *counts)
{
	if (remote_size(target, places->nr_online, &counts->mapped) != 0 ||
	    remote_size(target, places->free_dirty, &counts->free_dirty) != 0 ||
	    remote_size(target, places->free_clean, &counts->free_clean) != 0 ||
	    remote_size(target, places->purged, &counts->purged_pages) != 0 ||
	    remote_size(target, places->meta_mapped, &counts->metadata) != 0)
		return -1;
	counts->mapped *= SECTION_SIZE;
	return target_read(target, places->nr_areas, &counts->nr_cpus, sizeof(counts->nr_cpus));
}

int remote_count(const struct target *target, const struct trace_places *places,
		 struct remote_counts *counts)
{
	static struct kmem_cache caches[KMEM_CACHES_MAX];
	struct sheaf_sums sums = { caches, counts };

	*counts = (struct remote_counts){ 0 };
	if (target_read(target, places->kmem_caches, caches, sizeof(caches)) != 0 ||
	    remote_caches(target, count_cache, counts) != 0 ||
	    remote_sheaves(target, places, count_sheaf, &sums) != 0 ||
	    count_areas(target, places, counts) != 0)
		return -1;
	return count_pages(target, places, counts);
}
