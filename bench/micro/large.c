/* SPDX-License-Identifier: MIT
 *
 * large: blocks that are allocated, written to once per page, and freed.
 *
 * Page faults and system calls cost far more here than the allocator's own work: whoever
 * keeps freed pages for the next one wins, and pays in resident memory.
 */
#include "micro.h"

#include <string.h>

#define NR_LIVE 16

static void large_args(struct gb_benchmark *b)
{
	static const int64_t sizes[] = { 32 * KIB, 128 * KIB, 256 * KIB, 512 * KIB,
					 MIB,	   4 * MIB,   16 * MIB,	 64 * MIB };

	gb_arg_name(b, "size");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		gb_arg(b, sizes[i]);
}

static void large(struct gb_state *state, void *arg)
{
	size_t size = (size_t)gb_range(state, 0);

	GB_FOR(state) {
		void *p = must(malloc(size));

		touch(p, size);
		gb_use(p);
		free(p);
	}
	report_items(state, 1);
}

static void large_mixed(struct gb_state *state, void *arg)
{
	void *live[NR_LIVE] = { NULL };

	GB_BATCH(state, loops) {
		for (uint64_t i = 0; i < loops; i++) {
			uint32_t r = mixed_sizes[i % NR_SIZES] * 2654435761u;
			void **slot = live + (r >> 28);
			size_t size = 128 * KIB + (r & 0xfffff) * 4ul / 100 * 97;

			free(*slot);
			*slot = must(malloc(size));
			touch(*slot, size);
		}
	}
	for (int i = 0; i < NR_LIVE; i++)
		free(live[i]);
	report_items(state, 1);
}

const struct family large_families[] = {
	{ .name = "large",
	  .group = "large",
	  .item = "malloc/free pair",
	  .curve = "size",
	  .about =
		  "32 KiB to 64 MiB, a byte per page written: small ones from caches, then areas of "
		  "pages that a lazy purge keeps. Buffers of files, images, databases. Good: only "
		  "the writes as long as pages are kept, never above mmap, touch and munmap.",
	  .run = large,
	  .args = large_args },
	{ .name = "large_mixed",
	  .group = "large",
	  .item = "malloc/free pair",
	  .about =
		  "Sixteen live buffers of 128 KiB to 4 MiB, replaced one at a time: freed areas fit "
		  "the next request only by luck. Good: no slower than the best at one size.",
	  .run = large_mixed },
	{ .name = NULL },
};
