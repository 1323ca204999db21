/* SPDX-License-Identifier: MIT */
/*
 * A storm of signals at threads that allocate, with handlers that allocate and free as well:
 * from a timer, and by pthread_kill at each thread in turn. A handler may be given NULL where
 * it interrupted the allocator itself; what it is given must be sound, and nothing may hang.
 * glibc does not promise this: run under the library only.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

#include "check.h"

#define THREADS 8
#define WANTED 8000
#define SLOTS 64

static _Atomic long handled, given, refused;
static _Atomic bool stop;
/* Objects on their way from handlers to threads and back: whoever takes one out owns it. */
static _Atomic(unsigned char *) slots[SLOTS];

/* Each object says in its first bytes how long it is, so that whoever finds it can check it. */
static unsigned char *make(size_t n, unsigned seed)
{
	unsigned char *p = hide(malloc(n));

	if (p != NULL) {
		uint32_t head[2] = { (uint32_t)n, seed };

		memcpy(p, head, sizeof(head));
		pattern_fill(p + sizeof(head), (n > 600 ? 600 : n) - sizeof(head), seed);
	}
	return p;
}

static void check_and_free(unsigned char *p)
{
	uint32_t head[2];

	if (p == NULL)
		return;
	memcpy(head, p, sizeof(head));
	CHECK(head[0] >= 8 && head[0] <= 400000, "an object's head is gone");
	CHECK(pattern_ok(p + sizeof(head), (head[0] > 600 ? 600 : head[0]) - sizeof(head), head[1]),
	      "an object of %u bytes changed", head[0]);
	free(p);
}

static size_t some_size(uint32_t r)
{
	if (r % 64 == 0)
		return 131000 + (r >> 8) % 200;
	if (r % 8 == 0)
		return 1000 + (r >> 8) % 30000;
	return 8 + (r >> 8) % 600;
}

static void on_signal(int number)
{
	int saved = errno;
	uint32_t seed = (uint32_t)atomic_fetch_add(&handled, 1) * 2654435761u + 1 + number;
	unsigned char *p[6];

	for (int i = 0; i < 6; i++) {
		p[i] = make(some_size(next_random(&seed)), seed & 255);
		atomic_fetch_add(p[i] != NULL ? &given : &refused, 1);
	}
	for (int i = 0; i < 5; i++)
		check_and_free(p[i]);
	check_and_free(atomic_exchange(&slots[seed % SLOTS], p[5]));
	errno = saved;
}

static void *allocate_on_and_on(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg * 977 + 5;
	unsigned char *mine[200] = { NULL };

	while (!atomic_load(&stop)) {
		int i = next_random(&seed) % 200;

		check_and_free(mine[i]);
		mine[i] = make(some_size(next_random(&seed)), seed & 255);
		CHECK(mine[i] != NULL, "malloc outside a handler");
		if (seed % 16 == 0) {
			mine[i] = hide(realloc(mine[i], 8 + (seed >> 4) % 2000 + 600));
			CHECK(mine[i] != NULL, "realloc outside a handler");
			free(mine[i]);
			mine[i] = NULL;
		}
		if (seed % 32 == 1)
			mine[i] = atomic_exchange(&slots[i % SLOTS], mine[i]);
	}
	for (int i = 0; i < 200; i++)
		check_and_free(mine[i]);
	return NULL;
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { { 0, 0 }, { 0, 0 } };
	pthread_t threads[THREADS];

	check_library();
	sigemptyset(&action.sa_mask);
	sigaction(SIGALRM, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	action.sa_flags |= SA_NODEFER; /* this one interrupts its own handler, too */
	sigaction(SIGUSR2, &action, NULL);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, allocate_on_and_on,
				     (void *)(uintptr_t)(i + 1)) == 0,
		      "pthread_create");
	setitimer(ITIMER_REAL, &often, NULL);
	for (unsigned i = 0; atomic_load(&handled) < WANTED; i++) {
		pthread_kill(threads[i % THREADS], i % 3 ? SIGUSR1 : SIGUSR2);
		if (i % 4 == 0)
			sched_yield();
	}
	setitimer(ITIMER_REAL, &never, NULL);
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < SLOTS; i++)
		check_and_free(atomic_exchange(&slots[i], NULL));
	CHECK(given > refused, "%ld given, %ld refused", (long)given, (long)refused);
	say("signals: every object sound, nothing hung");
	return 0;
}
