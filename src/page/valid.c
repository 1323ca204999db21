/* SPDX-License-Identifier: MIT */
/*
 * valid.c - is the page allocator as its comments say?
 *
 * The kernel's counterparts are CONFIG_DEBUG_VM's checks and page_is_buddy(). Under
 * zone_lock everything that concerns free blocks is exact, whoever else is at
 * work: blocks in state SLAB and BUSY keep their order, and that is all that the walk needs of
 * them. The owner bytes of blocks that are not free belong to slab/ (slab_is_valid()).
 *
 * The walk of the pools tells a piece that is in a pool twice, or twice in one, by a
 * mark in its second word, of this walk alone. Pieces are free memory, at least a cache
 * line, and their second word is nobody's.
 */
#include "page/valid.h"

#include "lib/lock.h"
#include "lib/valid.h"
#include "os/os.h"
#include "page/account.h"
#include "page/meta.h"
#include "page/page_internal.h"
#include "page/zone_dma.h"

static const char *const state_names[] = { "none", "dirty", "clean", "slab", "busy" };

static bool is_free(const struct page *page)
{
	return page_state(page) == PAGE_DIRTY || page_state(page) == PAGE_CLEAN;
}

/* A section's descriptors, which must be there: the window's are never freed. */
static bool page_is_ours(const struct page *page)
{
	size_t section = page->granule / SECTION_GRANULES;

	return page->granule < window.nr_granules && window.sections[section] &&
	       page_of_granule(page->granule) == page;
}

bool page_is_valid(const struct page *page)
{
	if (!page_is_ours(page))
		return invalid("page %p: granule %u is not its own", (const void *)page,
			       page->granule);
	if (page_state(page) == PAGE_NONE || page_state(page) > PAGE_BUSY)
		return invalid("page %u: state %u heads no block", page->granule, page_state(page));
	if (page->order > MAX_ORDER || page->granule & ((1U << page->order) - 1))
		return invalid("page %u: order %u does not fit there", page->granule, page->order);
	/* what stands in such a block changes without a lock */
	if (__atomic_load_n(&page->dma, __ATOMIC_RELAXED))
		return page->granule % (1U << ZONE_DMA_ORDER) == 0 ||
		       invalid("page %u: no block of the DMA zone may begin there", page->granule);
	for (unsigned i = 1; i < 1U << page->order; i++)
		if (page[i].state != PAGE_NONE)
			return invalid("page %u: granule %u of its block has state %s",
				       page->granule, page[i].granule,
				       state_names[page[i].state % ARRAY_SIZE(state_names)]);
	if (!is_free(page))
		return true;
	for (unsigned i = 0; i < 1U << page->order; i++)
		if (window.kmap[page->granule + i])
			return invalid("page %u: free, and granule %u has owner %u", page->granule,
				       page->granule + i, window.kmap[page->granule + i]);
	if (page->list.next->prev != &page->list || page->list.prev->next != &page->list ||
	    page->list.next == &page->list)
		return invalid("page %u: free, and not on a list", page->granule);
	if (page->order == MAX_ORDER)
		return true;

	const struct page *buddy = page_of_granule(page->granule ^ (1U << page->order));

	if (page_state(buddy) == page_state(page) && buddy->order == page->order)
		return invalid("page %u: its buddy %u is free and %s too, and they are not merged",
			       page->granule, buddy->granule, state_names[page_state(page)]);
	return true;
}

static bool list_is_valid(const struct free_area *area, enum page_state state, unsigned order,
			  size_t *bytes)
{
	const struct list_head *head = &area->list[order];
	const struct page *page;

	if (list_empty(head) == (area->nonempty >> order & 1))
		return invalid("%s pages: bit %u of nonempty is wrong", state_names[state], order);
	list_for_each_entry(page, head, list) {
		if (!page_is_ours(page) || page->list.next->prev != &page->list)
			return invalid("%s pages of order %u: the list is damaged at %p",
				       state_names[state], order, (const void *)page);
		if (page_state(page) != state || page->order != order)
			return invalid("%s pages of order %u: page %u is %s, of order %u",
				       state_names[state], order, page->granule,
				       state_names[page_state(page) % ARRAY_SIZE(state_names)],
				       page->order);
		*bytes += GRANULE_SIZE << order;
		if (*bytes > area->bytes)
			return invalid("%s pages: more on the lists than the %zu bytes counted",
				       state_names[state], area->bytes);
	}
	return true;
}

static bool area_is_valid(const struct free_area *area, enum page_state state)
{
	size_t bytes = 0;

	for (unsigned order = 0; order < NR_ORDERS; order++)
		if (!list_is_valid(area, state, order, &bytes))
			return false;
	if (area->nonempty >> NR_ORDERS)
		return invalid("%s pages: nonempty has bits for no order", state_names[state]);
	if (bytes != area->bytes)
		return invalid("%s pages: %zu bytes on the lists, %zu counted", state_names[state],
			       bytes, area->bytes);
	return true;
}

struct walk {
	size_t bytes[2]; /* DIRTY, CLEAN */
	size_t online;
	size_t unmapped; /* sections whose head is NONE */
	bool valid;
};

static bool check_block(const struct page *page, void *arg)
{
	struct walk *walk = arg;

	if (page->granule % SECTION_GRANULES == 0) {
		walk->online += page_state(page) != PAGE_NONE;
		walk->unmapped += page_state(page) == PAGE_NONE;
	}
	if (page_state(page) == PAGE_NONE)
		return true;
	walk->valid = page_is_valid(page);
	if (is_free(page))
		walk->bytes[page_state(page) == PAGE_CLEAN] += GRANULE_SIZE << page->order;
	return walk->valid;
}

