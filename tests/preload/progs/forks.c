/* SPDX-License-Identifier: MIT */
/*
 * fork at any time: eight threads allocate and hand each other objects, while three threads
 * fork. Each child finds its parent's objects as they were, allocates, frees, starts a thread,
 * and forks again.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "check.h"

#define THREADS 8
#define FORKERS 3
#define FORKS 30
#define SHARED 128

static _Atomic bool stop;
static _Atomic(unsigned char *) shared[SHARED];
/* Handlers of several forks run side by side. */
static _Thread_local void *volatile from_prepare;

static void *allocate_on_and_on(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg * 131 + 17;

	while (!atomic_load(&stop)) {
		uint32_t r = next_random(&seed);
		size_t n = r % 128 == 0 ? 140000 : 32 + r % 3000;
		unsigned char *p = hide(r % 4 == 0 ? calloc(1, n) : malloc(n));

		CHECK(p != NULL, "malloc(%zu)", n);
		pattern_fill(p, 32, 77);
		p = atomic_exchange(&shared[(r >> 10) % SHARED], p);
		CHECK(p == NULL || pattern_ok(p, 32, 77), "an object changed on its way");
		free(p);
	}
	return NULL;
}

static void *thread_in_child(void *arg)
{
	for (int i = 0; i < 200; i++)
		free(hide(malloc(i * 31)));
	free(arg);
	return hide(malloc(100));
}

static void allocate_some(void)
{
	enum { COUNT = 150 };
	unsigned char *p[COUNT];

	for (int i = 0; i < COUNT; i++) {
		size_t n = i % 50 == 49 ? 150000 : 1 + i * 41;

		CHECK((p[i] = hide(malloc(n))) != NULL, "malloc(%zu) in a child", n);
		pattern_fill(p[i], n, i);
	}
	for (int i = COUNT - 1; i >= 0; i--) {
		size_t n = i % 50 == 49 ? 150000 : 1 + i * 41;

		CHECK(pattern_ok(p[i], n, i), "an object in a child");
		free(p[i]);
	}
}

static void wait_for(pid_t child)
{
	int status;

	CHECK(child > 0, "fork");
	CHECK(waitpid(child, &status, 0) == child, "waitpid");
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %x", status);
}

static void child_main(unsigned char *kept)
{
	pthread_t thread;
	void *given;

	CHECK(pattern_ok(kept, 5000, 3), "the parent's object");
	free(kept);
	allocate_some();
	/* The other threads' objects are there, though the threads are not. */
	for (int i = 0; i < SHARED; i++) {
		unsigned char *p = atomic_exchange(&shared[i], NULL);

		CHECK(p == NULL || pattern_ok(p, 32, 77), "another thread's object");
		free(p);
	}
	CHECK(pthread_create(&thread, NULL, thread_in_child, hide(malloc(70))) == 0,
	      "a thread in the child");
	pthread_join(thread, &given);
	free(given);
	pid_t grandchild = fork();
	if (grandchild == 0) {
		allocate_some();
		_exit(0);
	}
	wait_for(grandchild);
	allocate_some();
	_exit(0);
}

static void *fork_on_and_on(void *arg)
{
	for (int i = 0; i < FORKS; i++) {
		unsigned char *kept = hide(malloc(5000));

		pattern_fill(kept, 5000, 3);
		pid_t child = fork();
		if (child == 0)
			child_main(kept);
		wait_for(child);
		CHECK(pattern_ok(kept, 5000, 3), "an object after fork");
		free(kept);
	}
	return arg;
}

static void before_fork(void)
{
	free(from_prepare);
	from_prepare = hide(malloc(300));
}

static void after_fork(void)
{
	from_prepare = hide(realloc(from_prepare, 900));
	free(hide(malloc(40)));
}

int main(void)
{
	pthread_t threads[THREADS], forkers[FORKERS];

	check_library();
	pthread_atfork(before_fork, after_fork, after_fork);
	fork_on_and_on(NULL);
	say("fork alone: children allocate, free, start threads, fork again");
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, allocate_on_and_on, (void *)(uintptr_t)i) ==
			      0,
		      "create");
	fork_on_and_on(NULL);
	say("fork beside 8 threads that allocate: the same");
	for (int i = 0; i < FORKERS; i++)
		CHECK(pthread_create(&forkers[i], NULL, fork_on_and_on, NULL) == 0, "create");
	for (int i = 0; i < FORKERS; i++)
		pthread_join(forkers[i], NULL);
	say("fork from 3 threads at once: the same");
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
