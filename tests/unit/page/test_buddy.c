/* SPDX-License-Identifier: MIT */
/*
 * test_buddy.c - blocks of pages, in a window of the test's own: split, merge, dirty and
 * clean, purge, offline, limits, the owner map.
 *
 *	window:  section (4 MiB) | section | ...      as many as the test says
 *	section: 128 granules of 32 KiB; an order-n block is 1 << n of them
 */
#include "unit.h"

#include "lib/lock.h"
#include "lib/param.h"
#include "os/os.h"
#include "page/page.h"
#include "page/reclaim.h"

#include <pthread.h>
#include <sys/mman.h>

#define BASE (40UL << 40)
#define M (1UL << 20)

static void window_of(size_t sections)
{
	os_init();
	CHECK(page_init(BASE, sections * SECTION_SIZE));
}

static struct page *block(unsigned order, bool *zeroed)
{
	bool unused;
	struct page *page = page_alloc(order, GFP_KERNEL, zeroed ? zeroed : &unused);

	CHECK(page != NULL);
	CHECK_EQ(page->order, order);
	CHECK_EQ(page->state, PAGE_BUSY);
	return page;
}

static void give_back(struct page *page)
{
	page_free(page, GFP_KERNEL);
}

static size_t bytes_of(unsigned order)
{
	return GRANULE_SIZE << order;
}

static struct page_stat stat_now(void)
{
	struct page_stat stat;

	page_stat(&stat);
	return stat;
}

/* Write all of a block, so that it is resident and not zero. */
static void dirty(struct page *page)
{
	memset(page_address(page), 0xaa, bytes_of(page->order));
}

static void block_of_every_order_is_aligned_and_usable(void)
{
	window_of(64);
	for (int turn = 0; turn < 3; turn++) {
		for (unsigned order = 0; order <= MAX_ORDER; order++) {
			bool zeroed = false;
			struct page *page = block(order, &zeroed);
			uintptr_t addr = (uintptr_t)page_address(page);

			CHECK_EQ(addr % bytes_of(order), 0);
			CHECK(addr >= BASE && addr + bytes_of(order) <= BASE + 64 * SECTION_SIZE);
			CHECK(page_of_granule(page_granule_of((void *)addr)) == page);
			CHECK(zeroed && unit_is_zero((void *)addr, bytes_of(order)));
			dirty(page);
		}
	}
}

static void section_of_smallest_blocks_merges_back_to_one(void)
{
	struct page *pages[SECTION_GRANULES];

	window_of(4);
	for (unsigned i = 0; i < SECTION_GRANULES; i++)
		pages[i] = block(0, NULL);
	CHECK_EQ(stat_now().mapped, SECTION_SIZE);
	CHECK_EQ(stat_now().free_clean, 0);
	/* in an order that leaves no two buddies free together until late */
	for (unsigned i = 0; i < SECTION_GRANULES; i++)
		give_back(pages[i * 37 % SECTION_GRANULES]);
	CHECK_EQ(stat_now().free_dirty, SECTION_SIZE);
	block(MAX_ORDER, NULL);
	CHECK_EQ(stat_now().mapped, SECTION_SIZE);
	CHECK_EQ(stat_now().free_dirty, 0);
}

static void large_block_is_split_and_the_rest_stays_free(void)
{
	window_of(4);
	block(0, NULL);
	CHECK_EQ(stat_now().free_clean, SECTION_SIZE - GRANULE_SIZE);
	for (unsigned order = 0; order < MAX_ORDER; order++)
		block(order, NULL);
	CHECK_EQ(stat_now().mapped, SECTION_SIZE);
	CHECK_EQ(stat_now().free_clean, 0);
}

static void dirty_block_is_used_before_clean_ones(void)
{
	bool zeroed = true;
	struct page *page;

	window_of(4);
	page = block(2, NULL);
	block(2, NULL);
	dirty(page);
	give_back(page);
	CHECK(block(2, &zeroed) == page);
	CHECK(!zeroed);
}

