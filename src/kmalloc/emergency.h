/* SPDX-License-Identifier: MIT */
/*
 * emergency.h - memory for a handler that interrupted the allocator, when the
 * locks that it needs are held by the thread it interrupted. Internal to the room.
 */
#ifndef KMALLOC_EMERGENCY_H
#define KMALLOC_EMERGENCY_H

#include "lib/compiler.h"

#include <stdatomic.h>

/* Zeroed memory, aligned to `align` (a power of two; 0: page). NULL: no memory, or too many are out. */
void *emergency_alloc(size_t size, size_t align);
/* False: not one of these. Without `unmap` no system call is made: the mapping stays until its slot is claimed. */
bool emergency_free(void *ptr, bool unmap);
/* Unmap what the system refused to unmap before. */
void emergency_trim(void);
/* Usable bytes; 0: not one of these. */
size_t emergency_size(const void *ptr);

/*
 * How many are out, the bytes mapped for them, and those that the system refused to unmap;
 * exact while no handler is at it.
 */
size_t emergency_account(size_t *bytes, size_t *stuck);

struct emergency_slot {
	_Atomic uintptr_t ptr; /* 0: free, 1: claimed, else handed out */
	uintptr_t map;	       /* the mapping behind it */
	size_t len;
};

/* The table, for those who walk it. */
struct emergency_slot *emergency_table(size_t *count);
/* How many are out, as it is counted. */
size_t emergency_used(void);

#endif
