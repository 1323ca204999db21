/* SPDX-License-Identifier: MIT */
/*
 * reserve.c - the memory behind __GFP_HIGH.
 *
 * The kernel's counterpart is what lies below the min watermark of a zone (min_free_kbytes),
 * which only allocations that can't wait may use. Differences: it is memory of its own, not the last
 * of the pages, since those are behind locks; and it has an allocator of its own without any lock,
 * so a handler that interrupted a thread with every lock of the allocator in its hands gets memory.
 * It makes no system call, and the memory was touched before, so it takes no page fault either
 * (after a fork, or when the system swaps, a write may).
 *
 * Geometry: chunks of 256 KiB, each of 64 pages of 4 KiB.
 *  - `pages`: a bit per page, set when free. An object of more than 2 KiB is a run of pages,
 *    taken by one compare-and-swap (lib/bitrun.h).
 *  - a smaller object is a slot of 64 to 2048 bytes in a page that is cut into such slots.
 *  - `tag`: a word per page. Its top byte is 0 for a page that heads nothing, TAG_RUN | pages for
 *    the head of a run, else the log2 of the slots; the other 56 bits say which slots are free. So
 *    a page has 56 slots at most. What a page is and which slots are free is one word: a
 *    compare-and-swap that succeeds needs no more to be true, whatever happened in between.
 *
 * Small allocation: 1. a free slot of a page cut so; 2. a fresh page, cut.
 * Free: the tag says what it is, and whether it is free already. A page whose slots are all
 * free goes back: its tag to 0, then its bit up.
 *
 * An object of a cache that was created carries the cache's address in the last word of its slot
 * (TAG_CACHE), so that a free to the wrong cache is seen. It is only ever compared.
 *
 * Filling, where it may sleep: chunks are added until `min_free_kbytes` are free again. A chunk
 * once listed stays listed; one that is all free beyond that amount may be unmapped when memory is short
 * (all its bits are taken first, so nobody finds a page there) and mapped again later.
 *
 * A program that is only preloaded has no reserve, and its handlers get mappings of their own
 * (emergency.c), unless min_free_kbytes is given. It comes with the first of the kernel's calls that may
 * sleep and misses. A size that the machine can't have is refused as other bad parameters are; one that the system
 * does not give at the start is cut to what it gives, and a line says so.
 *
 * Lock: reserve_lock (rank RESERVE), for adding and unmapping chunks alone, only tried.
 */
#include "kmalloc/reserve.h"

#include "kmalloc/size_class.h"
#include "lib/bitrun.h"
#include "lib/die.h"
#include "lib/fmt.h"
#include "lib/param.h"
#include "os/os.h"
#include "page/meta.h"
#include "page/reclaim.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define PAGE_SHIFT 12
#define PAGE_BYTES (1UL << PAGE_SHIFT)
#define CHUNK_SHIFT 18
#define CHUNK_BYTES (1UL << CHUNK_SHIFT)
#define NR_CHUNKS (RESERVE_MAX_BYTES >> CHUNK_SHIFT)
#define SLOT_SHIFT_MIN 6
#define SLOT_SHIFT_MAX 11
#define SLOTS_MAX 56U
#define DEFAULT_KBYTES 1024UL

#define TAG_SHIFT 56
#define TAG_RUN 0x80UL
#define TAG_CACHE 0x40UL
#define TAG_VALUE 0x3fUL /* pages of a run, log2 of slots */

enum chunk_state {
	CHUNK_UNMAPPED,
	CHUNK_MAPPED,
	CHUNK_FOREIGN, /* somebody else mapped something there: never used again */
};

struct chunk {
	_Atomic uint64_t pages;
	_Atomic uint8_t state; /* enum chunk_state; changed under reserve_lock */
	_Atomic uint64_t tag[BITRUN_UNITS];
};

static uintptr_t window_base;
static struct chunk *chunks[NR_CHUNKS]; /* the first nr_chunks; never taken out */
static _Atomic size_t nr_chunks;
static _Atomic size_t free_pages;   /* a hint: when to fill */
static _Atomic size_t wanted_pages; /* what filling aims at */
static _Atomic bool ready;
static _Atomic unsigned hints[2][SLOT_SHIFT_MAX + 1]; /* page where a slot was last found */
static struct lock reserve_lock;

static uint64_t slots_mask(unsigned shift)
{
	unsigned n = (unsigned)min_size(PAGE_BYTES >> shift, SLOTS_MAX);

	return (1UL << n) - 1;
}

