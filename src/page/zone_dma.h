/* SPDX-License-Identifier: MIT */
/*
 * zone_dma.h - the DMA zone: pages whose frames are contiguous in physical memory, resident and
 * locked. Its blocks are handed out in orders of granules, as those of the buddy.
 */
#ifndef PAGE_ZONE_DMA_H
#define PAGE_ZONE_DMA_H

#include "page/page.h"

#define ZONE_DMA_ORDER 6U /* of granules: a block of 2 MiB */
#define PHYS_UNKNOWN (~0UL)

/* [start] */
void zone_dma_init(void);
/*
 * 1 << order granules, aligned to their size, of physically contiguous frames, up to a whole
 * block. State PAGE_BUSY, old data in it. Where gfp may sleep the zone is enlarged; else only what
 * is there is given. NULL: neither is possible; unless __GFP_NOWARN, one line has said why.
 */
struct page *zone_dma_alloc(unsigned order, gfp_t gfp);
/* Give them back. Any context. */
void zone_dma_free(struct page *page);
/*
 * The physical address of a byte in the zone; PHYS_UNKNOWN: not in the zone, or the system
 * does not let the process see frames. And back; NULL: no such byte.
 */
uint64_t zone_dma_phys(const void *ptr);
void *zone_dma_virt(uint64_t phys);
/*
 * Look at the frames again. False: a block is no longer what it was (it was moved, or is not
 * contiguous any more, which also stops its use); a line has said so. May sleep.
 */
bool zone_dma_verify(void);
/* The free granules of a block, by its first descriptor: bit n is granule n. */
uint64_t zone_dma_free_granules(const struct page *head);
/* In the child of fork: the zone's memory is the parent's alone; its addresses are nobody's. */
void zone_dma_fork_child(void);

struct zone_dma_stat {
	size_t bytes; /* of all blocks */
	size_t free;
};

void zone_dma_stat(struct zone_dma_stat *stat);

#endif
