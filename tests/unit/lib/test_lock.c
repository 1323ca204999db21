/* SPDX-License-Identifier: MIT */
/*
 * test_lock.c - locks: exclusion under contention, tries, and fork with locks held by others and by oneself.
 */
#include "unit.h"

#include "lib/lock.h"

#include <pthread.h>
#include <time.h>

#define THREADS 8
#define ROUNDS 20000

static struct lock low, high;
static unsigned long counter;
static _Atomic int step;

static void wait_for(int wanted)
{
	while (atomic_load(&step) < wanted)
		usleep(100);
}

static void init(void)
{
	/* not in the order of ranks: the list puts them there */
	lock_init(&high, LOCK_RANK_META);
	lock_init(&low, LOCK_RANK_BARN);
}

static void *count(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		lock_acquire(&low);
		counter++;
		if (i % 1000 == 0)
			usleep(50); /* others spin, then sleep */
		lock_release(&low);
	}
	return arg;
}

static void threads_exclude_each_other(void)
{
	pthread_t threads[THREADS];

	init();
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, count, NULL) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(counter, THREADS * ROUNDS);
	CHECK(!lock_in_atomic());
}

static void *hold(void *arg)
{
	lock_acquire(&low);
	atomic_store(&step, 1);
	wait_for(2);
	lock_release(&low);
	atomic_store(&step, 3);
	return arg;
}

static void try_of_a_held_lock_fails_and_counts_nothing(void)
{
	pthread_t thread;

	init();
	CHECK(pthread_create(&thread, NULL, hold, NULL) == 0);
	wait_for(1);
	CHECK(!lock_try(&low) && !lock_get(&low, GFP_ATOMIC));
	CHECK(!lock_in_atomic() && !lock_is_mine(&low));
	atomic_store(&step, 2);
	wait_for(3);
	CHECK(lock_get(&low, GFP_ATOMIC) && lock_is_mine(&low) && lock_in_atomic());
	/* one's own: no use in trying */
	CHECK(!lock_get(&low, GFP_ATOMIC));
	lock_release(&low);
	pthread_join(thread, NULL);
}

static void take_both(void *arg)
{
	(void)arg;
	lock_fork_child();
	CHECK(!lock_in_atomic());
	lock_acquire(&low);
	lock_acquire(&high);
	lock_release(&high);
	lock_release(&low);
}

static void fork_leaves_all_locks_free_on_both_sides(void)
{
	init();
	lock_fork_prepare();
	CHECK(lock_is_mine(&low) && lock_is_mine(&high));
	CHECK_EQ(unit_child(take_both, NULL).status, 0);
	lock_fork_parent();
	CHECK(!lock_in_atomic());
	CHECK(lock_try(&high));
	lock_release(&high);
}

static void child_of_a_holder(void *arg)
{
	(void)arg;
	lock_fork_child();
	/* the interrupted code goes on here too: its lock is its own, the other's is free */
	CHECK(lock_is_mine(&high) && !lock_is_mine(&low));
	lock_release(&high);
	CHECK(lock_try(&low));
	lock_release(&low);
	CHECK(!lock_in_atomic());
}

/* As in a signal handler that interrupted the holder of one lock, while another thread holds the other. */
static void fork_under_a_lock_leaves_it_to_its_holder(void)
{
	pthread_t thread;

	init();
	CHECK(pthread_create(&thread, NULL, hold, NULL) == 0);
	wait_for(1);
	CHECK(lock_try(&high));
	lock_fork_prepare();
	CHECK(!lock_is_mine(&low));
	CHECK_EQ(unit_child(child_of_a_holder, NULL).status, 0);
	lock_fork_parent();
	CHECK(lock_is_mine(&high));
	lock_release(&high);
	CHECK(!lock_in_atomic());
	atomic_store(&step, 2);
	pthread_join(thread, NULL);
	CHECK(lock_try(&low));
	lock_release(&low);
}

/* One of them is held by a thread that waits for what this one has besides: it must get away. */
static void fork_that_tries_gives_all_back(void)
{
	pthread_t thread;

	init();
	CHECK(pthread_create(&thread, NULL, hold, NULL) == 0);
	wait_for(1);
	CHECK(!lock_fork_try(LOCK_FORK_TRY_MS));
	CHECK(!lock_in_atomic() && !lock_is_mine(&high));
	CHECK(lock_try(&high));
	lock_release(&high);
	atomic_store(&step, 2);
	pthread_join(thread, NULL);
	CHECK(lock_fork_try(LOCK_FORK_TRY_MS));
	CHECK(lock_is_mine(&low) && lock_is_mine(&high));
	lock_fork_parent();
	CHECK(!lock_in_atomic());
}

