/* SPDX-License-Identifier: MIT
 *
 * realloc: buffers that grow, as strings, arrays and input buffers do.
 *
 * What is added is written to, a byte per page: a buffer must not be fast because nobody
 * uses it.
 */
#include "micro.h"

#define STEP 16
#define STEP_TO 4096

static void realloc_step(struct gb_state *state, void *arg)
{
	GB_FOR(state) {
		char *p = NULL;

		for (size_t size = STEP; size <= STEP_TO; size += STEP) {
			p = must(realloc(p, size));
			p[size - 1] = 1;
		}
		gb_use(p);
		free(p);
	}
	report_items(state, (double)STEP_TO / STEP);
}

static size_t next_size(size_t size, size_t to)
{
	size += size / 2;
	return size < to ? size : to;
}

static char *regrow(char *p, size_t old, size_t size)
{
	p = must(realloc(p, size));
	touch(p + old, size - old);
	return p;
}

static void realloc_grow(struct gb_state *state, void *arg)
{
	size_t to = (size_t)gb_range(state, 0);

	GB_FOR(state) {
		size_t size = 16;
		char *p = regrow(NULL, 0, size);

		while (size < to) {
			size_t old = size;

			size = next_size(size, to);
			p = regrow(p, old, size);
		}
		gb_use(p);
		free(p);
	}
	report_items(state, 1);
}

static void realloc_two(struct gb_state *state, void *arg)
{
	size_t to = (size_t)gb_range(state, 0);

	GB_FOR(state) {
		size_t size = 16;
		char *p = regrow(NULL, 0, size);
		char *q = regrow(NULL, 0, size);

		while (size < to) {
			size_t old = size;

			size = next_size(size, to);
			p = regrow(p, old, size);
			q = regrow(q, old, size);
		}
		gb_use(p);
		gb_use(q);
		free(p);
		free(q);
	}
	report_items(state, 2);
}

static void grow_args(struct gb_benchmark *b)
{
	gb_arg_name(b, "to");
	gb_arg(b, 64 * KIB);
	gb_arg(b, 64 * MIB);
}

static void two_args(struct gb_benchmark *b)
{
	gb_arg_name(b, "to");
	gb_arg(b, 64 * KIB);
	gb_arg(b, 16 * MIB);
}

const struct family realloc_families[] = {
	{ .name = "realloc_step",
	  .group = "calls",
	  .item = "realloc call",
	  .about =
		  "A string that grows from 16 bytes to 4 KiB by 16 bytes at a time: most calls find "
		  "room in the object that is there. Good: a few nanoseconds, far below malloc, "
		  "copy and free.",
	  .run = realloc_step },
	{ .name = "realloc_grow",
	  .group = "calls",
	  .item = "buffer grown",
	  .curve = "to",
	  .about = "A buffer that grows by half from 16 bytes to 64 KiB or 64 MiB, as arrays do: "
		   "copies while small, moved page tables or growth in place when large. Good: at "
		   "64 MiB no more than touching 64 MiB once.",
	  .run = realloc_grow,
	  .args = grow_args },
	{ .name = "realloc_two",
	  .group = "calls",
	  .item = "buffer grown",
	  .curve = "to",
	  .about =
		  "Two buffers that grow in turn: neither may have free addresses behind it. Good: "
		  "as fast as realloc_grow.",
	  .run = realloc_two,
	  .args = two_args },
	{ .name = NULL },
};
