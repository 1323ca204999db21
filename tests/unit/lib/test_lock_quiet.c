/* SPDX-License-Identifier: MIT */
/*
 * test_lock_quiet.c - quiet holders: a lock that was only tried is released without a system call, and
 * yet no waiter is forgotten.
 */
#include "unit.h"

#include "lib/lock.h"
#include "seccomp.h"

#include <pthread.h>
#include <time.h>

static struct lock lock;
static _Atomic int waiting, taken, released;

static void pause_ms(long ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&time, NULL);
}

static void *wait_for_lock(void *unused)
{
	atomic_fetch_add(&waiting, 1);
	lock_acquire(&lock);
	atomic_fetch_add(&taken, 1);
	lock_release(&lock);
	return unused;
}

/* Holds the lock quietly until others sleep, then releases it where no system call may be made. */
static void *hold_quietly(void *try)
{
	CHECK(try ? lock_try(&lock) : lock_get(&lock, GFP_ATOMIC));
	while (atomic_load(&waiting) < 4)
		pause_ms(1);
	pause_ms(50);
	CHECK_EQ(atomic_load(&lock.word) & LOCK_STATE, LOCK_WAITED);
	seccomp_no_calls();
	lock_release(&lock);
	atomic_store(&released, 1);
	for (;;)
		__builtin_ia32_pause();
	return NULL;
}

static void release_quietly(bool try)
{
	pthread_t holder, waiters[4];

	lock_init(&lock, LOCK_RANK_META);
	CHECK(pthread_create(&holder, NULL, hold_quietly, (void *)(uintptr_t)try) == 0);
	while (!atomic_load(&lock.word))
		pause_ms(1);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&waiters[i], NULL, wait_for_lock, NULL) == 0);
	for (int i = 0; i < 4; i++)
		pthread_join(waiters[i], NULL);
	CHECK(atomic_load(&released));
	CHECK_EQ(atomic_load(&taken), 4);
	CHECK_EQ(atomic_load(&lock.word), LOCK_FREE);
}

static void lock_tried_and_released_calls_nobody_and_wakes_all(void)
{
	release_quietly(true);
}

static void lock_got_without_waiting_calls_nobody_and_wakes_all(void)
{
	release_quietly(false);
}

#define ROUNDS 200000

/* Half of the threads wait, half only try; each that waits must get through its rounds. */
static void *take_in_turn(void *arg)
{
	static unsigned inside; /* guarded by the lock */
	bool waits = arg;

	for (int i = 0; i < ROUNDS; i++) {
		if (waits)
			lock_acquire(&lock);
		else if (!lock_get(&lock, GFP_NOWAIT))
			continue;
		CHECK_EQ(inside++, 0);
		inside--;
		lock_release(&lock);
	}
	return NULL;
}

static void lock_of_waiters_and_triers_is_exclusive_and_forgets_nobody(void)
{
	pthread_t threads[8];

	lock_init(&lock, LOCK_RANK_META);
	for (uintptr_t i = 0; i < 8; i++)
		CHECK(pthread_create(&threads[i], NULL, take_in_turn, (void *)(i & 1)) == 0);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(atomic_load(&lock.word), LOCK_FREE);
}

static void locks_stand_on_one_list_by_rank(void)
{
	static struct lock locks[3];
	unsigned rank = 0, n = 0;

	lock_init(&locks[0], LOCK_RANK_ZONE);
	lock_init(&locks[1], LOCK_RANK_BARN);
	lock_init(&locks[2], LOCK_RANK_META);
	for (const struct lock *one = lock_list(); one; one = one->next, n++) {
		CHECK(one->rank >= rank);
		rank = one->rank;
	}
	CHECK_EQ(n, 3);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST_RAW(lock_tried_and_released_calls_nobody_and_wakes_all),
		UNIT_TEST_RAW(lock_got_without_waiting_calls_nobody_and_wakes_all),
		UNIT_TEST_RAW(lock_of_waiters_and_triers_is_exclusive_and_forgets_nobody),
		UNIT_TEST_RAW(locks_stand_on_one_list_by_rank),
	};

	return UNIT_MAIN(tests);
}