static struct chunk *chunk_at(size_t page)
{
	return chunks[page / BITRUN_UNITS];
}

static _Atomic uint64_t *tag_at(size_t page)
{
	return &chunk_at(page)->tag[page % BITRUN_UNITS];
}

static char *page_start(size_t page)
{
	return (char *)(window_base + (page << PAGE_SHIFT));
}

/* n pages in a row; *page is the first, counted from the window's base. */
static bool take_pages(unsigned n, unsigned align, size_t *page)
{
	size_t count = atomic_load_explicit(&nr_chunks, memory_order_acquire);

	for (size_t i = 0; i < count; i++) {
		int start = bitrun_take(&chunks[i]->pages, n, align);

		if (start < 0)
			continue;
		atomic_fetch_sub_explicit(&free_pages, n, memory_order_relaxed);
		*page = i * BITRUN_UNITS + (unsigned)start;
		return true;
	}
	return false;
}

static void give_pages(size_t page, unsigned n)
{
	atomic_fetch_add_explicit(&free_pages, n, memory_order_relaxed);
	bitrun_give(&chunk_at(page)->pages, page % BITRUN_UNITS, n);
}

static void *alloc_run(size_t size, size_t align, uint64_t flags)
{
	unsigned n = (unsigned)((size + PAGE_BYTES - 1) >> PAGE_SHIFT);
	unsigned align_pages = (unsigned)max_size(align >> PAGE_SHIFT, 1);
	size_t page;

	if (!take_pages(n, align_pages, &page))
		return NULL;
	atomic_store_explicit(tag_at(page), (TAG_RUN | flags | n) << TAG_SHIFT,
			      memory_order_release);
	return page_start(page);
}

/* A free slot of a page, if that is cut into such slots. */
static void *take_slot(size_t page, uint64_t kind)
{
	_Atomic uint64_t *tag = tag_at(page);
	uint64_t word = atomic_load_explicit(tag, memory_order_relaxed);

	while (word >> TAG_SHIFT == kind && word << (64 - TAG_SHIFT)) {
		if (atomic_compare_exchange_weak_explicit(tag, &word, word & (word - 1),
							  memory_order_acquire,
							  memory_order_relaxed))
			return page_start(page) +
			       ((unsigned long)__builtin_ctzl(word) << (kind & TAG_VALUE));
	}
	return NULL;
}

static void *alloc_slot(unsigned shift, uint64_t flags)
{
	_Atomic unsigned *hint = &hints[flags != 0][shift];
	size_t count = atomic_load_explicit(&nr_chunks, memory_order_acquire) * BITRUN_UNITS;
	size_t first = atomic_load_explicit(hint, memory_order_relaxed), page;
	void *slot;

	for (size_t i = 0; i < count; i++) {
		page = (first + i) % count;
		slot = take_slot(page, flags | shift);
		if (!slot)
			continue;
		atomic_store_explicit(hint, (unsigned)page, memory_order_relaxed);
		return slot;
	}
	if (!take_pages(1, 1, &page))
		return NULL;
	atomic_store_explicit(tag_at(page),
			      (flags | shift) << TAG_SHIFT | (slots_mask(shift) & ~1UL),
			      memory_order_release);
	return page_start(page);
}

void *reserve_alloc(size_t size, size_t align, const struct kmem_cache *cache)
{
	uint64_t flags = cache ? TAG_CACHE : 0;
	size_t need = size + (cache ? sizeof(void *) : 0);
	char *object;

	if (size > KMALLOC_TOP_BLOCK || align > KMALLOC_TOP_BLOCK)
		return NULL;
	need = max_size(max_size(need, align), 1UL << SLOT_SHIFT_MIN);
	if (need <= 1UL << SLOT_SHIFT_MAX)
		object = alloc_slot(ilog2(need - 1) + 1, flags);
	else
		object = alloc_run(need, align, flags);
	if (object && cache) {
		/* cppcheck-suppress pointerSize - a pointer is what is stored */
		memcpy(object + reserve_size(object), &cache, sizeof(void *));
	}
	return object;
}

bool reserve_owns(const void *ptr)
{
	return (uintptr_t)ptr - window_base < atomic_load_explicit(&nr_chunks, memory_order_relaxed)
						      << CHUNK_SHIFT;
}

static size_t page_of(const void *ptr)
{
	return ((uintptr_t)ptr - window_base) >> PAGE_SHIFT;
}

