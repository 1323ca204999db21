/* SPDX-License-Identifier: MIT */
/* valid.h - the validators of the room, and of the whole; what they report is in lib/valid.h. */
#ifndef KMALLOC_VALID_H
#define KMALLOC_VALID_H

#include "lib/compiler.h"

/* The table of emergency mappings; no handler is at it. */
bool emergency_is_valid(void);
/* Each page of the reserve by itself. Any context; others may be at work. */
bool reserve_is_valid(void);
/* What waits to be freed is ours, each once. With every lock held and the areas stopped. */
bool deferred_is_valid(void);
/*
 * Every room under its own locks, one after the other: what a debug build runs every 2^valid_shift-th
 * miss. Not in a handler that interrupted the allocator.
 */
bool rooms_are_valid(void);
/* Everything, with the world stopped; and the account must add up. As account_read(). */
bool kmalloc_is_valid(void);

/* Debug builds, at each miss that may wait: the count, and now and then rooms_are_valid(). */
void valid_poll(void);

#endif
