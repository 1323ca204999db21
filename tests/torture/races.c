/* SPDX-License-Identifier: MIT */
/*
 * races.c - many threads on the library's entry points, linked in, for ThreadSanitizer.
 *
 *   races [--seconds N] [--seed S]
 *
 * Restartable sequences can't be instrumented, so it is meant for locked mode (rseq=off in KMALLOC_CMDLINE), in which
 * every access of the slow paths to shared state is the compiler's and ThreadSanitizer sees it. Objects
 * carry their owner's stamp and go from thread to thread through mailboxes: so an object that the allocator
 * passed on without an ordering is a race on its bytes, too. All paths take part: classes, areas, resizes, trims, statistics,
 * sizes, and pointers that are nobody's.
 */
#include "entries.h"
#include "ops.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS 6U
#define SLOTS 64
#define MAILBOXES 16

struct mallinfo2 entry_mallinfo2(void);

static _Atomic(uint64_t *) mailboxes[MAILBOXES];
static _Atomic bool stop;
static _Atomic unsigned long done;
static uint64_t base_seed = 1;

static void stamp(uint64_t *object, uint64_t value)
{
	object[0] = value;
	object[1] = ~value;
}

static void check(const uint64_t *object)
{
	if (object[0] == ~object[1])
		return;
	fprintf(stderr, "races: an object holds another stamp than it was given\n");
	abort();
}

static size_t draw_size(uint64_t *state)
{
	switch (ops_random(state) % 32) {
	case 0:
		return 131000 + ops_random(state) % 400000;
	case 1:
	case 2:
		return 16 + ops_random(state) % 131000;
	default:
		return 16 + ops_random(state) % 500;
	}
}

static uint64_t *allocate(uint64_t *state)
{
	size_t size = draw_size(state);
	uint64_t *object;

	switch (ops_random(state) % 8) {
	case 0:
		object = library_entries.calloc(1, size);
		if (object && (object[0] || object[1])) {
			fprintf(stderr, "races: calloc gave memory that is not zero\n");
			abort();
		}
		break;
	case 1:
		object = library_entries.memalign(16UL << ops_random(state) % 10, size);
		break;
	default:
		object = library_entries.malloc(size);
		break;
	}
	if (object)
		stamp(object, ops_random(state));
	return object;
}

/* What is done now and then. */
static void rarely(uint64_t *state)
{
	static char foreign[64];

	switch (ops_random(state) % 64) {
	case 0:
		library_entries.trim(0);
		break;
	case 1:
		entry_mallinfo2();
		break;
	case 2 ... 4:
		library_entries.free(foreign + 16);
		library_entries.usable_size(foreign);
		break;
	default:
		break;
	}
}

static uint64_t *resize(uint64_t *object, uint64_t *state)
{
	uint64_t *moved = library_entries.realloc(object, draw_size(state));

	return moved ? moved : object;
}

static void *work(void *arg)
{
	uint64_t state = base_seed + (uintptr_t)arg;
	uint64_t *slots[SLOTS] = { NULL };
	unsigned long n = 0;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		uint64_t **slot = &slots[ops_random(&state) % SLOTS];

		if (!*slot) {
			*slot = allocate(&state);
			continue;
		}
		check(*slot);
		switch (ops_random(&state) % 8) {
		case 0:
			*slot = resize(*slot, &state);
			check(*slot);
			break;
		case 1:
		case 2:
			*slot = atomic_exchange(&mailboxes[ops_random(&state) % MAILBOXES], *slot);
			break;
		default:
			library_entries.free(*slot);
			*slot = NULL;
			break;
		}
		if (++n % 64 == 0)
			rarely(&state);
	}
	for (unsigned i = 0; i < SLOTS; i++) {
		if (slots[i])
			check(slots[i]);
		library_entries.free(slots[i]);
	}
	atomic_fetch_add(&done, n);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	unsigned seconds = 5;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--seconds"))
			seconds = (unsigned)strtoul(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--seed"))
			base_seed = strtoul(argv[i + 1], NULL, 0) * 1000;
	}
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, work, (void *)i) != 0)
			return 2;
	sleep(seconds);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < MAILBOXES; i++)
		library_entries.free(atomic_load(&mailboxes[i]));
	printf("races: %u threads, %lu operations\n", THREADS, atomic_load(&done));
	return 0;
}
