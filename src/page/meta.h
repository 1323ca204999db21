/* SPDX-License-Identifier: MIT */
/*
 * meta.h - memory for the allocator's own structures, which never comes from
 * kmalloc itself. Type-stable: what was metadata once stays mapped for good.
 */
#ifndef PAGE_META_H
#define PAGE_META_H

#include "lib/gfp.h"

#define META_MAX_SIZE 16384UL

void meta_init(void);

/*
 * At most META_MAX_SIZE bytes, zeroed, aligned to the size rounded up to a power of
 * two (at most the page size). NULL: no memory, or the pool's lock was busy and
 * gfp forbids to wait.
 */
void *meta_alloc(size_t size, gfp_t gfp);
/* Give it back with the size it was asked with. Never waits when gfp forbids. */
void meta_free(void *ptr, size_t size, gfp_t gfp);

/* What a piece of `size` bytes takes: the size of its pool. */
size_t meta_piece_bytes(size_t size);

/* Bytes mapped for metadata, for statistics. */
size_t meta_bytes(void);

#endif
