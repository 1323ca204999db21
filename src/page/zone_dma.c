/* SPDX-License-Identifier: MIT */
/*
 * zone_dma.c - blocks of 2 MiB whose 512 frames follow each other.
 *
 * The kernel's counterpart is ZONE_DMA: pages that every device can reach. A process can't choose
 * frames below an address; what it can have is what a buffer for a device needs besides: frames that
 * are contiguous, resident and locked. A huge page is that by construction.
 *
 * A block comes from the buddy as any other (page_alloc()), and is then made over:
 *  1. by pages of the system's pool (hugetlb), where any are free. They are never swapped;
 *  2. else fresh pages under MADV_HUGEPAGE, faulted in, MADV_COLLAPSE where that gave small ones, and
 *     mlock(), so that they stay resident and are not split for reclaim.
 * Then it is looked at: /proc/self/pagemap shows the frames to who may see them (CAP_SYS_ADMIN); to
 * others the kernel tells since 6.7 whether a range is a huge page (PAGEMAP_SCAN). What can't be
 * seen to be contiguous is given back: NULL and a line, never a pretence.
 *
 * What is promised, and what is only looked at: mlock() keeps pages resident. It does not forbid the
 * kernel to move them (memory offlining, NUMA balancing, an allocator of contiguous memory in need);
 * a huge page is moved whole, so it stays contiguous, but elsewhere. So whenever a
 * slab is taken from a block where it may sleep, its frames are looked at again; zone_dma_verify() does it
 * for all. One that moved gets its new address, one that is not contiguous any more gives
 * no more slabs; a line says so.
 *
 * fork: the child must not share the frames, since the first write of the parent would then get a copy
 * elsewhere. So blocks are MADV_DONTFORK: the child has nothing at these addresses. There
 * their owner bytes become 0, the objects are foreign, and the blocks are GONE.
 *
 * A block is a word of 64 bits, one per granule: taking and giving are lock-free (lib/bitrun.h). Which
 * block an address belongs to stands in the `stamp` of the descriptor of its first granule, which
 * means something else in free blocks of the buddy only.
 *
 * Shrinking (memory is short, malloc_trim): blocks that are all free go back to the buddy.
 *
 * Lock: zone_dma_lock (rank RESERVE), for the table of blocks; system calls that make a block over are
 * made without it, on a block that is not in the table.
 */
#include "page/zone_dma.h"

#include "lib/bitrun.h"
#include "lib/fmt.h"
#include "lib/lock.h"
#include "os/os.h"
#include "page/reclaim.h"

#include <errno.h>
#include <stdatomic.h>

#define BLOCK_GRANULES (1U << ZONE_DMA_ORDER)
#define BLOCK_BYTES (GRANULE_SIZE << ZONE_DMA_ORDER)
#define NR_BLOCKS 512U
#define FRAMES_MAX 512U /* of a block, with the smallest pages there are */

enum block_state {
	BLOCK_NONE, /* entry not in use */
	BLOCK_LIVE,
	BLOCK_RETIRED, /* not contiguous any more: gives nothing more, takes back what is out */
	BLOCK_GONE,    /* was the parent's, before fork */
};

struct block {
	_Atomic uint64_t granules; /* a set bit is a free granule */
	_Atomic uint8_t state;	   /* enum block_state; changed under zone_dma_lock */
	bool pool;		   /* pages of the system's pool */
	struct page *head;	   /* descriptor of the first granule */
	_Atomic uint64_t phys;	   /* of the first byte, or PHYS_UNKNOWN */
};

enum complaint { NO_HUGE, NO_LOCK, NO_SIGHT, NO_ROOM, MOVED, SPLIT, NO_PHYS, NR_COMPLAINTS };

static struct block blocks[NR_BLOCKS];
static _Atomic unsigned nr_blocks; /* entries below this were in use once */
static struct lock zone_dma_lock;
static _Atomic bool complained[NR_COMPLAINTS];

static bool first_complaint(enum complaint what)
{
	return !atomic_exchange_explicit(&complained[what], true, memory_order_relaxed);
}

/* One line per process and reason. */
static cold_path void complain(enum complaint what, gfp_t gfp)
{
	if (gfp & __GFP_NOWARN || !first_complaint(what))
		return;
	switch (what) {
	case NO_HUGE:
		fmt_warn("GFP_DMA: no contiguous memory: the system gave no huge page "
			 "(transparent_hugepage is never, or memory is fragmented, and no hugetlb "
			 "page is free)");
		break;
	case NO_LOCK:
		fmt_warn("GFP_DMA: memory can't be locked: RLIMIT_MEMLOCK is %zu bytes (raise "
			 "ulimit -l)",
			 os_memlock_limit());
		break;
	case NO_SIGHT:
		fmt_warn("GFP_DMA: the system does not let this process see whether memory is "
			 "contiguous (CAP_SYS_ADMIN, or Linux 6.7)");
		break;
	case NO_ROOM:
		fmt_warn("GFP_DMA: no memory for a block of %lu bytes", BLOCK_BYTES);
		break;
	case MOVED:
		fmt_warn("GFP_DMA: the system moved a block: physical addresses changed");
		break;
	case SPLIT:
		fmt_warn("GFP_DMA: the system split a block: it is contiguous no more");
		break;
	default:
		fmt_warn("GFP_DMA: the system does not show this process the frames of its memory "
			 "(CAP_SYS_ADMIN): no physical addresses");
		break;
	}
}

