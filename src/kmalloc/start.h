/* SPDX-License-Identifier: MIT */
/* start.h - the library's start, at the first request that misses. */
#ifndef KMALLOC_START_H
#define KMALLOC_START_H

#include "lib/compiler.h"

#include <stdatomic.h>

enum start_state { START_NOT, START_RUNNING, START_DONE, START_FAILED };

extern _Atomic uint32_t start_state; /* enum start_state; a futex */

bool kmalloc_start_slow(void);

/* In the child of fork, after the locks: what belongs to the parent alone is forgotten. */
void kmalloc_fork_child(void);
/*
 * [fork] Before: no start runs, and none begins; false: one runs still after so many milliseconds. In a handler that interrupted the
 * allocator: true, after LOCK_FORK_WAIT_MS. After, on both sides: it may.
 */
bool kmalloc_start_fork_prepare(unsigned ms);
void kmalloc_start_fork_done(void);

/*
 * Start, once, or wait for the thread that does. False: it can't be had: no memory
 * for the maps, or this thread is inside the start (a signal handler).
 */
static inline bool kmalloc_start(void)
{
	return likely(atomic_load_explicit(&start_state, memory_order_acquire) == START_DONE) ||
	       kmalloc_start_slow();
}

#endif
