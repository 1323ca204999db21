/* SPDX-License-Identifier: MIT
 *
 * slow: the miss paths alone. Far more objects than any cache in front holds are allocated,
 * written to, and freed; only the one half or only the other is timed.
 *
 * One call in as many as a sheaf holds goes on to the barn and the slabs: the mean over
 * all calls is what a program pays that builds something up, or takes it down.
 */
#include "micro.h"

#define COUNT 32768

enum half { ALLOCATING, FREEING };

static void slow_args(struct gb_benchmark *b)
{
	gb_arg_name(b, "size");
	gb_arg(b, 16);
	gb_arg(b, 64);
	gb_arg(b, 256);
	gb_arg(b, 1024);
	gb_use_manual_time(b);
}

static always_inline void run_half(struct gb_state *state, enum half timed)
{
	static void *object[COUNT];
	size_t size = (size_t)gb_range(state, 0);
	double start, allocated, written, freed;

	GB_FOR(state) {
		start = now();
		for (int j = 0; j < COUNT; j++)
			object[j] = malloc(size);
		allocated = now();
		for (int j = 0; j < COUNT; j++)
			*(void **)must(object[j]) = object;
		written = now();
		for (int j = 0; j < COUNT; j++)
			free(object[j]);
		freed = now();
		gb_set_iteration_time(state,
				      timed == ALLOCATING ? allocated - start : freed - written);
	}
	gb_set_items_processed(state, gb_iterations(state) * COUNT);
}

static void refill(struct gb_state *state, void *arg)
{
	run_half(state, ALLOCATING);
}

static void flush(struct gb_state *state, void *arg)
{
	run_half(state, FREEING);
}

const struct family slow_families[] = {
	{ .name = "refill",
	  .group = "slow",
	  .item = "malloc",
	  .curve = "size",
	  .about =
		  "32,768 objects allocated, that alone timed: sheaves are refilled from the barn "
		  "and from slabs, in batches. It is what building up a data structure costs. Good: "
		  "within twice a hit.",
	  .run = refill,
	  .args = slow_args },
	{ .name = "flush",
	  .group = "slow",
	  .item = "free",
	  .curve = "size",
	  .about = "32,768 objects freed in the order they came in, that alone timed: sheaves are "
		   "flushed to the barn and to slabs, in batches. It is what taking down a data "
		   "structure costs. Good: within twice a hit.",
	  .run = flush,
	  .args = slow_args },
	{ .name = NULL },
};
