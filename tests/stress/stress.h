/* SPDX-License-Identifier: MIT */
/*
 * stress.h - what the programs of tests/stress and tests/fork share. Each runs with the
 * library preloaded, uses it hard for a few seconds, finds damage by itself, and ends with status
 * 0, or with one line on stderr and status 1. A watchdog ends one that hangs.
 *
 * Blocks: whoever has a block has stamped it over its whole length, so a byte that
 * somebody else wrote, or a block that two have, is seen when it is checked.
 *
 *	word 0: the size asked for; word 1: a token; then token ^ index, then bytes
 *
 * Nothing here allocates or uses stdio's streams, so all of it may be called in a
 * signal handler.
 */
#ifndef TESTS_STRESS_H
#define TESTS_STRESS_H

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HANG_SECONDS 60	   /* over the time that the program was told to run */
#define SMALL_LIMIT 131056 /* the largest size of the kmalloc path */

static const char *stress_seed_text = ""; /* what repeats the run: the end of each message */

__attribute__((format(printf, 2, 3))) static inline void say_to(int fd, const char *format, ...)
{
	char text[800];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text) - 1, format, args);
	va_end(args);
	if (n > (int)sizeof(text) - 2)
		n = (int)sizeof(text) - 2;
	text[n++] = '\n';
	if (write(fd, text, (size_t)n) != n)
		_exit(99);
}

#define FAIL(...)                                                                                  \
	do {                                                                                       \
		say_to(2, __VA_ARGS__);                                                            \
		_exit(1);                                                                          \
	} while (0)

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			FAIL("%s:%d: failed: %s (errno %d) %s", __FILE__, __LINE__, #cond, errno,  \
			     stress_seed_text);                                                    \
	} while (0)

/* Time and chance. */

static inline uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline void sleep_us(long us)
{
	struct timespec time = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&time, NULL);
}

/* A thread that trims all the time, until what `stop` points to is set. */
static inline void *stress_trimmer(void *stop)
{
	while (!atomic_load((_Atomic int *)stop)) {
		malloc_trim(0);
		sleep_us(500);
	}
	return NULL;
}

static inline uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x * 0x9e3779b97f4a7c15UL >> 8;
}

