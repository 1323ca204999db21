/* SPDX-License-Identifier: MIT */
/*
 * test_reclaim.c - shrinkers: who is called, in which order, and how often.
 */
#include "unit.h"

#include "lib/param.h"
#include "page/reclaim.h"

#include <pthread.h>
#include <stdatomic.h>

static char order[16];
static enum reclaim last;
static _Atomic int nr_calls;

static size_t shrink_a(enum reclaim what)
{
	last = what;
	strcat(order, "a");
	return 5;
}

static size_t shrink_b(enum reclaim what)
{
	last = what;
	strcat(order, "b");
	return 70;
}

static size_t shrink_counting(enum reclaim what)
{
	CHECK_EQ(what, RECLAIM_AGE);
	atomic_fetch_add(&nr_calls, 1);
	return 0;
}

static void shrinker_registered_last_runs_first(void)
{
	static struct shrinker a = { shrink_a, NULL }, b = { shrink_b, NULL };

	CHECK_EQ(reclaim_run(RECLAIM_ALL), 0);
	shrinker_register(&a);
	shrinker_register(&b);
	CHECK_EQ(reclaim_run(RECLAIM_ALL), 75);
	CHECK(!strcmp(order, "ba"));
	CHECK_EQ(last, RECLAIM_ALL);
	CHECK_EQ(reclaim_run(RECLAIM_AGE), 75);
	CHECK_EQ(last, RECLAIM_AGE);
}

static size_t shrink_excess(enum reclaim what)
{
	if (what == RECLAIM_EXCESS)
		atomic_fetch_add(&nr_calls, 1);
	return 0;
}

static void poll_after_a_wake_returns_the_excess_once(void)
{
	static struct shrinker one = { shrink_excess, NULL };

	params.reclaim_age_ms = 1000000000;
	shrinker_register(&one);
	reclaim_poll();
	CHECK_EQ(nr_calls, 0);
	reclaim_wake();
	reclaim_wake();
	CHECK_EQ(nr_calls, 0);
	reclaim_poll();
	reclaim_poll();
	CHECK_EQ(nr_calls, 1);
}

static void poll_within_a_period_runs_nothing(void)
{
	static struct shrinker counting = { shrink_counting, NULL };

	params.reclaim_age_ms = 1000000000;
	shrinker_register(&counting);
	for (int i = 0; i < 1000; i++)
		reclaim_poll();
	usleep(20000);
	reclaim_poll();
	CHECK_EQ(nr_calls, 0);
}

static void poll_after_a_period_runs_once(void)
{
	static struct shrinker counting = { shrink_counting, NULL };

	params.reclaim_age_ms = 200;
	shrinker_register(&counting);
	reclaim_poll();
	CHECK_EQ(nr_calls, 0);
	usleep(150000);
	params.reclaim_age_ms = 1000000000;
	for (int i = 0; i < 1000; i++)
		reclaim_poll();
	CHECK_EQ(nr_calls, 1);
}

static void poll_without_a_period_still_runs(void)
{
	static struct shrinker counting = { shrink_counting, NULL };

	params.reclaim_age_ms = 0;
	shrinker_register(&counting);
	while (nr_calls < 3)
		reclaim_poll();
}

static pthread_barrier_t barrier;

static void *poll_many(void *unused)
{
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 10000; i++)
		reclaim_poll();
	return unused;
}

static void poll_of_many_threads_runs_once(void)
{
	static struct shrinker counting = { shrink_counting, NULL };
	pthread_t threads[8];

	params.reclaim_age_ms = 40;
	shrinker_register(&counting);
	reclaim_poll();
	usleep(60000);
	params.reclaim_age_ms = 1000000000;
	pthread_barrier_init(&barrier, NULL, 8);
	for (int i = 0; i < 8; i++)
		CHECK(pthread_create(&threads[i], NULL, poll_many, NULL) == 0);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(nr_calls, 1);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST_RAW(shrinker_registered_last_runs_first),
		UNIT_TEST_RAW(poll_after_a_wake_returns_the_excess_once),
		UNIT_TEST_RAW(poll_within_a_period_runs_nothing),
		UNIT_TEST_RAW(poll_after_a_period_runs_once),
		UNIT_TEST_RAW(poll_without_a_period_still_runs),
		UNIT_TEST_RAW(poll_of_many_threads_runs_once),
	};

	return UNIT_MAIN(tests);
}
