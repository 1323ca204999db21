/* SPDX-License-Identifier: MIT */
/*
 * probed.c - a program whose allocations are known exactly, and which says whether its hit paths are in use.
 *
 * Each line of standard input is an order; each is answered by a line:
 *
 *	small N		malloc(1234) and free, N of them live at once; "done"
 *	large N		malloc(3 MiB) and free, N live at once; "done"
 *	resize N	realloc() of an area N times, 1 MiB more each time; "done"
 *	cache N		N objects of a cache of 200 bytes; "done"
 *	threads N	4 threads that do `small N` each, some at once; "done"
 *	hit		how many CPUs' entries of the hit table are in use
 *
 * Differences to a real program: none that the library could see.
 */
#include "trace/format.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL 1234
#define LARGE (3UL << 20)
#define CACHE_OBJECT 200

static void batch(size_t count, size_t size)
{
	void **object = calloc(count, sizeof(*object));

	for (size_t i = 0; i < count; i++)
		object[i] = malloc(size);
	for (size_t i = 0; i < count; i++)
		free(object[i]);
	free(object);
}

static void resize(size_t count)
{
	void *area = malloc(LARGE);

	for (size_t i = 1; i <= count; i++)
		area = realloc(area, LARGE + (i << 20));
	free(area);
}

static void cache(size_t count)
{
	void *(*create)(const char *, unsigned, void *, unsigned) =
		(__typeof__(create))dlsym(RTLD_DEFAULT, "libkmalloc_kmem_cache_create_args");
	void *(*alloc)(void *, unsigned) =
		(__typeof__(alloc))dlsym(RTLD_DEFAULT, "libkmalloc_kmem_cache_alloc");
	void (*release)(void *, void *) =
		(__typeof__(release))dlsym(RTLD_DEFAULT, "libkmalloc_kmem_cache_free");
	void *objects = create("probed", CACHE_OBJECT, NULL, 0);
	void **object = calloc(count, sizeof(*object));

	for (size_t i = 0; i < count; i++)
		object[i] = alloc(objects, 0xcc0);
	for (size_t i = 0; i < count; i++)
		release(objects, object[i]);
	free(object);
}

static void *thread(void *count)
{
	batch((size_t)count, SMALL);
	return NULL;
}

static void threads(size_t count)
{
	pthread_t id[4];

	for (size_t i = 0; i < 4; i++)
		pthread_create(&id[i], NULL, thread, (void *)count);
	for (size_t i = 0; i < 4; i++)
		pthread_join(id[i], NULL);
}

static unsigned hits(void)
{
	const struct trace_control *control = dlsym(RTLD_DEFAULT, "libkmalloc_trace");
	const uint64_t *table = control ? (const uint64_t *)control->hit_table : NULL;
	unsigned used = 0;

	for (size_t i = 0; table && i < control->nr_hit; i++)
		used += table[i] != 0;
	return used;
}

int main(void)
{
	char line[64], order[32];
	static char buf[2][4096];
	size_t n;

	/* stdio's own buffers are not to be counted */
	setvbuf(stdin, buf[0], _IOFBF, sizeof(buf[0]));
	setvbuf(stdout, buf[1], _IOLBF, sizeof(buf[1]));
	while (fgets(line, sizeof(line), stdin)) {
		n = 0;
		if (sscanf(line, "%31s %zu", order, &n) < 1)
			continue;
		if (!strcmp(order, "hit")) {
			printf("%u\n", hits());
			continue;
		}
		if (!strcmp(order, "small"))
			batch(n, SMALL);
		else if (!strcmp(order, "large"))
			batch(n, LARGE);
		else if (!strcmp(order, "resize"))
			resize(n);
		else if (!strcmp(order, "cache"))
			cache(n);
		else if (!strcmp(order, "threads"))
			threads(n);
		puts("done");
	}
	return 0;
}
