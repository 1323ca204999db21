/* SPDX-License-Identifier: MIT */
/*
 * test_lock.c - locks: exclusion under contention, tries, and fork with locks held by others and by oneself.
 */
#include "unit.h"

#include "lib/lock.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

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
	lock_fork_begin();
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

static void *allocate_beside_a_fork(void *arg)
{
	/* as malloc() would: not at once, but neither for ever */
	CHECK(!lock_get(&low, GFP_KERNEL));
	CHECK(lock_is_stuck() && !lock_in_atomic());
	CHECK(!lock_get(&high, GFP_KERNEL));
	atomic_store(&step, 1);
	wait_for(2);
	CHECK(!lock_is_stuck());
	CHECK(lock_get(&low, GFP_KERNEL));
	lock_release(&low);
	return arg;
}

/* A fork that has all locks waits for what another thread has: that one must get on. */
static void allocation_gives_up_beside_a_stuck_fork(void)
{
	pthread_t thread;

	init();
	lock_fork_prepare();
	CHECK(pthread_create(&thread, NULL, allocate_beside_a_fork, NULL) == 0);
	wait_for(1);
	lock_fork_parent();
	atomic_store(&step, 2);
	pthread_join(thread, NULL);
	CHECK(!lock_in_atomic() && lock_try(&low) && lock_try(&high));
}

static void *get_where_nobody_forks(void *arg)
{
	CHECK(lock_get(&low, GFP_KERNEL));
	lock_release(&low);
	return arg;
}

static void allocation_waits_on_where_nobody_forks(void)
{
	pthread_t thread;

	init();
	lock_acquire(&low);
	CHECK(pthread_create(&thread, NULL, get_where_nobody_forks, NULL) == 0);
	usleep((LOCK_STUCK_MS + 500) * 1000);
	lock_release(&low);
	pthread_join(thread, NULL);
}

static _Atomic int handled;

static void child_amid_a_fork(void *arg)
{
	(void)arg;
	lock_fork_child();
	CHECK(lock_is_mine(&low) && low.forked && lock_in_atomic());
	CHECK(lock_try(&high));
	lock_release(&high);
}

static void fork_in_handler(int signum)
{
	(void)signum;
	CHECK(lock_is_mine(&low) && low.forked);
	lock_fork_begin();
	CHECK(lock_fork_try(0));
	CHECK(!lock_is_mine(&high));
	lock_fork_parent();
	/* the interrupted fork's stay its own */
	CHECK(lock_is_mine(&low) && low.forked && lock_in_atomic());
	lock_fork_begin();
	CHECK(lock_fork_try(0));
	CHECK_EQ(unit_child(child_amid_a_fork, NULL).status, 0);
	lock_fork_parent();
	atomic_store(&handled, 1);
}

static void *hold_high(void *arg)
{
	lock_acquire(&high);
	atomic_store(&step, 1);
	while (!atomic_load(&handled))
		usleep(1000);
	lock_release(&high);
	return arg;
}

/* A handler forks while the thread that it interrupted takes the locks for a fork. */
static void fork_amid_a_fork_takes_none_of_its_locks(void)
{
	struct sigaction action = { .sa_handler = fork_in_handler };
	struct itimerval soon = { .it_value = { 0, 20000 } };
	pthread_t thread;

	init();
	CHECK(pthread_create(&thread, NULL, hold_high, NULL) == 0);
	wait_for(1);
	CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &soon, NULL) == 0);
	lock_fork_begin();
	CHECK(lock_fork_try(20000));
	CHECK(atomic_load(&handled));
	CHECK(lock_is_mine(&low) && lock_is_mine(&high));
	lock_fork_parent();
	CHECK(!lock_in_atomic());
	CHECK(lock_try(&low));
	lock_release(&low);
	pthread_join(thread, NULL);
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
	lock_fork_begin();
	lock_fork_try(3);
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
		usleep(200 + i * 7 % 4000);
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

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST_RAW(threads_exclude_each_other),
		UNIT_TEST_RAW(try_of_a_held_lock_fails_and_counts_nothing),
		UNIT_TEST_RAW(fork_leaves_all_locks_free_on_both_sides),
		UNIT_TEST_RAW(fork_under_a_lock_leaves_it_to_its_holder),
		UNIT_TEST_RAW(fork_that_tries_gives_all_back),
		UNIT_TEST_RAW(allocation_gives_up_beside_a_stuck_fork),
		UNIT_TEST_RAW(allocation_waits_on_where_nobody_forks),
		UNIT_TEST_RAW(fork_amid_a_fork_takes_none_of_its_locks),
		UNIT_TEST_RAW(fork_that_tries_keeps_nobodys_wake_up),
	};

	return UNIT_MAIN(tests);
}
