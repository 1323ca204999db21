/* SPDX-License-Identifier: MIT */
/*
 * context.c - scopes, and calls that may sleep where they must not.
 *
 * Mirrors include/linux/sched/mm.h (memalloc_*_save) and __might_sleep(). Differences: the
 * kernel knows by preemption counts that it is atomic; a process does not, so the program says it
 * (memalloc_atomic_save()), and besides, a handler that interrupted the allocator is. And a call that
 * may sleep is not only reported: it goes on as GFP_ATOMIC, so the scope's promise holds.
 *
 * A report is printed once per call site, at once, even in an atomic scope: it tells of a
 * fault of the program, and writing it waits for nothing of ours.
 *
 * The places seen are in a table without locks: open addressing, each entry written once by
 * compare-and-swap. When it is full, later places are not reported.
 *
 * State: context_scope, this thread's alone; a handler that changes it sets it back.
 */
#include "kmalloc/context.h"

#include "kmalloc/caller.h"
#include "lib/fmt.h"

#include <stdatomic.h>

#define NR_PLACES 512U
#define HASH 0x9e3779b97f4a7c15UL /* 2^64 over the golden ratio */

_Thread_local unsigned context_scope initial_exec;

static _Atomic uintptr_t places[NR_PLACES]; /* hash of place and kind; 0: free */

bool context_first_time(const void *place, enum place_kind kind)
{
	uintptr_t key = ((uintptr_t)place * 8 + kind + 1) * HASH; /* odd times not 0: not 0 */
	unsigned slot = (unsigned)(key >> 32) % NR_PLACES;

	for (unsigned i = 0; i < NR_PLACES; i++, slot = (slot + 1) % NR_PLACES) {
		uintptr_t found = 0;

		if (atomic_compare_exchange_strong(&places[slot], &found, key))
			return true;
		if (found == key)
			return false;
	}
	return false;
}

static const char *context_name(void)
{
	return lock_in_atomic() ? "a handler that interrupted the allocator" : "an atomic scope";
}

exported gfp_t current_gfp_context(gfp_t gfp)
{
	if (context_scope & SCOPE_NOIO)
		gfp &= ~(__GFP_IO | __GFP_FS);
	if (context_scope & SCOPE_NOFS)
		gfp &= ~__GFP_FS;
	if (context_scope & SCOPE_NORECLAIM)
		gfp |= __GFP_MEMALLOC | __GFP_NORETRY;
	if (gfpflags_allow_blocking(gfp) && context_is_atomic())
		gfp = (gfp & ~__GFP_DIRECT_RECLAIM) | __GFP_HIGH;
	return gfp;
}

gfp_t context_apply(gfp_t gfp, const char *what, const void *caller)
{
	char text[CALLER_TEXT], flags[GFP_FORMAT_MAX];

	if (unlikely(gfpflags_allow_blocking(gfp) && context_is_atomic()) &&
	    context_first_time(caller, PLACE_SLEEPS))
		fmt_warn("sleeping function called from invalid context: %s(gfp=0x%x(%s)) in %s, "
			 "called from %s; it does not wait",
			 what, gfp, gfp_format(flags, sizeof(flags), gfp), context_name(),
			 caller_text(text, caller));
	return current_gfp_context(gfp);
}

exported void __might_sleep(const char *file, int line)
{
	char text[CALLER_TEXT];

	if (likely(!context_is_atomic()) ||
	    !context_first_time(__builtin_return_address(0), PLACE_MIGHT_SLEEP))
		return;
	fmt_warn("sleeping function called from invalid context at %s:%d: in %s, called from %s",
		 file, line, context_name(), caller_text(text, __builtin_return_address(0)));
}

exported bool in_atomic(void)
{
	return context_is_atomic();
}

static unsigned scope_save(unsigned bit)
{
	unsigned old = context_scope & bit;

	context_scope |= bit;
	return old;
}

static void scope_restore(unsigned bit, unsigned old)
{
	context_scope = (context_scope & ~bit) | (old & bit);
}

exported unsigned int memalloc_atomic_save(void)
{
	return scope_save(SCOPE_ATOMIC);
}

exported void memalloc_atomic_restore(unsigned int flags)
{
	scope_restore(SCOPE_ATOMIC, flags);
}

exported unsigned int memalloc_noreclaim_save(void)
{
	return scope_save(SCOPE_NORECLAIM);
}

exported void memalloc_noreclaim_restore(unsigned int flags)
{
	scope_restore(SCOPE_NORECLAIM, flags);
}

exported unsigned int memalloc_nofs_save(void)
{
	return scope_save(SCOPE_NOFS);
}

exported void memalloc_nofs_restore(unsigned int flags)
{
	scope_restore(SCOPE_NOFS, flags);
}

exported unsigned int memalloc_noio_save(void)
{
	return scope_save(SCOPE_NOIO);
}

exported void memalloc_noio_restore(unsigned int flags)
{
	scope_restore(SCOPE_NOIO, flags);
}
