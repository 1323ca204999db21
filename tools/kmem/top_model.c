/* SPDX-License-Identifier: MIT */
/* top_model.c - the numbers that `kmem top` shows: samples of a process, their differences, and its events. */
#include "top.h"

#include "hash.h"
#include "say.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

bool top_is_key(int key)
{
	return key > 0 && key < 128 && strchr(TOP_KEYS, key);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct top_row *add_row(struct top_sample *sample)
{
	if (sample->count == sample->room) {
		sample->room = sample->room * 2 + 128;
		sample->row = xrealloc(sample->row, sample->room * sizeof(*sample->row));
	}
	sample->row[sample->count] = (struct top_row){ .alloc_rate = -1, .free_rate = -1 };
	return &sample->row[sample->count++];
}

static void add_cache(struct top *top, const struct cache_row *cache)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), slab = cache_row_slab_bytes(cache);
	struct top_row *row;

	if (!cache->cache.nr_slabs)
		return;
	row = add_row(&top->now);
	memcpy(row->name, cache->cache.name, sizeof(row->name));
	row->address = cache->address;
	row->id = cache->cache.id;
	row->objects = cache_row_objects(cache);
	row->active = cache_row_live(cache);
	row->size = cache->cache.size;
	row->per_slab = cache->cache.nr_objects;
	row->pages_per_slab = slab / page;
	row->slabs = cache->cache.nr_slabs;
	row->bytes = row->slabs * slab;
}

static void add_areas(struct top *top)
{
	const struct remote_counts *counts = &top->now.counts;
	struct top_row *row = add_row(&top->now);

	strcpy(row->name, "vmalloc");
	row->objects = counts->areas + counts->lazy;
	row->active = counts->areas;
	row->size = counts->areas ? counts->area_bytes / counts->areas : 0;
	row->per_slab = 1;
	row->slabs = row->objects;
	row->bytes = counts->area_bytes + counts->lazy_bytes;
	row->allocs = counts->area_allocs;
	row->frees = counts->area_frees;
}

static const struct top_row *row_before(const struct top *top, const struct top_row *row)
{
	/* it is where it was, or not far from there */
	size_t count = top->before.count, at = (size_t)(row - top->now.row);

	for (size_t i = 0; i < count; i++)
		if (top->before.row[(at + i) % count].address == row->address)
			return &top->before.row[(at + i) % count];
	return NULL;
}

static double rate(uint64_t now, uint64_t before, double seconds)
{
	return ((double)now - (double)before) / seconds;
}

static void add_rates(const struct top *top, struct top_row *row)
{
	double seconds = (double)(top->now.ns - top->before.ns) / 1e9;
	const struct top_row *before = row_before(top, row);

	row->active_rate = rate(row->active, before ? before->active : 0, seconds);
	row->slab_rate = rate(row->slabs, before ? before->slabs : 0, seconds);
	if (!row->address && before) {
		row->alloc_rate = rate(row->allocs, before->allocs, seconds);
		row->free_rate = rate(row->frees, before->frees, seconds);
	} else if (row->address && top->events) {
		row->alloc_rate = (double)top->allocs[row->id % NR_CACHE_IDS] * top->scale /
				  seconds;
		row->free_rate = (double)top->frees[row->id % NR_CACHE_IDS] * top->scale / seconds;
	}
}

int top_sample(struct top *top)
{
	struct top_sample old = top->before;
	const struct process *process = &top->process;

	top->first = !top->now.ns;
	top->before = top->now;
	top->now = old;
	top->now.count = 0;
	top->now.ns = now_ns();
	if (cache_rows_read(process, &top->caches) != 0 ||
	    remote_count(&process->target, &process->places, &top->now.counts) != 0)
		return -1;
	for (size_t i = 0; i < top->caches.count; i++)
		add_cache(top, &top->caches.row[i]);
	add_areas(top);
	for (size_t i = 0; !top->first && i < top->now.count; i++)
		add_rates(top, &top->now.row[i]);
	return 0;
}

static struct top_site *slot_of(struct top *top, uint64_t address)
{
	size_t at = (hash_of(address) >> 32) & (top->site_room - 1);

	while (top->site[at].address && top->site[at].address != address)
		at = (at + 1) & (top->site_room - 1);
	return &top->site[at];
}

static void grow_sites(struct top *top)
{
	struct top_site *old = top->site;
	size_t room = top->site_room;

	top->site_room = room ? room * 2 : 1024;
	top->site = xcalloc(top->site_room, sizeof(*top->site));
	for (size_t i = 0; i < room; i++)
		if (old[i].address)
			*slot_of(top, old[i].address) = old[i];
	free(old);
}

void top_event(const struct event *event, void *arg)
{
	struct top *top = arg;
	struct top_site *site;

	top->seen++;
	if (event_is_free(event))
		top->frees[event->cache]++;
	if (!event_is_alloc(event))
		return;
	top->allocs[event->cache]++;
	if (!event->site)
		return;
	if (top->nr_sites * 2 >= top->site_room)
		grow_sites(top);
	site = slot_of(top, event->site);
	if (!site->address) {
		site->address = event->site;
		top->nr_sites++;
	}
	site->allocs++;
	site->bytes += event->req;
}

void top_forget_events(struct top *top)
{
	memset(top->allocs, 0, sizeof(top->allocs));
	memset(top->frees, 0, sizeof(top->frees));
	if (top->site_room)
		memset(top->site, 0, top->site_room * sizeof(*top->site));
	top->nr_sites = 0;
	top->seen = 0;
}