static enum block_state state_of(const struct block *block)
{
	return (enum block_state)atomic_load_explicit(&block->state, memory_order_acquire);
}

/* Is its memory the zone's, in this process? */
static bool is_mapped(const struct block *block)
{
	enum block_state state = state_of(block);

	return state == BLOCK_LIVE || state == BLOCK_RETIRED;
}

/* The entry of an address; NULL: not in the zone. */
static struct block *block_of(const void *ptr)
{
	size_t granule = page_granule_of(ptr);
	const struct page *head;
	struct block *block;

	if (granule >= __atomic_load_n(&window.nr_granules, __ATOMIC_RELAXED) ||
	    !window.sections[granule / SECTION_GRANULES])
		return NULL;
	head = page_of_granule(granule & ~(BLOCK_GRANULES - 1UL));
	block = &blocks[__atomic_load_n(&head->stamp, __ATOMIC_RELAXED) % NR_BLOCKS];
	return block->head == head && is_mapped(block) ? block : NULL;
}

enum sight { SEEN_CONTIGUOUS, SEEN_SCATTERED, NOT_SEEN };

/* What the system shows of a block; *phys is where it starts, if that is shown. */
static enum sight look_at(const void *addr, uint64_t *phys)
{
	uint64_t frames[FRAMES_MAX];
	size_t n = BLOCK_BYTES >> os_page_shift;
	int err = os_frames(addr, frames, n);

	*phys = PHYS_UNKNOWN;
	if (err == -ENODATA)
		return SEEN_SCATTERED; /* not all resident */
	if (err) {
		err = os_is_huge(addr, BLOCK_BYTES);
		return err < 0 ? NOT_SEEN : err ? SEEN_CONTIGUOUS : SEEN_SCATTERED;
	}
	for (size_t i = 1; i < n; i++)
		if (frames[i] != frames[0] + i)
			return SEEN_SCATTERED;
	*phys = frames[0] << os_page_shift;
	return SEEN_CONTIGUOUS;
}

/* Make a free block over by the system's pool. False: there is none; the block is as before. */
static bool make_pool(void *addr)
{
	if (!os_huge_pages_free())
		return false;
	if (os_map_huge_over(addr, BLOCK_BYTES) == 0)
		return true;
	/* an older kernel may have unmapped first */
	os_map_at(addr, BLOCK_BYTES);
	return false;
}

/* A write to each page: what a child of fork may still share becomes this process' own. */
static void touch(void *addr)
{
	for (size_t i = 0; i < BLOCK_BYTES; i += os_page_size)
		__atomic_store_n((char *)addr + i, 0, __ATOMIC_RELAXED);
}

/* Nothing of it is a child's when this begins, since it is left out of forks by now. */
static void fault_in(void *addr)
{
	os_advise_huge(addr, BLOCK_BYTES, true);
	os_discard(addr, BLOCK_BYTES);
	if (os_populate(addr, BLOCK_BYTES) != 0)
		touch(addr);
}

/* By transparent huge pages, locked. */
static bool make_transparent(void *addr, gfp_t gfp)
{
	uint64_t phys;

	fault_in(addr);
	if (look_at(addr, &phys) == SEEN_SCATTERED)
		os_collapse(addr, BLOCK_BYTES);
	if (os_lock(addr, BLOCK_BYTES) == 0)
		return true;
	complain(NO_LOCK, gfp);
	return false;
}

/* The descriptors say again that it is one block. */
static void take_back_whole(struct page *head)
{
	for (unsigned i = 1; i < BLOCK_GRANULES; i++)
		page_set_state(&head[i], PAGE_NONE);
	head->order = ZONE_DMA_ORDER;
	page_set_state(head, PAGE_BUSY);
}

/* What was made over becomes memory like any other. */
static void unmake(struct block *block)
{
	void *addr = page_address(block->head);

	if (block->pool) {
		os_map_over(addr, BLOCK_BYTES);
	} else {
		os_unlock(addr, BLOCK_BYTES);
		os_dont_fork(addr, BLOCK_BYTES, false);
	}
	block->head->stamp = 0;
	__atomic_store_n(&block->head->dma, false, __ATOMIC_RELAXED);
	take_back_whole(block->head);
	page_free(block->head, GFP_KERNEL);
}

