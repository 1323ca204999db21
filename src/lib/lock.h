/* SPDX-License-Identifier: MIT */
/*
 * lock.h - ranked futex locks that a signal handler can tell about.
 *
 * The kernel's counterpart is a spinlock taken with preemption off. User space
 * can't switch preemption or signals off without a system call, so a signal
 * handler may interrupt the holder of any lock and call malloc. Each thread
 * therefore counts the locks that it holds or is about to take
 * (lock_depth): an allocation that starts with lock_depth > 0 runs in
 * a handler that interrupted the allocator, is treated as GFP_ATOMIC, and only
 * ever tries locks (lock_get() without __GFP_DIRECT_RECLAIM). The count goes up
 * before the lock word changes and down after, so a handler never sees a lock
 * of its own thread with the count at 0.
 *
 * Word: the state, LOCK_FREE, LOCK_HELD, LOCK_WAITED (held, and somebody may sleep) or LOCK_QUIET
 * (held by a thread that may make no system call, or that a waiter did not wait for: lock.c), in the low bits, and above them the holder's
 * thread pointer. Both change in one step, so at any instruction a handler can tell whether the
 * thread that it interrupted holds the lock (a try in a handler, fork in a handler; debug builds ask as well): a relaxed read will
 * do, as another thread's value is never its own. futex(2) compares the low half.
 *
 * QUIET HOLDERS. Waking a sleeper is a system call, which GFP_ATOMIC and GFP_NOWAIT must not
 * make. A lock that was only tried is therefore held quietly (lock->quiet), and released without
 * waking anybody. Nobody is forgotten, because of what the waiters do (lock.c):
 *  - a waiter that finds LOCK_QUIET turns the word to LOCK_WAITED like every waiter, but from then
 *    on sleeps for a bounded time only, whatever it finds, until it has the lock;
 *  - a waiter that has slept takes the lock as LOCK_WAITED, and so wakes the next on release.
 * So while anybody sleeps without a bound, one of these is true: the holder is not quiet
 * and the word is LOCK_WAITED (it will wake one); or a waiter is awake, or will wake by its bound
 * (it turns the word to LOCK_WAITED again, or takes the lock so). For the only step that
 * drops a wake-up is a quiet release of LOCK_WAITED, and under a quiet holder only a waiter that
 * found LOCK_QUIET wrote that word: it sleeps with a bound, and it is not gone; or it is, and told all before (lock.c).
 * tests/check/lock_protocol.py goes through every order of these steps.
 * Besides, nobody sleeps longer than SLEEP_MS (lock.c), as a holder may be kept from waking others; the above does not count on it.
 *
 * LOCK ORDER: a thread that holds a lock may wait only for one of a higher
 * rank. Debug builds (-Ddebug_checks=true) check it at each acquisition; a try
 * may break the order, since it never waits. Locks of one rank are never held
 * together, but for fork, which takes every lock in list order.
 *
 * fork: all locks are on one list in rank order. lock_fork_prepare() takes all
 * of them, so no other thread is inside any; the parent releases them, the
 * child resets them (the sleepers are not in the child). A lock that is made after the
 * start (a cache's) joins the list under slab_mutex, the first of all, which fork holds.
 * No handler may come between lock_fork_try() and lock_fork_parent() or lock_fork_child(): who forks blocks signals.
 */
#ifndef LIB_LOCK_H
#define LIB_LOCK_H

#include "lib/compiler.h"
#include "lib/gfp.h"

#include <stdatomic.h>

enum lock_rank {
	LOCK_RANK_SLAB_MUTEX = 1, /* creation and destruction of caches, drains */
	LOCK_RANK_RESERVE,	  /* adding to the reserve and to the DMA zone */
	LOCK_RANK_PERCPU,	  /* the tables of per-CPU areas: populate, drain */
	LOCK_RANK_AREA,		  /* one area, in locked mode */
	LOCK_RANK_BARN,		  /* a cache's lists of full and empty sheaves */
	LOCK_RANK_CACHE,	  /* a cache's partial list and its slabs' bitmaps */
	LOCK_RANK_VMALLOC,	  /* vmap areas and their address table */
	LOCK_RANK_ZONE,		  /* buddy lists and the memory map */
	LOCK_RANK_TRACE,	  /* mapping of rings for events */
	LOCK_RANK_META,		  /* metadata pools; nothing is taken under it */
};