/* Which slot of its page; only for pages cut into slots. */
static unsigned slot_of(const void *ptr, uint64_t word)
{
	return (unsigned)(((uintptr_t)ptr & (PAGE_BYTES - 1)) >> (word >> TAG_SHIFT & TAG_VALUE));
}

/* Bytes from the start of an object to the next; 0: ptr is not the start of one. */
static size_t stride_of(const void *ptr, uint64_t word)
{
	uint64_t kind = word >> TAG_SHIFT;
	size_t offset = (uintptr_t)ptr & (PAGE_BYTES - 1);

	if (!kind)
		return 0;
	if (kind & TAG_RUN)
		return offset ? 0 : (kind & TAG_VALUE) << PAGE_SHIFT;
	if (offset & ((1UL << (kind & TAG_VALUE)) - 1) || slot_of(ptr, word) >= SLOTS_MAX)
		return 0;
	return 1UL << (kind & TAG_VALUE);
}

static bool tag_is_free(const void *ptr, uint64_t word)
{
	return !(word >> TAG_SHIFT & TAG_RUN) && word >> slot_of(ptr, word) & 1;
}

size_t reserve_size(const void *ptr)
{
	uint64_t word = atomic_load_explicit(tag_at(page_of(ptr)), memory_order_relaxed);
	size_t stride = stride_of(ptr, word);

	if (!stride || tag_is_free(ptr, word))
		return 0;
	return stride - (word >> TAG_SHIFT & TAG_CACHE ? sizeof(void *) : 0);
}

const struct kmem_cache *reserve_cache(const void *ptr)
{
	uint64_t word = atomic_load_explicit(tag_at(page_of(ptr)), memory_order_relaxed);
	const struct kmem_cache *cache = NULL;

	if (word >> TAG_SHIFT & TAG_CACHE && stride_of(ptr, word))
		memcpy(&cache, (const char *)ptr + stride_of(ptr, word) - sizeof(void *),
		       sizeof(void *));
	return cache;
}

/* Why ptr can't be freed: its page is free, or heads nothing. */
static _Noreturn cold_path void bad_free(const void *ptr, uint64_t word)
{
	size_t page = page_of(ptr);
	uint64_t map = atomic_load_explicit(&chunk_at(page)->pages, memory_order_relaxed);

	if (map >> (page % BITRUN_UNITS) & 1 || (stride_of(ptr, word) && tag_is_free(ptr, word)))
		die("BUG reserve: Object already free: %p (double free)", ptr);
	die("BUG reserve: Invalid object pointer %p: not the start of an object (free of an "
	    "interior pointer)",
	    ptr);
}

static void free_run(void *ptr, size_t page, uint64_t word)
{
	if (!atomic_compare_exchange_strong_explicit(tag_at(page), &word, 0, memory_order_release,
						     memory_order_relaxed))
		bad_free(ptr, word);
	give_pages(page, (unsigned)(word >> TAG_SHIFT & TAG_VALUE));
}

static void free_slot(void *ptr, size_t page, uint64_t word)
{
	_Atomic uint64_t *tag = tag_at(page);
	uint64_t full;

	do {
		if (!stride_of(ptr, word) || tag_is_free(ptr, word))
			bad_free(ptr, word);
	} while (
		!atomic_compare_exchange_weak_explicit(tag, &word, word | 1UL << slot_of(ptr, word),
						       memory_order_release, memory_order_relaxed));
	full = (word >> TAG_SHIFT) << TAG_SHIFT | slots_mask(word >> TAG_SHIFT & TAG_VALUE);
	if ((word | 1UL << slot_of(ptr, word)) != full)
		return;
	/* whoever takes a slot first keeps the page; whoever gets this far gives it back */
	if (atomic_compare_exchange_strong_explicit(tag, &full, 0, memory_order_acquire,
						    memory_order_relaxed))
		give_pages(page, 1);
}

void reserve_free(void *ptr)
{
	size_t page = page_of(ptr);
	uint64_t word = atomic_load_explicit(tag_at(page), memory_order_acquire);

	if (unlikely(!stride_of(ptr, word)))
		bad_free(ptr, word);
	if (word >> TAG_SHIFT & TAG_RUN)
		free_run(ptr, page, word);
	else
		free_slot(ptr, page, word);
}

static enum chunk_state chunk_state(size_t index)
{
	return (enum chunk_state)atomic_load_explicit(&chunks[index]->state, memory_order_relaxed);
}

/* Fault every page in now, so that nobody has to later. */
static void touch(char *start)
{
	if (os_populate(start, CHUNK_BYTES) == 0)
		return;
	for (size_t i = 0; i < CHUNK_BYTES; i += PAGE_BYTES)
		__atomic_store_n(start + i, 0, __ATOMIC_RELAXED);
}

