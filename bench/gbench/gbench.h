/* SPDX-License-Identifier: MIT
 *
 * gbench: Google Benchmark for programs written in C.
 *
 * Each function here is the method of the same name of Google Benchmark, whose
 * user guide holds for what it means; gbench.cc is the one C++ file behind it.
 * A program compiles its benchmarks as C11, and links gbench.o and -lbenchmark
 * with the C++ compiler. It takes all of Google Benchmark's options
 * (--benchmark_filter, --benchmark_repetitions, --benchmark_format=json ...).
 *
 * The timed loop costs nothing across the border: GB_FOR asks for the number of
 * iterations once and counts down in a variable of the function itself.
 *
 *	#include "gbench.h"
 *	#include <stdlib.h>
 *
 *	static void pair(struct gb_state *state, void *arg)
 *	{
 *		size_t size = (size_t)gb_range(state, 0);
 *
 *		(void)arg;
 *		GB_FOR(state) {
 *			void *p = malloc(size);
 *
 *			gb_use(p);
 *			free(p);
 *		}
 *		gb_set_items_processed(state, gb_iterations(state));
 *	}
 *
 *	int main(int argc, char **argv)
 *	{
 *		struct gb_benchmark *b = gb_register("pair", pair, NULL);
 *
 *		gb_arg_name(b, "size");
 *		gb_range_multiplier(b, 4);
 *		gb_add_range(b, 16, 1024);
 *		gb_thread_range(b, 1, 4);
 *		gb_use_real_time(b);
 *		return gb_main(argc, argv);
 *	}
 *
 * (tests/bench/test_gbench.py compiles and runs this very text.)
 */
#ifndef BENCH_GBENCH_H
#define BENCH_GBENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A registered benchmark; lives until gb_shutdown(). */
struct gb_benchmark;

/* One thread's run of one instance; lives as long as the call it is handed to. */
struct gb_state;

/* A benchmark: called in each thread of each run. `arg` is what it was registered with. */
typedef void gb_function(struct gb_state *state, void *arg);

/* Called once per run, before its threads start or after they ended. Of the state only
   gb_range() and gb_threads() mean anything. */
typedef void gb_hook(const struct gb_state *state, void *arg);

/* ---------------------------------------------------------------- the loop */

/* The number of iterations to run; the timer runs from here on. 0: none, after an error.
   For GB_FOR and GB_BATCH; call it yourself, once, where those do not fit. */
uint64_t gb_begin(struct gb_state *state);

/* Stops the timer and waits for the other threads. `left` iterations were not run; where
   that is not 0 and no error was given, the benchmark fails, as its time would be wrong. */
void gb_end(struct gb_state *state, uint64_t left);

/* The timed loop: runs the statement behind it once per iteration. `continue` and `break`
   work; leave early only by gb_skip_with_error() and `break`, never by `return`. One loop
   per call of the benchmark. */
#define GB_FOR(state)                                                                              \
	for (uint64_t gb_left = gb_begin(state), gb_once = 1; gb_once;                             \
	     gb_once = 0, gb_end(state, gb_left))                                                  \
		for (; gb_left; gb_left--)

/* For code that has a loop of its own: runs the statement behind it once, with a new
   variable `n` (uint64_t, more than 0), the iterations that it must do. */
#define GB_BATCH(state, n)                                                                         \
	for (uint64_t n = gb_begin(state), gb_left = n, gb_once = 1; gb_once;                      \
	     gb_once = 0, gb_end(state, gb_left))                                                  \
		for (; gb_left; gb_left = 0)

