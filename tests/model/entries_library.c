/* SPDX-License-Identifier: MIT */
/*
 * entries_library.c - the library's entry points, linked in under the names of renamed.h.
 */
#include "entries.h"

void *entry_malloc(size_t size);
void *entry_calloc(size_t count, size_t size);
void *entry_realloc(void *ptr, size_t size);
void *entry_reallocarray(void *ptr, size_t count, size_t size);
void *entry_aligned_alloc(size_t align, size_t size);
void *entry_memalign(size_t align, size_t size);
int entry_posix_memalign(void **out, size_t align, size_t size);
void *entry_valloc(size_t size);
void *entry_pvalloc(size_t size);
void entry_free(void *ptr);
void entry_cfree(void *ptr);
void entry_free_sized(void *ptr, size_t size);
void entry_free_aligned_sized(void *ptr, size_t align, size_t size);
size_t entry_malloc_usable_size(void *ptr);
int entry_malloc_trim(size_t pad);

const struct entries library_entries = {
	.malloc = entry_malloc,
	.calloc = entry_calloc,
	.realloc = entry_realloc,
	.reallocarray = entry_reallocarray,
	.aligned_alloc = entry_aligned_alloc,
	.memalign = entry_memalign,
	.posix_memalign = entry_posix_memalign,
	.valloc = entry_valloc,
	.pvalloc = entry_pvalloc,
	.free = entry_free,
	.cfree = entry_cfree,
	.free_sized = entry_free_sized,
	.free_aligned_sized = entry_free_aligned_sized,
	.usable_size = entry_malloc_usable_size,
	.trim = entry_malloc_trim,
};