/* STRESS_SEED, or a fixed one; never 0. */
static inline uint64_t stress_seed(void)
{
	const char *text = getenv("STRESS_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : 0;

	return seed ? seed : 88172645463325252UL;
}

/* Mostly small sizes, some of each path; the blocks below hold at least two words. */
static inline size_t random_size(uint64_t *state)
{
	uint64_t r = next_random(state);

	switch (r % 256) {
	case 0:
		return 16 + (r >> 8) % (600UL << 10);
	case 1:
	case 2:
		return 16 + (r >> 8) % SMALL_LIMIT;
	default:
		return 16 + (r >> 8) % (r % 256 < 16 ? 8192 : 500);
	}
}

/* Stamped blocks. */

static inline void stamp(void *block, size_t size, uint64_t token)
{
	uint64_t *word = block;
	unsigned char *byte = block;

	word[0] = size;
	word[1] = token;
	for (size_t i = 2; i < size / 8; i++)
		word[i] = token ^ i;
	for (size_t i = size / 8 * 8; i < size; i++)
		byte[i] = (unsigned char)(token + i);
}

/* Returns the size; `token` 0: any. Dies when the block is not as it was stamped. */
static inline size_t check_stamp(const void *block, uint64_t token, const char *where)
{
	const uint64_t *word = block;
	const unsigned char *byte = block;
	size_t size = word[0];

	if (token && word[1] != token)
		FAIL("%s: block %p has token %lx, not %lx %s", where, block, word[1], token,
		     stress_seed_text);
	token = word[1];
	if (size < 16 || size > malloc_usable_size((void *)(uintptr_t)block))
		FAIL("%s: block %p has size %zu of %zu %s", where, block, size,
		     malloc_usable_size((void *)(uintptr_t)block), stress_seed_text);
	for (size_t i = 2; i < size / 8; i++)
		if (word[i] != (token ^ i))
			FAIL("%s: block %p of %zu: word %zu is %lx, not %lx %s", where, block, size,
			     i, word[i], token ^ i, stress_seed_text);
	for (size_t i = size / 8 * 8; i < size; i++)
		if (byte[i] != (unsigned char)(token + i))
			FAIL("%s: block %p of %zu: byte %zu is %x %s", where, block, size, i,
			     byte[i], stress_seed_text);
	return size;
}

static inline bool is_zero(const void *block, size_t size)
{
	const unsigned char *byte = block;

	return size == 0 || (byte[0] == 0 && memcmp(byte, byte + 1, size - 1) == 0);
}

/* A new block by one of the ways there are, stamped. NULL: no memory. */
static inline void *new_block(uint64_t *state, size_t size, uint64_t token)
{
	uint64_t r = next_random(state);
	void *block = NULL;

	if (r % 8 == 0) {
		size_t align = 16UL << (r >> 8) % 9;

		if (posix_memalign(&block, align, size) != 0)
			return NULL;
		CHECK((uintptr_t)block % align == 0);
	} else if (r % 8 < 3) {
		block = calloc(1, size);
		if (!block)
			return NULL;
		CHECK(is_zero(block, size));
	} else {
		block = malloc(size);
		if (!block)
			return NULL;
	}
	CHECK((uintptr_t)block % 16 == 0);
	stamp(block, size, token);
	return block;
}

/* Another size for a block that was checked; what is kept is checked again. NULL: no memory. */
static inline void *resize_block(void *block, size_t size)
{
	uint64_t token = ((uint64_t *)block)[1];
	size_t old = ((uint64_t *)block)[0], kept = old < size ? old : size;
	uint64_t *to = realloc(block, size);

	if (!to)
		return NULL;
	CHECK(to[0] == old && to[1] == token);
	for (size_t i = 2; i < kept / 8; i++)
		CHECK(to[i] == (token ^ i));
	stamp(to, size, token);
	return to;
}

/* The watchdog: a thread that needs nothing of the heap. */

static inline void *watchdog_thread(void *seconds)
{
	for (uint64_t start = now_ms(); now_ms() - start < (uintptr_t)seconds * 1000;)
		sleep_us(100000);
	say_to(2, "watchdog: no end after %lu seconds %s", (uintptr_t)seconds, stress_seed_text);
	kill(getpid(), SIGKILL);
	return NULL;
}

/* STRESS_HANG_SECONDS is for who waits outside, to look at what hangs before it is ended. */
static inline void watchdog_start(unsigned long seconds)
{
	const char *more = getenv("STRESS_HANG_SECONDS");
	sigset_t all, old;
	pthread_t thread;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	seconds += more ? strtoul(more, NULL, 0) : HANG_SECONDS;
	CHECK(pthread_create(&thread, NULL, watchdog_thread, (void *)seconds) == 0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static inline void stress_want_library(void)
{
	void *function = dlsym(RTLD_DEFAULT, "malloc");
	Dl_info info = { 0 };

	CHECK(function && dladdr(function, &info));
	if (!getenv("STRESS_ANY_MALLOC") && !strstr(info.dli_fname, "libkmalloc"))
		FAIL("malloc comes from %s: LD_PRELOAD the library", info.dli_fname);
}

/* First of all in main(): the library is there, and hangs end. Returns how many seconds to run. */
static inline unsigned stress_start(int argc, char **argv)
{
	static char text[64];
	unsigned seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 2;

	snprintf(text, sizeof(text), "(STRESS_SEED=%lu)", stress_seed());
	stress_seed_text = text;
	stress_want_library();
	watchdog_start(seconds);
	return seconds;
}

/* Let a thread run on one CPU of those that the process may use, or on all. */
static inline void wander(pthread_t thread, uint64_t *state)
{
	static cpu_set_t all;
	cpu_set_t some;

	if (!CPU_COUNT(&all))
		CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
	some = all;
	if (next_random(state) % 3) {
		int n = (int)(next_random(state) % (uint64_t)CPU_COUNT(&all));

		for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
			if (!CPU_ISSET(cpu, &all) || n--)
				continue;
			CPU_ZERO(&some);
			CPU_SET(cpu, &some);
			break;
		}
	}
	pthread_setaffinity_np(thread, sizeof(some), &some);
}

#endif