static bool is_contiguous(struct block *block, gfp_t gfp)
{
	uint64_t phys;
	enum sight sight = look_at(page_address(block->head), &phys);

	atomic_store_explicit(&block->phys, phys, memory_order_relaxed);
	if (sight == SEEN_CONTIGUOUS || (sight == NOT_SEEN && block->pool))
		return true;
	complain(sight == NOT_SEEN ? NO_SIGHT : NO_HUGE, gfp);
	return false;
}

/* A new block, not in the table yet. False: NULL and why. */
static bool make_block(struct block *block, gfp_t gfp)
{
	bool zeroed;
	void *addr;

	block->head = page_alloc(ZONE_DMA_ORDER, gfp, &zeroed);
	if (!block->head) {
		complain(NO_ROOM, gfp);
		return false;
	}
	__atomic_store_n(&block->head->dma, true, __ATOMIC_RELAXED);
	addr = page_address(block->head);
	block->pool = make_pool(addr);
	if (os_dont_fork(addr, BLOCK_BYTES, true) == 0) {
		if (block->pool)
			touch(addr);
		if ((block->pool || make_transparent(addr, gfp)) && is_contiguous(block, gfp))
			return true;
	}
	unmake(block);
	return false;
}

/* Enter a block whose granules are taken. False: the table is full. */
static bool enter_block_locked(const struct block *made, uint64_t granules)
{
	unsigned count = atomic_load_explicit(&nr_blocks, memory_order_relaxed), i = 0;

	lock_assert_held(&zone_dma_lock);
	while (i < count && state_of(&blocks[i]) != BLOCK_NONE)
		i++;
	if (i == NR_BLOCKS)
		return false;
	blocks[i].pool = made->pool;
	blocks[i].head = made->head;
	atomic_store_explicit(&blocks[i].phys, atomic_load(&made->phys), memory_order_relaxed);
	__atomic_store_n(&made->head->stamp, i, __ATOMIC_RELAXED);
	atomic_store_explicit(&blocks[i].state, BLOCK_LIVE, memory_order_release);
	/* pairs with bitrun_take() */
	atomic_store_explicit(&blocks[i].granules, granules, memory_order_release);
	if (i == count)
		atomic_store_explicit(&nr_blocks, count + 1, memory_order_release);
	return true;
}

static struct page *hand_out(struct page *head, unsigned start, unsigned order)
{
	struct page *page = head + start; /* a block is within a section */

	page->order = (uint8_t)order;
	page_set_state(page, PAGE_BUSY);
	return page;
}

/* A new block, of which the first 1 << order granules are the caller's. */
static struct page *grow(unsigned order, gfp_t gfp)
{
	struct block made = { 0 };
	bool entered;

	if (!make_block(&made, gfp))
		return NULL;
	lock_acquire(&zone_dma_lock);
	entered = enter_block_locked(&made, ~bitrun_mask(0, 1U << order));
	lock_release(&zone_dma_lock);
	if (entered)
		return hand_out(made.head, 0, order);
	unmake(&made);
	return NULL;
}

/* Is it still what it was? Only where it may sleep. */
static bool verify_block(struct block *block)
{
	struct page *head = __atomic_load_n(&block->head, __ATOMIC_RELAXED);
	uint64_t phys, before;
	bool scattered = look_at(page_address(head), &phys) == SEEN_SCATTERED;

	/* the block may have gone meanwhile, and another have come into its entry */
	lock_acquire(&zone_dma_lock);
	before = atomic_load_explicit(&block->phys, memory_order_relaxed);
	if (block->head != head || state_of(block) != BLOCK_LIVE) {
		lock_release(&zone_dma_lock);
		return true;
	}
	if (scattered)
		atomic_store_explicit(&block->state, BLOCK_RETIRED, memory_order_release);
	else if (phys != PHYS_UNKNOWN)
		atomic_store_explicit(&block->phys, phys, memory_order_relaxed);
	lock_release(&zone_dma_lock);
	if (scattered) {
		complain(SPLIT, 0);
		return false;
	}
	if (phys == before || phys == PHYS_UNKNOWN || before == PHYS_UNKNOWN)
		return true;
	complain(MOVED, 0);
	return false;
}

static struct page *take(unsigned order, gfp_t gfp)
{
	unsigned count = atomic_load_explicit(&nr_blocks, memory_order_acquire);

