/* SPDX-License-Identifier: MIT */
/*
 * model.c - random operations on this process's malloc, held against a plain model.
 *
 *   model [--seconds N] [--seed S] [--ops N] [--out DIR]
 *   model --replay FILE [--variation K]
 *
 * Each round is a process of its own: a sequence drawn from the seed and the round's number, run with other
 * parameters of the library than the round before (variations[]; what KMALLOC_CMDLINE
 * already says comes after them and so wins). tests/model/model.c says what is checked.
 *
 * A round that fails is run once more, then shrunk by leaving operations out, each candidate in a process
 * of its own. What is left is written to DIR/model-SEED-ROUND.ops, and the command that repeats it is printed.
 */
#include "model.h"
#include "shrink.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_OPS 1000000
#define ROUND_TIMEOUT 120 /* seconds */
#define SHRINK_SECONDS 60
#define ROUND_NAME "model-round" /* what such a process is called */

static const struct variation {
	const char *cmdline;
	rlim_t limit; /* RLIMIT_AS in bytes; 0: none */
} variations[] = {
	{ "", 0 },
	{ "rseq=off", 0 },
	{ "rseq=cpu_id", 0 },
	{ "page.dirty_max=0 vmalloc.lazy_max=0 reclaim.age_ms=0", 0 },
	{ "page.dirty_max=256K vmalloc.lazy_max=1M reclaim.age_ms=1 rseq=off", 0 },
	{ "kswapd reclaim.age_ms=4", 0 },
	{ "stat", 0 },
	{ "transparent_hugepage=always vmalloc.lazy_max=8M", 0 },
	{ "foreign_free=panic transparent_hugepage=never", 0 },
	{ "", 192UL << 20 },
	{ "rseq=off page.dirty_max=0", 128UL << 20 },
};
#define NR_VARIATIONS (sizeof(variations) / sizeof(variations[0]))

struct options {
	unsigned seconds;
	uint64_t seed;
	size_t ops;
	const char *out;
	const char *replay;
	unsigned variation;
	bool inside; /* this process is to run one sequence and nothing else */
};

static struct options options = { .seconds = 10, .seed = 1, .ops = 20000, .out = "." };
static struct op ops[MAX_OPS];
static char self[4096]; /* this program's file */

