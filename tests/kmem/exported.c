/* SPDX-License-Identifier: MIT */
/*
 * exported.c - allocates what test_export.py knows beforehand, and says of each function what it
 * did, a line each:
 *
 *	function allocations bytes live-objects live-bytes objects-at-peak bytes-at-peak
 *
 * Bytes are what malloc_usable_size() says. The peak is in at_peak(): all that it allocates lives
 * then, and keep()'s and area()'s; the program itself allocates nothing else, since it writes with
 * write(2) at the end.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NR_KEPT 100
#define NR_DROPPED 5000
#define NR_AT_PEAK 40
#define AREA_BYTES (12UL << 20)

#define noinline __attribute__((noinline, noclone))
/* The call is not the function's last act, so its frame is the caller. */
#define not_a_tail_call() __asm__ volatile("" ::: "memory")

struct count {
	const char *name;
	unsigned long allocations, bytes, live_objects, live_bytes, peak_objects, peak_bytes;
};

enum { KEEP, DROP, AT_PEAK, AREA, INNER, NR_COUNTS };

static struct count counts[NR_COUNTS] = {
	[KEEP] = { .name = "keep" },	     [DROP] = { .name = "drop_at_once" },
	[AT_PEAK] = { .name = "at_peak" },   [AREA] = { .name = "area" },
	[INNER] = { .name = "inlined_one" },
};

static void *kept[NR_KEPT + 2];

static void add(int which, void *object)
{
	if (!object)
		abort();
	counts[which].allocations++;
	counts[which].bytes += malloc_usable_size(object);
	counts[which].live_objects++;
	counts[which].live_bytes += malloc_usable_size(object);
}

static void drop(int which, void *object)
{
	counts[which].live_objects--;
	counts[which].live_bytes -= malloc_usable_size(object);
	free(object);
}

static noinline void keep(size_t bytes)
{
	for (size_t i = 0; i < NR_KEPT; i++) {
		kept[i] = malloc(bytes);
		add(KEEP, kept[i]);
	}
}

static noinline void drop_at_once(size_t bytes)
{
	for (size_t i = 0; i < NR_DROPPED; i++) {
		void *object = malloc(bytes);

		add(DROP, object);
		drop(DROP, object);
	}
}

static noinline void area(size_t bytes)
{
	kept[NR_KEPT] = malloc(bytes);
	add(AREA, kept[NR_KEPT]);
}

static inline __attribute__((always_inline)) void *inlined_one(size_t bytes)
{
	void *object = malloc(bytes);

	not_a_tail_call();
	return object;
}

static noinline void outer_one(size_t bytes)
{
	kept[NR_KEPT + 1] = inlined_one(bytes);
	add(INNER, kept[NR_KEPT + 1]);
}

static noinline void at_peak(size_t bytes)
{
	static const struct timespec while_it_lasts = { .tv_nsec = 20000000 };
	void *objects[NR_AT_PEAK];

	for (size_t i = 0; i < NR_AT_PEAK; i++) {
		objects[i] = malloc(bytes);
		add(AT_PEAK, objects[i]);
	}
	for (int i = 0; i < NR_COUNTS; i++) {
		counts[i].peak_objects = counts[i].live_objects;
		counts[i].peak_bytes = counts[i].live_bytes;
	}
	nanosleep(&while_it_lasts, NULL);
	for (size_t i = 0; i < NR_AT_PEAK; i++)
		drop(AT_PEAK, objects[i]);
}

int main(void)
{
	char line[256];

	keep(1000);
	area(AREA_BYTES);
	drop_at_once(64);
	at_peak(20000);
	outer_one(300);
	for (int i = 0; i < NR_COUNTS; i++) {
		const struct count *count = &counts[i];
		int size = snprintf(line, sizeof(line), "%s %lu %lu %lu %lu %lu %lu\n", count->name,
				    count->allocations, count->bytes, count->live_objects,
				    count->live_bytes, count->peak_objects, count->peak_bytes);

		if (write(STDOUT_FILENO, line, (size_t)size) != size)
			return 1;
	}
	return 0;
}
