/* SPDX-License-Identifier: MIT */
/*
 * page.h - the memory map of the kmalloc path and its page allocator.
 *
 * One window of address space, counted in granules of 32 KiB, holds every
 * slab. Two maps describe it:
 *
 *   kmap      a byte per granule, read by free(): 0 = not ours, else the
 *             index of the cache whose slab stands there, or the index that all
 *             caches without one of their own share (slab/kmem_cache.h);
 *   sections  a pointer per 4 MiB to the descriptors (struct page) of its
 *             granules, or NULL.
 *
 * An order here is log2 of a block's granules; the kernel's order (of 4 KiB
 * pages) is 3 more.
 */
#ifndef PAGE_PAGE_H
#define PAGE_PAGE_H

#include "lib/gfp.h"
#include "lib/list.h"

#define GRANULE_SHIFT 15
#define GRANULE_SIZE (1UL << GRANULE_SHIFT)
#define SECTION_SHIFT 22
#define SECTION_SIZE (1UL << SECTION_SHIFT)
#define SECTION_GRANULES (1U << (SECTION_SHIFT - GRANULE_SHIFT))
#define MAX_ORDER (SECTION_SHIFT - GRANULE_SHIFT) /* of granules: a whole section */

enum page_state {
	PAGE_NONE,  /* not the head of a block */
	PAGE_DIRTY, /* free, may hold old data and be resident */
	PAGE_CLEAN, /* free, reads as zero, not resident */
	PAGE_SLAB,  /* head of a slab */
	PAGE_BUSY,  /* allocated or being purged, not (yet) a slab */
};

/*
 * One granule. Its head holds the state of a block; the fields from `inuse` on
 * belong to slab/ while the state is PAGE_SLAB, under the cache's lock. `cache` is set in
 * every granule of a slab, so that an address leads to its cache before it leads to
 * the slab's head; it stays when the slab is gone.
 */
struct kmem_cache;
struct page {
	struct list_head list;	  /* free list of the buddy, or partial list of a cache */
	uint64_t *bitmap;	  /* a set bit is a free object; own_bits or from meta */
	uint64_t own_bits[2];	  /* the bitmap of slabs with few objects */
	struct kmem_cache *cache; /* whose slab stands, or stood last, here; NULL: none so far */
	uint32_t granule;	  /* index of this granule in the window */
	uint32_t stamp;		  /* free: when it became dirty, in units of 256 ms */
	uint16_t inuse;		  /* objects that are not set in the bitmap */
	uint16_t virgin;	  /* objects from this one on were never handed out */
	uint8_t state;		  /* enum page_state */
	uint8_t order;		  /* of the block or slab */
	bool zeroed;		  /* slab: virgin objects read as zero */
	bool dma;		  /* first granule of a block of the DMA zone (zone_dma.c) */
};

/* What free() reads. Written at start-up and, nr_granules, when the window grows. */
struct page_window {
	uintptr_t base;	    /* address of granule 0 */
	size_t nr_granules; /* granules below this have a byte in kmap */
	uint8_t *kmap;	    /* owner byte of each granule */
	struct page **sections;
	size_t max_granules; /* size of the window */
};

extern struct page_window window hidden;

/*
 * [start] Choose the window, `size` bytes after `base` are left to it. False: no memory, and
 * nothing done: it may be tried again.
 */
bool page_init(uintptr_t base, size_t size);

static always_inline size_t page_granule_of(const void *ptr)
{
	return ((uintptr_t)ptr - window.base) >> GRANULE_SHIFT;
}

#define OBJECT_ALIGN_SHIFT 4

/*
 * The owner byte of an address; 0 for what is not ours, and for what is not
 * aligned as every object is: its low bits, rotated to the top, make it a
 * granule past the end. Follows nothing.
 */
static always_inline unsigned page_owner(const void *ptr)
{
	uintptr_t offset = (uintptr_t)ptr - window.base;
	size_t granule = (offset >> OBJECT_ALIGN_SHIFT | offset << (64 - OBJECT_ALIGN_SHIFT)) >>
			 (GRANULE_SHIFT - OBJECT_ALIGN_SHIFT);

	if (unlikely(granule >= __atomic_load_n(&window.nr_granules, __ATOMIC_RELAXED)))
		return 0;
	return __atomic_load_n(&window.kmap[granule], __ATOMIC_RELAXED);
}

/* The descriptor of a granule below nr_granules that has, or had, an owner. */
static inline struct page *page_of_granule(size_t granule)
{
	return &window.sections[granule / SECTION_GRANULES][granule % SECTION_GRANULES];
}

/*
 * The state of a granule. A merge looks at its buddy's under the zone's lock, while slab/ makes a slab of that
 * without it; any value that it may find so (SLAB, BUSY) says "not free".
 */
static inline enum page_state page_state(const struct page *page)
{
	return (enum page_state)__atomic_load_n(&page->state, __ATOMIC_RELAXED);
}

static inline void page_set_state(struct page *page, enum page_state state)
{
	__atomic_store_n(&page->state, (uint8_t)state, __ATOMIC_RELAXED);
}

static inline void *page_address(const struct page *page)
{
	return (void *)(window.base + ((uintptr_t)page->granule << GRANULE_SHIFT));
}

/*
 * A block of 1 << order granules, aligned to its size; *zeroed tells whether
 * it reads as zero. State PAGE_BUSY. May map memory and reclaim if gfp allows.
 * NULL: no memory. The kernel's alloc_pages().
 */
struct page *page_alloc(unsigned order, gfp_t gfp, bool *zeroed);
/*
 * Give a block back as dirty. Where the lock is busy and gfp forbids to wait, the next
 * who has it finishes the work.
 */
void page_free(struct page *page, gfp_t gfp);
/* Set the owner byte of all granules of a block. */
void page_set_owner(const struct page *page, uint8_t owner);

/* Return dirty blocks: all, those over the watermark, or those over the age. */
enum page_purge { PAGE_PURGE_ALL, PAGE_PURGE_EXCESS, PAGE_PURGE_OLD };
size_t page_purge(enum page_purge what);
/* Unmap whole free sections; returns bytes. After PAGE_PURGE_ALL. */
size_t page_offline(void);

struct page_stat {
	size_t mapped;	   /* bytes of online sections */
	size_t free_dirty; /* bytes */
	size_t free_clean; /* bytes */
	size_t purged;	   /* bytes given back so far */
};

void page_stat(struct page_stat *stat);

#endif
