/* SPDX-License-Identifier: MIT
 *
 * shrink: fill memory with small objects, free them all, and see what the process
 * still holds: at once, after malloc_trim, or after a while in which it goes on
 * allocating a little.
 *
 * Output: `NAME VALUE` lines, memory in KiB, times in ms.
 */
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

static long rss_kib(void)
{
	char text[128];
	int fd = open("/proc/self/statm", O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	long pages = 0;

	if (n > 0) {
		text[n] = 0;
		sscanf(text, "%*s %ld", &pages);
	}
	if (fd >= 0)
		close(fd);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

struct object {
	struct object *next;
	char rest[];
};

static uint32_t random_state = 2463534242u;

static size_t next_size(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return 16 + random_state % 497;
}

/* Objects of 16 to 512 bytes, BYTES in all, in a list, the first one at its head. */
static struct object *fill(size_t bytes)
{
	struct object *first = NULL, **last = &first;

	while (bytes) {
		size_t size = next_size();
		struct object *object = malloc(size);

		if (!object) {
			fprintf(stderr, "shrink: out of memory\n");
			exit(1);
		}
		memset(object, 0, size);
		*last = object;
		last = &object->next;
		bytes -= size < bytes ? size : bytes;
	}
	return first;
}

static void free_all(struct object *object)
{
	while (object) {
		struct object *next = object->next;

		free(object);
		object = next;
	}
}

/* What a process does that has little to do: 512 KiB come and go now and then. */
static void age(double seconds)
{
	double end = now_ms() + seconds * 1e3;

	while (now_ms() < end) {
		free_all(fill(512 << 10));
		usleep(100000);
	}
}

int main(int argc, char **argv)
{
	unsigned long mib = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
	double begin;
	struct object *first;

	if (!mib || (strcmp(argv[2], "trim") && (strcmp(argv[2], "age") || argc < 4))) {
		fprintf(stderr, "usage: shrink MIB trim\n       shrink MIB age SECONDS\n");
		return 2;
	}
	printf("start_kib %ld\n", rss_kib());
	begin = now_ms();
	first = fill(mib << 20);
	printf("fill_ms %.1f\nfull_kib %ld\n", now_ms() - begin, rss_kib());
	begin = now_ms();
	free_all(first);
	printf("free_ms %.1f\nfreed_kib %ld\n", now_ms() - begin, rss_kib());
	if (!strcmp(argv[2], "trim")) {
		begin = now_ms();
		malloc_trim(0);
		printf("trim_ms %.1f\ntrimmed_kib %ld\n", now_ms() - begin, rss_kib());
	} else {
		age(atof(argv[3]));
		printf("aged_kib %ld\n", rss_kib());
	}
	return 0;
}
