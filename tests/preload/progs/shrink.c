/* SPDX-License-Identifier: MIT */
/*
 * A process that used much memory once gets small again: by malloc_trim (argument "trim"), by age
 * while it goes on with little (argument "age"), or idle, by the kswapd thread (argument "idle").
 * 192 MiB in small objects and 64 in areas, all of them touched, freed in random order. Nothing
 * is left to keep after a trim; otherwise the CPUs' caches keep objects, each in a slab of its own.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <time.h>

#include "check.h"

#define SMALL_BYTES ((size_t)192 << 20)
#define AREAS 64
#define AREA_BYTES ((size_t)1 << 20)
#define NEAR_AFTER_TRIM ((size_t)16 << 20)
#define NEAR_AFTER_AGE ((size_t)96 << 20)
#define MANY (1 << 20)
#define PATIENCE 30 /* seconds: a machine may be slow, but not that slow */

static void *objects[MANY]; /* touched before the first measure */
static void *areas[AREAS];

/* Bytes of VmRSS, read without stdio: an idle process must not allocate. */
static size_t resident(void)
{
	char text[4096];
	int fd = open("/proc/self/status", O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	CHECK(fd >= 0 && n > 0, "/proc/self/status");
	text[n] = '\0';
	char *line = strstr(text, "VmRSS:");
	CHECK(line != NULL, "no VmRSS");
	return strtoul(line + 6, NULL, 10) << 10;
}

static void pause_ms(long ms)
{
	struct timespec pause = { 0, ms * 1000000 };

	nanosleep(&pause, NULL);
}

static unsigned use_much(void)
{
	uint32_t seed = 5;
	unsigned n = 0;

	for (size_t total = 0; total < SMALL_BYTES; n++) {
		size_t size = 16 + next_random(&seed) % (n % 64 == 0 ? 16000 : 700);

		CHECK(n < MANY && (objects[n] = hide(malloc(size))) != NULL, "malloc(%zu)", size);
		memset(objects[n], 1, size);
		total += size;
	}
	for (int i = 0; i < AREAS; i++) {
		CHECK((areas[i] = hide(malloc(AREA_BYTES))) != NULL, "an area");
		memset(areas[i], 1, AREA_BYTES);
	}
	return n;
}

static void free_all(unsigned n)
{
	uint32_t seed = 77;

	for (; n > 0; n--) {
		unsigned k = next_random(&seed) % n;

		free(objects[k]);
		objects[k] = objects[n - 1];
	}
	for (int i = 0; i < AREAS; i++)
		free(areas[i]);
}

/* The program goes on, with a few objects at a time. */
static void go_on(void)
{
	static void *few[300];

	for (int i = 0; i < 300; i++)
		few[i] = hide(malloc(100));
	for (int i = 0; i < 300; i++)
		free(few[i]);
}

static bool wait_until_near(size_t start, bool idle)
{
	struct timespec begin, now;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		if (!idle)
			go_on();
		pause_ms(20);
		if (resident() <= start + NEAR_AFTER_AGE)
			return true;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - begin.tv_sec < PATIENCE);
	return false;
}

int main(int argc, char **argv)
{
	const char *how = argc == 2 ? argv[1] : "";

	check_library();
	memset(objects, 1, sizeof(objects));
	size_t start = resident();
	unsigned n = use_much();
	size_t top = resident();
	CHECK(top - start >= SMALL_BYTES + AREAS * AREA_BYTES, "only %zu MiB used", top >> 20);
	free_all(n);
	if (strcmp(how, "trim") == 0) {
		malloc_trim(0);
		CHECK(resident() <= start + NEAR_AFTER_TRIM,
		      "%zu MiB at the start, %zu in use, now %zu", start >> 20, top >> 20,
		      resident() >> 20);
	} else {
		CHECK(strcmp(how, "age") == 0 || strcmp(how, "idle") == 0, "trim, age or idle?");
		CHECK(wait_until_near(start, how[0] == 'i'),
		      "%zu MiB at the start, %zu in use, now %zu", start >> 20, top >> 20,
		      resident() >> 20);
	}
	say("%s: small again", how);
	return 0;
}
