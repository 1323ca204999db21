/* SPDX-License-Identifier: MIT
 *
 * gbench_program: benchmarks that count what happens to them, for test_gbench.py.
 *
 * Where a result depends on time, the time is manual: half a second per iteration.
 */
#include "gbench.h"

#include <stdatomic.h>
#include <stdio.h>

#define HALF_SECOND 0.5

/* Runs of the body; `arg`, if given, makes every other one `continue`. */
static void count_for(struct gb_state *state, void *arg)
{
	double counted = 0;

	GB_FOR(state) {
		counted++;
		if (arg && (int)counted % 2)
			continue;
		gb_clobber_memory();
	}
	gb_set_counter(state, "counted", counted);
	gb_set_counter(state, "told", (double)gb_iterations(state));
}

static void count_batch(struct gb_state *state, void *arg)
{
	double counted = 0, bodies = 0;

	GB_BATCH(state, n) {
		counted += (double)n;
		bodies++;
	}
	gb_set_counter(state, "counted", counted);
	gb_set_counter(state, "bodies", bodies);
}

/* The second argument is only there where arg says so. */
static void arguments(struct gb_state *state, void *arg)
{
	GB_FOR(state) {
	}
	gb_set_counter(state, "first", (double)gb_range(state, 0));
	if (arg)
		gb_set_counter(state, "second", (double)gb_range(state, 1));
}

static void threads(struct gb_state *state, void *arg)
{
	char name[16];

	GB_FOR(state) {
	}
	gb_set_counter(state, "index_sum", gb_thread_index(state));
	gb_set_counter(state, "threads_sum", gb_threads(state));
	snprintf(name, sizeof(name), "span%d", gb_thread_index(state));
	gb_set_counter(state, name, gb_span_seconds(state));
}

static atomic_int setups, teardowns;
static int setup_range, setup_threads;

static void setup(const struct gb_state *state, void *arg)
{
	setup_range = (int)gb_range(state, 0);
	setup_threads = gb_threads(state);
	atomic_fetch_add((atomic_int *)arg, 1);
}

static void teardown(const struct gb_state *state, void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
}

static void hooks(struct gb_state *state, void *arg)
{
	GB_FOR(state) {
	}
	gb_set_counter_as(state, "open", setups - teardowns, GB_COUNTER_AVG_THREADS,
			  GB_ONE_K_IS_1000);
	gb_set_counter_as(state, "range", setup_range, GB_COUNTER_AVG_THREADS, GB_ONE_K_IS_1000);
	gb_set_counter_as(state, "hook_threads", setup_threads, GB_COUNTER_AVG_THREADS,
			  GB_ONE_K_IS_1000);
}

static void counters(struct gb_state *state, void *arg)
{
	GB_FOR(state) {
		gb_set_iteration_time(state, HALF_SECOND);
	}
	gb_set_items_processed(state, 8 * gb_iterations(state));
	gb_set_bytes_processed(state, 1024 * gb_iterations(state));
	gb_set_label(state, "a label");
	gb_set_counter(state, "plain", 12);
	gb_set_counter_as(state, "rate", 12, GB_COUNTER_RATE, GB_ONE_K_IS_1000);
	gb_set_counter_as(state, "mean", 12, GB_COUNTER_AVG_THREADS, GB_ONE_K_IS_1000);
	gb_set_counter_as(state, "by_1000", 2048, GB_COUNTER_DEFAULTS, GB_ONE_K_IS_1000);
	gb_set_counter_as(state, "by_1024", 2048, GB_COUNTER_DEFAULTS, GB_ONE_K_IS_1024);
	gb_set_counter_as(state, "each", 12, GB_COUNTER_ITERATION_INVARIANT, GB_ONE_K_IS_1000);
	gb_set_counter_as(state, "per", 12, GB_COUNTER_AVG_ITERATIONS, GB_ONE_K_IS_1000);
	gb_set_counter_as(state, "seconds", 12, GB_COUNTER_RATE | GB_COUNTER_INVERT,
			  GB_ONE_K_IS_1000);
}

