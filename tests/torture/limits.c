/* SPDX-License-Identifier: MIT */
/*
 * limits.c [--seconds N] [--seed S] [--only CASE] [--system 1] - the limits that a system really sets, each reached.
 *
 * A case sets a limit, at each of several distances from what the process uses, each in a
 * process of its own; the workloads of fault_work.c run into it; then it is lifted, and
 * everything is granted again and accounted for.
 *
 *	as         RLIMIT_AS; below what is used already, too
 *	as-moving  RLIMIT_AS lowered and raised by a timer while the workload runs
 *	data       RLIMIT_DATA
 *	vma        as many foreign mappings as vm.max_map_count allows, less a few
 *	memlock    mlockall() of everything to come, up to RLIMIT_MEMLOCK
 *	nproc      threads at RLIMIT_NPROC
 *	stack      every path on a thread's smallest stack, and on a signal stack; says what it needs
 *	cgroup     memory freed by one path makes room for another, under a memory limit
 *	overcommit vm.overcommit_memory=2: more than there is, and growth beyond it; with --system 1
 *	           alone, since for a moment it holds for the whole system
 *
 * The library is linked in as it is released. What can't be had here is skipped with the reason.
 */
#include "limit_cases.h"

#include "lib/compiler.h"

#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#define PAGE 4096L
#define HANG_SECONDS 120
#define NOBODY 65534U
#define VMA_SPARSE (3L * PAGE)

static const char *skip_reason; /* why a case can't be had; NULL: it can */
static struct account at_first;
static unsigned long nr_runs;
static bool may_change_system;

static void set_soft(int resource, rlim_t bytes)
{
	struct rlimit limit;

	CHECK(getrlimit(resource, &limit) == 0);
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	CHECK(setrlimit(resource, &limit) == 0);
}

