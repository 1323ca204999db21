/* SPDX-License-Identifier: MIT
 *
 * threads: what threads do to each other through the allocator: objects that one allocates
 * and another frees, and objects of two threads in one cache line.
 */
#include "micro.h"

#include <stdatomic.h>

#define MAX_THREADS 8

/* -------------------------------------------------------------- hand over */

#define RING 1024
#define HAND_OVER 32

/* Each pair of threads has one: the even one fills it, the odd one empties it. */
static struct ring {
	_Alignas(128) atomic_ulong filled; /* objects put in; the producer writes it */
	_Alignas(128) atomic_ulong taken;  /* objects taken out; the consumer's */
	_Alignas(128) void *object[RING];
} rings[MAX_THREADS / 2];

static void hand_over_args(struct gb_benchmark *b)
{
	gb_thread_range(b, 2, MAX_THREADS);
	gb_use_real_time(b);
}

/* Both sides start where the last run stopped: all that was put in was taken out. */
static void consume(struct ring *ring, uint64_t total)
{
	unsigned long taken = ring->taken, end = taken + total;
	unsigned int spins = 0;

	while (taken < end) {
		unsigned long filled = atomic_load_explicit(&ring->filled, memory_order_acquire);

		if (filled == taken) {
			wait_a_moment(&spins);
			continue;
		}
		for (; taken < filled; taken++)
			free(ring->object[taken % RING]);
		atomic_store_explicit(&ring->taken, taken, memory_order_release);
	}
}

static void produce(struct ring *ring, uint64_t total)
{
	unsigned long filled = ring->filled, end = filled + total;
	unsigned int spins = 0;

	while (filled < end) {
		unsigned long taken = atomic_load_explicit(&ring->taken, memory_order_acquire);

		if (filled + HAND_OVER - taken > RING) {
			wait_a_moment(&spins);
			continue;
		}
		for (int i = 0; i < HAND_OVER; i++, filled++) {
			void **p = must(malloc(mixed_sizes[filled % NR_SIZES]));

			*p = p;
			ring->object[filled % RING] = p;
		}
		atomic_store_explicit(&ring->filled, filled, memory_order_release);
	}
}

static void hand_over(struct gb_state *state, void *arg)
{
	struct ring *ring = &rings[gb_thread_index(state) / 2];
	bool producer = gb_thread_index(state) % 2 == 0;

	GB_BATCH(state, loops) {
		if (producer)
			produce(ring, loops * HAND_OVER);
		else
			consume(ring, loops * HAND_OVER);
	}
	report_items(state, HAND_OVER / 2.0);
}

/* ---------------------------------------------------------- false sharing */

#define SHARED_SIZE 8
#define WRITES 1000

static void *given[MAX_THREADS]; /* one for each thread, all from one thread */

static void sharing_args(struct gb_benchmark *b)
{
	gb_thread_range(b, 1, 4);
	gb_use_real_time(b);
}

static void give_objects(const struct gb_state *state, void *arg)
{
	for (int i = 0; i < gb_threads(state); i++)
		given[i] = must(malloc(SHARED_SIZE));
}

static void passive_args(struct gb_benchmark *b)
{
	sharing_args(b);
	gb_setup(b, give_objects, NULL);
}

static void write_own_objects(struct gb_state *state)
{
	GB_FOR(state) {
		volatile unsigned long *p = must(malloc(SHARED_SIZE));

		*p = 0;
		for (int i = 0; i < WRITES; i++)
			++*p;
		free((void *)p);
	}
	report_items(state, 1);
}

static void sharing_active(struct gb_state *state, void *arg)
{
	write_own_objects(state);
}

static void sharing_passive(struct gb_state *state, void *arg)
{
	free(given[gb_thread_index(state)]);
	write_own_objects(state);
}

const struct family thread_families[] = {
	{ .name = "hand_over",
	  .group = "threads",
	  .item = "malloc/free pair",
	  .curve = "threads",
	  .about = "Pairs of threads: one allocates 16 to 256 bytes, the other frees them, as in "
		   "pipelines and message queues. The consumer's caches overflow while the "
		   "producer's run dry. Good: within three times pair_mixed.",
	  .run = hand_over,
	  .args = hand_over_args },
	{ .name = "false_sharing_active",
	  .group = "threads",
	  .item = "8-byte object written 1,000 times",
	  .curve = "threads",
	  .about =
		  "Each thread allocates 8 bytes, writes them 1,000 times, frees them: slow if the "
		  "allocator cuts one cache line between threads. Good: time per object falls with "
		  "the processors.",
	  .run = sharing_active,
	  .args = sharing_args },
	{ .name = "false_sharing_passive",
	  .group = "threads",
	  .item = "8-byte object written 1,000 times",
	  .curve = "threads",
	  .about = "The same after each thread has freed an object from a line that it was given a "
		   "part of: slow if it gets that part again. Good: as false_sharing_active.",
	  .run = sharing_passive,
	  .args = passive_args },
	{ .name = NULL },
};
