/* SPDX-License-Identifier: MIT
 *
 * memory: what live objects cost in resident memory, after a life that fragments.
 *
 * Each is one iteration with fixed random numbers, in a process of its own: the allocator
 * starts fresh, and every allocator gets the same requests. All bytes are written once.
 * resident_bytes is taken at the end, with live_bytes still there; peak_* over all the time.
 * The limit is the live bytes: no allocator needs less.
 */
#include "heap.h"
#include "micro.h"

static size_t below(struct random *random, size_t n)
{
	return random_next(random) % n;
}

/* Drops objects, any ones, until no more than `bytes` are live. */
static void shrink_to(struct heap *heap, struct random *random, size_t bytes)
{
	while (heap->live > bytes && heap->set[BULK].count)
		heap_drop(heap, BULK, below(random, heap->set[BULK].count));
}

/* `steps` times an object, any one, gives way to a new one: sizes from `low` to `high`, each
   doubling as likely. Live bytes stay below `bytes`. */
static void replace(struct heap *heap, struct random *random, size_t steps, size_t bytes,
		    uint32_t low, uint32_t high)
{
	for (size_t i = 0; i < steps; i++) {
		heap_drop(heap, BULK, below(random, heap->set[BULK].count));
		heap_add(heap, BULK, random_log(random, low, high));
		shrink_to(heap, random, bytes);
	}
}

/* Adds objects until `bytes` are live. */
static void fill(struct heap *heap, struct random *random, size_t bytes, uint32_t low,
		 uint32_t high)
{
	while (heap->live < bytes)
		heap_add(heap, BULK, random_log(random, low, high));
}

static void one_iteration(struct gb_benchmark *b)
{
	gb_set_iterations(b, 1);
	gb_unit(b, GB_MILLISECOND);
}

/* Sizes drift from 48 bytes to 1.5 KiB and back, a doubling in each of ten phases of 96 MiB.
   Half of the objects die at once, one in 32 lives until 6 MiB of its like have come after
   it, the others die at random, to keep to 48 MiB. */
static void drift_phase(struct heap *heap, struct random *random, size_t mean)
{
	static size_t oldest;
	struct heap_set *longer = &heap->set[LONG];
	struct heap_set *brief = &heap->set[BRIEF];

	for (size_t bytes = 0; bytes < 96 * MIB;) {
		size_t size = mean / 2 + below(random, mean);
		size_t fate = below(random, 32);
		enum lifetime lifetime = fate >= 16 ? BRIEF : fate ? BULK : LONG;

		bytes += size;
		heap_add(heap, lifetime, size);
		if (brief->count > 16)
			heap_drop(heap, BRIEF, below(random, 16));
		while (longer->live > 6 * MIB)
			heap_drop(heap, LONG, oldest++ % longer->count);
		shrink_to(heap, random, 48 * MIB);
	}
}

static void drift(struct gb_state *state, void *arg)
{
	struct random random = { 362436069u };
	struct heap heap;

	heap_open(&heap, 1 << 21);
	GB_FOR(state) {
		for (int phase = 0; phase < 10; phase++)
			drift_phase(&heap, &random, 48ul << (phase < 5 ? phase : 10 - phase));
	}
	heap_report(&heap, state);
}

static void grow_shrink(struct gb_state *state, void *arg)
{
	struct random random = { 123456789u };
	struct heap heap;

	heap_open(&heap, 1 << 20);
	GB_FOR(state) {
		fill(&heap, &random, 96 * MIB, 16, 1024);
		shrink_to(&heap, &random, 96 * MIB / 10);
		replace(&heap, &random, 200000, 96 * MIB / 10, 16, 1024);
	}
	heap_report(&heap, state);
}

/* By turns the one kind of object comes and the other one goes. */
static void bimodal(struct gb_state *state, void *arg)
{
	struct random random = { 88172645u };
	struct heap heap;

	heap_open(&heap, 1 << 21);
	GB_FOR(state) {
		for (int turn = 0; turn < 12; turn++) {
			size_t steps = turn % 2 ? 4000 : 800000;

			for (size_t i = 0; i < steps; i++) {
				if (turn % 2)
					heap_add(&heap, BULK, random_log(&random, 8192, 16384));
				else
					heap_add(&heap, BULK, random_log(&random, 32, 64));
				shrink_to(&heap, &random, 48 * MIB);
			}
		}
	}
	heap_report(&heap, state);
}

static void small_only(struct gb_state *state, void *arg)
{
	struct random random = { 916191069u };
	struct heap heap;

	heap_open(&heap, 1000000);
	GB_FOR(state) {
		while (heap.set[BULK].count < 1000000)
			heap_add(&heap, BULK, 16 + below(&random, 49));
		for (int i = 0; i < 1000000; i++) {
			heap_drop(&heap, BULK, below(&random, 1000000));
			heap_add(&heap, BULK, 16 + below(&random, 49));
		}
	}
	heap_report(&heap, state);
}

static void mid(struct gb_state *state, void *arg)
{
	struct random random = { 1234567u };
	struct heap heap;

	heap_open(&heap, 1 << 17);
	GB_FOR(state) {
		fill(&heap, &random, 64 * MIB, KIB, 32 * KIB);
		replace(&heap, &random, 100000, 64 * MIB, KIB, 32 * KIB);
	}
	heap_report(&heap, state);
}

static void large_live(struct gb_state *state, void *arg)
{
	struct random random = { 7654321u };
	struct heap heap;

	heap_open(&heap, 1 << 12);
	GB_FOR(state) {
		fill(&heap, &random, 128 * MIB, 128 * KIB, MIB);
		replace(&heap, &random, 2000, 128 * MIB, 128 * KIB, MIB);
	}
	heap_report(&heap, state);
}

#define MEMORY(function, text)                                                                     \
	{                                                                                          \
		.name = #function, .group = "memory", .item = "allocation", .about = (text),       \
		.alone = true, .run = function, .args = one_iteration                              \
	}

const struct family memory_families[] = {
	MEMORY(drift,
	       "Sizes drift from 48 bytes to 1.5 KiB and back, brief, long and random "
	       "lifetimes, 48 MiB live: what is freed in one size is wanted in another. Every "
	       "long-lived server. Slabs keep what a few objects hold. Good: under twice live."),
	MEMORY(grow_shrink,
	       "96 MiB of 16 to 1,024 bytes, of which 90% go, any ones; the rest lives "
	       "on: one object keeps a page, or a slab. Good: peak within 1.1 times live, "
	       "what stays clearly below the peak."),
	MEMORY(bimodal,
	       "By turns objects of 32 to 64 bytes and of 8 to 16 KiB push each other out, "
	       "48 MiB live: slabs of one kind must become pages for the other. Good: "
	       "resident within 1.6 times live."),
	MEMORY(small_only,
	       "A million objects of 16 to 64 bytes, each replaced once: rounding, headers "
	       "and metadata show most here. Good: resident within 1.25 times live."),
	MEMORY(mid,
	       "64 MiB of 1 to 32 KiB, each doubling as likely, replaced at random: rounding and "
	       "the ends of slabs. Good: resident within 1.25 times live."),
	MEMORY(large_live,
	       "128 MiB in blocks of 128 KiB to 1 MiB, replaced at random: rounding to "
	       "pages, and freed areas that are kept. Good: peak within 1.25 times live."),
	{ .name = NULL },
};
