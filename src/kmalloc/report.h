/* SPDX-License-Identifier: MIT */
/* report.h - failed allocations and wrong calls, told in the kernel's words. Any context. */
#ifndef KMALLOC_REPORT_H
#define KMALLOC_REPORT_H

#include "slab/kmem_cache.h"

/* No object of the cache; nothing of so many bytes for a call that has none. Silent with __GFP_NOWARN. */
void report_no_object(const struct kmem_cache *cache, gfp_t gfp, const void *caller);
void report_no_memory(const char *what, size_t size, gfp_t gfp, const void *caller);
/*
 * One line on a call that can't be meant so. REPORT_CALLER in the format, once at most and in no argument,
 * stands for who called. With flags that forbid to wait it is printed later.
 */
#define REPORT_CALLER "\1"
void report_fault(gfp_t gfp, const void *caller, const char *format, ...) printf_like(3, 4);
/* Print what was told where nothing could be printed. May make system calls. */
void report_flush(void);
bool report_is_pending(void);
/* In the child of fork. */
void report_fork_child(void);

#endif
