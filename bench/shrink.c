/* SPDX-License-Identifier: MIT
 *
 * shrink: fill memory with small objects, free them all, and see what the process
 * still holds: at once, after malloc_trim, or after a while in which it goes on
 * allocating a little.
 *
 * Output: `NAME VALUE` lines, memory in KiB, times in ms.
 */
#include "programs/common.h"

#include <malloc.h>
#include <stdbool.h>

struct object {
	struct object *next;
	char rest[];
};

/* Objects of 16 to 512 bytes, BYTES in all, in a list, the first one at its head. */
static struct object *fill(size_t bytes)
{
	static uint64_t random = 1;
	struct object *first = NULL, **last = &first;

	while (bytes) {
		size_t size = random_between(&random, 16, 512);
		struct object *object = malloc(size);

		if (!object)
			die(1, "out of memory");
		memset(object, 0, size);
		*last = object;
		last = &object->next;
		bytes -= size < bytes ? size : bytes;
	}
	return first;
}

static void print_ms(const char *name, double begin)
{
	printf("%s %.1f\n", name, (now() - begin) * 1e3);
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
	double end = now() + seconds;

	while (now() < end) {
		free_all(fill(512 << 10));
		sleep_ms(100);
	}
}

int main(int argc, char **argv)
{
	bool trim = argc == 3 && !strcmp(argv[2], "trim");
	bool aging = argc == 4 && !strcmp(argv[2], "age");
	double begin, seconds;
	struct object *first;
	size_t bytes;

	if (!trim && !aging)
		die(2, "usage: shrink MIB trim, or shrink MIB age SECONDS");
	bytes = (size_t)number(argv[1], "MIB", 1, 1 << 20) << 20;
	seconds = aging ? (double)number(argv[3], "SECONDS", 0, 3600) : 0;
	printf("start_kib %ld\n", rss_kib());
	begin = now();
	first = fill(bytes);
	print_ms("fill_ms", begin);
	printf("full_kib %ld\n", rss_kib());
	begin = now();
	free_all(first);
	print_ms("free_ms", begin);
	printf("freed_kib %ld\n", rss_kib());
	if (trim) {
		begin = now();
		malloc_trim(0);
		print_ms("trim_ms", begin);
		printf("trimmed_kib %ld\n", rss_kib());
	} else {
		age(seconds);
		printf("aged_kib %ld\n", rss_kib());
	}
	return 0;
}
