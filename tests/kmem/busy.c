/* SPDX-License-Identifier: MIT */
/*
 * busy.c - threads that allocate without a pause until SIGTERM, and check what they hold: each object is full of a number
 * of its own. First it prints where the library's control block says that its switches are:
 *
 *	hit_table ADDRESS hit_free_table ADDRESS ENTRIES divert ADDRESS
 *
 * and at the end "ok CALLS".
 */
#include "trace/format.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 4
#define SLOTS 200
#define LARGE 200000

static volatile sig_atomic_t over;
static _Atomic unsigned long calls;

struct object {
	unsigned char *bytes;
	size_t size;
	unsigned char fill;
};

static void on_term(int number)
{
	(void)number;
	over = 1;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void check(const struct object *object)
{
	for (size_t i = 0; i<object->size; i += object->size> 4096 ? 997 : 1)
		if (object->bytes[i] != object->fill) {
			printf("byte %zu of an object of %zu bytes has changed\n", i, object->size);
			fflush(stdout);
			_exit(1);
		}
}

static void step(struct object *object, uint64_t random)
{
	if (object->bytes) {
		check(object);
		free(object->bytes);
		object->bytes = NULL;
		return;
	}
	object->size = random % 1000 ? random / 1000 % 1500 + 1 : LARGE;
	object->fill = (unsigned char)(random >> 40);
	object->bytes = malloc(object->size);
	if (!object->bytes)
		abort();
	memset(object->bytes, object->fill, object->size);
}

static void *work(void *arg)
{
	struct object objects[SLOTS] = { 0 };
	uint64_t random = 88172645463325252UL + (uintptr_t)arg;
	unsigned long count = 0;

	while (!over) {
		uint64_t value = next_random(&random);

		step(&objects[value % SLOTS], value / SLOTS);
		count++;
	}
	for (int i = 0; i < SLOTS; i++) {
		if (objects[i].bytes)
			check(&objects[i]);
		free(objects[i].bytes);
	}
	atomic_fetch_add(&calls, count);
	return NULL;
}

int main(void)
{
	const struct trace_control *control = dlsym(RTLD_DEFAULT, "libkmalloc_trace");
	pthread_t threads[THREADS];

	if (!control) {
		puts("the library is not there");
		return 1;
	}
	signal(SIGTERM, on_term);
	printf("hit_table %lu hit_free_table %lu %lu divert %lu\n", control->hit_table,
	       control->hit_free_table, control->nr_hit, control->divert);
	fflush(stdout);
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, work, (void *)i) != 0)
			abort();
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	printf("ok %lu\n", atomic_load(&calls));
	return 0;
}
