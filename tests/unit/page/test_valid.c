/* SPDX-License-Identifier: MIT */
/*
 * test_valid.c - the validators of the page allocator: a zone at work passes, each damage is named.
 *
 *	section 0, 128 granules:   | one: order 0 | free 0 | free 1 | two: order 2 | free ... |
 */
#include "damage.h"

#include "lib/lock.h"
#include "os/os.h"
#include "page/meta.h"
#include "page/page_internal.h"
#include "page/valid.h"

#define BASE (20UL << 40)

static struct page *one, *two, *dirty;
static struct zone_view zone;

static struct page *take(unsigned order)
{
	bool zeroed;
	struct page *page = page_alloc(order, GFP_KERNEL, &zeroed);

	CHECK(page != NULL);
	return page;
}

static void zone_start(void)
{
	os_init();
	CHECK(page_init(BASE, 16 * SECTION_SIZE));
	one = take(0);
	dirty = take(0);
	two = take(2);
	take(0); /* dirty's buddy is `one`, in use */
	page_free(dirty, GFP_KERNEL);
	zone_view(&zone);
	CHECK(zone_is_valid());
	CHECK(meta_is_valid());
	CHECK_EQ(dirty->state, PAGE_DIRTY);
}

static void zone_at_work_is_valid(void)
{
	struct page *held[64] = { 0 };
	uint64_t random = unit_seed();

	zone_start();
	for (int i = 0; i < 3000; i++) {
		unsigned k = (unsigned)(unit_random(&random) % ARRAY_SIZE(held));

		if (held[k])
			page_free(held[k], GFP_KERNEL);
		held[k] = held[k] ? NULL : take((unsigned)(unit_random(&random) % 5));
		if (i % 500 == 499)
			page_purge(PAGE_PURGE_ALL);
		CHECK(i % 10 || zone_is_valid());
	}
	for (unsigned k = 0; k < ARRAY_SIZE(held); k++)
		if (held[k])
			page_free(held[k], GFP_KERNEL);
	page_purge(PAGE_PURGE_ALL);
	page_offline();
	CHECK(zone_is_valid());
}

static void block_damaged_is_named(void)
{
	zone_start();
	unsigned g = dirty->granule;

	NOTICES(dirty->granule += 1, page_is_valid(dirty), "page %p: granule %u is not its own",
		(void *)dirty, g + 1);
	NOTICES(two->state = PAGE_NONE, page_is_valid(two), "page %u: state 0 heads no block",
		two->granule);
	NOTICES(dirty->order = 1, page_is_valid(dirty), "page %u: order 1 does not fit there", g);
	NOTICES(two->order = 9, page_is_valid(two), "page %u: order 9 does not fit there",
		two->granule);
	NOTICES(two[2].state = PAGE_CLEAN, page_is_valid(two),
		"page %u: granule %u of its block has state clean", two->granule, two->granule + 2);
	NOTICES(window.kmap[g] = 5, page_is_valid(dirty),
		"page %u: free, and granule %u has owner 5", g, g);
	NOTICES(list_del(&dirty->list), page_is_valid(dirty), "page %u: free, and not on a list",
		g);
	NOTICES((one->state = PAGE_DIRTY), page_is_valid(dirty),
		"page %u: its buddy %u is free and dirty too, and they are not merged", g,
		one->granule);
}

