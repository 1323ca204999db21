/* SPDX-License-Identifier: MIT */
/*
 * fault.c [--seconds N] [--seed S] [--mode MODE [--work WORKLOAD | --only POINT]] - every call that can
 * fail, made to fail at each of its occurrences.
 *
 * A point is a workload, a kind of call, a pattern and a number n:
 *
 *	once     the n-th call of the kind fails
 *	on       all from the n-th on fail
 *	pair     the n-th of the kind fails, and the m-th of another (or the same) kind
 *	chance   each call of every kind fails with a probability of n percent
 *
 * Each point is run by a process of its own, a copy of one that has started and done little.
 * After each, nothing fails any more: every request is granted, and the account is what it was.
 *
 * First each workload is run with nothing failing, and its calls are counted; then every
 * occurrence of every kind is a point, up to one in which nothing is left to fail. They are
 * run in an order drawn from the seed, so that a short run is a sample of all; once for each error
 * that the kind may give. Between these, pairs and chances are drawn.
 *
 * Modes: rseq; locked; gaps (guard pages are gaps, as on kernels before 6.13). Without --mode
 * each is run in turn, by this program started anew.
 */
#include "fault.h"

#include "lib/compiler.h"
#include "lib/param.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define POINTS_MAX 60000
#define N_MAX_VARYING 40 /* of a kind, where the number of calls varies */
#define PASSES 6	 /* as many as a kind has errors, at most */
#define HANG_SECONDS 60
#define NR_KINDS (NR_FAULT_CALLS + 2)
#define PAGE_ALLOC NR_FAULT_CALLS
#define META_ALLOC (NR_FAULT_CALLS + 1)
#define WATERMARKS "vmalloc.lazy_max=16M page.dirty_max=2M"

enum pattern { ONCE, ON, PAIR, CHANCE };

struct point {
	const struct workload *workload;
	enum pattern pattern;
	unsigned kind, n;
	unsigned kind2, n2; /* pair */
	unsigned seed;	    /* which error comes first, and chance */
	bool last;	    /* nothing should be left to fail: if something is, n goes on */
};

static const char *const patterns[] = { "once", "on", "pair", "chance" };
static const char *const kinds[NR_KINDS] = { "mmap",  "mprotect", "munmap",	"mremap", "madvise",
					     "guard", "futex",	  "membarrier", "write",  "fcntl",
					     "other", "page",	  "meta" };
/* How many errors a failure of the kind may give, the two ways of mremap told apart. */
static const unsigned variants[NR_KINDS] = { 3, 1, 1, 6, 3, 3, 2, 3, 4, 2, 2, 1, 1 };

static const struct {
	const char *name, *cmdline;
	bool gaps;
} modes[] = {
	{ "rseq", WATERMARKS, false },
	{ "locked", "rseq=off " WATERMARKS, false },
	{ "gaps", WATERMARKS, true },
};

static char *program;
static const char *only_work; /* NULL: all */
static unsigned mode;
static struct point listed[POINTS_MAX];
static size_t nr_listed;
static uint64_t random_state, deadline_ms;
static unsigned long nr_runs, nr_points; /* nr_points: runs in which a call failed */
static struct account at_first;		 /* before any point */

/* What the process of a point says to this one; in memory that both have. */
static struct report {
	_Atomic unsigned fired; /* calls that were made to fail */
	_Atomic size_t calls[NR_KINDS];
} * report;
static int report_fd;

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static unsigned draw(unsigned limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state * 0x2545f4914f6cdd1dUL >> 33) % limit;
}

static struct fault_attr *attr_of(unsigned kind)
{
	if (kind == PAGE_ALLOC)
		return &params.fail_page_alloc;
	return kind == META_ALLOC ? &params.fail_meta_alloc : &params.fail_syscall[kind];
}

static void arm_one(unsigned kind, unsigned probability, unsigned n, long times)
{
	struct fault_attr *attr = attr_of(kind);

	attr->interval = 1;
	attr->probability = probability;
	attr->count = 0;
	attr->nr_failed = 0;
	attr->space = n;
	attr->times = times;
}

