/* SPDX-License-Identifier: MIT */
/*
 * Threads that are moved: each narrows its own affinity to one CPU after another, while a
 * further thread changes that of all; objects go round between them, so they are freed on other
 * CPUs than they came from.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "check.h"

#define THREADS 4
#define ROUNDS 400
#define SLOTS 256

static cpu_set_t start_set;
static int cpus[CPU_SETSIZE], cpu_count;
static _Atomic(unsigned char *) slots[SLOTS];
static _Atomic int finished;
static pthread_t threads[THREADS];

static void only_cpu(pthread_t thread, int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	CHECK(pthread_setaffinity_np(thread, sizeof(one), &one) == 0, "to CPU %d", cpu);
}

static void *moving(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg * 71 + 3;

	for (int round = 0; round < ROUNDS; round++) {
		if (round % 5 == 4)
			pthread_setaffinity_np(pthread_self(), sizeof(start_set), &start_set);
		else
			only_cpu(pthread_self(), cpus[next_random(&seed) % cpu_count]);
		for (int i = 0; i < 300; i++) {
			uint32_t r = next_random(&seed);
			size_t n = 32 + (r % 256 == 0 ? 140000 : (r >> 8) % 1500);
			unsigned char *p = hide(malloc(n));

			CHECK(p != NULL, "malloc(%zu)", n);
			pattern_fill(p, 32, 9);
			p = atomic_exchange(&slots[r % SLOTS], p);
			CHECK(p == NULL || pattern_ok(p, 32, 9), "an object changed on its way");
			free(p);
		}
	}
	atomic_fetch_add(&finished, 1);
	/* Threads stay until all are done: the mover still knows them. */
	while (atomic_load(&finished) < THREADS)
		sched_yield();
	return NULL;
}

int main(void)
{
	uint32_t seed = 8;

	check_library();
	CHECK(sched_getaffinity(0, sizeof(start_set), &start_set) == 0, "sched_getaffinity");
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &start_set))
			cpus[cpu_count++] = cpu;
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, moving, (void *)(uintptr_t)i) == 0,
		      "pthread_create");
	while (atomic_load(&finished) < THREADS) {
		for (int i = 0; i < THREADS; i++)
			if (atomic_load(&finished) == 0)
				only_cpu(threads[i], cpus[next_random(&seed) % cpu_count]);
		usleep(200);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < SLOTS; i++)
		free(atomic_exchange(&slots[i], NULL));
	say("threads moved between CPUs: every object sound");
	return 0;
}
