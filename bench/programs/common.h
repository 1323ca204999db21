/* SPDX-License-Identifier: MIT
 *
 * common: what the C programs here share: dying in one line, numbers from the command line,
 * random numbers that are the same in every run, resident memory, and an account of the bytes
 * that are live.
 *
 * The account is the sum of the sizes that were asked for. Each thread keeps its own, as a
 * number that several add to would be what is measured; that of a thread which frees what others
 * allocated goes below zero, and only the sum over all threads means something.
 */
#ifndef BENCH_PROGRAMS_COMMON_H
#define BENCH_PROGRAMS_COMMON_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* `PROGRAM: MESSAGE` on stderr, then exit. Nothing is allocated: memory may be out. */
__attribute__((noreturn, format(printf, 2, 3))) static inline void die(int status,
								       const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	dprintf(STDERR_FILENO, "%s: %s\n", program_invocation_short_name, text);
	_exit(status);
}

/* The argument TEXT as a number from LEAST to MOST, or die. */
static inline long number(const char *text, const char *what, long least, long most)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (end == text || *end || value < least || value > most)
		die(2, "%s '%s' is not a number from %ld to %ld", what, text, least, most);
	return value;
}

/* The next number of a sequence that STATE is the place in; any start is as good (splitmix64). */
static inline uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* A number from LEAST to MOST. */
static inline size_t random_between(uint64_t *state, size_t least, size_t most)
{
	return least + random_next(state) % (most - least + 1);
}

/* A hash of SIZE bytes that takes little time beside what is measured. */
static inline uint64_t hash_bytes(const void *data, size_t size)
{
	const char *bytes = data;
	uint64_t hash = size, word;

	for (; size >= sizeof(word); size -= sizeof(word), bytes += sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		hash = (hash ^ word) * 0x9fb21c651e98df25u;
		hash ^= hash >> 32;
	}
	for (; size; size--)
		hash = (hash ^ (unsigned char)*bytes++) * 0x100000001b3u;
	return hash;
}

static inline double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static inline void sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

static inline void read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);

	text[n > 0 ? n : 0] = 0;
	if (fd >= 0)
		close(fd);
}

/*
 * Resident memory of this process. smaps_rollup is exact; statm, where there is no such file, may
 * miss up to 64 pages of each thread.
 */
static inline long rss_kib(void)
{
	char text[2048];
	const char *found;

	read_text("/proc/self/smaps_rollup", text, sizeof(text));
	found = strstr(text, "\nRss:");
	if (found)
		return strtol(found + strlen("\nRss:"), NULL, 10);
	read_text("/proc/self/statm", text, sizeof(text));
	found = strchr(text, ' ');
	return found ? strtol(found, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024) : 0;
}

/* malloc, realloc and free with the account *LIVE. They die rather than return NULL. */
static inline void *take(long *live, size_t size)
{
	void *p = malloc(size);

	if (!p)
		die(1, "out of memory");
	*live += (long)size;
	return p;
}

static inline void *retake(long *live, void *p, size_t old, size_t size)
{
	p = realloc(p, size);
	if (!p)
		die(1, "out of memory");
	*live += (long)size - (long)old;
	return p;
}

static inline void give(long *live, void *p, size_t size)
{
	free(p);
	*live -= (long)size;
}

/* A string of its own; give_text frees it. */
static inline char *take_text(long *live, const char *text, size_t length)
{
	char *copy = take(live, length + 1);

	memcpy(copy, text, length);
	copy[length] = 0;
	return copy;
}

static inline void give_text(long *live, char *text)
{
	give(live, text, strlen(text) + 1);
}

#endif
