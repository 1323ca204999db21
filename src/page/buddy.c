/* SPDX-License-Identifier: MIT */
/*
 * buddy.c - blocks of 1 << order granules out of the window's sections.
 *
 * Mirrors mm/page_alloc.c: power-of-two blocks, split from larger ones, merged
 * with their buddy when freed. Differences: a free block is DIRTY (old data,
 * likely resident) or CLEAN (reads as zero, not resident), blocks merge only
 * with their like, and each kind has lists of its own: dirty ones are used
 * first, because reuse of resident memory costs no page fault, and the clean
 * ones let calloc skip clearing.
 *
 * Allocation: 1. the smallest dirty block that fits; 2. the smallest
 * clean one; 3. an offline section again; 4. the next sections of the window;
 * 5. all shrinkers, then once more from 1.
 *
 * A free that may not wait, and finds the lock busy, pushes the block, still BUSY,
 * onto a list without a lock; whoever allocates or frees next takes the list whole,
 * by an exchange, and frees its blocks.
 *
 * Giving back: dirty blocks past page.dirty_max (the oldest first), and those
 * older than reclaim.age_ms, are discarded and become clean. They are BUSY
 * meanwhile, off every list, so the system call runs without the lock.
 *
 * Locks: zone_lock (rank ZONE) guards all lists, counters, and the state and
 * order of descriptors that are not a slab's. It is held over the mapping of
 * sections (rare, amortised over at least 4 MiB), never over a discard.
 * No memory: NULL; the caller reports.
 */
#include "lib/lock.h"
#include "lib/param.h"
#include "lib/port.h"
#include "lib/valid.h"
#include "os/os.h"
#include "page/account.h"
#include "page/meta.h"
#include "page/page_internal.h"
#include "page/reclaim.h"
#include "page/valid.h"
#include "page/window.h"
#include "page/zone_dma.h"

#include <errno.h>
#include <stdatomic.h>

#define NO_ORDER NR_ORDERS
#define PURGE_BATCH 16
#define GROW_MAX 16 /* sections mapped at once, at most */
#define STAMP_SHIFT 8

static struct lock zone_lock;
static struct free_area areas[2]; /* DIRTY, CLEAN */
static struct list_head offline;  /* head descriptors of unmapped sections */
static size_t nr_online;	  /* sections mapped */
static size_t purged_bytes;
/* Blocks freed where zone_lock could not be had, linked by list.next; NULL: none. No lock. */
static _Atomic(struct list_head *) deferred;

static size_t block_bytes(unsigned order)
{
	return GRANULE_SIZE << order;
}

static struct free_area *area_of(unsigned state)
{
	return &areas[state == PAGE_CLEAN];
}

static void add_block_locked(struct page *page, unsigned order, enum page_state state)
{
	struct free_area *area = area_of(state);

	page_set_state(page, state);
	page->order = (uint8_t)order;
	list_add(&page->list, &area->list[order]);
	area->nonempty |= 1U << order;
	area->bytes += block_bytes(order);
	debug_valid(page_is_valid(page));
}

static void take_block_locked(struct page *page)
{
	struct free_area *area = area_of(page_state(page));
	unsigned order = page->order;

	list_del(&page->list);
	if (list_empty(&area->list[order]))
		area->nonempty &= ~(1U << order);
	area->bytes -= block_bytes(order);
	page_set_state(page, PAGE_NONE);
}

/* Put a block on its list, joined with its buddy as long as that is alike. */
static void merge_block_locked(struct page *page, unsigned order, enum page_state state)
{
	lock_assert_held(&zone_lock);
	page_set_state(page, PAGE_NONE);
	while (order < MAX_ORDER) {
		struct page *buddy = page_of_granule(page->granule ^ (1U << order));

		if (page_state(buddy) != state || buddy->order != order)
			break;
		take_block_locked(buddy);
		if (buddy->granule < page->granule) {
			buddy->stamp = page->stamp;
			page = buddy;
		}
		order++;
	}
	add_block_locked(page, order, state);
}

/* Cut a block down to `order`; what is over stays free. */
static void split_block_locked(struct page *page, unsigned order, enum page_state state)
{
	take_block_locked(page);
	for (unsigned half = page->order; half > order;) {
		struct page *rest;

		half--;
		rest = page_of_granule(page->granule + (1U << half));
		rest->stamp = page->stamp;
		add_block_locked(rest, half, state);
	}
	page->order = (uint8_t)order;
	page_set_state(page, PAGE_BUSY);
}