/* Guard pages are refused for good where the mode says so. */
static void disarm(void)
{
	for (unsigned kind = 0; kind < NR_KINDS; kind++)
		attr_of(kind)->times = 0;
	params.fail_seed = 0;
	if (modes[mode].gaps)
		arm_one(FAULT_GUARD, 100, 0, -1);
}

static void arm(const struct point *point)
{
	params.fail_seed = point->seed;
	switch (point->pattern) {
	case ONCE:
		arm_one(point->kind, 100, point->n, 1);
		break;
	case ON:
		arm_one(point->kind, 100, point->n, -1);
		break;
	case PAIR:
		arm_one(point->kind, 100, point->n, 1);
		if (point->kind2 != point->kind) {
			arm_one(point->kind2, 100, point->n2, 1);
			break;
		}
		/* the two calls at a distance of n2 that come after the n-th */
		attr_of(point->kind)->interval = point->n2;
		attr_of(point->kind)->times = 2;
		break;
	case CHANCE:
		for (unsigned kind = 0; kind < NR_KINDS; kind++)
			arm_one(kind, point->n, 0, -1);
		break;
	}
}

static void report_calls(void)
{
	unsigned n = 0;

	for (unsigned kind = 0; kind < NR_KINDS; kind++) {
		atomic_store(&report->calls[kind], attr_of(kind)->nr_calls);
		if (!(modes[mode].gaps && kind == FAULT_GUARD))
			n += (unsigned)attr_of(kind)->nr_failed;
	}
	atomic_store(&report->fired, n);
}

static void open_report(int fd)
{
	report_fd = fd;
	CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
	report = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(report != MAP_FAILED);
}

static bool gives_up_addresses(const struct point *point)
{
	return point->pattern == CHANCE || point->kind == FAULT_MMAP ||
	       (point->pattern == PAIR && point->kind2 == FAULT_MMAP);
}

/* What the process of a point does. */
static void run_workload(const struct point *point)
{
	struct account after;

	for (unsigned kind = 0; kind < NR_KINDS; kind++)
		attr_of(kind)->nr_calls = 0;
	arm(point);
	point->workload->run();
	report_calls();
	disarm();
	all_works();
	account_take(&after);
	account_compare(&at_first, &after, gives_up_addresses(point));
}

/*
 * The process of a point at the start: the failure comes in its parameters, and strikes the
 * first request of all, which the dynamic linker makes.
 */
static void start_anew(const struct point *point)
{
	const char *kind = point->kind < NR_FAULT_CALLS ? "fail_syscall" :
			   point->kind == PAGE_ALLOC	? "fail_page_alloc" :
							  "fail_meta_alloc";
	char cmdline[300], output[16], shared[16];

	snprintf(cmdline, sizeof(cmdline), "%s %s=%s%s1,100,%u,%d fail_seed=%u stat unknown%s",
		 modes[mode].cmdline, kind, point->kind < NR_FAULT_CALLS ? kinds[point->kind] : "",
		 point->kind < NR_FAULT_CALLS ? ":" : "", point->n, point->pattern == ON ? -1 : 1,
		 point->seed, modes[mode].gaps ? " fail_syscall=guard:1,100,0,-1" : "");
	/* the library's own lines go nowhere, this program's to where they went */
	snprintf(output, sizeof(output), "%d", dup(2));
	snprintf(shared, sizeof(shared), "%d", report_fd);
	dup2(open("/dev/null", O_WRONLY), 2);
	setenv("KMALLOC_CMDLINE", cmdline, 1);
	execl("/proc/self/exe", program, "--started", point->workload->name, modes[mode].name,
	      output, shared, (char *)NULL);
	_exit(2);
}

/* In that process, past the start. */
static int started(char **argv)
{
	const struct workload *workload = workloads;

	fault_output = atoi(argv[4]);
	open_report(atoi(argv[5]));
	for (mode = 0; strcmp(modes[mode].name, argv[3]) != 0;)
		mode++;
	while (strcmp(workload->name, argv[2]) != 0)
		workload++;
	workload->run();
	report_calls();
	disarm();
	all_works();
	return 0;
}

