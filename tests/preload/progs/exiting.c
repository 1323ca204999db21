/* SPDX-License-Identifier: MIT */
/*
 * The process ends, by exit, _exit, quick_exit or the end of main's thread, while other threads
 * allocate.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "check.h"

#define THREADS 6
#define ROUNDS 40

static _Atomic long made;
static void *left_over;

static void *allocate_on_and_on(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg * 37 + 11;

	for (long i = 0;; i++) {
		uint32_t r = next_random(&seed);
		unsigned char *p = hide(malloc(16 + (r % 100 == 0 ? 200000 : (r >> 8) % 3000)));

		CHECK(p != NULL, "malloc");
		p[0] = 1;
		p = hide(realloc(p, 16 + (r >> 4) % 5000));
		CHECK(p != NULL && p[0] == 1, "realloc");
		free(p);
		atomic_fetch_add(&made, 1);
	}
	return NULL;
}

static void *allocate_then_exit(void *arg)
{
	while (atomic_load(&made) < 500)
		usleep(50);
	exit(30);
	return arg;
}

static void at_the_end(void)
{
	free(left_over);
	left_over = hide(calloc(1, 5000));
}

__attribute__((destructor)) static void at_the_very_end(void)
{
	free(left_over);
	left_over = NULL;
	free(hide(malloc(64)));
}

static void child_main(int round)
{
	pthread_t thread;

	left_over = hide(malloc(100));
	atexit(at_the_end);
	at_quick_exit(at_the_end);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&thread, NULL, allocate_on_and_on, (void *)(uintptr_t)i) == 0,
		      "create");
	while (atomic_load(&made) < round * 20)
		usleep(50);
	switch (round % 4) {
	case 0:
		exit(30);
	case 1:
		_exit(30);
	case 2:
		quick_exit(30);
	default:
		CHECK(pthread_create(&thread, NULL, allocate_then_exit, NULL) == 0, "create");
		pthread_exit(NULL);
	}
}

int main(void)
{
	check_library();
	for (int round = 0; round < ROUNDS; round++) {
		int status;
		pid_t child = fork();

		if (child == 0)
			child_main(round);
		CHECK(child > 0 && waitpid(child, &status, 0) == child, "fork");
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 30, "round %d ended with %x",
		      round, status);
	}
	say("%d ends among threads that allocate: all clean", ROUNDS);
	return 0;
}
