/* SPDX-License-Identifier: MIT */
/*
 * malloc.h - the entry points that the C library's headers declare only for
 * some standards, or not at all.
 */
#ifndef INTERPOSE_MALLOC_H
#define INTERPOSE_MALLOC_H

#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>

/* C23: free() of an object that was asked for with this size (and alignment). */
void free_sized(void *ptr, size_t size);
void free_aligned_sized(void *ptr, size_t align, size_t size);
/* Gone from glibc's headers since 2.26; old programs call it. */
void cfree(void *ptr);

#endif
