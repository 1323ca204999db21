/* SPDX-License-Identifier: MIT */
/*
 * torture.h - what the torture programs share beyond tests/stress/stress.h: their options, how a
 * failure says what repeats it, and what the library says it has handed out.
 *
 * Each takes --seconds N and --seed S, and further options of its own, all with a value. Progress
 * goes to stderr; the last line of stdout says in numbers what was covered.
 */
#ifndef TESTS_TORTURE_H
#define TESTS_TORTURE_H

#include "stress.h"

#include <sys/mman.h>

#define TORTURE_SECONDS 10

static struct {
	unsigned seconds;
	uint64_t seed;
	uint64_t end_ms; /* when to stop */
} torture;

/* The value of --NAME, or `none`. */
static inline const char *torture_option(char **argv, const char *name, const char *none)
{
	for (char **arg = argv + 1; *arg && arg[1]; arg += 2)
		if (!strncmp(*arg, "--", 2) && !strcmp(*arg + 2, name))
			return arg[1];
	return none;
}

static inline unsigned long torture_number(char **argv, const char *name, unsigned long none)
{
	const char *text = torture_option(argv, name, NULL);
	char *end;
	unsigned long value;

	if (!text)
		return none;
	value = strtoul(text, &end, 0);
	if (!*text || *end) {
		say_to(2, "%s: --%s wants a number, not '%s'", argv[0], name, text);
		_exit(2);
	}
	return value;
}

/* Ends the program when an argument is none of --seconds, --seed and --`more` (NULL: no more). */
static inline void torture_refuse_others(char **argv, const char *more)
{
	for (char **arg = argv + 1; *arg; arg += 2) {
		bool known = !strcmp(*arg, "--seconds") || !strcmp(*arg, "--seed") ||
			     (more && !strncmp(*arg, "--", 2) && !strcmp(*arg + 2, more));

		if (known && arg[1])
			continue;
		say_to(2, "usage: %s [--seconds N] [--seed S]%s%s%s", argv[0], more ? " [--" : "",
		       more ? more : "", more ? " VALUE]" : "");
		_exit(2);
	}
}

static inline const char *torture_env(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

/* First of all in main(). `more` names one option of the program's own, or is NULL. */
static inline void torture_start(char **argv, const char *more)
{
	static char text[600];
	const char *value = more ? torture_option(argv, more, NULL) : NULL;

	torture_refuse_others(argv, more);
	torture.seconds = (unsigned)torture_number(argv, "seconds", TORTURE_SECONDS);
	torture.seed = torture_number(argv, "seed", 0);
	if (!torture.seed)
		torture.seed = stress_seed();
	snprintf(text, sizeof(text),
		 "(again: LD_PRELOAD=%s KMALLOC_CMDLINE='%s' %s --seconds %u --seed %lu%s%s%s%s)",
		 torture_env("LD_PRELOAD"), torture_env("KMALLOC_CMDLINE"), argv[0],
		 torture.seconds, torture.seed, value ? " --" : "", value ? more : "",
		 value ? " " : "", value ? value : "");
	stress_seed_text = text;
	stress_want_library();
	watchdog_start(torture.seconds);
	torture.end_ms = now_ms() + torture.seconds * 1000UL;
}

static inline bool torture_time_is_up(void)
{
	return now_ms() >= torture.end_ms;
}

/* Memory that no allocator under test knows of; zero, and only what is touched costs. */
static inline void *torture_map(size_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(map != MAP_FAILED);
	return map;
}

/* SIG_BLOCK or SIG_UNBLOCK SIGUSR1, the signal of a storm, for this thread. */
static inline void torture_let_signals(int how)
{
	sigset_t ours;

	sigemptyset(&ours);
	sigaddset(&ours, SIGUSR1);
	pthread_sigmask(how, &ours, NULL);
}

/*
 * Bytes that are out of the slabs and in areas, once everything that CPUs and barns held was given
 * back: what the program holds, and what was lost.
 */
static inline size_t torture_bytes_out(void)
{
	malloc_trim(0);
	malloc_trim(0);
	return mallinfo2().uordblks;
}

#endif