	for (unsigned i = 0; i < count; i++) {
		struct block *block = &blocks[i];
		int start;

		if (state_of(block) != BLOCK_LIVE)
			continue;
		start = bitrun_take(&block->granules, 1U << order, 1U << order);
		if (start < 0)
			continue;
		/* what was taken holds the block where it is */
		if (gfpflags_allow_blocking(gfp))
			verify_block(block);
		if (state_of(block) == BLOCK_LIVE)
			return hand_out(block->head, (unsigned)start, order);
		bitrun_give(&block->granules, (unsigned)start, 1U << order);
	}
	return NULL;
}

struct page *zone_dma_alloc(unsigned order, gfp_t gfp)
{
	struct page *page = order <= ZONE_DMA_ORDER ? take(order, gfp) : NULL;

	if (page || order > ZONE_DMA_ORDER || !gfpflags_allow_blocking(gfp))
		return page;
	return grow(order, gfp);
}

void zone_dma_free(struct page *page)
{
	struct block *block = block_of(page_address(page));
	unsigned start = page->granule % BLOCK_GRANULES;

	if (block)
		bitrun_give(&block->granules, start, 1U << page->order);
}

uint64_t zone_dma_phys(const void *ptr)
{
	const struct block *block = block_of(ptr);
	uint64_t phys;

	/* what was split has no one address any more; that was said when it was seen */
	if (!block || state_of(block) == BLOCK_RETIRED)
		return PHYS_UNKNOWN;
	phys = atomic_load_explicit(&block->phys, memory_order_relaxed);
	if (phys != PHYS_UNKNOWN)
		return phys + ((uintptr_t)ptr - (uintptr_t)page_address(block->head));
	complain(NO_PHYS, 0);
	return PHYS_UNKNOWN;
}

void *zone_dma_virt(uint64_t phys)
{
	unsigned count = atomic_load_explicit(&nr_blocks, memory_order_acquire);

	for (unsigned i = 0; i < count; i++) {
		uint64_t start = atomic_load_explicit(&blocks[i].phys, memory_order_relaxed);

		if (state_of(&blocks[i]) == BLOCK_LIVE && start != PHYS_UNKNOWN &&
		    phys - start < BLOCK_BYTES)
			return (char *)page_address(blocks[i].head) + (phys - start);
	}
	return NULL;
}

bool zone_dma_verify(void)
{
	unsigned count = atomic_load_explicit(&nr_blocks, memory_order_acquire);
	bool same = true;

	for (unsigned i = 0; i < count; i++)
		if (state_of(&blocks[i]) == BLOCK_LIVE)
			same &= verify_block(&blocks[i]);
	return same;
}

static size_t shrink(enum reclaim what)
{
	unsigned count = atomic_load_explicit(&nr_blocks, memory_order_acquire);
	size_t bytes = 0;

	if (what != RECLAIM_ALL || !lock_try(&zone_dma_lock))
		return 0;
	for (unsigned i = 0; i < count; i++) {
		struct block copy;

		if (!is_mapped(&blocks[i]) || !bitrun_take_all(&blocks[i].granules))
			continue;
		copy = (struct block){ .pool = blocks[i].pool, .head = blocks[i].head };
		atomic_store_explicit(&blocks[i].state, BLOCK_NONE, memory_order_release);
		unmake(&copy);
		bytes += BLOCK_BYTES;
	}
	lock_release(&zone_dma_lock);
	return bytes;
}

void zone_dma_fork_child(void)
{
	unsigned count = atomic_load_explicit(&nr_blocks, memory_order_relaxed);

	for (unsigned i = 0; i < count; i++) {
		if (state_of(&blocks[i]) == BLOCK_NONE)
			continue;
		atomic_store_explicit(&blocks[i].granules, 0, memory_order_relaxed);
		atomic_store_explicit(&blocks[i].state, BLOCK_GONE, memory_order_relaxed);
		take_back_whole(blocks[i].head);
		page_set_owner(blocks[i].head, 0);
	}
}

void zone_dma_stat(struct zone_dma_stat *stat)
{
	unsigned count = atomic_load_explicit(&nr_blocks, memory_order_acquire);

	*stat = (struct zone_dma_stat){ 0 };
	for (unsigned i = 0; i < count; i++) {
		if (!is_mapped(&blocks[i]))
			continue;
		stat->bytes += BLOCK_BYTES;
		stat->free += bitrun_count(&blocks[i].granules) * GRANULE_SIZE;
	}
}

uint64_t zone_dma_free_granules(const struct page *head)
{
	unsigned index = __atomic_load_n(&head->stamp, __ATOMIC_RELAXED) % NR_BLOCKS;

	if (blocks[index].head != head || state_of(&blocks[index]) == BLOCK_NONE)
		return 0;
	return atomic_load_explicit(&blocks[index].granules, memory_order_acquire);
}

void zone_dma_init(void)
{
	static struct shrinker shrinker = { shrink, NULL };

	lock_init(&zone_dma_lock, LOCK_RANK_RESERVE);
	shrinker_register(&shrinker);
}