static void paused(struct gb_state *state, void *arg)
{
	GB_FOR(state) {
		gb_pause_timing(state);
		gb_resume_timing(state);
	}
}

static void error_before(struct gb_state *state, void *arg)
{
	bool ran = false;

	gb_skip_with_error(state, "before the loop");
	GB_FOR(state) {
		ran = true;
	}
	if (ran || !gb_error_occurred(state))
		gb_skip_with_error(state, "the loop was run after an error");
}

/* `arg`: only in the second thread. */
static void error_inside(struct gb_state *state, void *arg)
{
	GB_FOR(state) {
		if (!arg || gb_thread_index(state) == 1) {
			gb_skip_with_error(state, "in the loop");
			break;
		}
	}
}

static void left_early(struct gb_state *state, void *arg)
{
	GB_FOR(state) {
		break;
	}
}

static void two_loops(struct gb_state *state, void *arg)
{
	GB_FOR(state) {
	}
	GB_FOR(state) {
	}
}

static struct gb_benchmark *add(const char *name, gb_function *function, void *arg)
{
	return gb_register(name, function, arg);
}

static void add_arguments(void)
{
	struct gb_benchmark *b = gb_arg_name(add("one", arguments, NULL), "size");
	static char two[] = "";

	gb_arg(gb_arg(b, 5), 7);
	b = GB_ARG_NAMES(add("two", arguments, two), "x", "y");
	GB_ARGS(b, 1, 2);
	GB_ARGS(b, 3, 4);
	GB_ARGS_PRODUCT(add("product", arguments, two), GB_LIST(1, 2), GB_LIST(10, 20, 30));
	gb_add_range(gb_range_multiplier(add("range", arguments, NULL), 4), 4, 100);
	gb_dense_range(add("dense", arguments, NULL), 1, 7, 3);
}

static void add_threads(void)
{
	gb_add_threads(gb_add_threads(add("threads", threads, NULL), 1), 3);
	gb_thread_range(add("thread_range", threads, NULL), 1, 4);
	gb_dense_thread_range(add("dense_threads", threads, NULL), 1, 5, 2);
	gb_thread_per_cpu(add("per_cpu", threads, NULL));
}

static void add_times(void)
{
	struct gb_benchmark *b = add("counters", counters, NULL);

	gb_use_manual_time(b);
	gb_set_iterations(b, 4);
	gb_unit(gb_thread_range(b, 1, 2), GB_MILLISECOND);
	gb_use_real_time(add("real", count_for, NULL));
	gb_measure_process_cpu_time(add("process", count_for, NULL));
	gb_min_warm_up_time(gb_min_time(add("min", count_for, NULL), 0.001), 0.001);
	gb_repetitions(gb_set_iterations(add("repeated", count_for, NULL), 7), 3);
	gb_report_aggregates_only(gb_repetitions(add("aggregates", count_for, NULL), 3), true);
}

int main(int argc, char **argv)
{
	static char yes[] = "";
	struct gb_benchmark *b;

	add("for", count_for, NULL);
	add("for_continue", count_for, yes);
	gb_thread_range(add("for_threads", count_for, NULL), 2, 4);
	add("batch", count_batch, NULL);
	add_arguments();
	add_threads();
	add_times();
	add("paused", paused, NULL);
	add("error_before", error_before, NULL);
	add("error_inside", error_inside, NULL);
	gb_add_threads(add("error_in_one", error_inside, yes), 3);
	add("left_early", left_early, NULL);
	add("two_loops", two_loops, NULL);
	for (int i = 1; i <= 2; i++) {
		b = gb_add_threads(gb_arg(add("hooks", hooks, NULL), 40 + i), i);
		gb_setup(b, setup, &setups);
		gb_teardown(b, teardown, &teardowns);
	}
	gb_add_custom_context("what", "a test");
	return gb_main(argc, argv);
}
