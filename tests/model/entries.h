/* SPDX-License-Identifier: MIT */
/*
 * entries.h - the entry points that the model calls: those of the process (libkmalloc
 * preloaded, or any other malloc), or the library's own under other names (renamed.h),
 * linked into a program whose malloc is the C library's.
 */
#ifndef MODEL_ENTRIES_H
#define MODEL_ENTRIES_H

#include <stddef.h>

struct entries {
	void *(*malloc)(size_t size);
	void *(*calloc)(size_t count, size_t size);
	void *(*realloc)(void *ptr, size_t size);
	void *(*reallocarray)(void *ptr, size_t count, size_t size);
	void *(*aligned_alloc)(size_t align, size_t size);
	void *(*memalign)(size_t align, size_t size);
	int (*posix_memalign)(void **out, size_t align, size_t size);
	void *(*valloc)(size_t size);
	void *(*pvalloc)(size_t size);
	void (*free)(void *ptr);
	/* NULL where the C library has none of the name */
	void (*cfree)(void *ptr);
	void (*free_sized)(void *ptr, size_t size);
	void (*free_aligned_sized)(void *ptr, size_t align, size_t size);
	size_t (*usable_size)(void *ptr);
	int (*trim)(size_t pad);
};

/* What malloc and the others mean in this process. */
extern const struct entries process_entries;
/* The library's, linked in. */
extern const struct entries library_entries;

#endif
