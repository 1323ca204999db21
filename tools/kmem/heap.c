/* SPDX-License-Identifier: MIT */
/*
 * heap.c - every block that a stopped process holds.
 *
 * 1. The owner bytes of the window (src/page/page.h) say where slabs are, the descriptors of their granules what they are: of which
 *    cache, and where the bitmap of free objects is.
 * 2. What is out of slabs, but in a sheaf, put off, or on the list of frees that wait, is not held: it is taken out again.
 * 3. The table of areas.
 *
 * All that the process says of itself is compared with what it must be: a slab with a descriptor that does not fit is
 * left out. Nothing is followed further than the numbers allow that were read before.
 */
#include "heap.h"

#include "say.h"

#include "lib/bitmap.h"
#include "page/page_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GRANULES_MAX (1UL << 29)
#define REGIONS_MAX (1UL << 20)
#define BITMAP_WORDS_MAX 2048U /* of the slab with most objects, twice */

struct reading {
	struct heap *heap;
	const struct process *process;
	uint64_t sections; /* address of the table */
	uint64_t section;  /* number of the one at hand; UINT64_MAX: none */
	uint64_t section_address;
	struct page page[SECTION_GRANULES];
};

static bool add_cache(const struct kmem_cache *cache, uint64_t address, void *arg)
{
	struct heap *heap = arg;

	/* each number is a divisor, or a bound of an array */
	if (cache->size < 16 || !cache->nr_objects || cache->order > MAX_ORDER ||
	    (uint64_t)cache->size * cache->nr_objects > GRANULE_SIZE << cache->order)
		return true;
	heap->cache = xgrow(heap->cache, &heap->cache_room, heap->nr_caches, sizeof(*heap->cache));
	heap->cache[heap->nr_caches++] = (struct heap_cache){ address, *cache };
	return true;
}

