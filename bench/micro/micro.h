/* SPDX-License-Identifier: MIT
 *
 * micro: what the files of the micro-benchmarks share.
 *
 * A family is a benchmark with all its instances. Each file here has one idea, and a
 * table of the families that belong to it; main.c registers them all. A family's function
 * takes its sizes and counts from gb_range() before the timed loop, ends with a call of
 * report_items(), and frees all that it allocated: the next run finds nothing left.
 */
#ifndef BENCH_MICRO_H
#define BENCH_MICRO_H

#include "controls.h"
#include "gbench.h"
#include "lib/compiler.h"

#include <stdint.h>
#include <stdlib.h>

struct family {
	const char *name;
	const char *group;  /* which section of a report it belongs to */
	const char *item;   /* what items_per_second counts */
	const char *curve;  /* the argument that makes a curve, or NULL */
	const char *about;  /* one line: the path, why it matters, what is good */
	bool alone;	    /* each instance wants a process of its own */
	gb_function *run;   /* on the malloc that is loaded */
	gb_function *limit; /* on a thread's own list (controls.c), or NULL */
	gb_function *empty; /* on calls that do nothing, or NULL */
	/* Adds arguments and threads, to the controls' instances too; NULL: there are none. */
	void (*args)(struct gb_benchmark *b);
};

/* Each ends with a family without a name. */
extern const struct family pair_families[];
extern const struct family batch_families[];
extern const struct family churn_families[];
extern const struct family call_families[];
extern const struct family realloc_families[];
extern const struct family thread_families[];
extern const struct family slow_families[];
extern const struct family large_families[];
extern const struct family memory_families[];
/* Exist where the kernel's calls were found, which looks them up. */
extern const struct family kernel_families[];
bool kernel_calls_found(void);

typedef void *alloc_fn(size_t);
typedef void free_fn(void *);

/* A pattern's three functions. Each is compiled on its own so that the calls are direct
   ones, as in any program. PATTERN is an always_inline function of the state and the two
   calls; `...` are constants for it. */
#define WITH_CONTROLS(name, pattern, ...)                                                          \
	static void name##_malloc(struct gb_state *state, void *arg)                               \
	{                                                                                          \
		pattern(state, malloc, free, ##__VA_ARGS__);                                       \
	}                                                                                          \
	static void name##_limit(struct gb_state *state, void *arg)                                \
	{                                                                                          \
		controls_start();                                                                  \
		pattern(state, list_alloc, list_free, ##__VA_ARGS__);                              \
	}                                                                                          \
	static void name##_empty(struct gb_state *state, void *arg)                                \
	{                                                                                          \
		pattern(state, empty_alloc, empty_free, ##__VA_ARGS__);                            \
	}

/* For a family's table: its three functions. */
#define RUN_WITH_CONTROLS(prefix)                                                                  \
	.run = prefix##_malloc, .limit = prefix##_limit, .empty = prefix##_empty

/* ------------------------------------------------------------------ common.c */

#define NR_SIZES 1024
#define KIB 1024L
#define MIB (1024 * KIB)

extern uint16_t mixed_sizes[NR_SIZES]; /* 16..256, any one as likely */
extern uint32_t wide_sizes[NR_SIZES];  /* 16 B..64 KiB, each doubling as likely */

/* Fills the tables; before any benchmark runs. */
void tables_init(void);

/* A generator of numbers: the same seed gives the same ones everywhere. */
struct random {
	uint32_t state; /* not 0 */
};

uint32_t random_next(struct random *random);
/* From `low` to `high`, both included, each doubling as likely. */
uint32_t random_log(struct random *random, uint32_t low, uint32_t high);
/* Leaves the numbers below `count` in `order`, in any order. */
void random_order(struct random *random, uint16_t *order, size_t count);

/* An argument for each size class of the library; and one thread, two, four, up to 16. */
void args_size_classes(struct gb_benchmark *b);
void args_threads(struct gb_benchmark *b);

/* Behind the loop: each iteration was `items` items in each thread. Sets items_per_second by
   wall time, first thread's start to last one's end. */
void report_items(struct gb_state *state, double items);

_Noreturn void die(const char *what);

/* ------------------------------------------------------------------- helpers */

static inline void *must(void *p)
{
	if (unlikely(!p))
		die("out of memory");
	return p;
}

/* Writes a byte to each page. */
static inline void touch(void *p, size_t size)
{
	for (size_t i = 0; i < size; i += 4096)
		((volatile char *)p)[i] = 1;
}

/* Waits for another thread, which may have to run on this processor. */
void wait_a_moment(unsigned int *spins);

/* Seconds on a clock that only goes forward. */
double now(void);

#endif
