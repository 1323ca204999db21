/* SPDX-License-Identifier: MIT */
/*
 * threads.c THREADS SECONDS - fork from any of several threads while the others allocate.
 *
 * A child has one thread, and a heap that others were in the midst of changing. At once it
 * allocates every kind of memory, checks and frees what its thread had, checks what was
 * published and never changes, gives memory back, forks again, starts a thread, and exits.
 * Each child has its own alarm: one that hangs dies of it, and the parent says so.
 */
#include "stress.h"

#include <sys/wait.h>

#define MAX_THREADS 32
#define OWN 64
#define PUBLISHED 2000
#define CHILD_SECONDS 20

static void *published[PUBLISHED]; /* stamped before the threads start, read-only after */
static _Atomic int stop;
static uint64_t seed;
static _Atomic unsigned long nr_forks;

static void work(uint64_t *state, void **own, int steps)
{
	while (steps--) {
		unsigned k = (unsigned)(next_random(state) % OWN);
		void *to;

		if (!own[k]) {
			own[k] = new_block(state, random_size(state), next_random(state) | 1);
			CHECK(own[k] != NULL);
			continue;
		}
		check_stamp(own[k], 0, "worker");
		if (next_random(state) % 4) {
			free(own[k]);
			own[k] = NULL;
		} else {
			to = resize_block(own[k], random_size(state));
			CHECK(to != NULL);
			own[k] = to;
		}
	}
}

static void free_all(void **own)
{
	for (int k = 0; k < OWN; k++) {
		if (own[k])
			check_stamp(own[k], 0, "inherited");
		free(own[k]);
		own[k] = NULL;
	}
}

static void *thread_of_child(void *arg)
{
	uint64_t state = seed + (uintptr_t)arg;
	void *own[OWN] = { 0 };

	work(&state, own, 200);
	free_all(own);
	return NULL;
}

static void wait_for(pid_t pid, const char *who)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		CHECK(errno == EINTR);
	if (WIFSIGNALED(status))
		FAIL("%s %d died by signal %d%s %s", who, (int)pid, WTERMSIG(status),
		     WTERMSIG(status) == SIGALRM ? ": it hung" : "", stress_seed_text);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* What a child does; and whether a child of its own should follow. */
static bool live_as_child(uint64_t state, void **own, int generation)
{
	pthread_t thread;

	alarm(CHILD_SECONDS);
	work(&state, own, 100);
	for (unsigned i = 0; i < 200; i++)
		check_stamp(published[next_random(&state) % PUBLISHED], 0, "published");
	if (next_random(&state) % 2) {
		CHECK(pthread_create(&thread, NULL, thread_of_child, (void *)state) == 0);
		work(&state, own, 100);
		pthread_join(thread, NULL);
	}
	if (generation < 2)
		return true;
	free_all(own);
	malloc_trim(0);
	work(&state, own, 50);
	return false;
}

static _Noreturn void child(uint64_t state, void **own)
{
	int generation = 0;
	pid_t pid;

	while (live_as_child(state + (uint64_t)generation, own, generation)) {
		generation++;
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0)
			continue;
		work(&state, own, 100);
		free_all(own);
		wait_for(pid, "grandchild");
		break;
	}
	_exit(0);
}

static void *worker(void *arg)
{
	uint64_t state = seed + (uintptr_t)arg * 7919;
	void *own[OWN] = { 0 };

	while (!atomic_load(&stop)) {
		pid_t pid;

		work(&state, own, (int)(next_random(&state) % 3000));
		if ((uintptr_t)arg % 2)
			continue; /* every second thread only allocates */
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0)
			child(state, own);
		atomic_fetch_add(&nr_forks, 1);
		work(&state, own, 100);
		wait_for(pid, "child");
	}
	free_all(own);
	return NULL;
}

int main(int argc, char **argv)
{
	int nr_threads = argc > 1 ? atoi(argv[1]) : 6;
	pthread_t threads[MAX_THREADS + 1];
	uint64_t state;

	CHECK(nr_threads > 0 && nr_threads <= MAX_THREADS);
	unsigned seconds = stress_start(argc, argv);

	seed = state = stress_seed();
	for (int i = 0; i < PUBLISHED; i++)
		CHECK((published[i] = new_block(&state, random_size(&state), state | 1)) != NULL);
	for (int i = 0; i < nr_threads; i++)
		CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)i) == 0);
	CHECK(pthread_create(&threads[nr_threads], NULL, stress_trimmer, &stop) == 0);
	sleep_us(seconds * 1000000L);
	atomic_store(&stop, 1);
	for (int i = 0; i <= nr_threads; i++)
		pthread_join(threads[i], NULL);
	say_to(1, "%lu forks", nr_forks);
	CHECK(nr_forks > 0);
	return 0;
}