static struct page *take_fitting_locked(unsigned order, bool *zeroed)
{
	for (unsigned kind = 0; kind < ARRAY_SIZE(areas); kind++) {
		unsigned fitting = areas[kind].nonempty & ~((1U << order) - 1);

		if (!fitting)
			continue;

		unsigned found = (unsigned)__builtin_ctz(fitting);
		struct page *page = list_first_entry(&areas[kind].list[found], struct page, list);

		*zeroed = page_state(page) == PAGE_CLEAN;
		split_block_locked(page, order, page_state(page));
		return page;
	}
	return NULL;
}

static uint32_t stamp_now(void)
{
	return (uint32_t)(port_clock_ms() >> STAMP_SHIFT);
}

static bool grow_locked(void)
{
	lock_assert_held(&zone_lock);
	while (!list_empty(&offline)) {
		struct page *page = list_first_entry(&offline, struct page, list);

		int err = window_reonline(page->granule / SECTION_GRANULES);

		/* where somebody else mapped something meanwhile, it is given up for good */
		if (err && err != -EEXIST)
			return false;
		list_del(&page->list);
		if (err)
			continue;
		nr_online++;
		add_block_locked(page, MAX_ORDER, PAGE_CLEAN);
		return true;
	}

	size_t first;
	size_t want = min_size(max_size(nr_online / 8, 1), GROW_MAX);
	size_t count = window_online(want, &first);

	for (size_t i = 0; i < count; i++)
		add_block_locked(page_of_granule((first + i) * SECTION_GRANULES), MAX_ORDER,
				 PAGE_CLEAN);
	nr_online += count;
	return count > 0;
}

static void defer(struct page *page)
{
	page->list.next = atomic_load_explicit(&deferred, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&deferred, &page->list.next, &page->list,
						      memory_order_release, memory_order_relaxed))
		;
}

static cold_path void free_deferred_locked(void)
{
	/* pairs with defer() */
	struct list_head *entry = atomic_exchange_explicit(&deferred, NULL, memory_order_acquire);

	while (entry) {
		struct page *page = list_entry(entry, struct page, list);

		entry = entry->next;
		list_init(&page->list);
		page->stamp = stamp_now();
		merge_block_locked(page, page->order, PAGE_DIRTY);
	}
}

static bool zone_lock_get(gfp_t gfp)
{
	if (!lock_get(&zone_lock, gfp))
		return false;
	if (unlikely(atomic_load_explicit(&deferred, memory_order_relaxed)))
		free_deferred_locked();
	return true;
}

static struct page *page_alloc_once(unsigned order, gfp_t gfp, bool *zeroed)
{
	struct page *page;

	if (!zone_lock_get(gfp))
		return NULL;
	page = take_fitting_locked(order, zeroed);
	if (!page && gfpflags_allow_blocking(gfp) && grow_locked())
		page = take_fitting_locked(order, zeroed);
	debug_valid(!page || page_is_valid(page));
	lock_release(&zone_lock);
	return page;
}

struct page *page_alloc(unsigned order, gfp_t gfp, bool *zeroed)
{
	struct page *page;

	if (should_fail(&params.fail_page_alloc, 1))
		return NULL;
	page = page_alloc_once(order, gfp, zeroed);

	if (likely(page) || !gfp_may_reclaim(gfp))
		return page;
	reclaim_run(RECLAIM_ALL);
	return page_alloc_once(order, gfp, zeroed);
}

void page_free(struct page *page, gfp_t gfp)
{
	bool excess;

	if (!zone_lock_get(gfp)) {
		defer(page);
		return;
	}
	page->stamp = stamp_now();
	merge_block_locked(page, page->order, PAGE_DIRTY);
	excess = area_of(PAGE_DIRTY)->bytes > params.page_dirty_max;
	lock_release(&zone_lock);
	if (likely(!excess))
		return;
	if (gfpflags_allow_blocking(gfp))
		page_purge(PAGE_PURGE_EXCESS);
	else
		reclaim_wake();
}

void page_set_owner(const struct page *page, uint8_t owner)
{
	for (size_t i = 0; i < 1UL << page->order; i++)
		__atomic_store_n(&window.kmap[page->granule + i], owner, __ATOMIC_RELAXED);
}