/* A dirty and a clean buddy are not joined: that would lose what is known about one of them. */
static void dirty_and_clean_buddies_stay_apart_until_the_purge(void)
{
	bool zeroed = false;
	struct page *low, *high;

	window_of(1);
	low = block(MAX_ORDER - 1, NULL);
	high = block(MAX_ORDER - 1, NULL);
	CHECK(high == low + (1 << (MAX_ORDER - 1)));
	give_back(high);
	page_purge(PAGE_PURGE_ALL);
	dirty(low);
	give_back(low);
	CHECK_EQ(stat_now().free_dirty, SECTION_SIZE / 2);
	CHECK_EQ(stat_now().free_clean, SECTION_SIZE / 2);
	CHECK(page_alloc(MAX_ORDER, GFP_ATOMIC, &zeroed) == NULL);
	CHECK_EQ(page_purge(PAGE_PURGE_ALL), SECTION_SIZE / 2);
	CHECK(page_alloc(MAX_ORDER, GFP_ATOMIC, &zeroed) == low);
	CHECK(zeroed && unit_is_zero(page_address(low), SECTION_SIZE));
}

static void purge_of_all_returns_the_memory(void)
{
	struct page *pages[8];

	window_of(8);
	for (unsigned i = 0; i < 8; i++)
		dirty(pages[i] = block(i, NULL));
	for (unsigned i = 0; i < 8; i++) {
		CHECK_EQ(unit_resident(page_address(pages[i]), bytes_of(i)), bytes_of(i) / 4096);
		give_back(pages[i]);
	}
	CHECK_EQ(page_purge(PAGE_PURGE_ALL), GRANULE_SIZE * 255);
	CHECK_EQ(stat_now().free_dirty, 0);
	CHECK_EQ(stat_now().purged, GRANULE_SIZE * 255);
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(unit_resident(page_address(pages[i]), bytes_of(i)), 0);
	CHECK_EQ(page_purge(PAGE_PURGE_ALL), 0);
}

static void dirty_bytes_stay_below_the_watermark(void)
{
	struct page *pages[128];

	window_of(16);
	params.page_dirty_max = M;
	for (unsigned i = 0; i < 128; i++)
		dirty(pages[i] = block(3, NULL));
	for (unsigned i = 0; i < 128; i += 2) { /* each buddy stays in use */
		give_back(pages[i]);
		CHECK(stat_now().free_dirty <= M);
		CHECK(i < 8 || stat_now().free_dirty >= M / 2); /* not all is taken each time */
	}
	CHECK(stat_now().purged >= 15 * M);
}

/* Memory that the program locked can't be taken from it: it stays what it is. */
static void purge_of_locked_memory_leaves_it_dirty(void)
{
	bool zeroed = true;
	struct page *page;

	window_of(4);
	page = block(3, NULL);
	dirty(page);
	if (mlock(page_address(page), bytes_of(3)) != 0)
		return; /* not allowed here */
	give_back(page);
	CHECK_EQ(page_purge(PAGE_PURGE_ALL), 0);
	CHECK_EQ(stat_now().free_dirty, bytes_of(3));
	CHECK(block(3, &zeroed) == page);
	CHECK(!zeroed);
}

static void purge_by_age_leaves_what_is_young(void)
{
	struct page *page;

	window_of(4);
	page = block(4, NULL);
	dirty(page);
	give_back(page);
	params.reclaim_age_ms = 1000000000;
	CHECK_EQ(page_purge(PAGE_PURGE_OLD), 0);
	params.reclaim_age_ms = 0;
	CHECK_EQ(page_purge(PAGE_PURGE_OLD), bytes_of(4));
}

static void free_sections_go_offline_and_come_back(void)
{
	struct page *pages[5];
	bool zeroed = false;

	window_of(8);
	for (int i = 0; i < 5; i++) {
		dirty(pages[i] = block(MAX_ORDER, NULL));
		page_set_owner(pages[i], 7);
	}
	for (int i = 0; i < 5; i++)
		page_set_owner(pages[i], 0);
	for (int i = 1; i < 5; i++)
		give_back(pages[i]);
	CHECK_EQ(page_offline(), 0); /* they are dirty */
	page_purge(PAGE_PURGE_ALL);
	CHECK_EQ(page_offline(), 4 * SECTION_SIZE);
	CHECK_EQ(stat_now().mapped, SECTION_SIZE);
	CHECK_EQ(stat_now().free_clean, 0);
	CHECK(unit_is_mapped(page_address(pages[0])));
	for (int i = 1; i < 5; i++) {
		CHECK(!unit_is_mapped(page_address(pages[i])));
		CHECK_EQ(page_owner(page_address(pages[i])), 0);
	}
	for (int i = 1; i < 5; i++) {
		struct page *page = block(MAX_ORDER, &zeroed);

		CHECK(zeroed && unit_is_zero(page_address(page), SECTION_SIZE));
		CHECK(page->granule < 5 * SECTION_GRANULES); /* no new addresses before the old */
		dirty(page);
	}
	CHECK_EQ(stat_now().mapped, 5 * SECTION_SIZE);
}

