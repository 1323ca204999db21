/* SPDX-License-Identifier: MIT */
/* context.h - what a thread may do now: its scopes, and whether it interrupted the allocator. */
#ifndef KMALLOC_CONTEXT_H
#define KMALLOC_CONTEXT_H

#include "lib/gfp.h"
#include "lib/lock.h"

enum {
	SCOPE_ATOMIC = 1,
	SCOPE_NORECLAIM = 2,
	SCOPE_NOFS = 4,
	SCOPE_NOIO = 8,
};

extern _Thread_local unsigned context_scope initial_exec; /* SCOPE_* of this thread */

/* May this thread neither wait nor make system calls? */
static inline bool context_is_atomic(void)
{
	return lock_in_atomic() || context_scope & SCOPE_ATOMIC;
}

/* For calls without flags, malloc() and its like: what GFP_KERNEL comes to here. */
static inline gfp_t context_gfp(void)
{
	return context_is_atomic() ? GFP_ATOMIC : GFP_KERNEL;
}

/*
 * For calls with flags: those that hold here. A call that may sleep where it must not
 * is reported, once per call site, and goes on as GFP_ATOMIC (vmalloc() fails). `what` is its name.
 */
gfp_t context_apply(gfp_t gfp, const char *what, const void *caller);

/* What is told once per place, each kind by itself. */
enum place_kind { PLACE_SLEEPS, PLACE_MIGHT_SLEEP, PLACE_BUG_MASK, PLACE_NOFAIL, PLACE_CALLER };

/* True for the first time that it is called with this place and kind. Any context. */
bool context_first_time(const void *place, enum place_kind kind);

#endif