static void die_of(const char *what)
{
	fprintf(stderr, "model: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* In the process of a round: run the sequence, and tell the parent what was done. */
static _Noreturn void run_inside(void)
{
	struct model model = { .entries = &process_entries, .ops = ops };

	model.may_fail = variations[options.variation].limit != 0;
	if (options.replay) {
		model.count = ops_read(options.replay, ops, MAX_OPS);
	} else {
		model.count = options.ops;
		ops_generate(ops, model.count, options.seed, true);
	}
	model_run(&model);
	printf("%lu %lu %lu %lu %lu\n", model_stat.ops, model_stat.allocs, model_stat.refused,
	       model_stat.forks, model_stat.switches);
	fflush(stdout);
	model_exit(0);
}

static void set_variation(unsigned number)
{
	const struct variation *variation = &variations[number];
	struct rlimit core = { 0, 0 }, space = { variation->limit, variation->limit };
	const char *given = getenv("KMALLOC_CMDLINE");
	char cmdline[512];

	snprintf(cmdline, sizeof(cmdline), "%s %s", variation->cmdline, given ? given : "");
	setenv("KMALLOC_CMDLINE", cmdline, 1);
	setrlimit(RLIMIT_CORE, &core);
	if (variation->limit)
		setrlimit(RLIMIT_AS, &space);
}

/* Run a round in a process of its own. `file`: the sequence; NULL: drawn from the seed. 0: it passed. */
static int run_round(uint64_t seed, unsigned variation, const char *file, bool quiet, int out)
{
	char seed_text[32], ops_text[32], variation_text[32];
	int status;
	pid_t pid;

	snprintf(seed_text, sizeof(seed_text), "%" PRIu64, seed);
	snprintf(ops_text, sizeof(ops_text), "%zu", options.ops);
	snprintf(variation_text, sizeof(variation_text), "%u", variation);
	pid = fork();
	if (pid < 0)
		die_of("fork");
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(out >= 0 ? out : null, 1);
		if (quiet)
			dup2(null, 2);
		set_variation(variation);
		alarm(ROUND_TIMEOUT);
		execl(self, ROUND_NAME, "--inside", "--seed", seed_text, "--ops", ops_text,
		      "--variation", variation_text, file ? "--replay" : NULL, file, (char *)NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) != pid)
		if (errno != EINTR)
			die_of("waitpid");
	return status;
}

/* The same, and add up what was done. */
static int count_round(uint64_t seed, unsigned variation, const char *file)
{
	struct model_stat stat;
	int pipe_fds[2], status;
	FILE *numbers;

	if (pipe2(pipe_fds, O_CLOEXEC) != 0)
		die_of("pipe");
	status = run_round(seed, variation, file, false, pipe_fds[1]);
	close(pipe_fds[1]);
	numbers = fdopen(pipe_fds[0], "r");
	if (!numbers)
		die_of("fdopen");
	if (fscanf(numbers, "%lu %lu %lu %lu %lu", &stat.ops, &stat.allocs, &stat.refused,
		   &stat.forks, &stat.switches) == 5) {
		model_stat.ops += stat.ops;
		model_stat.allocs += stat.allocs;
		model_stat.refused += stat.refused;
		model_stat.forks += stat.forks;
		model_stat.switches += stat.switches;
	} else if (!status) {
		status = 256; /* it ended without a word */
	}
	fclose(numbers);
	return status;
}

struct candidate {
	char file[4096];
	unsigned variation;
};

static bool candidate_fails(const struct op *candidate_ops, size_t count, void *arg)
{
	struct candidate *candidate = arg;

	if (!ops_write(candidate->file, candidate_ops, count, NULL))
		die_of(candidate->file);
	return run_round(0, candidate->variation, candidate->file, true, -1) != 0;
}

/* Write the shortest sequence that fails, and the command that repeats it. */
static void report(uint64_t seed, unsigned round, unsigned variation)
{
	struct candidate candidate = { .variation = variation };
	const char *preload = getenv("LD_PRELOAD"), *cmdline = getenv("KMALLOC_CMDLINE");
	char comment[256];
	size_t count = options.ops;

	ops_generate(ops, count, seed, true);
	snprintf(candidate.file, sizeof(candidate.file), "%s/model-%" PRIu64 "-%u.ops", options.out,
		 options.seed, round);
	if (candidate_fails(ops, count, &candidate))
		count = shrink(ops, count, candidate_fails, &candidate, SHRINK_SECONDS);
	else
		fprintf(stderr, "model: it does not fail each time: the sequence is whole\n");
	snprintf(comment, sizeof(comment), "seed %" PRIu64 ", round %u, parameters '%s'",
		 options.seed, round, variations[variation].cmdline);
	if (!ops_write(candidate.file, ops, count, comment))
		die_of(candidate.file);
	fprintf(stderr, "model: %zu operations are left; what they do:\n", count);
	run_round(0, variation, candidate.file, false, -1);
	fprintf(stderr,
		"model: repeat with: LD_PRELOAD='%s' KMALLOC_CMDLINE='%s' %s --replay %s "
		"--variation %u\n",
		preload ? preload : "", cmdline ? cmdline : "", self, candidate.file, variation);
}

static void describe(int status)
{
	if (WIFSIGNALED(status))
		fprintf(stderr, "model: killed by signal %d (%s)\n", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else if (status)
		fprintf(stderr, "model: ended with status %d\n", WEXITSTATUS(status));
}

static double seconds_now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int run_rounds(void)
{
	double end = seconds_now() + options.seconds;
	unsigned round = 0;

	do {
		unsigned variation = round % NR_VARIATIONS;
		uint64_t state = options.seed + round;
		uint64_t seed = ops_random(&state);
		int status = count_round(seed, variation, NULL);

		if (status) {
			fprintf(stderr, "model: round %u failed (seed %" PRIu64 ")\n", round,
				options.seed);
			describe(status);
			report(seed, round, variation);
			return 1;
		}
		round++;
		if (round % 50 == 0)
			fprintf(stderr, "model: %u rounds, %lu operations\n", round,
				model_stat.ops);
	} while (seconds_now() < end);
	printf("model: %u rounds with %u sets of parameters, %lu operations, %lu objects, "
	       "%lu requests refused, %lu forks, %lu thread switches\n",
	       round, round < NR_VARIATIONS ? round : (unsigned)NR_VARIATIONS, model_stat.ops,
	       model_stat.allocs, model_stat.refused, model_stat.forks, model_stat.switches);
	return 0;
}

static int replay(void)
{
	int status;

	if (!ops_read(options.replay, ops, MAX_OPS))
		return 2;
	status = count_round(0, options.variation, options.replay);
	describe(status);
	if (!status)
		printf("model: %lu operations passed\n", model_stat.ops);
	return status != 0;
}

static void usage(int status)
{
	fprintf(status ? stderr : stdout,
		"usage: model [--seconds N] [--seed S] [--ops N] [--out DIR]\n"
		"       model --replay FILE [--variation K]\n");
	exit(status);
}

static uint64_t number(const char *text, uint64_t max)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	if (!*text || *end || value > max)
		usage(2);
	return value;
}

int main(int argc, char **argv)
{
	static const struct option names[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'S' },
		{ "ops", required_argument, NULL, 'n' },
		{ "out", required_argument, NULL, 'o' },
		{ "replay", required_argument, NULL, 'r' },
		{ "variation", required_argument, NULL, 'v' },
		{ "inside", no_argument, NULL, 'i' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (option) {
		case 's':
			options.seconds = (unsigned)number(optarg, 1U << 30);
			break;
		case 'S':
			options.seed = number(optarg, UINT64_MAX);
			break;
		case 'n':
			options.ops = number(optarg, MAX_OPS);
			break;
		case 'o':
			options.out = optarg;
			break;
		case 'r':
			options.replay = optarg;
			break;
		case 'v':
			options.variation = (unsigned)number(optarg, NR_VARIATIONS - 1);
			break;
		case 'i':
			options.inside = true;
			break;
		case 'h':
			usage(0);
			break;
		default:
			usage(2);
		}
	}
	if (optind < argc)
		usage(2);
	if (options.inside)
		run_inside();
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) <= 0)
		die_of("/proc/self/exe");
	return options.replay ? replay() : run_rounds();
}
