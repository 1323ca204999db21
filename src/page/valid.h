/* SPDX-License-Identifier: MIT */
/* valid.h - the validators of the room; what they report is in lib/valid.h. */
#ifndef PAGE_VALID_H
#define PAGE_VALID_H

#include "page/page.h"

/* A free block, or one that was just taken: with the zone's lock. */
bool page_is_valid(const struct page *page);
/* All blocks, the free areas, the sections and the owner map. Takes the zone's lock if it is not held. */
bool zone_is_valid(void);
/* A piece that is handed out, or was: in a region, aligned, cut. With meta_lock. */
bool meta_piece_is_valid(const void *piece, size_t size);
/* The pools and regions of metadata. Takes meta_lock if it is not held. Writes to free pieces. */
bool meta_is_valid(void);

#endif
