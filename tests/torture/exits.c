/* SPDX-License-Identifier: MIT */
/*
 * exits.c [--seconds N] [--seed S] [--way NAME] - programs that end while their threads allocate.
 *
 * The program runs itself again and again, once for each way to end and start over. In each run
 * eight threads allocate, free, and give everything back; after some milliseconds it ends in
 * that way, from the main thread, another thread, or a handler that interrupted an allocation. What the
 * program has registered for its end (atexit, at_quick_exit, on_exit, destructors) allocates
 * and checks and frees what was allocated before. Each run has to end with the status that the way
 * has without the library too; one that hangs dies of its alarm.
 *
 * A run takes one of several settings of the library, by its seed: plain, with statistics that
 * are printed at the end, and with the kswapd thread at work.
 */
#include "torture.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define NR_THREADS 8
#define OWN 24
#define HELD 50
#define RUN_SECONDS 30
#define STATUS 42

static char *self;
static pthread_t threads[NR_THREADS];
static void *held[HELD];
static _Atomic int stop;
static uint64_t seed;
static pid_t program; /* whose end is checked: not a child of it */

extern char **environ;

/* What allocates meanwhile */

static void *worker(void *arg)
{
	uint64_t state = seed + (uintptr_t)arg * 7919 + 1;
	void *own[OWN] = { 0 };

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		void **place = &own[next_random(&state) % OWN];

		if (*place) {
			check_stamp(*place, 0, "worker");
			free(*place);
			*place = NULL;
		} else {
			*place = new_block(&state, random_size(&state), state | 1);
			CHECK(*place != NULL);
		}
		if (next_random(&state) % 2000 == 0)
			malloc_trim(0);
	}
	return NULL;
}

/* What the program has registered for its end */

static void at_end(void)
{
	uint64_t state = seed | 1;

	if (getpid() != program)
		return;
	for (int i = 0; i < HELD; i++) {
		check_stamp(held[i], 0, "at the end");
		free(held[i]);
		held[i] = new_block(&state, random_size(&state), 3);
		CHECK(held[i] != NULL);
	}
}

static void on_end(int status, void *unused)
{
	(void)status;
	(void)unused;
	at_end();
}

__attribute__((destructor)) static void destroy(void)
{
	if (held[0])
		at_end();
}

static void hold(void)
{
	uint64_t state = seed | 1;

	program = getpid();
	for (int i = 0; i < HELD; i++)
		CHECK((held[i] = new_block(&state, random_size(&state), 3)) != NULL);
	for (int i = 0; i < 40; i++) /* beyond 32 the C library allocates for them */
		CHECK(atexit(at_end) == 0);
	CHECK(on_exit(on_end, NULL) == 0);
	CHECK(at_quick_exit(at_end) == 0);
}

/* The ways; each ends the program. */

static void by_exit(void)
{
	exit(STATUS);
}

static void by_underscore_exit(void)
{
	_exit(STATUS);
}

static void by_quick_exit(void)
{
	quick_exit(STATUS);
}

static void by_abort(void)
{
	abort();
}

static void by_term(void)
{
	raise(SIGTERM);
}

static void by_kill(void)
{
	raise(SIGKILL);
}

static void by_segv(void)
{
	static char *volatile nowhere = (char *)16;

	*nowhere = 1;
}

static void by_exec(void)
{
	char *const argv[] = { (char *)"sh", (char *)"-c", (char *)"exit 42", NULL };

	execv("/bin/sh", argv);
}

/* In another thread, while the main thread waits. */
static void *call(void *way)
{
	((void (*)(void))way)();
	return NULL;
}

static void in_thread(void (*way)(void))
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, call, (void *)way) == 0);
	for (;;)
		pause();
}

static void by_thread_exit(void)
{
	in_thread(by_exit);
}

static void by_thread_exec(void)
{
	in_thread(by_exec);
}

static void by_thread_abort(void)
{
	in_thread(by_abort);
}

/* The last thread to end ends the program, with status 0. */
static void by_last_thread(void)
{
	atomic_store(&stop, 1);
	pthread_exit(NULL);
}

/* In a handler that may have interrupted the allocator; its locks stay taken for good. */

static void exit_here(int sig)
{
	static _Atomic int once;

	(void)sig;
	if (!atomic_exchange(&once, 1))
		exit(STATUS);
}

static void by_handler(void)
{
	pthread_kill(threads[seed % NR_THREADS], SIGUSR1);
	for (;;)
		pause();
}

