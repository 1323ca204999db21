/* SPDX-License-Identifier: MIT
 *
 * pair: an object is allocated and at once freed. The shortest way through an allocator,
 * and the one that most calls take.
 *
 * Nothing is written to the objects: what is timed is the two calls.
 */
#include "micro.h"

static always_inline void pair(struct gb_state *state, alloc_fn alloc, free_fn release, size_t size)
{
	GB_FOR(state) {
		void *p = alloc(size);

		gb_use(p);
		release(p);
	}
	report_items(state, 1);
}

static always_inline void pair_mixed(struct gb_state *state, alloc_fn alloc, free_fn release)
{
	GB_BATCH(state, loops) {
		for (uint64_t i = 0; i < loops; i++) {
			void *p = alloc(mixed_sizes[i % NR_SIZES]);

			gb_use(p);
			release(p);
		}
	}
	report_items(state, 1);
}

static always_inline void pair_wide(struct gb_state *state, alloc_fn alloc, free_fn release)
{
	GB_BATCH(state, loops) {
		for (uint64_t i = 0; i < loops; i++) {
			void *p = alloc(wide_sizes[i % NR_SIZES]);

			gb_use(p);
			release(p);
		}
	}
	report_items(state, 1);
}

WITH_CONTROLS(pair_size, pair, (size_t)gb_range(state, 0))
WITH_CONTROLS(pair_64, pair, 64)
WITH_CONTROLS(pair_mixed, pair_mixed)
WITH_CONTROLS(pair_wide, pair_wide)

const struct family pair_families[] = {
	{ .name = "pair",
	  .group = "pair",
	  .item = "malloc/free pair",
	  .curve = "size",
	  .about =
		  "One size, freed at once: the hit path alone, its branches and loads in step. "
		  "It bounds every program from below. Good: at the limit, and flat over the sizes.",
	  RUN_WITH_CONTROLS(pair_size),
	  .args = args_size_classes },
	{ .name = "pair_mixed",
	  .group = "pair",
	  .item = "malloc/free pair",
	  .about =
		  "Sizes of 16 to 256 bytes in no order: the hit path with another cache each time, "
		  "as in real programs. Good: at the limit, hardly above one size.",
	  RUN_WITH_CONTROLS(pair_mixed) },
	{ .name = "pair_wide",
	  .group = "pair",
	  .item = "malloc/free pair",
	  .about = "Sizes of 16 bytes to 64 KiB, each doubling as likely: the size lookup over its "
		   "whole range, and caches that are rarely used. Good: near the limit.",
	  RUN_WITH_CONTROLS(pair_wide) },
	{ .name = "pair_threads",
	  .group = "threads",
	  .item = "malloc/free pair",
	  .curve = "threads",
	  .about =
		  "Pairs of 64 bytes in each thread: the hit path, which must share nothing. Good: "
		  "time per pair falls with the processors, then stays as threads are added.",
	  RUN_WITH_CONTROLS(pair_64),
	  .args = args_threads },
	{ .name = "pair_mixed_threads",
	  .group = "threads",
	  .item = "malloc/free pair",
	  .curve = "threads",
	  .about =
		  "Pairs of 16 to 256 bytes in each thread: as pair_threads, with all the caches of "
		  "a thread or processor in use. Good: the same curve as pair_threads.",
	  RUN_WITH_CONTROLS(pair_mixed),
	  .args = args_threads },
	{ .name = NULL },
};