static void describe(const struct point *point, char *text, size_t size)
{
	snprintf(text, size, "%s:%s:%s:%u:%u:%s:%u", point->workload->name,
		 patterns[point->pattern], kinds[point->kind], point->n, point->seed,
		 kinds[point->kind2], point->n2);
}

/* Where every call fails from the n-th on, a program may not come to its main(). */
static bool ended_well(const struct point *point, int status)
{
	return status == 0 || (point->workload->in_start && point->pattern == ON &&
			       WIFEXITED(status) && WEXITSTATUS(status) == 127);
}

/* Returns whether anything failed in it. Ends this program when something went wrong. */
static bool run_point(const struct point *point)
{
	char text[200];
	int status;
	pid_t pid;

	/* where the process ends before it says so, something has */
	atomic_store(&report->fired, 1);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		alarm(HANG_SECONDS);
		if (point->workload->in_start)
			start_anew(point);
		run_workload(point);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) != pid)
		CHECK(errno == EINTR);
	nr_runs++;
	nr_points += atomic_load(&report->fired) != 0;
	if (ended_well(point, status))
		return atomic_load(&report->fired) != 0;
	describe(point, text, sizeof(text));
	if (WIFSIGNALED(status))
		dprintf(2, "killed by signal %d\n", WTERMSIG(status));
	dprintf(2, "failed (status %x); repeat it with: %s --mode %s --only %s\n", status, program,
		modes[mode].name, text);
	exit(1);
}

static bool time_is_up(void)
{
	return now_ms() > deadline_ms;
}

/* All points of one workload, kind and pattern, appended to the list. */
static void list_kind(const struct workload *workload, unsigned kind, enum pattern pattern)
{
	size_t calls = atomic_load(&report->calls[kind]);
	size_t limit = workload->repeats     ? calls + 1 :
		       calls < N_MAX_VARYING ? calls :
					       N_MAX_VARYING;

	for (size_t n = 1; n <= limit; n++) {
		CHECK(nr_listed < POINTS_MAX);
		listed[nr_listed++] = (struct point){
			.workload = workload,
			.pattern = pattern,
			.kind = kind,
			.n = (unsigned)n,
			.last = workload->repeats && n == limit,
		};
	}
}

static void list_points(void)
{
	for (const struct workload *workload = workloads; workload->name; workload++) {
		/* nothing fails */
		const struct point none = { .workload = workload, .pattern = ONCE, .n = 1U << 30 };

		if (only_work && strcmp(only_work, workload->name) != 0)
			continue;
		CHECK(!run_point(&none));
		for (unsigned kind = 0; kind < NR_KINDS; kind++) {
			if (modes[mode].gaps && kind == FAULT_GUARD)
				continue;
			list_kind(workload, kind, ONCE);
			list_kind(workload, kind, ON);
		}
	}
	for (size_t i = nr_listed; i > 1; i--) {
		size_t k = draw((unsigned)i);
		struct point other = listed[k];

		listed[k] = listed[i - 1];
		listed[i - 1] = other;
	}
}

/* A point by chance: two calls that fail, or any. */
static void run_drawn(const struct workload *workload)
{
	struct point point = {
		workload,	draw(6) ? PAIR : CHANCE,
		draw(NR_KINDS), 1 + draw(40),
		draw(NR_KINDS), 1 + draw(40),
		draw(1000),	false,
	};

	/* its parameters say one failure alone */
	if (!workload->in_start)
		run_point(&point);
}

/* Every point with one error each; returns how many were run: fewer, but not none, when the time is up. */
static size_t run_pass(unsigned pass)
{
	size_t i, shown = 0;

	for (i = 0; i < nr_listed && (!time_is_up() || !nr_points); i++) {
		struct point point = listed[i];

		if (pass >= variants[point.kind])
			continue;
		/* each pass gives an occurrence another of its errors */
		point.seed = point.n + pass;
		while (run_point(&point) && point.last)
			point.n++;
		if (i % 8 == 0)
			run_drawn(point.workload);
		if (i * 10 / nr_listed == shown)
			continue;
		shown = i * 10 / nr_listed;
		dprintf(2, "%s: pass %u: %zu of %zu points\n", modes[mode].name, pass + 1, i,
			nr_listed);
	}
	return i;
}

