/* SPDX-License-Identifier: MIT */
/*
 * oom.c THREADS SECONDS - threads that run into RLIMIT_AS again and again, and go on.
 *
 * Each allocates until it gets NULL, by every call there is; the errno must say so, a realloc
 * that failed must have left its block, and what was stamped must stay. Then it gives up
 * most of what it has and starts over. One thread lowers and raises the limit meanwhile.
 */
#include "stress.h"

#include <sys/resource.h>

#define MAX_THREADS 32
#define OWN 4000
#define MIB (1UL << 20)

static _Atomic int stop;
static uint64_t seed;
static _Atomic unsigned long nr_refused, nr_blocks;
static size_t base; /* address space in use before */

static size_t address_space(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	size_t pages;

	CHECK(file && fscanf(file, "%zu", &pages) == 1);
	fclose(file);
	return pages * 4096;
}

static void limit_to(size_t bytes)
{
	struct rlimit limit = { base + bytes, RLIM_INFINITY };

	CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

static size_t draw_size(uint64_t *state)
{
	uint64_t r = next_random(state);

	return 16 + (r >> 8) % (r % 8 ? r % 4 ? 3000 : 200000 : 6 * MIB);
}

/* NULL: refused, and rightly so. */
static void *try_block(uint64_t *state, size_t size)
{
	uint64_t r = next_random(state);
	void *block = NULL;
	int error = 0;

	errno = 0;
	switch (r % 4) {
	case 0:
		block = calloc(size, 1);
		CHECK(!block || is_zero(block, size));
		break;
	case 1:
		error = posix_memalign(&block, 64UL << (r >> 8) % 8, size);
		CHECK(error == (block ? 0 : ENOMEM));
		errno = error;
		break;
	default:
		block = malloc(size);
		break;
	}
	if (!block) {
		CHECK(errno == ENOMEM);
		atomic_fetch_add(&nr_refused, 1);
		return NULL;
	}
	stamp(block, size, next_random(state) | 1);
	atomic_fetch_add_explicit(&nr_blocks, 1, memory_order_relaxed);
	return block;
}

static void try_resize(uint64_t *state, void **block)
{
	void *to;

	check_stamp(*block, 0, "oom");
	errno = 0;
	to = resize_block(*block, draw_size(state));
	if (to) {
		*block = to;
		return;
	}
	CHECK(errno == ENOMEM);
	check_stamp(*block, 0, "oom, after a realloc that failed");
	atomic_fetch_add(&nr_refused, 1);
}

static void *worker(void *arg)
{
	uint64_t state = seed + (uintptr_t)arg * 7919;
	void **own = malloc(OWN * sizeof(*own));
	unsigned count = 0;

	CHECK(own != NULL);
	while (!atomic_load(&stop)) {
		unsigned failures = 0, keep;

		while (count < OWN && failures < 20 && !atomic_load(&stop)) {
			void *block = try_block(&state, draw_size(&state));

			if (block)
				own[count++] = block;
			else
				failures++;
			if (count && next_random(&state) % 4 == 0)
				try_resize(&state, &own[next_random(&state) % count]);
		}
		/* the largest of what is left over is given up too, so that others can go on */
		keep = count / 8;
		for (; count > keep; count--) {
			check_stamp(own[count - 1], 0, "oom");
			free(own[count - 1]);
		}
		if (next_random(&state) % 8 == 0)
			malloc_trim(0);
	}
	for (; count; count--) {
		check_stamp(own[count - 1], 0, "oom");
		free(own[count - 1]);
	}
	free(own);
	return NULL;
}

int main(int argc, char **argv)
{
	int nr_threads = argc > 1 ? atoi(argv[1]) : 4;
	uint64_t end, state;
	pthread_t threads[MAX_THREADS];
	void *block;

	CHECK(nr_threads > 0 && nr_threads <= MAX_THREADS);
	unsigned seconds = stress_start(argc, argv);

	seed = state = stress_seed();
	for (int i = 0; i < nr_threads; i++)
		CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)i) == 0);
	base = address_space();
	end = now_ms() + seconds * 1000UL;
	while (now_ms() < end) {
		limit_to(next_random(&state) % (100 * MIB));
		sleep_us(20000);
	}
	atomic_store(&stop, 1);
	for (int i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	/* and now that there is room again, it is found */
	limit_to(1024 * MIB);
	block = calloc(1, 300 * MIB);
	CHECK(block != NULL);
	free(block);
	say_to(1, "%lu blocks, %lu requests refused", nr_blocks, nr_refused);
	CHECK(nr_refused > 0 && nr_blocks > 0);
	return 0;
}