/* The compiler must believe that `p` is used and that what it points to has changed. */
static inline void gb_use(const void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

/* The compiler must believe that any memory has changed. */
static inline void gb_clobber_memory(void)
{
	__asm__ volatile("" : : : "memory");
}

/* --------------------------------------------------------------- the state */

/* Argument number `index`, from 0, of this instance; it must have one. */
int64_t gb_range(const struct gb_state *state, size_t index);

/* How many threads run this instance, and which of them this is, from 0. */
int gb_threads(const struct gb_state *state);
int gb_thread_index(const struct gb_state *state);

/* Iterations that this thread ran; for behind the loop. */
int64_t gb_iterations(const struct gb_state *state);

/* Wall time from the first thread's start of its loop to the last thread's end of it; for
   behind the loop. Google Benchmark's own time of several threads is their mean, which is
   too short where there are more threads than processors. Pauses count. */
double gb_span_seconds(const struct gb_state *state);

/* Stops and starts the timer inside the loop. Each costs as much as a clock read: not for
   iterations under a microsecond. Leave no loop with the timer stopped. */
void gb_pause_timing(struct gb_state *state);
void gb_resume_timing(struct gb_state *state);

/* With gb_use_manual_time(): adds to the time that this thread's run took. */
void gb_set_iteration_time(struct gb_state *state, double seconds);

/* Reports the benchmark as failed. `break` out of the loop right after it. */
void gb_skip_with_error(struct gb_state *state, const char *message);
bool gb_error_occurred(const struct gb_state *state);

/* Rates for the report, items_per_second and bytes_per_second; for behind the loop, with
   this thread's share. */
void gb_set_items_processed(struct gb_state *state, int64_t items);
void gb_set_bytes_processed(struct gb_state *state, int64_t bytes);

/* A word for the end of the report's line. */
void gb_set_label(struct gb_state *state, const char *label);

/* How a counter is shown; they may be or-ed. Threads' values are added up first. */
enum gb_counter_flags {
	GB_COUNTER_DEFAULTS = 0,
	GB_COUNTER_RATE = 1 << 0,		 /* divided by the time */
	GB_COUNTER_AVG_THREADS = 1 << 1,	 /* divided by the number of threads */
	GB_COUNTER_ITERATION_INVARIANT = 1 << 2, /* multiplied by the iterations */
	GB_COUNTER_AVG_ITERATIONS = 1 << 3,	 /* divided by the iterations */
	GB_COUNTER_INVERT = 1 << 30,		 /* one over all that */
};

/* What "k" means where a counter is shown in short. */
enum gb_one_k {
	GB_ONE_K_IS_1000 = 1000,
	GB_ONE_K_IS_1024 = 1024,
};

/* Sets this thread's value of a counter of the report. */
void gb_set_counter(struct gb_state *state, const char *name, double value);
void gb_set_counter_as(struct gb_state *state, const char *name, double value, unsigned int flags,
		       enum gb_one_k one_k);

/* ------------------------------------------------------------ registration */

/* Registers `function` under `name`, which is copied. The same name may be registered
   again with other arguments. The functions below return their first argument. */
struct gb_benchmark *gb_register(const char *name, gb_function *function, void *arg);

/* One instance, with one argument or with `count`. */
struct gb_benchmark *gb_arg(struct gb_benchmark *b, int64_t value);
struct gb_benchmark *gb_args(struct gb_benchmark *b, size_t count, const int64_t *values);
#define GB_ARGS(b, ...)                                                                            \
	gb_args(b, sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t),                           \
		(const int64_t[]){ __VA_ARGS__ })

/* Names of the arguments in the instances' names: NAME/size:64. */
struct gb_benchmark *gb_arg_name(struct gb_benchmark *b, const char *name);
struct gb_benchmark *gb_arg_names(struct gb_benchmark *b, size_t count, const char *const *names);
#define GB_ARG_NAMES(b, ...)                                                                       \
	gb_arg_names(b, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(const char *),            \
		     (const char *const[]){ __VA_ARGS__ })

/* An instance for `low`, each power of the multiplier (8 unless set before) between, and
   `high`; or for every `step` from `low` on. (gb_range() is the state's.) */
