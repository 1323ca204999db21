/* SPDX-License-Identifier: MIT */
/*
 * Allocation at every time in the life of a program: before any library's constructor ran
 * (preinit_array), in early constructors, in main, in threads' last destructors, in atexit
 * handlers and in late destructors. What one phase allocates, a later one checks and frees.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <threads.h>

#include "check.h"

#define KEPT 8
#define ROUNDS PTHREAD_DESTRUCTOR_ITERATIONS

static const size_t kept_sizes[KEPT] = { 1, 24, 100, 1000, 5000, 60000, SMALL_LIMIT, 300000 };

struct phase {
	unsigned char *p[KEPT];
};

static struct phase preinit, early, plain, in_main, in_key, at_exit;

static void phase_alloc(struct phase *phase, unsigned seed)
{
	free(hide(NULL));
	for (int i = 0; i < KEPT; i++) {
		unsigned char *gone = hide(malloc(kept_sizes[i]));

		phase->p[i] = hide(i % 2 ? calloc(1, kept_sizes[i]) : malloc(kept_sizes[i]));
		CHECK(gone != NULL && phase->p[i] != NULL, "phase %u, size %zu", seed,
		      kept_sizes[i]);
		pattern_fill(phase->p[i], kept_sizes[i], seed);
		free(gone);
	}
}

static void phase_free(struct phase *phase, unsigned seed)
{
	for (int i = 0; i < KEPT; i++) {
		CHECK(phase->p[i] != NULL, "phase %u never ran", seed);
		CHECK(pattern_ok(phase->p[i], kept_sizes[i], seed), "phase %u, size %zu", seed,
		      kept_sizes[i]);
		free(phase->p[i]);
		phase->p[i] = NULL;
	}
}

static void at_preinit(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	(void)envp;
	phase_alloc(&preinit, 1);
}
__attribute__((section(".preinit_array"), used)) static void (*preinit_entry)(int, char **,
									      char **) = at_preinit;

__attribute__((constructor(101))) static void early_constructor(void)
{
	phase_alloc(&early, 2);
}

__attribute__((constructor)) static void plain_constructor(void)
{
	phase_alloc(&plain, 3);
}

__attribute__((destructor)) static void plain_destructor(void)
{
	phase_free(&plain, 3);
	phase_free(&at_exit, 6);
	say("destructor: done");
}

__attribute__((destructor(101))) static void late_destructor(void)
{
	struct phase phase;

	phase_free(&early, 2);
	phase_free(&preinit, 1);
	phase_alloc(&phase, 7);
	phase_free(&phase, 7);
	say("late destructor: done");
}

static void exit_handler(void)
{
	phase_free(&in_main, 4);
	phase_alloc(&at_exit, 6);
	say("atexit: done");
}

static pthread_key_t key;
static int key_rounds;
static tss_t c11_key;
static int c11_calls;

/* Sets its key anew each time, so it runs in every round of destructors, the last one included. */
static void key_destructor(void *value)
{
	CHECK(pattern_ok(value, 200, 11), "the key's value");
	free(value);
	phase_alloc(&in_key, 5);
	phase_free(&in_key, 5);
	if (++key_rounds < ROUNDS) {
		void *next = hide(malloc(200));

		pattern_fill(next, 200, 11);
		pthread_setspecific(key, next);
	}
}

static void c11_destructor(void *value)
{
	free(value);
	free(hide(malloc(3000)));
	c11_calls++;
}

static void *thread_main(void *arg)
{
	void *value = hide(malloc(200));

	pattern_fill(value, 200, 11);
	pthread_setspecific(key, value);
	tss_set(c11_key, hide(malloc(70000)));
	return arg;
}

int main(void)
{
	pthread_t thread;

	check_library();
	phase_free(&preinit, 1);
	phase_alloc(&preinit, 1);
	phase_alloc(&in_main, 4);
	atexit(exit_handler);
	CHECK(pthread_key_create(&key, key_destructor) == 0, "pthread_key_create");
	CHECK(tss_create(&c11_key, c11_destructor) == thrd_success, "tss_create");
	for (int i = 0; i < 20; i++) {
		key_rounds = 0;
		CHECK(pthread_create(&thread, NULL, thread_main, NULL) == 0, "pthread_create");
		pthread_join(thread, NULL);
		CHECK(key_rounds == ROUNDS && c11_calls == i + 1, "%d rounds, %d calls", key_rounds,
		      c11_calls);
	}
	say("thread destructors: done");
	return 0;
}