static void *be_busy(void *arg)
{
	while (atomic_load(&step) < 2) {
		lock_acquire(&high);
		usleep(5000);
		lock_release(&high);
		usleep(100);
	}
	return arg;
}

/* In a handler that interrupted the allocator: one that can't be had takes all the time, one that is merely busy is waited for. */
static void fork_under_a_lock_gives_no_busy_lock_up(void)
{
	static struct lock own;
	pthread_t holder, busy;

	init();
	lock_init(&own, LOCK_RANK_ZONE);
	CHECK(pthread_create(&holder, NULL, hold, NULL) == 0);
	wait_for(1);
	CHECK(pthread_create(&busy, NULL, be_busy, NULL) == 0);
	for (int i = 0; i < 3; i++) {
		CHECK(lock_try(&own));
		CHECK(lock_fork_try(0));
		CHECK(!lock_is_mine(&low) && lock_is_mine(&high));
		lock_fork_parent();
		CHECK(lock_is_mine(&own) && !lock_is_mine(&high));
		lock_release(&own);
	}
	atomic_store(&step, 2);
	pthread_join(holder, NULL);
	pthread_join(busy, NULL);
}

static void *wait_for_low(void *arg)
{
	lock_acquire(&low);
	lock_release(&low);
	atomic_store(&step, 2);
	return arg;
}

static void *try_both(void *arg)
{
	if (lock_fork_try(3))
		lock_fork_parent();
	return arg;
}

/*
 * One waits for a lock and one tries it for some milliseconds, ahead of it in the queue or behind: whoever the holder
 * wakes, and whether or not the try had its time, the one that waits gets the lock, though nobody else ever comes by.
 */
static void fork_that_tries_keeps_nobodys_wake_up(void)
{
	init();
	for (unsigned i = 0; i < 400; i++) {
		pthread_t waiter, forker;
		bool quietly = i % 4 == 3;

		atomic_store(&step, 1);
		if (quietly)
			CHECK(lock_try(&low));
		else
			lock_acquire(&low);
		CHECK(pthread_create(&forker, NULL, try_both, NULL) == 0);
		usleep(i * 37 % 1000);
		CHECK(pthread_create(&waiter, NULL, wait_for_low, NULL) == 0);
		usleep(200 + i * 131 % 40000);
		lock_release(&low);
		for (int ms = 0; atomic_load(&step) < 2; ms++) {
			CHECK(ms < 5000);
			usleep(1000);
		}
		pthread_join(waiter, NULL);
		pthread_join(forker, NULL);
		CHECK(!lock_in_atomic());
	}
}

static void *try_for_longer(void *arg)
{
	CHECK(!lock_fork_try(10));
	return arg;
}

/*
 * A waiter that found the word marked sleeps for long, as whoever marked it is there: if that one goes, under a holder that will wake
 * nobody, it must be told. It would find out by itself after SLEEP_MS (lock.c).
 */
static void waiter_is_told_that_another_went(void)
{
	unsigned late = 0;

	init();
	for (int i = 0; i < 11; i++) {
		pthread_t waiter, forker;
		struct timespec released, had;

		atomic_store(&step, 1);
		CHECK(lock_try(&low));
		CHECK(pthread_create(&forker, NULL, try_for_longer, NULL) == 0);
		usleep(2000);
		CHECK(pthread_create(&waiter, NULL, wait_for_low, NULL) == 0);
		pthread_join(forker, NULL);
		clock_gettime(CLOCK_MONOTONIC, &released);
		lock_release(&low);
		pthread_join(waiter, NULL);
		clock_gettime(CLOCK_MONOTONIC, &had);
		late += (had.tv_sec - released.tv_sec) * 1000 +
				(had.tv_nsec - released.tv_nsec) / 1000000 >
			10;
	}
	CHECK(late < 6);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST_RAW(threads_exclude_each_other),
		UNIT_TEST_RAW(try_of_a_held_lock_fails_and_counts_nothing),
		UNIT_TEST_RAW(fork_leaves_all_locks_free_on_both_sides),
		UNIT_TEST_RAW(fork_under_a_lock_leaves_it_to_its_holder),
		UNIT_TEST_RAW(fork_that_tries_gives_all_back),
		UNIT_TEST_RAW(fork_under_a_lock_gives_no_busy_lock_up),
		UNIT_TEST_RAW(fork_that_tries_keeps_nobodys_wake_up),
		UNIT_TEST_RAW(waiter_is_told_that_another_went),
	};

	return UNIT_MAIN(tests);
}
