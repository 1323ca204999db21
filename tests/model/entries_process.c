/* SPDX-License-Identifier: MIT */
/*
 * entries_process.c - the allocator of this process, whichever it is.
 */
#include "entries.h"

#include <malloc.h>
#include <stdlib.h>

extern void cfree(void *ptr) __attribute__((weak));
extern void free_sized(void *ptr, size_t size) __attribute__((weak));
extern void free_aligned_sized(void *ptr, size_t align, size_t size) __attribute__((weak));

const struct entries process_entries = {
	.malloc = malloc,
	.calloc = calloc,
	.realloc = realloc,
	.reallocarray = reallocarray,
	.aligned_alloc = aligned_alloc,
	.memalign = memalign,
	.posix_memalign = posix_memalign,
	.valloc = valloc,
	.pvalloc = pvalloc,
	.free = free,
	.cfree = cfree,
	.free_sized = free_sized,
	.free_aligned_sized = free_aligned_sized,
	.usable_size = malloc_usable_size,
	.trim = malloc_trim,
};
