/* SPDX-License-Identifier: MIT */
/*
 * lock.c - the waiting side of ranked locks, their order, and fork.
 *
 * A waiter spins for a short while (critical sections are tens of
 * instructions, but for those that map memory), then marks the word LOCK_WAITED and
 * sleeps in futex. A woken waiter takes the lock as LOCK_WAITED, since it can't know
 * whether others sleep: one wake-up too many at worst, never one too few. One that met a
 * quiet holder, who will wake nobody, never sleeps longer than BOUNDED_WAIT_MS again.
 *
 * Who waits until a time only (fork) is a waiter like the others: a release may have woken it in
 * another's place, and the others may count on it as the one that sleeps for a bounded time. So when it goes
 * it turns LOCK_WAITED into LOCK_QUIET, then wakes all: each looks at the word again, and finds the lock
 * free, or a word that tells it to sleep for a bounded time. Under a holder that is not quiet that costs
 * a look a millisecond, and is as safe.
 *
 * fork from a handler that interrupted the allocator: this thread may hold
 * locks that it can't take again. Those are left to the interrupted code, which
 * goes on in parent and child alike; for all the others together it waits for a second. A
 * lock that stays busy is given up: its holder waits for one of ours, which happens
 * where it asks for metadata, before it changes anything. The child resets every
 * lock that is not the interrupted code's. That code may be a fork that was taking the locks:
 * forks of a thread have levels, and each releases its own.
 */
#include "lib/lock.h"

#include "lib/die.h"
#include "lib/port.h"

#define SPIN_LIMIT 100
#define TRY_SPIN_LIMIT 32
#define BOUNDED_WAIT_MS 1

_Thread_local int lock_depth initial_exec;

static struct lock
	*all_locks; /* by rank; only ever grows: at start-up, later under the first lock of all */
static struct lock *last_of_rank[LOCK_RANK_META + 1]; /* NULL: none yet */
/* Forks of this thread that hold locks, or take them. */
static _Thread_local uint8_t fork_level initial_exec;

void lock_init(struct lock *lock, enum lock_rank rank)
{
	struct lock **link = &all_locks;

	atomic_store_explicit(&lock->word, 0, memory_order_relaxed);
	lock->rank = (uint8_t)rank;
	lock->forked = 0;
	lock->owner = NULL;
	for (unsigned below = rank; below; below--) {
		if (last_of_rank[below]) {
			link = &last_of_rank[below]->next;
			break;
		}
	}
	lock->next = *link;
	/* whoever goes along the list meanwhile finds the lock whole, or not at all */
	__atomic_store_n(link, lock, __ATOMIC_RELEASE);
	last_of_rank[rank] = lock;
}

static bool spin_for(struct lock *lock)
{
	for (int i = 0; i < SPIN_LIMIT; i++) {
		uint32_t expected = LOCK_FREE;

		__builtin_ia32_pause();
		if (atomic_load_explicit(&lock->word, memory_order_relaxed) == LOCK_FREE &&
		    atomic_compare_exchange_strong_explicit(&lock->word, &expected, LOCK_HELD,
							    memory_order_acquire,
							    memory_order_relaxed))
			return true;
	}
	return false;
}

const struct lock *lock_list(void)
{
	return all_locks;
}

cold_path void lock_acquire_slow(struct lock *lock)
{
	bool bounded = false; /* met a quiet holder: see lock.h */

	if (spin_for(lock))
		return;
	for (;;) {
		uint32_t found =
			atomic_exchange_explicit(&lock->word, LOCK_WAITED, memory_order_acquire);

		if (found == LOCK_FREE)
			return;
		bounded |= found == LOCK_QUIET;
		if (bounded)
			port_futex_wait_ms(&lock->word, LOCK_WAITED, BOUNDED_WAIT_MS);
		else
			port_futex_wait(&lock->word, LOCK_WAITED);
	}
}

cold_path void lock_wake(struct lock *lock)
{
	port_futex_wake(&lock->word, 1);
}

bool lock_get(struct lock *lock, gfp_t gfp)
{
	if (likely(gfpflags_allow_blocking(gfp))) {
		lock_acquire(lock);
		return true;
	}
	for (int i = 0; i < TRY_SPIN_LIMIT; i++) {
		if (lock_try(lock))
			return true;
		if (lock_is_mine(lock))
			return false;
		__builtin_ia32_pause();
	}
	return false;
}

