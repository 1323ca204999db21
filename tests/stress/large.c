/* SPDX-License-Identifier: MIT */
/*
 * large.c THREADS SECONDS - areas of the vmalloc path that grow, shrink and change hands, while
 * another thread gives everything back all the time.
 *
 * Whole pages are stamped, not whole blocks, so that mappings are what takes the time: the
 * first and the last word of every block, and one word in each page between.
 */
#include "stress.h"

#define SHELF 64
#define MAX_THREADS 32
#define PAGE 4096UL

static _Atomic(void *) shelf[SHELF];
static _Atomic int stop;
static uint64_t seed;
static _Atomic unsigned long nr_resized;

static size_t draw_size(uint64_t *state)
{
	uint64_t r = next_random(state);

	return 100000 + (r >> 8) % (r % 16 ? 400000 : 8UL << 20);
}

/* The words from `from` on; word 0 of a block is its size, word 1 its token. */
static void mark(char *block, size_t from, size_t size, uint64_t token)
{
	((uint64_t *)block)[0] = size;
	((uint64_t *)block)[1] = token;
	for (size_t at = from / PAGE * PAGE + 16; at + 8 <= size; at += PAGE)
		*(uint64_t *)(block + at) = token ^ at;
	memcpy(block + size - 8, &token, 8);
}

static void check_words(const char *block, size_t upto, uint64_t token)
{
	for (size_t at = 16; at + 16 <= upto; at += PAGE)
		CHECK(*(const uint64_t *)(block + at) == (token ^ at));
}

static void check_marks(const char *block)
{
	size_t size = ((const uint64_t *)block)[0];
	uint64_t token = ((const uint64_t *)block)[1];

	CHECK(size >= 100000 && size <= malloc_usable_size((void *)(uintptr_t)block));
	check_words(block, size, token);
	CHECK(memcmp(block + size - 8, &token, 8) == 0);
}

static void *fresh(uint64_t *state)
{
	size_t size = draw_size(state);
	bool cleared = next_random(state) % 3 == 0;
	char *block = cleared ? calloc(1, size) : malloc(size);

	CHECK(block != NULL);
	for (size_t at = 0; cleared && at < size; at += PAGE)
		CHECK(is_zero(block + at, size - at < 64 ? size - at : 64));
	mark(block, 0, size, next_random(state) | 1);
	return block;
}

static void *resized(uint64_t *state, char *block)
{
	size_t old = ((uint64_t *)block)[0], size = draw_size(state);
	uint64_t token = ((uint64_t *)block)[1];

	block = realloc(block, size);
	CHECK(block != NULL);
	check_words(block, old < size ? old : size, token);
	mark(block, 0, size, token);
	atomic_fetch_add_explicit(&nr_resized, 1, memory_order_relaxed);
	return block;
}

static void *worker(void *arg)
{
	uint64_t state = seed + (uintptr_t)arg * 7919;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		_Atomic(void *) *place = &shelf[next_random(&state) % SHELF];
		char *block = atomic_exchange(place, NULL);

		if (!block) {
			block = fresh(&state);
		} else {
			check_marks(block);
			if (next_random(&state) % 3 == 0) {
				free(block);
				continue;
			}
			block = resized(&state, block);
		}
		block = atomic_exchange(place, block);
		if (block) {
			check_marks(block);
			free(block);
		}
	}
	return NULL;
}

static void *trimmer(void *unused)
{
	while (!atomic_load(&stop)) {
		malloc_trim(0);
		sleep_us(1000);
	}
	return unused;
}

int main(int argc, char **argv)
{
	int nr_threads = argc > 1 ? atoi(argv[1]) : 4;
	pthread_t threads[MAX_THREADS + 1];

	CHECK(nr_threads > 0 && nr_threads <= MAX_THREADS);
	unsigned seconds = stress_start(argc, argv);

	seed = stress_seed();
	for (int i = 0; i < nr_threads; i++)
		CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)i) == 0);
	CHECK(pthread_create(&threads[nr_threads], NULL, trimmer, NULL) == 0);
	sleep_us(seconds * 1000000L);
	atomic_store(&stop, 1);
	for (int i = 0; i <= nr_threads; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < SHELF; i++) {
		if (shelf[i])
			check_marks(shelf[i]);
		free(shelf[i]);
	}
	say_to(1, "%lu areas resized", nr_resized);
	return 0;
}