static void free_area_damaged_is_named(void)
{
	zone_start();
	struct free_area *area = &zone.areas[0];
	unsigned g = dirty->granule;

	NOTICES(area->nonempty = 0, zone_is_valid(), "dirty pages: bit 0 of nonempty is wrong");
	NOTICES(area->nonempty |= 8, zone_is_valid(), "dirty pages: bit 3 of nonempty is wrong");
	NOTICES(area->nonempty |= 1U << 20, zone_is_valid(),
		"dirty pages: nonempty has bits for no order");
	NOTICES(area->bytes += 1, zone_is_valid(),
		"dirty pages: 32768 bytes on the lists, 32769 counted");
	NOTICES(dirty->state = PAGE_CLEAN, zone_is_valid(),
		"dirty pages of order 0: page %u is clean, of order 0", g);
	NOTICES(area->bytes = 0, zone_is_valid(),
		"dirty pages: more on the lists than the 0 bytes counted");
	NOTICES(area->list[0].prev = &two->list, zone_is_valid(),
		"dirty pages of order 0: the list is damaged at %p", (void *)dirty);
	/* free, and taken off its list by mistake */
	NOTICES((list_del(&dirty->list), area->nonempty = 0, area->bytes = 0), zone_is_valid(),
		"page %u: free, and not on a list", g);
	/* a block on the list that the window does not have as free */
	NOTICES((two->state = PAGE_DIRTY, two->order = 0, list_add(&two->list, &area->list[0]),
		 area->bytes += GRANULE_SIZE),
		zone_is_valid(), "page %u: state 0, order 0: no block may begin there",
		two->granule + 1);
}

static void section_damaged_is_named(void)
{
	zone_start();
	struct page *pages = window.sections[0];

	NOTICES(window.nr_granules = 5, zone_is_valid(), "window: 5 granules of %zu",
		window.max_granules);
	NOTICES(pages[9].granule = 10, zone_is_valid(), "section 0: descriptor 9 has granule 10");
	NOTICES(two->order = MAX_ORDER + 1, zone_is_valid(),
		"page %u: state %u, order %u: no block may begin there", two->granule, PAGE_BUSY,
		MAX_ORDER + 1);
	NOTICES(list_add(&two->list, zone.offline), zone_is_valid(),
		"offline sections: page %p heads no unmapped section", (void *)two);
}

static void section_counted_wrong_is_named(void)
{
	zone_start();
	/* a whole free section that is not marked so */
	struct page *section = take(MAX_ORDER);

	zone_view(&zone);
	NOTICES(section->state = PAGE_NONE, zone_is_valid(),
		"zone: %zu sections online, %zu counted", zone.nr_online - 1, zone.nr_online);
}

static void pool_damaged_is_named(void)
{
	struct meta_view meta;
	struct meta_free *piece, *other;

	zone_start();
	piece = meta_alloc(64, GFP_KERNEL);
	other = meta_alloc(64, GFP_KERNEL);
	meta_free(other, 64, GFP_KERNEL);
	meta_free(piece, 64, GFP_KERNEL);
	CHECK(meta_is_valid());
	meta_view(&meta);
	struct meta_region *region = (struct meta_region *)(uintptr_t)meta.regions;

	NOTICES(meta_free(piece, 64, GFP_KERNEL), meta_is_valid(),
		"meta pool of 64: piece %p is free twice", (void *)piece);
	NOTICES(other->next = piece, meta_is_valid(), "meta pool of 64: piece %p is free twice",
		(void *)piece);
	NOTICES(piece->next = (struct meta_free *)((char *)other + 8), meta_is_valid(),
		"meta pool of 64: piece %p is not aligned", (void *)((char *)other + 8));
	NOTICES(piece->next = (struct meta_free *)(uintptr_t)meta.uncut, meta_is_valid(),
		"meta pool of 64: piece %p was never cut", (const void *)meta.uncut);
	NOTICES(piece->next = (struct meta_free *)region, meta_is_valid(),
		"meta pool of 64: piece %p is in no region", (void *)region);
	NOTICES(region->start += 64, meta_is_valid(), "meta region %p: its start is %p",
		(void *)region, (void *)(region->start + 64));
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST_RAW(zone_at_work_is_valid),
		UNIT_TEST_RAW(block_damaged_is_named),
		UNIT_TEST_RAW(free_area_damaged_is_named),
		UNIT_TEST_RAW(section_damaged_is_named),
		UNIT_TEST_RAW(section_counted_wrong_is_named),
		UNIT_TEST_RAW(pool_damaged_is_named),
	};

	return UNIT_MAIN(tests);
}