/* False: not by then. Not counted as held while others' locks are, so any order is right. */
static bool acquire_until(struct lock *lock, uint64_t end)
{
	uint32_t expected = LOCK_FREE;
	bool taken;

	lock_depth++;
	barrier();
	taken = atomic_compare_exchange_strong(&lock->word, &expected, LOCK_HELD) || spin_for(lock);
	while (!taken) {
		taken = atomic_exchange_explicit(&lock->word, LOCK_WAITED, memory_order_acquire) ==
			LOCK_FREE;
		if (taken || port_clock_ms() >= end)
			break;
		port_futex_wait_ms(&lock->word, LOCK_WAITED, BOUNDED_WAIT_MS);
	}
	if (taken) {
		lock_taken(lock, false);
		return true;
	}
	expected = LOCK_WAITED;
	atomic_compare_exchange_strong(&lock->word, &expected, LOCK_QUIET);
	port_futex_wake(&lock->word, INT32_MAX);
	barrier();
	lock_depth--;
	return false;
}

/* Every rank in turn, so the order holds. */
static void fork_acquire(struct lock *lock)
{
	uint32_t expected = LOCK_FREE;

	lock_depth++;
	barrier();
	if (!atomic_compare_exchange_strong(&lock->word, &expected, LOCK_HELD))
		lock_acquire_slow(lock);
	lock_taken(lock, false);
}

void lock_fork_prepare(void)
{
	if (lock_in_atomic()) {
		lock_fork_try(0);
		return;
	}
	fork_level++;
	for (struct lock *lock = all_locks; lock; lock = lock->next) {
		fork_acquire(lock);
		lock->forked = fork_level;
	}
}

bool lock_fork_try(unsigned ms)
{
	bool nested = lock_in_atomic();
	uint64_t end = port_clock_ms() + (nested ? LOCK_FORK_WAIT_MS : ms);

	fork_level++;
	for (struct lock *lock = all_locks; lock; lock = lock->next) {
		if (nested && lock_is_mine(lock))
			continue;
		if (acquire_until(lock, end)) {
			lock->forked = fork_level;
		} else if (!nested) {
			lock_fork_parent();
			return false;
		}
	}
	return true;
}

static bool taken_by_this_fork(const struct lock *lock)
{
	return lock_is_mine(lock) && lock->forked == fork_level;
}

void lock_fork_parent(void)
{
	/* in list order too: nobody can wait for two of them */
	for (struct lock *lock = all_locks; lock; lock = lock->next) {
		if (!taken_by_this_fork(lock))
			continue;
		lock->forked = 0;
		lock_release(lock);
	}
	fork_level--;
}

void lock_fork_child(void)
{
	int taken = 0;

	for (struct lock *lock = all_locks; lock; lock = lock->next) {
		bool mine = lock_is_mine(lock);

		/* those of the interrupted code stay its own; all others' holders are not here */
		if (mine && lock->forked != fork_level)
			continue;
#ifdef DEBUG_CHECKS
		if (mine)
			lock_note_held(lock, -1);
#endif
		taken += mine;
		lock->forked = 0;
		__atomic_store_n(&lock->owner, NULL, __ATOMIC_RELAXED);
		atomic_store_explicit(&lock->word, 0, memory_order_relaxed);
	}
	lock_depth -= taken;
	fork_level--;
}

#ifdef DEBUG_CHECKS
/* How many locks of each rank this thread holds. */
static _Thread_local int8_t held[LOCK_RANK_META + 1] initial_exec;

void lock_check_order(const struct lock *lock)
{
	for (unsigned rank = lock->rank; rank <= LOCK_RANK_META; rank++)
		if (held[rank])
			die("BUG lock: rank %u is taken under rank %u", lock->rank, rank);
}

void lock_note_held(const struct lock *lock, int delta)
{
	held[lock->rank] = (int8_t)(held[lock->rank] + delta);
}

void lock_assert_held(const struct lock *lock)
{
	if (!lock_is_mine(lock))
		die("BUG lock: rank %u is not held where it must be", lock->rank);
}
#endif
