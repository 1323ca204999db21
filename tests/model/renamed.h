/* SPDX-License-Identifier: MIT */
/*
 * renamed.h - other names for the library's entry points. Put before src/interpose/malloc.c and info.c
 * (-include), it makes functions of them that a test calls beside the C library's own malloc.
 */
#ifndef MODEL_RENAMED_H
#define MODEL_RENAMED_H

#define malloc entry_malloc
#define free entry_free
#define calloc entry_calloc
#define realloc entry_realloc
#define reallocarray entry_reallocarray
#define memalign entry_memalign
#define aligned_alloc entry_aligned_alloc
#define posix_memalign entry_posix_memalign
#define valloc entry_valloc
#define pvalloc entry_pvalloc
#define malloc_usable_size entry_malloc_usable_size
#define free_sized entry_free_sized
#define free_aligned_sized entry_free_aligned_sized
#define cfree entry_cfree
#define malloc_trim entry_malloc_trim
#define mallinfo entry_mallinfo
#define mallinfo2 entry_mallinfo2
#define malloc_stats entry_malloc_stats
#define malloc_info entry_malloc_info
#define mallopt entry_mallopt
#define __libc_malloc entry_libc_malloc
#define __libc_free entry_libc_free
#define __libc_calloc entry_libc_calloc
#define __libc_realloc entry_libc_realloc
#define __libc_reallocarray entry_libc_reallocarray
#define __libc_memalign entry_libc_memalign
#define __libc_valloc entry_libc_valloc
#define __libc_pvalloc entry_libc_pvalloc
#define __posix_memalign entry_libc_posix_memalign

#endif