struct gb_benchmark *gb_add_range(struct gb_benchmark *b, int64_t low, int64_t high);
struct gb_benchmark *gb_dense_range(struct gb_benchmark *b, int64_t low, int64_t high, int step);
struct gb_benchmark *gb_range_multiplier(struct gb_benchmark *b, int multiplier);

/* The values of one argument, for gb_args_product(). */
struct gb_list {
	size_t count;
	const int64_t *values;
};
#define GB_LIST(...)                                                                               \
	((struct gb_list){ sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t),                   \
			   (const int64_t[]){ __VA_ARGS__ } })

/* An instance for each combination, with one value from each list; GB_ARGS_PRODUCT(b,
   GB_LIST(1, 2), GB_LIST(10, 20, 30)) makes six. */
struct gb_benchmark *gb_args_product(struct gb_benchmark *b, size_t count,
				     const struct gb_list *lists);
#define GB_ARGS_PRODUCT(b, ...)                                                                    \
	gb_args_product(b, sizeof((struct gb_list[]){ __VA_ARGS__ }) / sizeof(struct gb_list),     \
			(const struct gb_list[]){ __VA_ARGS__ })

/* Instances of `n` threads each, may be called again; of each power of two from `low` to
   `high`; of every `stride` from `low` on; of as many as there are processors. */
struct gb_benchmark *gb_add_threads(struct gb_benchmark *b, int n);
struct gb_benchmark *gb_thread_range(struct gb_benchmark *b, int low, int high);
struct gb_benchmark *gb_dense_thread_range(struct gb_benchmark *b, int low, int high, int stride);
struct gb_benchmark *gb_thread_per_cpu(struct gb_benchmark *b);

/* Which time decides and makes the rates, instead of the threads' processor time: wall
   time; what gb_set_iteration_time() was told; the process's processor time. */
struct gb_benchmark *gb_use_real_time(struct gb_benchmark *b);
struct gb_benchmark *gb_use_manual_time(struct gb_benchmark *b);
struct gb_benchmark *gb_measure_process_cpu_time(struct gb_benchmark *b);

/* How often and how long: exactly `n` iterations; or at least `seconds`, after at least
   `seconds` that do not count; all that `n` times. */
struct gb_benchmark *gb_set_iterations(struct gb_benchmark *b, int64_t n);
struct gb_benchmark *gb_min_time(struct gb_benchmark *b, double seconds);
struct gb_benchmark *gb_min_warm_up_time(struct gb_benchmark *b, double seconds);
struct gb_benchmark *gb_repetitions(struct gb_benchmark *b, int n);
struct gb_benchmark *gb_report_aggregates_only(struct gb_benchmark *b, bool only);

/* The unit in which times are shown. */
enum gb_time_unit { GB_NANOSECOND, GB_MICROSECOND, GB_MILLISECOND, GB_SECOND };
struct gb_benchmark *gb_unit(struct gb_benchmark *b, enum gb_time_unit unit);

/* Calls `hook` before, or after, each run. A program may use up to 64 different pairs of
   hook and arg. */
struct gb_benchmark *gb_setup(struct gb_benchmark *b, gb_hook *hook, void *arg);
struct gb_benchmark *gb_teardown(struct gb_benchmark *b, gb_hook *hook, void *arg);

/* ------------------------------------------------------------- the program */

/* Takes Google Benchmark's options out of the command line. */
void gb_initialize(int *argc, char **argv);

/* Complains about arguments that are left over; true: there are some. */
bool gb_report_unrecognized_arguments(int argc, char **argv);

/* A line for the head of the report. */
void gb_add_custom_context(const char *key, const char *value);

/* Runs what --benchmark_filter selects; returns how many benchmarks that were. */
size_t gb_run_specified_benchmarks(void);

/* Frees what the library holds; registered benchmarks are gone. */
void gb_shutdown(void);

/* All of these in turn; returns what main() should: 0, or 1 for wrong arguments. */
int gb_main(int argc, char **argv);

#ifdef __cplusplus
}
#endif

#endif