/* The nth number of /proc/self/statm, in bytes: 0 all, 5 data and stack. */
static long statm(unsigned nth)
{
	char text[128], *at = text;
	int fd = open("/proc/self/statm", O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	CHECK(n > 0);
	close(fd);
	text[n] = '\0';
	while (nth--)
		at = strchr(at, ' ') + 1;
	return strtol(at, NULL, 10) * PAGE;
}

static void as_set(long room)
{
	set_soft(RLIMIT_AS, (rlim_t)(statm(0) + room));
}

static void as_lift(void)
{
	set_soft(RLIMIT_AS, RLIM_INFINITY);
}

static void data_set(long room)
{
	set_soft(RLIMIT_DATA, (rlim_t)(statm(5) + room));
}

static void data_lift(void)
{
	set_soft(RLIMIT_DATA, RLIM_INFINITY);
}

static rlim_t moving_base;
static uint64_t moving_state = 88172645463325252UL;

static void on_timer(int unused)
{
	struct rlimit limit = { 0, RLIM_INFINITY };

	(void)unused;
	moving_state ^= moving_state << 13;
	moving_state ^= moving_state >> 7;
	moving_state ^= moving_state << 17;
	limit.rlim_cur = moving_base + (moving_state >> 20) % (24 * MIB);
	setrlimit(RLIMIT_AS, &limit);
}

static void moving_set(long period_us)
{
	struct itimerval timer = { { 0, period_us }, { 0, period_us } };
	struct sigaction action = { .sa_handler = on_timer, .sa_flags = SA_RESTART };

	moving_base = (rlim_t)statm(0);
	moving_state += (uint64_t)period_us;
	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static void moving_lift(void)
{
	const struct itimerval none = { 0 };

	CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
	as_lift();
}

/* Foreign mappings of a page with a page between; as many as go, less `room`. */
static char *foreign;
static size_t nr_foreign;

static void vma_set(long room)
{
	size_t most = 1UL << 20;
	char *map = mmap(NULL, most * 2 * PAGE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(map != MAP_FAILED);
	CHECK(munmap(map, most * 2 * PAGE) == 0);
	foreign = map;
	for (nr_foreign = 0; nr_foreign < most; nr_foreign++)
		if (mmap(map + nr_foreign * 2 * PAGE, PAGE, PROT_READ,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			break;
	if (nr_foreign == most)
		skip_reason = "vm.max_map_count is over a million";
	for (long i = 0; i < room; i++)
		CHECK(munmap(map + i * 2 * PAGE, PAGE) == 0);
}

static void vma_lift(void)
{
	CHECK(munmap(foreign, nr_foreign * 2 * PAGE) == 0);
}

static void memlock_set(long room)
{
	/* root may lock what it likes */
	if (geteuid() == 0)
		CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0);
	set_soft(RLIMIT_MEMLOCK, (rlim_t)(statm(0) + room));
	if (mlockall(MCL_FUTURE) != 0)
		skip_reason = "mlockall() is refused";
}

static void memlock_lift(void)
{
	munlockall();
}

static void nproc_set(long room)
{
	(void)room;
	if (geteuid() == 0)
		CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0);
	set_soft(RLIMIT_NPROC, 1);
}

static void nproc_lift(void)
{
	set_soft(RLIMIT_NPROC, RLIM_INFINITY);
}

#define VALUES_MAX 16
#define END LONG_MIN

static const struct limit {
	const char *name;
	void (*set)(long room);
	void (*lift)(void);
	long values[VALUES_MAX]; /* to END */
	const char *without;	 /* a workload that can't run in it; NULL: none */
} limits[] = {
	{ "as",
	  as_set,
	  as_lift,
	  { -8L * (1L << 20), 0, PAGE, 64L << 10, 260L << 10, 1L << 20, 2L << 20, 4L << 20,
	    4352L << 10, 5L << 20, 8L << 20, 9L << 20, 14L << 20, 20L << 20, END },
	  NULL },
	{ "as-moving", moving_set, moving_lift, { 100, 230, 510, 1700, END }, NULL },
	{ "data",
	  data_set,
	  data_lift,
	  { -1L * (1L << 20), 0, PAGE, 64L << 10, 1L << 20, 4L << 20, 5L << 20, 9L << 20, END },
	  NULL },
	{ "vma", vma_set, vma_lift, { 0, 1, 2, 3, 4, 5, 6, 8, 12, 20, 50, END }, NULL },
	{ "memlock", memlock_set, memlock_lift, { 0, 64L << 10, 2L << 20, 9L << 20, END }, NULL },
	{ "nproc", nproc_set, nproc_lift, { 0, END }, "forks" },
};

static void in_the_limit(const struct limit *limit, long value)
{
	struct account after;

	limit->set(value);
	if (skip_reason)
		_exit(SKIPPED);
	for (const struct workload *workload = workloads; workload->name; workload++) {
		if (workload->in_start ||
		    (limit->without && !strcmp(limit->without, workload->name)))
			continue;
		fault_doing = workload->name;
		workload->run();
	}
	fault_doing = "after it was lifted";
	limit->lift();
	all_works();
	account_take(&after);
	/* where somebody else is, addresses are given up; here is nobody */
	account_compare(&at_first, &after, false);
}

/* Run all workloads in it, in a process; false: it was skipped. */
static bool run_limit(const struct limit *limit, long value)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		if (limit->set != moving_set)
			alarm(HANG_SECONDS);
		in_the_limit(limit, value);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	nr_runs++;
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
		return false;
	if (status != 0)
		fault_fail("%s with %ld: status %x; repeat it with --only %s", limit->name, value,
			   status, limit->name);
	return true;
}

/* Returns whether it could be had. */
static bool run_values(const struct limit *limit)
{
	for (const long *value = limit->values; *value != END && !limits_time_is_up(); value++)
		if (!run_limit(limit, *value))
			return false;
	return true;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t deadline_ms;
static uint64_t share_ms; /* of the time, until which this case may go on */

bool limits_time_is_up(void)
{
	return now_ms() > share_ms;
}

static const struct {
	const char *name;
	/* NULL: done; else why not. Writes what it found to stderr. */
	const char *(*run)(void);
} others[] = {
	{ "stack", stack_run },
	{ "cgroup", cgroup_run },
	{ "overcommit", overcommit_run },
};

#define NR_CASES (ARRAY_SIZE(limits) + ARRAY_SIZE(others))

static const char *run_case(size_t i)
{
	skip_reason = NULL;
	if (i == NR_CASES - 1 && !may_change_system)
		return "it changes a setting of the whole system; --system 1 allows that";
	if (i >= ARRAY_SIZE(limits))
		return others[i - ARRAY_SIZE(limits)].run();
	return run_values(&limits[i]) ? NULL : "the system refuses it";
}

int main(int argc, char **argv)
{
	unsigned long seconds = 15;
	const char *only = NULL;
	unsigned done = 0, skipped = 0;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--seconds") == 0)
			seconds = strtoul(argv[i + 1], NULL, 0);
		else if (strcmp(argv[i], "--seed") == 0)
			moving_state += strtoul(argv[i + 1], NULL, 0);
		else if (strcmp(argv[i], "--system") == 0)
			may_change_system = atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--only") == 0)
			only = argv[i + 1];
	}
	deadline_ms = now_ms() + seconds * 1000;
	touch_stack();
	all_works();
	account_take(&at_first);
	for (size_t i = 0; i < NR_CASES; i++) {
		const char *name = i < ARRAY_SIZE(limits) ? limits[i].name :
							    others[i - ARRAY_SIZE(limits)].name;
		uint64_t now = now_ms();
		const char *reason;

		if (only && strcmp(only, name) != 0)
			continue;
		share_ms = only ? deadline_ms :
				  now + (deadline_ms > now ? deadline_ms - now : 0) /
						   (NR_CASES - i);
		reason = run_case(i);
		skipped += reason != NULL;
		done += reason == NULL;
		dprintf(2, "%s: %s%s, %lu runs so far\n", name, reason ? "skipped: " : "done",
			reason ? reason : "", nr_runs);
	}
	printf("%u limits reached, %u skipped, %lu runs\n", done, skipped, nr_runs);
	return done ? 0 : SKIPPED;
}
