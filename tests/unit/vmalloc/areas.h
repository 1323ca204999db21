/* SPDX-License-Identifier: MIT */
/*
 * areas.h - areas that must be had, and their guards.
 */
#ifndef TESTS_UNIT_VMALLOC_AREAS_H
#define TESTS_UNIT_VMALLOC_AREAS_H

#include "ranges.h"

#include "page/reclaim.h"
#include "vmalloc/vmalloc.h"

#define P 4096UL
#define K 1024UL
#define M (1024UL * K)

static inline char *area_of(size_t size)
{
	char *ptr = vmalloc_area(size, 0, GFP_KERNEL, NULL);

	CHECK(ptr != NULL);
	return ptr;
}

static inline void give_back(void *ptr)
{
	CHECK_EQ(vfree_area(ptr, GFP_KERNEL), VFREE_DONE);
}

static inline struct vmalloc_stat stat_now(void)
{
	struct vmalloc_stat stat;

	vmalloc_stat(&stat);
	return stat;
}

/* The last usable byte is, and the next page is not. */
static inline void check_guard(char *ptr)
{
	size_t size = vmalloc_size(ptr);
	volatile char *last = ptr + size - 1;

	*last = *last;
	CHECK(unit_faults(ptr + size));
	CHECK(unit_write_faults(ptr + size));
	CHECK(unit_faults(ptr + size + P - 1));
}

#endif
