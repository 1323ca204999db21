/* SPDX-License-Identifier: MIT */
/*
 * A known number of each kind of call, for the statistics (KMALLOC_CMDLINE=stat) to be held
 * against: cases/stat.py knows the same numbers. Nothing else here allocates: no stdio, and the
 * threads' stacks are the program's own.
 */
#define _GNU_SOURCE
#include <pthread.h>

#include "check.h"

#define THREADS 4
#define EACH 5000
#define STACK (128 << 10)

static void *kept[16];
static unsigned char stacks[THREADS][STACK] __attribute__((aligned(4096)));

static void times(int count, size_t n, bool keep_last)
{
	for (int i = 0; i < count; i++) {
		void *p = hide(malloc(n));

		CHECK(p != NULL, "malloc(%zu)", n);
		if (keep_last && i == count - 1)
			kept[0] = p;
		else
			free(p);
	}
}

/* 64-byte objects, ten at a time. */
static void *thread_main(void *arg)
{
	void *p[10];

	for (int i = 0; i < EACH / 10; i++) {
		for (int k = 0; k < 10; k++)
			p[k] = hide(malloc(60));
		for (int k = 0; k < 10; k++)
			free(p[k]);
	}
	return arg;
}

static void in_threads(void)
{
	pthread_t threads[THREADS];
	pthread_attr_t attr;

	for (int i = 0; i < THREADS; i++) {
		pthread_attr_init(&attr);
		pthread_attr_setstack(&attr, stacks[i], STACK);
		CHECK(pthread_create(&threads[i], &attr, thread_main, NULL) == 0, "create");
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void aligned_and_resized(void)
{
	void *out, *p;

	/* 512 bytes: by all ways to be aligned; two are kept. */
	kept[1] = hide(memalign(512, 512));
	free(hide(aligned_alloc(256, 500)));
	CHECK(posix_memalign(&out, 128, 512) == 0, "posix_memalign");
	kept[2] = hide(out);
	/* 1024: in place, then from there to 4096, which is one more of each. */
	p = hide(malloc(1000));
	p = hide(realloc(p, 1024));
	p = hide(realloc(p, 4096));
	free(p);
	/* 2048: zeroed; realloc to nothing is a free. */
	p = hide(calloc(2, 1024));
	CHECK(hide(realloc(p, 0)) == NULL, "realloc(p, 0)");
	free(NULL);
}

static void areas(void)
{
	void *p;

	for (int i = 0; i < 5; i++)
		free(hide(malloc(200000)));
	kept[3] = hide(calloc(1, 1 << 20));
	/* Up from the small path and down again. */
	p = hide(malloc(8192));
	p = hide(realloc(p, 300000));
	p = hide(realloc(p, 8000));
	kept[4] = p;
}

int main(void)
{
	check_library();
	times(1000, 16, false);
	times(300, 128, true);
	in_threads();
	aligned_and_resized();
	areas();
	for (int i = 0; i < 5; i++)
		CHECK(kept[i] != NULL, "object %d", i);
	return 0;
}