/* May this dirty block go now? */
static bool purge_due_locked(const struct page *page, enum page_purge what)
{
	uint32_t age;

	switch (what) {
	case PAGE_PURGE_ALL:
		return true;
	case PAGE_PURGE_EXCESS:
		return area_of(PAGE_DIRTY)->bytes > params.page_dirty_max / 4 * 3;
	case PAGE_PURGE_OLD:
		age = stamp_now() - page->stamp;
		return ((uint64_t)age << STAMP_SHIFT) >= params.reclaim_age_ms;
	}
	return false;
}

/* Take blocks to purge off the dirty lists, oldest of the largest first. */
static unsigned isolate_locked(enum page_purge what, struct page **batch)
{
	struct free_area *area = area_of(PAGE_DIRTY);
	unsigned n = 0;

	for (unsigned order = NR_ORDERS; order-- > 0;) {
		while (n < PURGE_BATCH && !list_empty(&area->list[order])) {
			struct page *page = list_entry(area->list[order].prev, struct page, list);

			if (!purge_due_locked(page, what))
				break;
			take_block_locked(page);
			page_set_state(page, PAGE_BUSY);
			batch[n++] = page;
		}
	}
	return n;
}

size_t page_purge(enum page_purge what)
{
	struct page *batch[PURGE_BATCH];
	size_t bytes = 0;
	unsigned n;

	do {
		bool stuck = false;

		zone_lock_get(GFP_KERNEL);
		n = isolate_locked(what, batch);
		lock_release(&zone_lock);
		for (unsigned i = 0; i < n; i++) {
			size_t size = block_bytes(batch[i]->order);
			/* refused: the program locked its memory */
			bool done = os_discard(page_address(batch[i]), size) == 0;

			stuck |= !done;
			bytes += done ? size : 0;
			lock_acquire(&zone_lock);
			if (!done)
				batch[i]->stamp = stamp_now();
			purged_bytes += done ? size : 0;
			merge_block_locked(batch[i], batch[i]->order,
					   done ? PAGE_CLEAN : PAGE_DIRTY);
			lock_release(&zone_lock);
		}
		if (stuck)
			break;
	} while (n == PURGE_BATCH);
	return bytes;
}

size_t page_offline(void)
{
	struct list_head *sections = &area_of(PAGE_CLEAN)->list[MAX_ORDER];
	size_t bytes = 0;

	lock_acquire(&zone_lock);
	while (!list_empty(sections)) {
		struct page *page = list_first_entry(sections, struct page, list);

		if (!window_offline(page->granule / SECTION_GRANULES))
			break;
		take_block_locked(page);
		list_add(&page->list, &offline);
		nr_online--;
		bytes += SECTION_SIZE;
	}
	lock_release(&zone_lock);
	return bytes;
}

static size_t page_shrink(enum reclaim what)
{
	size_t bytes;

	if (what == RECLAIM_AGE)
		return page_purge(PAGE_PURGE_OLD);
	if (what == RECLAIM_EXCESS)
		return page_purge(PAGE_PURGE_EXCESS);
	bytes = page_purge(PAGE_PURGE_ALL);
	page_offline();
	return bytes;
}

bool page_init(uintptr_t base, size_t size)
{
	static struct shrinker shrinker = { page_shrink, NULL };

	/* first, so that it can be called again after a failure */
	if (!window_init(base, size))
		return false;
	lock_init(&zone_lock, LOCK_RANK_ZONE);
	meta_init();
	for (unsigned kind = 0; kind < ARRAY_SIZE(areas); kind++)
		for (unsigned order = 0; order < NR_ORDERS; order++)
			list_init(&areas[kind].list[order]);
	list_init(&offline);
	shrinker_register(&shrinker);
	zone_dma_init();
	return true;
}

void page_stat(struct page_stat *stat)
{
	lock_acquire(&zone_lock);
	stat->mapped = nr_online * SECTION_SIZE;
	stat->free_dirty = area_of(PAGE_DIRTY)->bytes;
	stat->free_clean = area_of(PAGE_CLEAN)->bytes;
	stat->purged = purged_bytes;
	lock_release(&zone_lock);
}

struct lock *zone_view_lock(void)
{
	return &zone_lock;
}

void zone_view(struct zone_view *view)
{
	view->lock = &zone_lock;
	view->areas = areas;
	view->offline = &offline;
	view->nr_online = nr_online;
	view->deferred = atomic_load_explicit(&deferred, memory_order_acquire);
}

void zone_places(struct page_places *places)
{
	places->free_dirty = &area_of(PAGE_DIRTY)->bytes;
	places->free_clean = &area_of(PAGE_CLEAN)->bytes;
	places->nr_online = &nr_online;
	places->purged = &purged_bytes;
}
