/* SPDX-License-Identifier: MIT
 *
 * gbench: the C++ side of gbench.h, which says what each function does.
 *
 * A gb_benchmark is Google Benchmark's own object under another name. A gb_state is made
 * on the stack of each thread's run and points to Google Benchmark's. Exceptions do not
 * cross into C: what throws here is out of memory, and ends the program.
 */
#include "gbench.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <benchmark/benchmark.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

using Benchmark = benchmark::internal::Benchmark;
using benchmark::Counter;

struct gb_state {
	benchmark::State *state;
	bool begun;   /* gb_begin() was called */
	bool running; /* Google Benchmark's loop was entered and not yet left */
};

static Benchmark *real(gb_benchmark *b)
{
	return reinterpret_cast<Benchmark *>(b);
}

static gb_benchmark *opaque(Benchmark *b)
{
	return reinterpret_cast<gb_benchmark *>(b);
}

/* ------------------------------------------------------------------- loop */

/* First start and last end of the run's loops, in ns. There is one run at a time, and its
   threads start together, behind a barrier: thread 0 clears both before that. */
static std::atomic<int64_t> span_start, span_end;

static int64_t now_ns()
{
	using namespace std::chrono;

	return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

static void span_clear()
{
	span_start = INT64_MAX;
	span_end = INT64_MIN;
}

static void span_note(int64_t start, int64_t end)
{
	int64_t seen = span_start;

	while (start < seen && !span_start.compare_exchange_weak(seen, start))
		;
	seen = span_end;
	while (end > seen && !span_end.compare_exchange_weak(seen, end))
		;
}

uint64_t gb_begin(gb_state *state)
{
	benchmark::State *s = state->state;

	if (state->begun) {
		gb_skip_with_error(state, "a benchmark has one timed loop");
		return 0;
	}
	state->begun = true;
	if (s->thread_index() == 0)
		span_clear();
	/* All at once; a second call, in gb_end(), then finds nothing left and finishes. */
	state->running = s->KeepRunningBatch(s->max_iterations);
	if (!state->running)
		return 0;
	span_note(now_ns(), INT64_MIN);
	return static_cast<uint64_t>(s->max_iterations);
}

void gb_end(gb_state *state, uint64_t left)
{
	benchmark::State *s = state->state;

	if (!state->running)
		return;
	state->running = false;
	span_note(INT64_MAX, now_ns());
	if (left && !s->error_occurred())
		s->SkipWithError("the timed loop was left before its last iteration");
	s->KeepRunningBatch(s->max_iterations);
}

/* ------------------------------------------------------------------ state */

int64_t gb_range(const gb_state *state, size_t index)
{
	return state->state->range(index);
}

int gb_threads(const gb_state *state)
{
	return state->state->threads();
}

int gb_thread_index(const gb_state *state)
{
	return state->state->thread_index();
}

int64_t gb_iterations(const gb_state *state)
{
	return state->state->iterations();
}

double gb_span_seconds(const gb_state *state)
{
	int64_t start = span_start, end = span_end;

	return state->begun && end > start ? static_cast<double>(end - start) * 1e-9 : 0;
}

void gb_pause_timing(gb_state *state)
{
	state->state->PauseTiming();
}

void gb_resume_timing(gb_state *state)
{
	state->state->ResumeTiming();
}

void gb_set_iteration_time(gb_state *state, double seconds)
{
	state->state->SetIterationTime(seconds);
}

void gb_skip_with_error(gb_state *state, const char *message)
{
	state->state->SkipWithError(message);
}

bool gb_error_occurred(const gb_state *state)
{
	return state->state->error_occurred();
}

void gb_set_items_processed(gb_state *state, int64_t items)
{
	state->state->SetItemsProcessed(items);
}

void gb_set_bytes_processed(gb_state *state, int64_t bytes)
{
	state->state->SetBytesProcessed(bytes);
}

void gb_set_label(gb_state *state, const char *label)
{
	state->state->SetLabel(label);
}

/* The flags are Google Benchmark's, but for the one that is no int in C. */
static Counter::Flags counter_flags(unsigned int flags)
{
	Counter::Flags all = Counter::kDefaults;
	const std::pair<unsigned int, Counter::Flags> table[] = {
		{ GB_COUNTER_RATE, Counter::kIsRate },
		{ GB_COUNTER_AVG_THREADS, Counter::kAvgThreads },
		{ GB_COUNTER_ITERATION_INVARIANT, Counter::kIsIterationInvariant },
		{ GB_COUNTER_AVG_ITERATIONS, Counter::kAvgIterations },
		{ GB_COUNTER_INVERT, Counter::kInvert },
	};

	for (const auto &[flag, theirs] : table)
		if (flags & flag)
			all = all | theirs;
	return all;
}

void gb_set_counter(gb_state *state, const char *name, double value)
{
	state->state->counters[name] = Counter(value);
}

void gb_set_counter_as(gb_state *state, const char *name, double value, unsigned int flags,
		       gb_one_k one_k)
{
	Counter::OneK k = one_k == GB_ONE_K_IS_1024 ? Counter::kIs1024 : Counter::kIs1000;

	state->state->counters[name] = Counter(value, counter_flags(flags), k);
}

/* ----------------------------------------------------------- registration */

gb_benchmark *gb_register(const char *name, gb_function *function, void *arg)
{
	auto run = [=](benchmark::State &state) {
		gb_state own = { &state, false, false };

		function(&own, arg);
	};

#ifdef __clang_analyzer__ /* which does not see that the registry owns what it is given */
	static_cast<void>(run);
	return nullptr;
#else
	return opaque(benchmark::RegisterBenchmark(name, run));
#endif
}

gb_benchmark *gb_arg(gb_benchmark *b, int64_t value)
{
	return opaque(real(b)->Arg(value));
}

gb_benchmark *gb_args(gb_benchmark *b, size_t count, const int64_t *values)
{
	return opaque(real(b)->Args(std::vector<int64_t>(values, values + count)));
}

gb_benchmark *gb_arg_name(gb_benchmark *b, const char *name)
{
	return opaque(real(b)->ArgName(name));
}

gb_benchmark *gb_arg_names(gb_benchmark *b, size_t count, const char *const *names)
{
	return opaque(real(b)->ArgNames(std::vector<std::string>(names, names + count)));
}

gb_benchmark *gb_add_range(gb_benchmark *b, int64_t low, int64_t high)
{
	return opaque(real(b)->Range(low, high));
}

gb_benchmark *gb_dense_range(gb_benchmark *b, int64_t low, int64_t high, int step)
{
	return opaque(real(b)->DenseRange(low, high, step));
}

gb_benchmark *gb_range_multiplier(gb_benchmark *b, int multiplier)
{
	return opaque(real(b)->RangeMultiplier(multiplier));
}

gb_benchmark *gb_args_product(gb_benchmark *b, size_t count, const gb_list *lists)
{
	std::vector<std::vector<int64_t>> all;

	all.reserve(count);
	for (size_t i = 0; i < count; i++)
		all.emplace_back(lists[i].values, lists[i].values + lists[i].count);
	return opaque(real(b)->ArgsProduct(all));
}

gb_benchmark *gb_add_threads(gb_benchmark *b, int n)
{
	return opaque(real(b)->Threads(n));
}

gb_benchmark *gb_thread_range(gb_benchmark *b, int low, int high)
{
	return opaque(real(b)->ThreadRange(low, high));
}

gb_benchmark *gb_dense_thread_range(gb_benchmark *b, int low, int high, int stride)
{
	return opaque(real(b)->DenseThreadRange(low, high, stride));
}

gb_benchmark *gb_thread_per_cpu(gb_benchmark *b)
{
	return opaque(real(b)->ThreadPerCpu());
}

gb_benchmark *gb_use_real_time(gb_benchmark *b)
{
	return opaque(real(b)->UseRealTime());
}

gb_benchmark *gb_use_manual_time(gb_benchmark *b)
{
	return opaque(real(b)->UseManualTime());
}

gb_benchmark *gb_measure_process_cpu_time(gb_benchmark *b)
{
	return opaque(real(b)->MeasureProcessCPUTime());
}

gb_benchmark *gb_set_iterations(gb_benchmark *b, int64_t n)
{
	return opaque(real(b)->Iterations(n));
}

gb_benchmark *gb_min_time(gb_benchmark *b, double seconds)
{
	return opaque(real(b)->MinTime(seconds));
}

gb_benchmark *gb_min_warm_up_time(gb_benchmark *b, double seconds)
{
	return opaque(real(b)->MinWarmUpTime(seconds));
}

gb_benchmark *gb_repetitions(gb_benchmark *b, int n)
{
	return opaque(real(b)->Repetitions(n));
}

gb_benchmark *gb_report_aggregates_only(gb_benchmark *b, bool only)
{
	return opaque(real(b)->ReportAggregatesOnly(only));
}

gb_benchmark *gb_unit(gb_benchmark *b, gb_time_unit unit)
{
	static const benchmark::TimeUnit units[] = { benchmark::kNanosecond,
						     benchmark::kMicrosecond,
						     benchmark::kMillisecond, benchmark::kSecond };

	return opaque(real(b)->Unit(units[unit]));
}

/* ------------------------------------------------------------------ hooks */

/* Google Benchmark takes a bare function as a hook: here is one for each pair of a C
   hook and its argument, which calls that. */
struct hook {
	gb_hook *call;
	void *arg;
};

static constexpr size_t max_hooks = 64;
static std::vector<hook> hooks;

template <size_t index> static void call_hook(const benchmark::State &state)
{
	gb_state own = { const_cast<benchmark::State *>(&state), false, false };

	hooks[index].call(&own, hooks[index].arg);
}

template <size_t... index> static constexpr auto hook_callers(std::index_sequence<index...>)
{
	return std::array<void (*)(const benchmark::State &), max_hooks>{ call_hook<index>... };
}

static auto hook_caller(gb_hook *call, void *arg)
{
	static constexpr auto callers = hook_callers(std::make_index_sequence<max_hooks>());
	auto found = std::find_if(hooks.begin(), hooks.end(), [=](const hook &hook) {
		return hook.call == call && hook.arg == arg;
	});
	auto index = static_cast<size_t>(found - hooks.begin());

	if (index == max_hooks) {
		fprintf(stderr, "gbench: more than %zu different hooks\n", max_hooks);
		exit(1);
	}
	if (found == hooks.end())
		hooks.push_back({ call, arg });
	return callers[index];
}

gb_benchmark *gb_setup(gb_benchmark *b, gb_hook *hook, void *arg)
{
	return opaque(real(b)->Setup(hook_caller(hook, arg)));
}

gb_benchmark *gb_teardown(gb_benchmark *b, gb_hook *hook, void *arg)
{
	return opaque(real(b)->Teardown(hook_caller(hook, arg)));
}

/* ---------------------------------------------------------------- program */

void gb_initialize(int *argc, char **argv)
{
	benchmark::Initialize(argc, argv);
}

bool gb_report_unrecognized_arguments(int argc, char **argv)
{
	return benchmark::ReportUnrecognizedArguments(argc, argv);
}

void gb_add_custom_context(const char *key, const char *value)
{
	benchmark::AddCustomContext(key, value);
}

size_t gb_run_specified_benchmarks(void)
{
	return benchmark::RunSpecifiedBenchmarks();
}

void gb_shutdown(void)
{
	benchmark::Shutdown();
	benchmark::ClearRegisteredBenchmarks();
	hooks.clear();
}

int gb_main(int argc, char **argv)
{
	gb_initialize(&argc, argv);
	if (gb_report_unrecognized_arguments(argc, argv))
		return 1;
	gb_run_specified_benchmarks();
	gb_shutdown();
	return 0;
}
