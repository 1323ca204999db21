/* SPDX-License-Identifier: MIT */
/*
 * What the programs of this folder share. Each is an ordinary program that calls malloc and
 * friends, says on stdout what it found in lines that are the same on every run, and stops with
 * one line on stderr at the first thing that is wrong. Run without a preloaded library they
 * check themselves against glibc; where KMALLOC_EXPECT names a library, they also check that
 * their malloc is that library's.
 */
#ifndef PRELOAD_CHECK_H
#define PRELOAD_CHECK_H

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SKIP 77

/* The limit of the small path, and sizes on both sides of it. */
#define SMALL_LIMIT 131056

/* Keeps the compiler from knowing anything about a pointer. */
static inline void *hide(void *p)
{
	__asm__ volatile("" : "+r"(p));
	return p;
}

static inline size_t hide_size(size_t n)
{
	__asm__ volatile("" : "+r"(n));
	return n;
}

/* One line, one write: no stdio buffer that a fork would double, and no allocation. */
__attribute__((format(printf, 2, 3))) static inline void line_to(int fd, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(text) - 2)
		n = sizeof(text) - 2;
	text[n++] = '\n';
	if (write(fd, text, n) != n)
		_exit(99);
}

#define say(...) line_to(1, __VA_ARGS__)

#define CHECK(cond, ...)                                                                           \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			int errno_then = errno;                                                    \
			line_to(2, "FAIL %s:%d: %s (errno %d)", __FILE__, __LINE__, #cond,         \
				errno_then);                                                       \
			line_to(2, "  " __VA_ARGS__);                                              \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* True where a library is preloaded, so that what only ours promises can be asked for. */
static inline bool preloaded(void)
{
	return getenv("KMALLOC_EXPECT") != NULL;
}

/*
 * Every one of these must come from the expected library, or a part of the program would run
 * beside it.
 */
static inline void check_library(void)
{
	static const char *const names[] = {
		"malloc",
		"free",
		"calloc",
		"realloc",
		"reallocarray",
		"memalign",
		"aligned_alloc",
		"posix_memalign",
		"valloc",
		"pvalloc",
		"malloc_usable_size",
	};
	const char *want = getenv("KMALLOC_EXPECT");

	if (want == NULL)
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		Dl_info info;
		void *sym = dlsym(RTLD_DEFAULT, names[i]);

		CHECK(sym != NULL && dladdr(sym, &info) != 0, "%s", names[i]);
		CHECK(strcmp(info.dli_fname, want) == 0, "%s comes from %s", names[i],
		      info.dli_fname);
	}
}

/* A pattern that depends on the seed and the place, and is cheap to write and to check. */
static inline unsigned char pattern_at(unsigned seed, size_t i)
{
	return (unsigned char)(seed * 31 + i * 7 + (i >> 8) * 13 + 1);
}

static inline void pattern_fill(void *p, size_t n, unsigned seed)
{
	unsigned char *c = p;

	for (size_t i = 0; i < n; i++)
		c[i] = pattern_at(seed, i);
}

static inline bool pattern_ok(const void *p, size_t n, unsigned seed)
{
	const unsigned char *c = p;

	for (size_t i = 0; i < n; i++)
		if (c[i] != pattern_at(seed, i))
			return false;
	return true;
}

/* A small generator of its own, so that sizes are the same everywhere. */
static inline uint32_t next_random(uint32_t *state)
{
	uint32_t x = *state;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return *state = x;
}

#endif