#define LOCK_FORK_WAIT_MS 1000 /* so long does a fork in a handler wait for other threads */
#define LOCK_FORK_TRY_MS 50    /* and any at first, before it tries again, for longer */

/* States; a thread pointer is aligned to more. */
enum { LOCK_FREE, LOCK_HELD, LOCK_WAITED, LOCK_QUIET };
#define LOCK_STATE 3UL

struct lock {
	_Atomic uint64_t word; /* LOCK_FREE, or who holds it | how */
	uint8_t rank;
	bool quiet;	   /* the holder wakes nobody; written and read by the holder */
	bool forked;	   /* taken by the holder's fork; guarded by the lock */
	struct lock *next; /* all locks, by rank; NULL ends it */
};

extern _Thread_local int lock_depth initial_exec;

void lock_init(struct lock *lock, enum lock_rank rank);
void lock_acquire_slow(struct lock *lock);
void lock_wake(struct lock *lock);
void lock_check_order(const struct lock *lock);
void lock_note_held(const struct lock *lock, int delta);

/* The word of a lock that this thread holds. */
static inline uint64_t lock_word(unsigned state)
{
	return (uintptr_t)__builtin_thread_pointer() | state;
}

static inline bool lock_is_mine(const struct lock *lock)
{
	return (atomic_load_explicit(&lock->word, memory_order_relaxed) & ~LOCK_STATE) ==
	       (uintptr_t)__builtin_thread_pointer();
}

#ifdef DEBUG_CHECKS
void lock_assert_held(const struct lock *lock);
#else
static inline void lock_assert_held(const struct lock *lock)
{
	(void)lock;
}
#endif

static inline void lock_taken(struct lock *lock, bool quiet)
{
	lock->quiet = quiet;
#ifdef DEBUG_CHECKS
	lock_note_held(lock, 1);
#endif
}

/* From here on a handler, and what is called here, is treated as one that interrupted the allocator. */
static inline void lock_atomic_enter(void)
{
	lock_depth++;
	barrier();
}

static inline void lock_atomic_exit(void)
{
	barrier();
	lock_depth--;
}

/* The step alone. */
static inline bool lock_take_free(struct lock *lock, unsigned state)
{
	uint64_t expected = LOCK_FREE;

	return atomic_compare_exchange_strong_explicit(&lock->word, &expected, lock_word(state),
						       memory_order_acquire, memory_order_relaxed);
}

/* Take the lock, quietly, if it is free. Never waits, nor does its release; valid in any context. */
static inline bool lock_try(struct lock *lock)
{
	lock_atomic_enter();
	if (likely(lock_take_free(lock, LOCK_QUIET))) {
		lock_taken(lock, true);
		return true;
	}
	lock_atomic_exit();
	return false;
}

/* Wait for the lock. Not from a handler that interrupted the allocator. */
static inline void lock_acquire(struct lock *lock)
{
#ifdef DEBUG_CHECKS
	lock_check_order(lock);
#endif
	lock_atomic_enter();
	if (unlikely(!lock_take_free(lock, LOCK_HELD)))
		lock_acquire_slow(lock);
	lock_taken(lock, false);
}

static inline void lock_release(struct lock *lock)
{
	bool quiet = lock->quiet;

	lock_assert_held(lock);
#ifdef DEBUG_CHECKS
	lock_note_held(lock, -1);
#endif
	/* pairs with the acquire in lock_try() and lock_acquire() */
	if (unlikely((atomic_exchange_explicit(&lock->word, LOCK_FREE, memory_order_release) &
		      LOCK_STATE) == LOCK_WAITED) &&
	    !quiet)
		lock_wake(lock);
	lock_atomic_exit();
}

/* Take the lock as the flags allow: wait, or only try for a moment. */
bool lock_get(struct lock *lock, gfp_t gfp);

/* True while this thread is inside the allocator under a lock. */
static inline bool lock_in_atomic(void)
{
	return lock_depth > 0;
}

/* All locks, by rank; NULL: none yet. */
const struct lock *lock_list(void);

/*
 * Take all locks for a fork, in so many milliseconds: false, and nothing is held, if one of them can't be had. In a handler that
 * interrupted the allocator: true, with those that could be had in LOCK_FORK_WAIT_MS.
 */
bool lock_fork_try(unsigned ms);
/* The same, however long that is. */
void lock_fork_prepare(void);
void lock_fork_parent(void);
void lock_fork_child(void);

#endif
