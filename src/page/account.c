/* SPDX-License-Identifier: MIT */
/*
 * account.c - walk the window's blocks, the free lists and the metadata pools.
 *
 * The kernel's counterparts are show_free_areas() and the page flags that
 * /proc/kpageflags shows. Here everything is read with every lock held and nothing is
 * changed: one pass over the descriptors says what each block is, the lists say what is
 * offline, deferred or pooled, and the counters of the two files are put beside that.
 *
 * A block in state BUSY is between two owners: a thread carries it (a slab that is being
 * made or taken apart, a block that is being purged). In the child of fork that thread may be
 * gone. From here both look alike, so both are called lost.
 */
#include "page/account.h"

#include "page/meta.h"
#include "page/page_internal.h"
#include "page/zone_dma.h"

static bool stands_as_head(const struct page *page, unsigned at)
{
	if (page_state(page) == PAGE_NONE)
		return at == 0;
	return page_state(page) <= PAGE_BUSY && page->order <= MAX_ORDER &&
	       at % (1U << page->order) == 0;
}

/* Granules to the next head. What stands in a block of the DMA zone is not for those who walk heads. */
static unsigned step_after(const struct page *page)
{
	if (__atomic_load_n(&page->dma, __ATOMIC_RELAXED))
		return 1U << ZONE_DMA_ORDER;
	return page_state(page) == PAGE_NONE ? SECTION_GRANULES : 1U << page->order;
}

const struct page *page_walk(bool (*visit)(const struct page *page, void *arg), void *arg)
{
	for (size_t section = 0; section < window.nr_granules / SECTION_GRANULES; section++) {
		const struct page *pages = window.sections[section];

		for (unsigned at = 0; pages && at < SECTION_GRANULES;) {
			const struct page *page = &pages[at];

			if (!stands_as_head(page, at))
				return page;
			if (!visit(page, arg))
				return NULL;
			at += step_after(page);
		}
	}
	return NULL;
}

struct count {
	struct page_account *account;
	void (*slab)(const struct page *page, void *arg);
	void *arg;
};

/*
 * A block of the DMA zone: each of its granules is a slab's, free, or lost. Blocks in it are taken
 * and given without a lock, so each granule is looked at once.
 */
static void count_dma(const struct page *head, const struct count *count)
{
	uint64_t free = zone_dma_free_granules(head);

	for (unsigned at = 0; at < 1U << ZONE_DMA_ORDER;) {
		const struct page *page = &head[at];
		unsigned granules = 1;

		if (free >> at & 1) {
			count->account->dma_free += GRANULE_SIZE;
		} else if (page_state(page) == PAGE_SLAB) {
			granules = (unsigned)min_size(1UL << page->order,
						      (1UL << ZONE_DMA_ORDER) - at);
			count->account->slabs += granules * GRANULE_SIZE;
			count->slab(page, count->arg);
		} else {
			count->account->lost += GRANULE_SIZE;
		}
		at += granules;
	}
}

static bool count_block(const struct page *page, void *arg)
{
	const struct count *count = arg;
	struct page_account *account = count->account;
	size_t bytes = GRANULE_SIZE << page->order;

	if (unlikely(__atomic_load_n(&page->dma, __ATOMIC_RELAXED))) {
		count_dma(page, count);
		return true;
	}
	switch (page_state(page)) {
	case PAGE_SLAB:
		account->slabs += bytes;
		count->slab(page, count->arg);
		break;
	case PAGE_DIRTY:
		account->dirty += bytes;
		break;
	case PAGE_CLEAN:
		account->clean += bytes;
		break;
	case PAGE_BUSY:
		account->lost += bytes;
		break;
	default:
		account->foreign += SECTION_SIZE;
		break;
	}
	return true;
}

static void count_lists(struct page_account *account)
{
	struct zone_view zone;
	struct page *page;

	zone_view(&zone);
	account->mapped = zone.nr_online * SECTION_SIZE;
	list_for_each_entry(page, zone.offline, list) {
		account->foreign -= SECTION_SIZE;
		account->offline += SECTION_SIZE;
	}
	for (const struct list_head *entry = zone.deferred; entry; entry = entry->next) {
		size_t bytes = GRANULE_SIZE << list_entry(entry, struct page, list)->order;

		account->lost -= bytes;
		account->deferred += bytes;
	}
}

static void count_sections(struct page_account *account)
{
	size_t piece = meta_piece_bytes(SECTION_GRANULES * sizeof(struct page));

	account->window = window.nr_granules * GRANULE_SIZE;
	for (size_t section = 0; section < window.nr_granules / SECTION_GRANULES; section++) {
		if (window.sections[section])
			account->descriptors += piece;
		else
			account->foreign += SECTION_SIZE;
	}
	/* growth that was refused left them for the next */
	for (size_t section = window.nr_granules / SECTION_GRANULES; section < window_described();
	     section++)
		if (window.sections[section])
			account->descriptors += piece;
}

static void count_meta(struct page_account *account)
{
	struct meta_view meta;

	meta_view(&meta);
	for (unsigned pool = 0; pool < META_POOLS; pool++) {
		size_t bytes = 1UL << (META_MIN_SHIFT + pool);

		for (const struct meta_free *piece = meta.pools[pool]; piece; piece = piece->next)
			account->meta_pooled += bytes;
		for (const struct meta_free *piece = meta.deferred[pool]; piece;
		     piece = piece->next)
			account->meta_pooled += bytes;
	}
	for (const struct meta_region *region = meta.regions; region; region = region->next)
		account->meta_links += META_REGION_BYTES - META_REGION_USABLE;
	account->meta_mapped = meta.mapped;
	account->meta_uncut = meta.uncut_bytes;
	account->meta_used = meta.mapped - account->meta_pooled - meta.uncut_bytes -
			     account->meta_links;
}

void page_account(struct page_account *account, void (*slab)(const struct page *page, void *arg),
		  void *arg)
{
	struct count count = { account, slab, arg };

	*account = (struct page_account){ .maps = window_maps_bytes() };
	page_walk(count_block, &count);
	count_sections(account);
	count_lists(account);
	count_meta(account);
}

void page_places(struct page_places *places)
{
	zone_places(places);
	meta_places(places);
}