static void *map_fixed(uintptr_t addr, size_t size)
{
	void *ptr = mmap((void *)addr, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	CHECK(ptr == (void *)addr);
	unit_fill(ptr, size, 99);
	return ptr;
}

static void foreign_mapping_in_the_window_is_skipped(void)
{
	void *foreign;

	window_of(40);
	foreign = map_fixed(BASE + 9 * SECTION_SIZE + 4096, 4096);
	for (int i = 0; i < 39; i++) {
		struct page *page = block(MAX_ORDER, NULL);

		CHECK(page->granule / SECTION_GRANULES != 9);
		dirty(page);
	}
	CHECK(page_alloc(0, GFP_KERNEL, &(bool){ 0 }) == NULL);
	CHECK(unit_is_filled(foreign, 4096, 99));
	CHECK_EQ(page_owner(foreign), 0);
}

/* While a section was offline, somebody else took its place. The rest of the window is still there. */
static void foreign_mapping_where_a_section_was_does_not_stop_growth(void)
{
	struct page *pages[3];
	void *foreign;

	window_of(16);
	for (int i = 0; i < 3; i++)
		pages[i] = block(MAX_ORDER, NULL);
	for (int i = 0; i < 3; i++)
		give_back(pages[i]);
	page_purge(PAGE_PURGE_ALL);
	CHECK_EQ(page_offline(), 3 * SECTION_SIZE);
	foreign = map_fixed(BASE + SECTION_SIZE, 4096);
	for (int i = 0; i < 15; i++) {
		struct page *page = page_alloc(MAX_ORDER, GFP_KERNEL, &(bool){ 0 });

		CHECK(page != NULL);
		CHECK(page->granule / SECTION_GRANULES != 1);
		dirty(page);
	}
	CHECK(unit_is_filled(foreign, 4096, 99));
}

static void window_used_up_gives_null_until_something_is_freed(void)
{
	struct page *page = NULL, *last = NULL;
	unsigned n = 0;
	bool zeroed;

	window_of(24);
	while ((page = page_alloc(MAX_ORDER, GFP_KERNEL, &zeroed)) != NULL) {
		last = page;
		n++;
	}
	CHECK_EQ(n, 24);
	CHECK(page_alloc(0, GFP_KERNEL, &zeroed) == NULL);
	give_back(last);
	block(3, NULL);
	CHECK_EQ(stat_now().mapped, 24 * SECTION_SIZE);
}

static struct page *kept;

static size_t give_up_kept(enum reclaim what)
{
	CHECK_EQ(what, RECLAIM_ALL);
	if (kept)
		give_back(kept);
	kept = NULL;
	return 0;
}

static void request_that_finds_nothing_reclaims_first(void)
{
	static struct shrinker shrinker = { give_up_kept, NULL };

	window_of(1);
	shrinker_register(&shrinker);
	kept = block(MAX_ORDER, NULL);
	block(2, NULL);
	CHECK(kept == NULL);
	CHECK(page_alloc(MAX_ORDER, GFP_KERNEL, &(bool){ 0 }) == NULL);
}

static void limit_of_the_address_space_gives_null_until_it_is_lifted(void)
{
	struct page *page;
	bool zeroed;
	size_t before;
	unsigned n = 0;

	window_of(256);
	for (int i = 0; i < 64; i++)
		block(MAX_ORDER, NULL); /* from now on it grows by several sections at a time */
	while (stat_now().free_clean)
		block(MAX_ORDER, NULL);
	before = stat_now().mapped;
	unit_limit_address_space(18 * M);
	while ((page = page_alloc(MAX_ORDER, GFP_KERNEL, &zeroed)) != NULL) {
		dirty(page);
		n++;
	}
	CHECK(n == 4 || n == 3);
	for (int i = 0; i < 10; i++)
		CHECK(page_alloc(MAX_ORDER, GFP_KERNEL, &zeroed) == NULL);
	CHECK_EQ(stat_now().mapped, before + n * SECTION_SIZE);
	unit_limit_address_space(SIZE_MAX);
	block(MAX_ORDER, NULL);
}

static void atomic_request_takes_only_what_is_mapped(void)
{
	struct page *page;
	bool zeroed;

	window_of(4);
	CHECK(page_alloc(0, GFP_ATOMIC, &zeroed) == NULL);
	CHECK_EQ(stat_now().mapped, 0);
	page = block(0, NULL);
	CHECK(page_alloc(MAX_ORDER, GFP_ATOMIC, &zeroed) == NULL);
	CHECK(page_alloc(MAX_ORDER - 1, GFP_ATOMIC, &zeroed) != NULL);
	page_free(page, GFP_ATOMIC);
}

static pthread_barrier_t barrier;

/* The zone's lock has no name here: all of them, as fork does. */
static void *hold_locks(void *unused)
{
	lock_fork_prepare();
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	lock_fork_parent();
	return unused;
}

static void block_freed_with_the_lock_busy_is_free_for_the_next(void)
{
	struct page *page, *other, *first, *second;
	pthread_t thread;
	bool zeroed;

	window_of(4);
	page = block(0, NULL);
	other = block(0, NULL);
	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(pthread_create(&thread, NULL, hold_locks, NULL) == 0);
	pthread_barrier_wait(&barrier);
	CHECK(page_alloc(0, GFP_ATOMIC, &zeroed) == NULL);
	page_free(page, GFP_ATOMIC);
	page_free(other, GFP_ATOMIC);
	CHECK_EQ(page->state, PAGE_BUSY);
	CHECK_EQ(lock_depth, 0);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	/* the next who has the lock frees them: they are used again, before anything clean */
	first = block(0, NULL);
	second = block(0, NULL);
	CHECK((first == page && second == other) || (first == other && second == page));
	CHECK_EQ(stat_now().free_dirty, 0);
}

static void owner_of_a_block_covers_it_and_no_more(void)
{
	struct page *blocks[MAX_ORDER + 1];

	window_of(4);
	for (unsigned order = 0; order <= MAX_ORDER; order++)
		blocks[order] = block(order, NULL);
	for (unsigned order = 0; order <= MAX_ORDER; order++) {
		char *start = page_address(blocks[order]);
		size_t size = bytes_of(order);

		page_set_owner(blocks[order], (uint8_t)(100 + order));
		CHECK_EQ(page_owner(start), 100 + order);
		CHECK_EQ(page_owner(start + size - 16), 100 + order);
		CHECK_EQ(page_owner(start + size / 2), 100 + order);
		CHECK(page_owner(start - 16) != 100 + order);
		CHECK(page_owner(start + size) != 100 + order);
		for (unsigned off = 1; off < 16; off++)
			CHECK_EQ(page_owner(start + off), 0);
	}
	for (unsigned order = 0; order <= MAX_ORDER; order++)
		CHECK_EQ(page_owner(page_address(blocks[order])), 100 + order);
}

static void owner_of_garbage_is_none(void)
{
	uint64_t random = unit_seed();
	uintptr_t end;

	window_of(16);
	page_set_owner(block(MAX_ORDER, NULL), 9);
	end = BASE + SECTION_SIZE;
	CHECK_EQ(page_owner(NULL), 0);
	CHECK_EQ(page_owner((void *)(BASE - 16)), 0);
	CHECK_EQ(page_owner((void *)end), 0);
	CHECK_EQ(page_owner((void *)(BASE + 16 * SECTION_SIZE)), 0);
	CHECK_EQ(page_owner((void *)UINTPTR_MAX), 0);
	CHECK_EQ(page_owner((void *)(UINTPTR_MAX - 15)), 0);
	CHECK_EQ(page_owner(&random), 0);
	for (int i = 0; i < 1000000; i++) {
		uintptr_t addr = unit_random(&random) >> (i % 50);

		if (i % 3 == 0)
			addr = BASE - SECTION_SIZE + addr % (3 * SECTION_SIZE);
		CHECK_EQ(page_owner((void *)addr),
			 addr >= BASE && addr < end && addr % 16 == 0 ? 9 : 0);
	}
}

/* The maps become readable by steps: owners far into the window, and descriptors. */
static void owner_map_grows_with_the_window(void)
{
	struct page *pages[700];

	window_of(1024);
	for (unsigned i = 0; i < 700; i++) {
		pages[i] = block(MAX_ORDER, NULL);
		page_set_owner(pages[i], (uint8_t)(1 + i % 200));
	}
	for (unsigned i = 0; i < 700; i++) {
		char *start = page_address(pages[i]);

		CHECK_EQ(page_owner(start), 1 + i % 200);
		CHECK_EQ(page_owner(start + SECTION_SIZE - 16), 1 + i % 200);
	}
	CHECK_EQ(page_owner((void *)(BASE + window.nr_granules * GRANULE_SIZE)), 0);
}

/* No two blocks overlap, nothing is lost, and what is promised zero is. */
static void blocks_by_chance_are_apart_and_truly_zeroed(void)
{
	enum { COUNT = 120, SECTIONS = 64 };
	static bool used[SECTIONS * SECTION_GRANULES];
	struct page *held[COUNT];
	uint64_t random = unit_seed();
	unsigned count = 0;
	size_t bytes = 0, promised = 0;

	window_of(SECTIONS);
	params.page_dirty_max = 6 * M;
	for (int i = 0; i < 30000; i++) {
		uint64_t r = unit_random(&random);
		unsigned order = (unsigned)(r >> 8) % 16;
		bool zeroed = false;
		struct page *page;

		if (count == COUNT || (count && r % 16 < 8)) {
			unsigned victim = (unsigned)((r >> 16) % count);

			page = held[victim];
			held[victim] = held[--count];
			bytes -= bytes_of(page->order);
			memset(used + page->granule, 0, 1UL << page->order);
			give_back(page);
		} else {
			page = block(order > MAX_ORDER ? order % 3 : order, &zeroed);
			bytes += bytes_of(page->order);
			for (size_t k = 0; k < 1UL << page->order; k++) {
				char *granule = (char *)page_address(page) + k * GRANULE_SIZE;

				CHECK(!used[page->granule + k]);
				used[page->granule + k] = true;
				CHECK(!zeroed || unit_is_zero(granule + (r >> 48) % 32760, 8));
				memset(granule, 0xff, 64);
				*(granule + (r >> 48) % 32760) = 1;
			}
			promised += zeroed;
			held[count++] = page;
		}
		if ((r >> 32) % 1000 == 0)
			reclaim_run(RECLAIM_ALL);
		CHECK_EQ(stat_now().mapped, bytes + stat_now().free_dirty + stat_now().free_clean);
	}
	CHECK(promised > 500);
	while (count)
		give_back(held[--count]);
	reclaim_run(RECLAIM_ALL);
	CHECK_EQ(stat_now().mapped, 0);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST_RAW(block_of_every_order_is_aligned_and_usable),
		UNIT_TEST_RAW(section_of_smallest_blocks_merges_back_to_one),
		UNIT_TEST_RAW(large_block_is_split_and_the_rest_stays_free),
		UNIT_TEST_RAW(dirty_block_is_used_before_clean_ones),
		UNIT_TEST_RAW(dirty_and_clean_buddies_stay_apart_until_the_purge),
		UNIT_TEST_RAW(purge_of_all_returns_the_memory),
		UNIT_TEST_RAW(dirty_bytes_stay_below_the_watermark),
		UNIT_TEST_RAW(purge_of_locked_memory_leaves_it_dirty),
		UNIT_TEST_RAW(purge_by_age_leaves_what_is_young),
		UNIT_TEST_RAW(free_sections_go_offline_and_come_back),
		UNIT_TEST_RAW(foreign_mapping_in_the_window_is_skipped),
		UNIT_TEST_RAW(foreign_mapping_where_a_section_was_does_not_stop_growth),
		UNIT_TEST_RAW(window_used_up_gives_null_until_something_is_freed),
		UNIT_TEST_RAW(request_that_finds_nothing_reclaims_first),
		UNIT_TEST_RAW(limit_of_the_address_space_gives_null_until_it_is_lifted),
		UNIT_TEST_RAW(atomic_request_takes_only_what_is_mapped),
		UNIT_TEST_RAW(block_freed_with_the_lock_busy_is_free_for_the_next),
		UNIT_TEST_RAW(owner_of_a_block_covers_it_and_no_more),
		UNIT_TEST_RAW(owner_of_garbage_is_none),
		UNIT_TEST_RAW(owner_map_grows_with_the_window),
		UNIT_TEST_RAW(blocks_by_chance_are_apart_and_truly_zeroed),
	};

	return UNIT_MAIN(tests);
}
