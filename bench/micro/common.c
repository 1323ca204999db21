/* SPDX-License-Identifier: MIT
 *
 * common: tables of sizes, a generator of numbers, and the arguments and the report that
 * most families share.
 *
 * Everything is drawn with fixed seeds: each allocator gets the same requests.
 */
#include "micro.h"

#include "kmalloc/size_class.h"

#include <sched.h>
#include <stdio.h>
#include <time.h>

uint16_t mixed_sizes[NR_SIZES];
uint32_t wide_sizes[NR_SIZES];

uint32_t random_next(struct random *random)
{
	random->state ^= random->state << 13;
	random->state ^= random->state >> 17;
	random->state ^= random->state << 5;
	return random->state;
}

uint32_t random_log(struct random *random, uint32_t low, uint32_t high)
{
	for (;;) {
		uint32_t doubling = low << random_next(random) % (ilog2(high / low) + 1);
		uint32_t size = doubling + random_next(random) % doubling;

		if (size <= high)
			return size;
	}
}

void random_order(struct random *random, uint16_t *order, size_t count)
{
	for (size_t i = 0; i < count; i++)
		order[i] = (uint16_t)i;
	for (size_t left = count; left > 1; left--) {
		size_t any = random_next(random) % left;
		uint16_t last = order[left - 1];

		order[left - 1] = order[any];
		order[any] = last;
	}
}

void tables_init(void)
{
	struct random random = { 2463534242u };

	for (int i = 0; i < NR_SIZES; i++)
		mixed_sizes[i] = (uint16_t)(16 + random_next(&random) % 241);
	for (int i = 0; i < NR_SIZES; i++)
		wide_sizes[i] = random_log(&random, 16, 64 * KIB);
}

void args_size_classes(struct gb_benchmark *b)
{
#define CLASS_SIZE(index, size, order) size,
	static const int64_t sizes[] = { KMALLOC_CLASSES(CLASS_SIZE) };
#undef CLASS_SIZE

	gb_arg_name(b, "size");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		gb_arg(b,
		       sizes[i] > (int64_t)KMALLOC_MAX_SIZE ? (int64_t)KMALLOC_MAX_SIZE : sizes[i]);
}

void args_threads(struct gb_benchmark *b)
{
	gb_thread_range(b, 1, 16);
	gb_use_real_time(b);
}

void report_items(struct gb_state *state, double items)
{
	double seconds = gb_span_seconds(state);

	/* Threads' values are added up: one of them speaks for all. */
	if (gb_thread_index(state) == 0 && seconds > 0)
		gb_set_counter(state, "items_per_second",
			       (double)gb_iterations(state) * gb_threads(state) * items / seconds);
}

void wait_a_moment(unsigned int *spins)
{
	if (++*spins % 64 == 0)
		sched_yield();
	else
		__builtin_ia32_pause();
}

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

void die(const char *what)
{
	fprintf(stderr, "micro: %s\n", what);
	exit(1);
}
