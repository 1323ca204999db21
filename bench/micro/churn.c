/* SPDX-License-Identifier: MIT
 *
 * churn: many live objects, one of which, any one, gives way to a new one of another size.
 *
 * Free objects are spread over all the slabs: this is an allocator that has been in use.
 */
#include "micro.h"

#define LIVE 10000
#define NR_SLOTS (NR_SIZES * 16)

static uint16_t next_slot[NR_SLOTS]; /* below LIVE */

static void churn_args(struct gb_benchmark *b)
{
	struct random random = { 521288629u };

	for (int i = 0; i < NR_SLOTS; i++)
		next_slot[i] = (uint16_t)(random_next(&random) % LIVE);
	gb_arg_name(b, "live");
	gb_arg(b, LIVE);
}

static void churn(struct gb_state *state, void *arg)
{
	static void *live[LIVE];

	for (int i = 0; i < LIVE; i++)
		live[i] = must(malloc(mixed_sizes[i % NR_SIZES]));
	GB_BATCH(state, loops) {
		for (uint64_t i = 0; i < loops; i++) {
			void **slot = live + next_slot[i % NR_SLOTS];

			free(*slot);
			*slot = must(malloc(mixed_sizes[i % NR_SIZES]));
			*(void **)*slot = slot;
		}
	}
	for (int i = 0; i < LIVE; i++)
		free(live[i]);
	report_items(state, 1);
}

const struct family churn_families[] = {
	{ .name = "churn",
	  .group = "batch",
	  .item = "malloc/free pair",
	  .about = "One of 10,000 live objects, any one, gives way to another of 16 to 256 bytes: "
		   "frees miss the processor's caches, and go to whatever slab. Good: half the "
		   "time of glibc.",
	  .run = churn,
	  .args = churn_args },
	{ .name = NULL },
};
