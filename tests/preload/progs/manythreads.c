/* SPDX-License-Identifier: MIT */
/*
 * 5000 threads alive at once, on small stacks: each allocates, waits for the last, then frees
 * its neighbour's objects.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>

#include "check.h"

#define THREADS 5000
#define EACH 6
#define STACK (PTHREAD_STACK_MIN + 8192)

static const size_t sizes[EACH] = { 16, 72, 200, 1000, 4000, 20000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_here = PTHREAD_COND_INITIALIZER;
static int here;
static bool give_up;
static unsigned char *objects[THREADS][EACH];

static void *thread_main(void *arg)
{
	int me = (int)(uintptr_t)arg, next = (me + 1) % THREADS;

	for (int i = 0; i < EACH; i++) {
		objects[me][i] = hide(malloc(sizes[i]));
		CHECK(objects[me][i] != NULL, "thread %d", me);
		pattern_fill(objects[me][i], 16, me + i);
	}
	if (me % 16 == 0) {
		char *large = hide(malloc(150000));

		CHECK(large != NULL, "thread %d", me);
		large[0] = large[149999] = 1;
		free(large);
	}
	pthread_mutex_lock(&lock);
	if (++here == THREADS)
		pthread_cond_broadcast(&all_here);
	while (here < THREADS && !give_up)
		pthread_cond_wait(&all_here, &lock);
	pthread_mutex_unlock(&lock);
	if (give_up)
		return NULL;
	for (int i = 0; i < EACH; i++) {
		CHECK(pattern_ok(objects[next][i], 16, next + i), "thread %d's object %d", next, i);
		free(objects[next][i]);
	}
	return NULL;
}

int main(void)
{
	static pthread_t threads[THREADS];
	pthread_attr_t attr;
	int count;

	check_library();
	pthread_attr_init(&attr);
	CHECK(pthread_attr_setstacksize(&attr, STACK) == 0, "pthread_attr_setstacksize");
	for (count = 0; count < THREADS; count++)
		if (pthread_create(&threads[count], &attr, thread_main, (void *)(uintptr_t)count) !=
		    0)
			break;
	if (count < THREADS) {
		pthread_mutex_lock(&lock);
		give_up = true;
		pthread_cond_broadcast(&all_here);
		pthread_mutex_unlock(&lock);
	}
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	if (count < THREADS) {
		say("skip: this system does not let a process have %d threads", THREADS);
		return SKIP;
	}
	say("%d threads at once: every object sound, freed by a neighbour", THREADS);
	return 0;
}
