/* SPDX-License-Identifier: MIT
 *
 * batch: many objects are allocated, then all are freed, the last one first (lifo), the
 * first one first (fifo), or in any order (random).
 *
 * 64 objects fit the caches in front of most allocators, 1,000 do not: those go on to the
 * barn, to a central list, or to the slabs. Nothing is written to the objects of the
 * smaller batches; those of the larger ones get a word each, as they would in a program.
 */
#include "micro.h"

#define FEW 64
#define MANY 1000

enum order { LIFO, FIFO, RANDOM };

static uint16_t few_order[FEW], many_order[MANY];

static void orders_init(void)
{
	struct random random = { 88675123u };

	random_order(&random, few_order, FEW);
	random_order(&random, many_order, MANY);
}

static void batch_args(struct gb_benchmark *b)
{
	orders_init();
	gb_arg_name(b, "count");
	gb_arg(b, FEW);
	gb_arg(b, MANY);
}

static void batch_size_args(struct gb_benchmark *b)
{
	orders_init();
	GB_ARG_NAMES(b, "size", "count");
	GB_ARGS(b, 64, FEW);
	GB_ARGS(b, 64, MANY);
}

/* All but the loops and the calls is known to the compiler. */
static always_inline void release_all(void **object, free_fn release, enum order order, int count)
{
	const uint16_t *any = count == FEW ? few_order : many_order;

	if (order == LIFO)
		for (int j = count - 1; j >= 0; j--)
			release(object[j]);
	else
		for (int j = 0; j < count; j++)
			release(object[order == FIFO ? j : any[j]]);
}

static always_inline void batch_one_size(struct gb_state *state, alloc_fn alloc, free_fn release,
					 enum order order, size_t size, int count)
{
	void *object[MANY];

	GB_FOR(state) {
		for (int j = 0; j < count; j++) {
			object[j] = alloc(size);
			if (count > FEW)
				*(void **)object[j] = object;
		}
		gb_use(object);
		release_all(object, release, order, count);
	}
	report_items(state, count);
}

static always_inline void batch_many_sizes(struct gb_state *state, alloc_fn alloc, free_fn release,
					   enum order order, int count)
{
	void *object[MANY];

	GB_BATCH(state, loops) {
		for (uint64_t i = 0; i < loops; i++) {
			const uint16_t *size = mixed_sizes + i * FEW % NR_SIZES;

			for (int j = 0; j < count; j++) {
				object[j] = alloc(count == FEW ?
							  size[j] :
							  mixed_sizes[(i * 7 + j) % NR_SIZES]);
				if (count > FEW)
					*(void **)object[j] = object;
			}
			gb_use(object);
			release_all(object, release, order, count);
		}
	}
	report_items(state, count);
}

static always_inline void batch(struct gb_state *state, alloc_fn alloc, free_fn release,
				enum order order)
{
	if (gb_range(state, 1) == FEW)
		batch_one_size(state, alloc, release, order, 64, FEW);
	else
		batch_one_size(state, alloc, release, order, 64, MANY);
}

static always_inline void batch_mixed(struct gb_state *state, alloc_fn alloc, free_fn release,
				      enum order order)
{
	if (gb_range(state, 0) == FEW)
		batch_many_sizes(state, alloc, release, order, FEW);
	else
		batch_many_sizes(state, alloc, release, order, MANY);
}

WITH_CONTROLS(batch_lifo, batch, LIFO)
WITH_CONTROLS(batch_fifo, batch, FIFO)
WITH_CONTROLS(batch_random, batch, RANDOM)
WITH_CONTROLS(batch_mixed_lifo, batch_mixed, LIFO)
WITH_CONTROLS(batch_mixed_fifo, batch_mixed, FIFO)
WITH_CONTROLS(batch_mixed_random, batch_mixed, RANDOM)
WITH_CONTROLS(batch_class, batch_one_size, LIFO, (size_t)gb_range(state, 0), FEW)
WITH_CONTROLS(batch_threads, batch_many_sizes, LIFO, FEW)

#define BATCH(prefix, arguments, text)                                                             \
	{                                                                                          \
		.name = #prefix, .group = "batch", .item = "malloc/free pair", .about = (text),    \
		RUN_WITH_CONTROLS(prefix), .args = (arguments)                                     \
	}

const struct family batch_families[] = {
	BATCH(batch_lifo, batch_size_args,
	      "64-byte objects, the last one freed first: the cache in front empties and fills "
	      "again, at 1,000 beyond its size. Good: at the limit for 64, close to it for 1,000."),
	BATCH(batch_fifo, batch_size_args,
	      "64-byte objects, freed in the order they came in, as queues do: the next batch gets "
	      "them in another order. Good: as fast as batch_lifo."),
	BATCH(batch_random, batch_size_args,
	      "64-byte objects, freed in any order: allocators that link objects through themselves "
	      "lose locality. Good: as fast as batch_lifo for 64, little above for 1,000."),
	BATCH(batch_mixed_lifo, batch_args,
	      "16 to 256 bytes, the last one freed first, as nested scopes do: several caches at a "
	      "time. Good: at the limit for 64."),
	BATCH(batch_mixed_fifo, batch_args,
	      "16 to 256 bytes, the first one freed first: as batch_fifo with several caches at a "
	      "time. Good: as fast as batch_mixed_lifo."),
	BATCH(batch_mixed_random, batch_args,
	      "16 to 256 bytes, freed in any order, which is what most programs look like. Good: "
	      "little above batch_mixed_lifo."),
	{ .name = "batch_class",
	  .group = "batch",
	  .item = "malloc/free pair",
	  .curve = "size",
	  .about = "64 objects of one size, for each size class: from which size on 64 objects no "
		   "longer fit the cache in front. Good: flat as far as memory allows.",
	  RUN_WITH_CONTROLS(batch_class),
	  .args = args_size_classes },
	{ .name = "batch_mixed_threads",
	  .group = "threads",
	  .item = "malloc/free pair",
	  .curve = "threads",
	  .about = "64 objects of 16 to 256 bytes in each thread: many threads hold objects of the "
		   "same processor's caches. Good: time per pair falls with the processors, then "
		   "stays as threads are added.",
	  RUN_WITH_CONTROLS(batch_threads),
	  .args = args_threads },
	{ .name = NULL },
};