static bool sections_are_valid(const struct zone_view *zone, const struct walk *walk)
{
	size_t offline = 0;
	const struct page *page;

	list_for_each_entry(page, zone->offline, list) {
		if (!page_is_ours(page) || page->granule % SECTION_GRANULES ||
		    page_state(page) != PAGE_NONE)
			return invalid("offline sections: page %p heads no unmapped section",
				       (const void *)page);
		offline++;
	}
	if (offline > walk->unmapped)
		return invalid("offline sections: %zu on the list, %zu found", offline,
			       walk->unmapped);
	if (walk->online != zone->nr_online)
		return invalid("zone: %zu sections online, %zu counted", walk->online,
			       zone->nr_online);
	return true;
}

static bool window_is_valid(void)
{
	if (window.nr_granules % SECTION_GRANULES || window.nr_granules > window.max_granules)
		return invalid("window: %zu granules of %zu", window.nr_granules,
			       window.max_granules);
	for (size_t section = 0; section < window.nr_granules / SECTION_GRANULES; section++) {
		const struct page *pages = window.sections[section];

		for (unsigned i = 0; pages && i < SECTION_GRANULES; i++)
			if (pages[i].granule != section * SECTION_GRANULES + i)
				return invalid("section %zu: descriptor %u has granule %u", section,
					       i, pages[i].granule);
	}
	return true;
}

static bool zone_is_valid_locked(const struct zone_view *zone)
{
	struct walk walk = { .valid = true };
	const struct page *bad;

	if (!window_is_valid())
		return false;
	if (!area_is_valid(&zone->areas[0], PAGE_DIRTY) ||
	    !area_is_valid(&zone->areas[1], PAGE_CLEAN))
		return false;
	bad = page_walk(check_block, &walk);
	if (bad)
		return invalid("page %u: state %u, order %u: no block may begin there",
			       bad->granule, bad->state, bad->order);
	if (!walk.valid)
		return false;
	for (unsigned kind = 0; kind < 2; kind++)
		if (walk.bytes[kind] != zone->areas[kind].bytes)
			return invalid("%s pages: %zu bytes in the window, %zu on the lists",
				       state_names[PAGE_DIRTY + kind], walk.bytes[kind],
				       zone->areas[kind].bytes);
	return sections_are_valid(zone, &walk);
}

bool zone_is_valid(void)
{
	struct zone_view zone;
	struct lock *lock = zone_view_lock();
	bool held = lock_is_mine(lock);
	bool valid;

	if (!held)
		lock_acquire(lock);
	zone_view(&zone);
	valid = zone_is_valid_locked(&zone);
	if (!held)
		lock_release(lock);
	return valid;
}

static bool piece_is_valid(const struct meta_view *meta, uintptr_t piece, size_t bytes)
{
	size_t align = min_size(bytes, os_page_size);

	if (piece & (align - 1))
		return invalid("meta pool of %zu: piece %p is not aligned", bytes, (void *)piece);
	if (piece < (uintptr_t)meta->uncut + meta->uncut_bytes &&
	    piece + bytes > (uintptr_t)meta->uncut)
		return invalid("meta pool of %zu: piece %p was never cut", bytes, (void *)piece);
	for (const struct meta_region *region = meta->regions; region; region = region->next)
		if (piece >= (uintptr_t)region->start &&
		    piece + bytes <= (uintptr_t)region->start + META_REGION_USABLE)
			return true;
	return invalid("meta pool of %zu: piece %p is in no region", bytes, (void *)piece);
}

bool meta_piece_is_valid(const void *piece, size_t size)
{
	struct meta_view meta;

	meta_view(&meta);
	return piece_is_valid(&meta, (uintptr_t)piece, meta_piece_bytes(size));
}

static bool pool_is_valid(const struct meta_view *meta, struct meta_free *piece, size_t bytes,
			  uint64_t mark, size_t *sum)
{
	for (; piece; piece = piece->next) {
		uint64_t *word = (uint64_t *)piece + 1;

		if (!piece_is_valid(meta, (uintptr_t)piece, bytes))
			return false;
		if (*word == (mark ^ (uintptr_t)piece))
			return invalid("meta pool of %zu: piece %p is free twice", bytes,
				       (void *)piece);
		*word = mark ^ (uintptr_t)piece;
		*sum += bytes;
	}
	return true;
}

static bool meta_is_valid_locked(const struct meta_view *meta)
{
	static uint64_t walks; /* guarded by meta_lock */
	uint64_t mark = ++walks * 0x9e3779b97f4a7c15UL;
	size_t regions = 0, sum = meta->uncut_bytes;

	for (const struct meta_region *region = meta->regions; region; region = region->next) {
		if ((const char *)region != region->start + META_REGION_USABLE)
			return invalid("meta region %p: its start is %p", (const void *)region,
				       (const void *)region->start);
		regions += META_REGION_BYTES;
	}
	if (regions != meta->mapped)
		return invalid("meta: %zu bytes in regions, %zu counted", regions, meta->mapped);
	for (unsigned pool = 0; pool < META_POOLS; pool++)
		if (!pool_is_valid(meta, meta->pools[pool], 1UL << (META_MIN_SHIFT + pool), mark,
				   &sum))
			return false;
	if (sum > regions)
		return invalid("meta: %zu bytes free of %zu", sum, regions);
	return true;
}

bool meta_is_valid(void)
{
	struct meta_view meta;
	struct lock *lock = meta_view_lock();
	bool held = lock_is_mine(lock);
	bool valid;

	if (!held)
		lock_acquire(lock);
	meta_view(&meta);
	valid = meta_is_valid_locked(&meta);
	if (!held)
		lock_release(lock);
	return valid;
}
