/* SPDX-License-Identifier: MIT */
/*
 * lock.c - the waiting side of ranked locks, their order, and fork.
 *
 * A waiter spins for a short while (critical sections are tens of
 * instructions, but for those that map memory), then marks the word LOCK_WAITED and
 * sleeps in futex. A woken waiter takes the lock as LOCK_WAITED, since it can't know
 * whether others sleep: one wake-up too many at worst, never one too few. One that met a
 * quiet holder, who will wake nobody, never sleeps longer than BOUNDED_WAIT_MS again. Nobody sleeps longer than
 * SLEEP_MS: who is to wake others may be kept from it by a handler that stays.
 *
 * Who waits until a time only (fork) is a waiter like the others: a release may have woken it in
 * another's place, and the others may count on it as the one that sleeps for a bounded time. So when it goes
 * it turns LOCK_WAITED into LOCK_QUIET, then wakes all: each looks at the word again, and finds the lock
 * free, or a word that tells it to sleep for a bounded time. Under a holder that is not quiet that costs
 * a look a millisecond, and is as safe.
 *
 * fork from a handler that interrupted the allocator: this thread may hold
 * locks that it can't take again. Those are left to the interrupted code, which
 * goes on in parent and child alike; for all the others together it waits for a second, and for each for
 * SLEEPS_MIN times at least. A lock that stays busy is given up: its holder waits for one of ours, which happens
 * where it asks for metadata, before it changes anything; or it was interrupted as well, by a handler that stays
 * (docs/limits.md). The child resets every lock that is not the interrupted code's.
 */
#include "lib/lock.h"

#include "lib/die.h"
#include "lib/port.h"

#define SPIN_LIMIT 100
#define TRY_SPIN_LIMIT 32
#define BOUNDED_WAIT_MS 1
#define SLEEP_MS 50
/* And milliseconds, before a waiter goes: so long did others have the CPU, even if all were stopped meanwhile. */
#define SLEEPS_MIN 20

_Thread_local int lock_depth initial_exec;

static struct lock
	*all_locks; /* by rank; only ever grows: at start-up, later under the first lock of all */
static struct lock *last_of_rank[LOCK_RANK_META + 1]; /* NULL: none yet */

void lock_init(struct lock *lock, enum lock_rank rank)
{
	struct lock **link = &all_locks;

	atomic_store_explicit(&lock->word, 0, memory_order_relaxed);
	lock->rank = (uint8_t)rank;
	lock->forked = false;
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
		__builtin_ia32_pause();
		if (atomic_load_explicit(&lock->word, memory_order_relaxed) == LOCK_FREE &&
		    lock_take_free(lock, LOCK_HELD))
			return true;
	}
	return false;
}

const struct lock *lock_list(void)
{
	return all_locks;
}

/* The same holder, in another way. */
static uint64_t in_state(uint64_t word, unsigned state)
{
	return (word & ~LOCK_STATE) | state;
}

/* One step: take it, as one that others may sleep for, or tell its holder that somebody does. What was found. */
static uint64_t take_or_mark(struct lock *lock)
{
	uint64_t found = atomic_load_explicit(&lock->word, memory_order_relaxed), wanted;

	do
		wanted = found == LOCK_FREE ? lock_word(LOCK_WAITED) : in_state(found, LOCK_WAITED);
	while (!atomic_compare_exchange_weak_explicit(&lock->word, &found, wanted,
						      memory_order_acquire, memory_order_relaxed));
	return found;
}

/* The half of the word that tells states apart; x86 has it first. */
static _Atomic uint32_t *futex_of(struct lock *lock)
{
	return (_Atomic uint32_t *)&lock->word;
}

cold_path void lock_wake(struct lock *lock)
{
	port_futex_wake(futex_of(lock), 1);
}

/* The waiter goes, see above. */
static void leave(struct lock *lock)
{
	uint64_t found = atomic_load_explicit(&lock->word, memory_order_relaxed);

	while ((found & LOCK_STATE) == LOCK_WAITED &&
	       !atomic_compare_exchange_weak(&lock->word, &found, in_state(found, LOCK_QUIET)))
		;
	port_futex_wake(futex_of(lock), INT32_MAX);
}

/* False: it can't be had by then, nor in SLEEPS_MIN sleeps, of step_ms at most. */
static bool take_until(struct lock *lock, uint64_t end, unsigned step_ms)
{
	unsigned ms = step_ms;

	if (spin_for(lock))
		return true;
	end = max_size(end, port_clock_ms() + SLEEPS_MIN);
	for (unsigned sleeps = 0;; sleeps++) {
		uint64_t found = take_or_mark(lock);

		if (found == LOCK_FREE)
			return true;
		if (sleeps >= SLEEPS_MIN && port_clock_ms() >= end)
			break;
		if ((found & LOCK_STATE) == LOCK_QUIET)
			ms = BOUNDED_WAIT_MS;
		port_futex_wait_ms(futex_of(lock), (uint32_t)in_state(found, LOCK_WAITED), ms);
	}
	leave(lock);
	return false;
}

cold_path void lock_acquire_slow(struct lock *lock)
{
	take_until(lock, UINT64_MAX, SLEEP_MS);
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

/* For fork, which takes others' locks while it has this one, in the order of ranks. */
static bool acquire_until(struct lock *lock, uint64_t end)
{
	lock_atomic_enter();
	if (lock_take_free(lock, LOCK_HELD) || take_until(lock, end, BOUNDED_WAIT_MS)) {
		lock_taken(lock, false);
		return true;
	}
	lock_atomic_exit();
	return false;
}

bool lock_fork_try(unsigned ms)
{
	bool nested = lock_in_atomic();
	uint64_t end = port_clock_ms() + (nested ? LOCK_FORK_WAIT_MS : ms);

	for (struct lock *lock = all_locks; lock; lock = lock->next) {
		if (nested && lock_is_mine(lock))
			continue;
		if (acquire_until(lock, end)) {
			lock->forked = true;
		} else if (!nested) {
			lock_fork_parent();
			return false;
		}
	}
	return true;
}

void lock_fork_prepare(void)
{
	while (!lock_fork_try(LOCK_FORK_WAIT_MS))
		;
}

void lock_fork_parent(void)
{
	/* in list order too: nobody can wait for two of them */
	for (struct lock *lock = all_locks; lock; lock = lock->next) {
		if (!lock_is_mine(lock) || !lock->forked)
			continue;
		lock->forked = false;
		lock_release(lock);
	}
}

void lock_fork_child(void)
{
	int taken = 0;

	for (struct lock *lock = all_locks; lock; lock = lock->next) {
		bool mine = lock_is_mine(lock);

		/* those of the interrupted code stay its own; all others' holders are not here */
		if (mine && !lock->forked)
			continue;
#ifdef DEBUG_CHECKS
		if (mine)
			lock_note_held(lock, -1);
#endif
		taken += mine;
		lock->forked = false;
		atomic_store_explicit(&lock->word, LOCK_FREE, memory_order_relaxed);
	}
	lock_depth -= taken;
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