static int by_address(const void *a, const void *b)
{
	const struct heap_cache *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static const struct heap_cache *find_cache(const struct heap *heap, uint64_t address)
{
	struct heap_cache key = { .address = address };

	return !heap->nr_caches ?
		       NULL :
		       bsearch(&key, heap->cache, heap->nr_caches, sizeof(key), by_address);
}

/* The descriptor of a granule; NULL: it can't be read. */
static const struct page *page_of(struct reading *reading, uint64_t granule)
{
	uint64_t section = granule / SECTION_GRANULES;
	const struct target *target = &reading->process->target;

	if (section != reading->section) {
		reading->section = UINT64_MAX;
		if (target_read(target, reading->sections + section * sizeof(uint64_t),
				&reading->section_address, sizeof(uint64_t)) != 0 ||
		    !reading->section_address ||
		    target_read(target, reading->section_address, reading->page,
				sizeof(reading->page)) != 0)
			return NULL;
		reading->section = section;
	}
	return &reading->page[granule % SECTION_GRANULES];
}

/* The bits of a slab's objects that are free, or whose free was put off. */
static bool read_bitmap(struct reading *reading, const struct page *page, uint64_t granule,
			const struct kmem_cache *cache, uint64_t free[BITMAP_WORDS_MAX])
{
	size_t words = BITMAP_WORDS((size_t)cache->nr_objects);
	bool created = cache->flags & KMEM_CACHE_CREATED;
	uint64_t own = reading->section_address + granule % SECTION_GRANULES * sizeof(struct page) +
		       offsetof(struct page, own_bits);
	size_t total = words * (created ? 2 : 1);

	if (total > BITMAP_WORDS_MAX)
		return false;
	if ((uintptr_t)page->bitmap == own && total <= 2)
		memcpy(free, page->own_bits, total * sizeof(uint64_t));
	else if (target_read(&reading->process->target, (uintptr_t)page->bitmap, free,
			     total * sizeof(uint64_t)) != 0)
		return false;
	for (size_t i = 0; created && i < words; i++)
		free[i] |= free[words + i];
	return true;
}

static void hold(struct heap *heap, const struct heap_slab *slab, const uint64_t *free)
{
	uint64_t words;

	heap->nr_blocks += slab->nr;
	words = (heap->nr_blocks + 63) / 64;
	if (words > heap->held_room) {
		size_t had = heap->held_room;

		heap->held_room = words * 2;
		heap->held = xrealloc(heap->held, heap->held_room * sizeof(uint64_t));
		memset(heap->held + had, 0, (heap->held_room - had) * sizeof(uint64_t));
	}
	for (uint32_t i = 0; i < slab->nr; i++)
		if (!(free[i / 64] >> (i % 64) & 1))
			heap->held[(slab->first + i) / 64] |= 1UL << ((slab->first + i) % 64);
}

/* A slab may be at a granule with this owner byte. Returns how many granules to go on. */
static uint64_t take_slab(struct reading *reading, uint64_t granule, unsigned owner)
{
	struct heap *heap = reading->heap;
	const struct page *page = page_of(reading, granule);
	const struct heap_cache *cache;
	struct heap_slab slab;
	uint64_t free[BITMAP_WORDS_MAX], address, granules;

	if (!page || page->state != PAGE_SLAB)
		return 1;
	address = owner == KMEM_CACHE_SHARED ?
			  (uintptr_t)page->cache :
			  reading->process->places.kmem_caches + owner * sizeof(struct kmem_cache);
	cache = find_cache(heap, address);
	if (!cache || page->order != cache->cache.order || page->granule != granule)
		return 1;
	granules = 1UL << page->order;
	if (granule + granules > (heap->window_end - heap->window) >> GRANULE_SHIFT ||
	    !read_bitmap(reading, page, granule, &cache->cache, free))
		return 1;
	slab = (struct heap_slab){ heap->window + (granule << GRANULE_SHIFT), cache->cache.size,
				   cache->cache.nr_objects, (uint32_t)(cache - heap->cache),
				   heap->nr_blocks };
	heap->slab = xgrow(heap->slab, &heap->slab_room, heap->nr_slabs, sizeof(slab));
	heap->slab[heap->nr_slabs++] = slab;
	for (uint64_t i = 0; i < granules; i++)
		heap->slab_at[granule + i] = (uint32_t)heap->nr_slabs;
	hold(heap, &slab, free);
	return granules;
}

static bool read_slabs(struct reading *reading)
{
	const struct target *target = &reading->process->target;
	struct heap *heap = reading->heap;
	struct page_window there;
	uint8_t *owner;
	bool done;

	if (target_read(target, reading->process->places.window, &there, sizeof(there)) != 0)
		return false;
	if (there.nr_granules > there.max_granules || there.max_granules > GRANULES_MAX ||
	    there.base % GRANULE_SIZE)
		return false;
	heap->window = there.base;
	heap->window_end = there.base + (there.nr_granules << GRANULE_SHIFT);
	reading->sections = (uintptr_t)there.sections;
	reading->section = UINT64_MAX;
	heap->slab_at = xcalloc(there.nr_granules, sizeof(*heap->slab_at));
	owner = xmalloc(there.nr_granules);
	done = target_read(target, (uintptr_t)there.kmap, owner, there.nr_granules) == 0;
	for (uint64_t granule = 0; done && granule < there.nr_granules;)
		granule += owner[granule] && owner[granule] < KMEM_CACHES_MAX ?
				   take_slab(reading, granule, owner[granule]) :
				   1;
	free(owner);
	return done;
}

static void release_sheaf(unsigned slot, const uint64_t *objects, size_t count, void *arg)
{
	struct heap *heap = arg;

	(void)slot;
	for (size_t i = 0; i < count; i++) {
		uint64_t number = heap_find(heap, objects[i]);

		if (number != HEAP_NONE)
			heap_release(heap, number);
	}
}

/* Freed where nothing could be had; linked through themselves. */
static void release_deferred(struct reading *reading)
{
	const struct target *target = &reading->process->target;
	uint64_t address = reading->process->places.deferred;

	for (uint64_t i = 0; i <= reading->heap->nr_blocks; i++) {
		uint64_t number;

		if (target_read(target, address, &address, sizeof(address)) != 0 || !address)
			return;
		number = heap_find(reading->heap, address);
		if (number == HEAP_NONE)
			return;
		heap_release(reading->heap, number);
	}
}

static bool add_area(const struct vmap_area *area, void *arg)
{
	struct heap *heap = arg;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	if (area->state != VMAP_BUSY || area->span <= page)
		return true;
	heap->area = xgrow(heap->area, &heap->area_room, heap->nr_areas, sizeof(*heap->area));
	heap->area[heap->nr_areas++] =
		(struct heap_range){ area->addr, area->addr + area->span - page };
	return true;
}

/* Bytes of address space that it has; 0: it is gone. */
static uint64_t mapped_bytes(pid_t pid)
{
	unsigned long pages = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%lu", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* They are mapped, so all together are no more than is. */
static bool areas_fit(const struct reading *reading)
{
	const struct heap *heap = reading->heap;
	uint64_t sum = 0, mapped = mapped_bytes(reading->process->pid);

	for (size_t i = 0; i < heap->nr_areas && sum <= mapped; i++)
		sum += heap->area[i].end - heap->area[i].start;
	return sum <= mapped;
}

static bool read_areas(struct reading *reading)
{
	const struct process *process = reading->process;
	struct heap *heap = reading->heap;
	const uint64_t *none = (uint64_t[BITMAP_WORDS_MAX]){ 0 };

	if (remote_areas(&process->target, &process->places, add_area, heap) != 0 ||
	    remote_size(&process->target, process->places.vmap_base, &heap->areas) != 0 ||
	    remote_size(&process->target, process->places.vmap_top, &heap->areas_end) != 0 ||
	    !areas_fit(reading))
		return false;
	for (size_t i = 0; i < heap->nr_areas; i++)
		hold(heap, &(struct heap_slab){ .nr = 1, .first = heap->nr_blocks }, none);
	return true;
}

static void add_skip(struct heap *heap, uint64_t start, uint64_t end)
{
	heap->skip = xgrow(heap->skip, &heap->skip_room, heap->nr_skip, sizeof(*heap->skip));
	heap->skip[heap->nr_skip++] = (struct heap_range){ start, end };
}

/*
 * The library's metadata and rings: they hold the addresses of what was freed, too. And of its data the windows' bases, which are
 * the addresses of the first blocks there.
 */
static bool read_own(struct reading *reading)
{
	const struct target *target = &reading->process->target;
	const struct trace_places *places = &reading->process->places;
	const struct trace_control *state = &target->state;
	struct heap *heap = reading->heap;
	struct list_watch watch = { 0 };
	uint64_t region;

	if (remote_size(target, places->meta_regions, &region) != 0)
		return false;
	add_skip(heap, places->window, places->window + sizeof(struct page_window));
	add_skip(heap, places->vmap_base, places->vmap_base + sizeof(uintptr_t));
	add_skip(heap, places->vmap_top, places->vmap_top + sizeof(uintptr_t));
	for (uint64_t i = 0; region && i < REGIONS_MAX; i++) {
		struct meta_region link;

		if (list_is_ring(&watch, region) ||
		    target_read(target, region, &link, sizeof(link)) != 0)
			return false;
		add_skip(heap, (uintptr_t)link.start, (uintptr_t)link.start + META_REGION_BYTES);
		region = (uintptr_t)link.next;
	}
	for (uint64_t i = 0; i < state->nr_rings && i < TRACE_NR_RINGS; i++) {
		uint64_t ring;

		if (remote_size(target, state->rings + i * sizeof(ring), &ring) == 0 && ring)
			add_skip(heap, state->base + ring,
				 state->base + ring + TRACE_RING_HEADER +
					 state->ring_events * TRACE_EVENT_BYTES);
	}
	return true;
}

bool heap_read(struct heap *heap, const struct process *process)
{
	struct reading *reading = xcalloc(1, sizeof(*reading));
	bool done;

	*heap = (struct heap){ 0 };
	reading->heap = heap;
	reading->process = process;
	done = remote_caches(&process->target, add_cache, heap) == 0;
	if (heap->nr_caches)
		qsort(heap->cache, heap->nr_caches, sizeof(*heap->cache), by_address);
	done = done && read_slabs(reading) && read_areas(reading) &&
	       remote_sheaves(&process->target, &process->places, release_sheaf, heap) == 0 &&
	       read_own(reading);
	if (done)
		release_deferred(reading);
	free(reading);
	if (!done)
		say("process %d: what the library holds there can't be read", process->pid);
	return done;
}

void heap_free(struct heap *heap)
{
	free(heap->cache);
	free(heap->slab);
	free(heap->slab_at);
	free(heap->area);
	free(heap->skip);
	free(heap->held);
	*heap = (struct heap){ 0 };
}

static uint64_t find_area(const struct heap *heap, uint64_t address)
{
	size_t low = 0, high = heap->nr_areas;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (heap->area[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == heap->nr_areas || address < heap->area[low].start)
		return HEAP_NONE;
	return heap->nr_blocks - heap->nr_areas + low;
}

const struct heap_slab *heap_slab_at(const struct heap *heap, uint64_t address)
{
	uint32_t at;

	if (address - heap->window >= heap->window_end - heap->window)
		return NULL;
	at = heap->slab_at[(address - heap->window) >> GRANULE_SHIFT];
	return at ? &heap->slab[at - 1] : NULL;
}

struct heap_range heap_block_at(const struct heap *heap, uint64_t address)
{
	const struct heap_slab *slab = heap_slab_at(heap, address);
	uint64_t start;

	if (!slab)
		return heap_block(heap, heap_find(heap, address));
	start = address - (address - slab->base) % slab->size;
	return (struct heap_range){ start, start + slab->size };
}

uint64_t heap_find(const struct heap *heap, uint64_t address)
{
	const struct heap_slab *slab;
	uint32_t at;
	uint64_t index;

	if (address - heap->window >= heap->window_end - heap->window)
		return address - heap->areas < heap->areas_end - heap->areas ?
			       find_area(heap, address) :
			       HEAP_NONE;
	at = heap->slab_at[(address - heap->window) >> GRANULE_SHIFT];
	if (!at || !heap->slab)
		return HEAP_NONE;
	slab = &heap->slab[at - 1];
	index = (address - slab->base) / slab->size;
	return index < slab->nr ? slab->first + index : HEAP_NONE;
}

/* The slab of a block; NULL: it is an area. */
static const struct heap_slab *slab_of(const struct heap *heap, uint64_t number)
{
	size_t low = 0, high = heap->nr_slabs;

	if (number >= heap->nr_blocks - heap->nr_areas)
		return NULL;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (heap->slab[middle].first <= number)
			low = middle;
		else
			high = middle;
	}
	return &heap->slab[low];
}

struct heap_range heap_block(const struct heap *heap, uint64_t number)
{
	const struct heap_slab *slab = slab_of(heap, number);
	uint64_t start;

	if (!slab)
		return heap->area[number - (heap->nr_blocks - heap->nr_areas)];
	start = slab->base + (number - slab->first) * slab->size;
	return (struct heap_range){ start, start + slab->size };
}

const struct kmem_cache *heap_block_cache(const struct heap *heap, uint64_t number)
{
	const struct heap_slab *slab = slab_of(heap, number);

	return slab ? &heap->cache[slab->cache].cache : NULL;
}