/* WORKLOAD:PATTERN:KIND:N:SEED:KIND2:N2 */
static int run_only(char *text)
{
	struct point point = { .workload = workloads };
	char *word[7];

	for (unsigned i = 0; i < 7; i++) {
		word[i] = strtok(i ? NULL : text, ":");
		CHECK(word[i] != NULL);
	}
	while (point.workload->name && strcmp(point.workload->name, word[0]) != 0)
		point.workload++;
	CHECK(point.workload->name);
	while (strcmp(patterns[point.pattern], word[1]) != 0)
		CHECK(++point.pattern <= CHANCE);
	while (strcmp(kinds[point.kind], word[2]) != 0)
		CHECK(++point.kind < NR_KINDS);
	point.n = (unsigned)atoi(word[3]);
	point.seed = (unsigned)atoi(word[4]);
	while (strcmp(kinds[point.kind2], word[5]) != 0)
		CHECK(++point.kind2 < NR_KINDS);
	point.n2 = (unsigned)atoi(word[6]);
	run_point(&point);
	printf("%u calls failed\n", atomic_load(&report->fired));
	return 0;
}

static unsigned long option(char **argv, const char *name, unsigned long none)
{
	for (char **arg = argv + 1; *arg && arg[1]; arg++)
		if (strcmp(*arg, name) == 0)
			return strtoul(arg[1], NULL, 0);
	return none;
}

static char *text_option(char **argv, const char *name)
{
	for (char **arg = argv + 1; *arg && arg[1]; arg++)
		if (strcmp(*arg, name) == 0)
			return arg[1];
	return NULL;
}

/* All modes, each by this program anew with a share of the time; returns the exit status. */
static int run_modes(unsigned long seconds, unsigned long seed)
{
	unsigned long total = 0, runs = 0;

	for (unsigned m = 0; m < ARRAY_SIZE(modes); m++) {
		unsigned long points = 0, done = 0;
		char command[600];
		FILE *pipe;
		int fields, status;

		snprintf(command, sizeof(command),
			 "KMALLOC_CMDLINE='%s' exec '%s' --mode %s --seconds %zu --seed %lu",
			 modes[m].cmdline, program, modes[m].name, seconds / ARRAY_SIZE(modes) + 1,
			 seed);
		pipe = popen(command, "r");
		CHECK(pipe != NULL);
		fields = fscanf(pipe, "%*s %lu points of failure in %lu runs", &points, &done);
		status = pclose(pipe);
		if (status != 0)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		CHECK(fields == 2 && points > 0);
		total += points;
		runs += done;
	}
	printf("%lu points of failure in %lu runs, in %zu modes\n", total, runs, ARRAY_SIZE(modes));
	return 0;
}

static int run_mode(const char *name, char *only, unsigned long seconds, unsigned long seed)
{
	size_t passes = 0, run = 0;

	for (mode = 0; strcmp(modes[mode].name, name) != 0; mode++)
		CHECK(mode + 1 < ARRAY_SIZE(modes));
	open_report(memfd_create("report", 0));
	random_state = seed * 0x9e3779b97f4a7c15UL | 1;
	deadline_ms = now_ms() + seconds * 1000;
	touch_stack();
	disarm();
	all_works();
	account_take(&at_first);
	if (only)
		return run_only(only);
	list_points();
	while (passes < PASSES && (run = run_pass((unsigned)passes)) == nr_listed)
		passes++;
	printf("%s: %lu points of failure in %lu runs; each occurrence of each call with %zu of its errors, "
	       "and %zu of %zu with one more\n",
	       modes[mode].name, nr_points, nr_runs, passes, passes < PASSES ? run : 0, nr_listed);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long seconds = option(argv, "--seconds", 15);
	unsigned long seed = option(argv, "--seed", 1);
	char *name = text_option(argv, "--mode");

	program = argv[0];
	only_work = text_option(argv, "--work");
	if (argc == 6 && strcmp(argv[1], "--started") == 0)
		return started(argv);
	if (!name)
		return run_modes(seconds, seed);
	return run_mode(name, text_option(argv, "--only"), seconds, seed);
}