static bool map_chunk_locked(struct chunk *chunk, size_t index)
{
	char *start = page_start(index * BITRUN_UNITS);
	int err = os_map_at(start, CHUNK_BYTES);

	lock_assert_held(&reserve_lock);
	if (err) {
		if (err == -EEXIST)
			atomic_store_explicit(&chunk->state, CHUNK_FOREIGN, memory_order_relaxed);
		return err == -EEXIST;
	}
	touch(start);
	atomic_store_explicit(&chunk->state, CHUNK_MAPPED, memory_order_relaxed);
	atomic_fetch_add_explicit(&free_pages, BITRUN_UNITS, memory_order_relaxed);
	/* pairs with bitrun_take() */
	atomic_store_explicit(&chunk->pages, BITRUN_FULL, memory_order_release);
	return true;
}

/*
 * One chunk more: one that was unmapped, else a new one. False: no memory, or no room. True
 * may also mean that one more is known to be somebody else's.
 */
static bool add_chunk_locked(void)
{
	size_t count = atomic_load_explicit(&nr_chunks, memory_order_relaxed);

	for (size_t i = 0; i < count; i++)
		if (chunk_state(i) == CHUNK_UNMAPPED)
			return map_chunk_locked(chunks[i], i);
	if (count == NR_CHUNKS)
		return false;
	if (!chunks[count])
		chunks[count] = meta_alloc(sizeof(struct chunk), GFP_KERNEL);
	if (!chunks[count] || !map_chunk_locked(chunks[count], count))
		return false;
	atomic_store_explicit(&nr_chunks, count + 1, memory_order_release);
	return true;
}

static size_t size_in_pages(void)
{
	size_t kbytes = params.min_free_kbytes == SIZE_MAX ? DEFAULT_KBYTES :
							     params.min_free_kbytes;

	return kbytes * 1024 >> PAGE_SHIFT;
}

bool reserve_is_ready(void)
{
	return atomic_load_explicit(&ready, memory_order_relaxed);
}

void reserve_fill(void)
{
	size_t wanted = atomic_load_explicit(&wanted_pages, memory_order_relaxed);

	if (likely(reserve_is_ready() &&
		   atomic_load_explicit(&free_pages, memory_order_relaxed) >= wanted))
		return;
	if (!lock_try(&reserve_lock))
		return;
	wanted = size_in_pages();
	atomic_store_explicit(&wanted_pages, wanted, memory_order_relaxed);
	while (atomic_load_explicit(&free_pages, memory_order_relaxed) < wanted)
		if (!add_chunk_locked())
			break;
	atomic_store_explicit(&ready, true, memory_order_relaxed);
	lock_release(&reserve_lock);
}

/* Unmap chunks that are all free, as far as the rest is still enough. */
static size_t shrink(enum reclaim what)
{
	size_t count = atomic_load_explicit(&nr_chunks, memory_order_relaxed), bytes = 0;

	if (what != RECLAIM_ALL || !lock_try(&reserve_lock))
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (atomic_load_explicit(&free_pages, memory_order_relaxed) <
		    atomic_load_explicit(&wanted_pages, memory_order_relaxed) + BITRUN_UNITS)
			break;
		if (!bitrun_take_all(&chunks[i]->pages))
			continue;
		atomic_fetch_sub_explicit(&free_pages, BITRUN_UNITS, memory_order_relaxed);
		if (os_unmap(page_start(i * BITRUN_UNITS), CHUNK_BYTES) != 0) {
			give_pages(i * BITRUN_UNITS, BITRUN_UNITS);
			continue;
		}
		atomic_store_explicit(&chunks[i]->state, CHUNK_UNMAPPED, memory_order_relaxed);
		bytes += CHUNK_BYTES;
	}
	lock_release(&reserve_lock);
	return bytes;
}

/* It is touched at the start: what the machine has not, or the window, is no size. */
static void check_parameter(void)
{
	size_t most = min_size(RESERVE_MAX_BYTES, os_total_ram()) / 2 >> 10;

	if (params.min_free_kbytes == SIZE_MAX || params.min_free_kbytes <= most)
		return;
	fmt_warn("parameter min_free_kbytes: bad value '%zu' in KMALLOC_CMDLINE is ignored; "
		 "at most half of the memory, and 524288",
		 params.min_free_kbytes);
	params.min_free_kbytes = SIZE_MAX;
}