/* A child that ends by exit(), with all that is registered; then the program itself. */
static void by_forked_exit(void)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (pid == 0) {
		program = getpid();
		exit(STATUS);
	}
	while (waitpid(pid, &status, 0) != pid)
		CHECK(errno == EINTR);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == STATUS);
	exit(STATUS);
}

static const struct way {
	const char *name;
	void (*end)(void); /* NULL: return from main */
	int status;	   /* - signal */
} ways[] = {
	{ "return", NULL, STATUS },
	{ "exit", by_exit, STATUS },
	{ "_exit", by_underscore_exit, STATUS },
	{ "quick_exit", by_quick_exit, STATUS },
	{ "abort", by_abort, -SIGABRT },
	{ "sigterm", by_term, -SIGTERM },
	{ "sigkill", by_kill, -SIGKILL },
	{ "sigsegv", by_segv, -SIGSEGV },
	{ "exec", by_exec, STATUS },
	{ "thread-exit", by_thread_exit, STATUS },
	{ "thread-exec", by_thread_exec, STATUS },
	{ "thread-abort", by_thread_abort, -SIGABRT },
	{ "handler-exit", by_handler, STATUS },
	{ "forked-exit", by_forked_exit, STATUS },
	{ "last-thread", by_last_thread, 0 },
};
#define NR_WAYS (sizeof(ways) / sizeof(ways[0]))

static int run_and_end(const struct way *way)
{
	struct sigaction action = { .sa_handler = exit_here };
	struct rlimit none = { 0, 0 };
	uint64_t state = seed | 1;

	setrlimit(RLIMIT_CORE, &none); /* it dies on purpose */
	alarm(RUN_SECONDS);
	hold();
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < NR_THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)i) == 0);
	sleep_us((long)(next_random(&state) % 15000));
	if (way->end)
		way->end();
	return STATUS;
}

/* Runs the program once more. Its stderr is dropped where the library prints statistics there. */
static void run(const struct way *way, uint64_t with)
{
	static const char *const settings[] = { "", " stat", " kswapd reclaim.age_ms=8" };
	char number[24], cmdline[200];
	char *argv[] = {
		self, (char *)"--way", (char *)(uintptr_t)way->name, (char *)"--seed", number, NULL
	};
	posix_spawn_file_actions_t actions;
	const char *before = torture_env("KMALLOC_CMDLINE");
	const char *setting = settings[with % 3];
	int status, ended;
	pid_t pid;

	snprintf(number, sizeof(number), "%lu", with);
	snprintf(cmdline, sizeof(cmdline), "%s%s", before, setting);
	posix_spawn_file_actions_init(&actions);
	if (with % 3 == 1)
		posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	setenv("KMALLOC_CMDLINE", cmdline, 1);
	CHECK(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ) == 0);
	setenv("KMALLOC_CMDLINE", *setting ? strndupa(cmdline, strlen(before)) : cmdline, 1);
	posix_spawn_file_actions_destroy(&actions);
	while (waitpid(pid, &status, 0) != pid)
		CHECK(errno == EINTR);
	ended = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
	if (ended != way->status)
		FAIL("%s: ended with %d, not %d%s (again: LD_PRELOAD=%s KMALLOC_CMDLINE='%s' %s "
		     "--way %s --seed %lu)",
		     way->name, ended, way->status, ended == -SIGALRM ? ": it hung" : "",
		     torture_env("LD_PRELOAD"), cmdline, self, way->name, with);
}

int main(int argc, char **argv)
{
	const char *name = torture_option(argv, "way", NULL);
	unsigned long runs[NR_WAYS] = { 0 }, all = 0;
	uint64_t state;

	(void)argc;
	self = argv[0];
	seed = torture_number(argv, "seed", 1);
	for (size_t i = 0; name && i < NR_WAYS; i++)
		if (!strcmp(name, ways[i].name))
			return run_and_end(&ways[i]);
	torture_start(argv, NULL);
	for (state = torture.seed; !torture_time_is_up(); all++) {
		runs[all % NR_WAYS]++;
		run(&ways[all % NR_WAYS], next_random(&state));
		if (all % (10 * NR_WAYS) == 0)
			say_to(2, "%lu runs so far", all);
	}
	say_to(1,
	       "%lu programs ended while %d threads allocated, in %zu ways, each at least %lu times",
	       all, NR_THREADS, NR_WAYS, runs[NR_WAYS - 1]);
	return 0;
}
