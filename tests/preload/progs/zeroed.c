/* SPDX-License-Identifier: MIT */
/*
 * calloc gives zeroes, above all where the memory was used before: every class, both sides of
 * the limit.
 */
#define _GNU_SOURCE
#include <pthread.h>

#include "check.h"

#define BATCH 16

static bool all_zero(const unsigned char *p, size_t n)
{
	/* The object against itself, one byte on: zero throughout if the first byte is. */
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Dirty a batch through malloc, give it back, and take as much again through calloc. */
static void dirty_then_zeroed(size_t n)
{
	unsigned char *p[BATCH];
	int batch = n > 1 << 20 ? 2 : n > 65536 ? 4 : BATCH;

	for (int i = 0; i < batch; i++) {
		CHECK((p[i] = hide(malloc(n))) != NULL, "malloc(%zu)", n);
		memset(p[i], 0xa5, malloc_usable_size(p[i]));
	}
	for (int i = 0; i < batch; i++)
		free(p[i]);
	for (int i = 0; i < batch; i++) {
		CHECK((p[i] = hide(i % 2 ? calloc(1, n) : calloc(n, 1))) != NULL, "calloc(%zu)", n);
		CHECK(all_zero(p[i], n), "calloc(%zu) is not zero", n);
		memset(p[i], 0xff, n);
	}
	for (int i = 0; i < batch; i++)
		free(p[i]);
}

static void over_all_sizes(void)
{
	static const size_t edges[] = { 131055, 131056, 131057,	 131071,	131072,	 131073,
					135168, 262144, 1 << 20, (1 << 20) + 1, 4 << 20, 32 << 20 };

	for (size_t n = 1; n <= 2048; n++)
		dirty_then_zeroed(n);
	for (size_t n = 2049; n < SMALL_LIMIT; n += n / 37)
		dirty_then_zeroed(n);
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
		dirty_then_zeroed(edges[i]);
}

static void *in_a_thread(void *arg)
{
	over_all_sizes();
	return arg;
}

/* One size's used memory must not come back dirty through another size. */
static void across_sizes(void)
{
	enum { COUNT = 400 };
	static unsigned char *p[COUNT];
	uint32_t seed = 12345;

	for (int round = 0; round < 20; round++) {
		size_t total = 0;

		for (int i = 0; i < COUNT; i++) {
			size_t n = next_random(&seed) % (round % 4 == 3 ? 400000 : 20000) + 1;

			CHECK((p[i] = hide(calloc(1, n))) != NULL, "calloc(%zu)", n);
			CHECK(all_zero(p[i], n), "calloc(%zu) in round %d is not zero", n, round);
			memset(p[i], 0xdd, malloc_usable_size(p[i]));
			total += n;
		}
		for (int i = 0; i < COUNT; i++)
			free(p[i]);
		if (round % 5 == 4)
			malloc_trim(0);
		CHECK(total > 0, "nothing allocated");
	}
	/* Large ones that were grown and shrunk in place, then freed. */
	for (int i = 0; i < 20; i++) {
		unsigned char *q = hide(malloc(200000 + i * 4096));

		memset(q, 0xee, malloc_usable_size(q));
		q = hide(realloc(q, 1000000));
		memset(q, 0xee, malloc_usable_size(q));
		q = hide(realloc(q, 150000));
		free(q);
		q = hide(calloc(1, 1000000));
		CHECK(all_zero(q, 1000000), "calloc after realloc, round %d", i);
		memset(q, 0xcc, 1000000);
		free(q);
	}
}

int main(void)
{
	pthread_t threads[2];

	check_library();
	over_all_sizes();
	say("calloc after reuse: zero in every size");
	across_sizes();
	say("calloc across sizes, after realloc and after malloc_trim: zero");
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&threads[i], NULL, in_a_thread, NULL) == 0, "pthread_create");
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	say("calloc in threads: zero");
	return 0;
}