/* As large as it was asked for, or as there is memory for: that is said. */
static void fill_from_start(void)
{
	size_t pages;

	reserve_fill();
	pages = atomic_load_explicit(&free_pages, memory_order_relaxed);
	if (pages < size_in_pages())
		fmt_warn("min_free_kbytes=%zu: the system has no memory for more than %zu KiB "
			 "(is there a ulimit -v?)",
			 params.min_free_kbytes, pages << PAGE_SHIFT >> 10);
}

void reserve_init(uintptr_t base)
{
	static struct shrinker shrinker = { shrink, NULL };

	window_base = base;
	lock_init(&reserve_lock, LOCK_RANK_RESERVE);
	shrinker_register(&shrinker);
	check_parameter();
	if (params.min_free_kbytes != SIZE_MAX)
		fill_from_start();
}

void reserve_stat(struct reserve_stat *stat)
{
	size_t count = atomic_load_explicit(&nr_chunks, memory_order_acquire);

	*stat = (struct reserve_stat){ 0 };
	for (size_t i = 0; i < count; i++) {
		if (chunk_state(i) != CHUNK_MAPPED)
			continue;
		stat->bytes += CHUNK_BYTES;
		stat->free += (size_t)bitrun_count(&chunks[i]->pages) << PAGE_SHIFT;
	}
}

_Atomic uint64_t *reserve_tag(size_t at)
{
	size_t count = atomic_load_explicit(&nr_chunks, memory_order_acquire);

	return at / BITRUN_UNITS < count ? tag_at(at) : NULL;
}

bool reserve_read_page(size_t at, struct reserve_page *page)
{
	_Atomic uint64_t *tag = reserve_tag(at);
	uint64_t map, kind;

	*page = (struct reserve_page){ 0 };
	if (!tag)
		return false;
	map = atomic_load(&chunk_at(at)->pages);
	page->tag = atomic_load(tag);
	kind = page->tag >> TAG_SHIFT;
	page->free = map >> at % BITRUN_UNITS & 1;
	page->run = kind & TAG_RUN;
	page->pages = page->run ? kind & TAG_VALUE : 0;
	page->shift = page->run ? 0 : kind & TAG_VALUE;
	page->slots = page->tag << (64 - TAG_SHIFT) >> (64 - TAG_SHIFT);
	page->others = page->shift >= SLOT_SHIFT_MIN && page->shift <= SLOT_SHIFT_MAX ?
			       ~slots_mask(page->shift) :
			       UINT64_MAX;
	return true;
}

/* A page in use, by its tag: returns how many pages that speaks for, at most `left`. */
static unsigned count_page(uint64_t word, unsigned left, struct reserve_account *account)
{
	uint64_t kind = word >> TAG_SHIFT;
	size_t slot = 1UL << (kind & TAG_VALUE), free;
	unsigned pages = (unsigned)min_size(kind & TAG_VALUE, left);

	if (kind & TAG_RUN && pages) {
		account->live += (size_t)pages << PAGE_SHIFT;
		return pages;
	}
	if (!kind) {
		account->lost += PAGE_BYTES;
		return 1;
	}
	free = (size_t)__builtin_popcountl(word << (64 - TAG_SHIFT)) * slot;
	account->free_slots += free;
	account->live += (size_t)__builtin_popcountl(slots_mask(kind & TAG_VALUE)) * slot - free;
	account->rest += PAGE_BYTES -
			 (size_t)__builtin_popcountl(slots_mask(kind & TAG_VALUE)) * slot;
	return 1;
}

void reserve_account(struct reserve_account *account)
{
	size_t count = atomic_load_explicit(&nr_chunks, memory_order_acquire);

	*account = (struct reserve_account){ 0 };
	for (size_t i = 0; i < NR_CHUNKS && chunks[i]; i++)
		account->chunks += meta_piece_bytes(sizeof(struct chunk));
	for (size_t i = 0; i < count; i++) {
		uint64_t free = atomic_load_explicit(&chunks[i]->pages, memory_order_acquire);

		if (chunk_state(i) != CHUNK_MAPPED)
			continue;
		account->mapped += CHUNK_BYTES;
		for (unsigned at = 0; at < BITRUN_UNITS;) {
			uint64_t word =
				atomic_load_explicit(&chunks[i]->tag[at], memory_order_relaxed);

			if (free >> at & 1) {
				account->free_pages += PAGE_BYTES;
				at++;
			} else {
				at += count_page(word, BITRUN_UNITS - at, account);
			}
		}
	}
}
