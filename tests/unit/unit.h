/* SPDX-License-Identifier: MIT */
/*
 * unit.h - what the unit tests share. cmocka runs and names them; each test's body
 * runs in a process of its own, on an allocator that was started for it alone, with the
 * parameters that the test asks for. So a test may damage the heap, lower a limit,
 * map over the windows or die, and the next one starts afresh.
 *
 * The library is linked from its parts (`rooms`) and does not define malloc: cmocka,
 * stdio and the test's own bookkeeping use the C library's.
 *
 * CHECK() stands in for cmocka's assertions in a body: it works in every thread
 * and every process, by printing one line and ending the process with status 1.
 */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct unit_case {
	const char *name;
	void (*body)(void);
	const char *cmdline; /* parameters, after those of the environment; NULL: none */
	bool start;	     /* start the library before the body */
};

/* clang-format off */
#define UNIT_TEST(body) { #body, body, NULL, true }
#define UNIT_TEST_WITH(body, cmdline) { #body, body, cmdline, true }
/* The body starts what it needs itself. */
#define UNIT_TEST_RAW(body) { #body, body, NULL, false }
/* clang-format on */

/* Run the cases; what main() returns. */
#define UNIT_MAIN(cases) unit_main(cases, sizeof(cases) / sizeof((cases)[0]))
int unit_main(const struct unit_case *cases, size_t count);

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			unit_failed(__FILE__, __LINE__, #cond);                                    \
	} while (0)
/* The same, with the two numbers that should be equal. */
#define CHECK_EQ(a, b)                                                                             \
	do {                                                                                       \
		unsigned long unit_a = (unsigned long)(a), unit_b = (unsigned long)(b);            \
		if (unit_a != unit_b)                                                              \
			unit_differ(__FILE__, __LINE__, #a, #b, unit_a, unit_b);                   \
	} while (0)

_Noreturn void unit_failed(const char *file, int line, const char *what);
_Noreturn void unit_differ(const char *file, int line, const char *a, const char *b,
			   unsigned long value_a, unsigned long value_b);

/*
 * From now on the system answers this process as a kernel before 6.13 does: it knows no
 * guard pages. Bodies run so where UNIT_OLD_KERNEL is set in the environment. False: this
 * can't be had here.
 */
bool unit_old_kernel(void);

/* How a process ended, and what it wrote to standard error. */
struct unit_end {
	int signal; /* 0: it exited */
	int status;
	char text[4096];
};

/* Run body(arg) in a child process. */
struct unit_end unit_child(void (*body)(void *arg), void *arg);
/* Run it; it must die by SIGABRT after writing exactly `report` to standard error. */
void unit_dies(void (*body)(void *arg), void *arg, const char *report);
/* Would reading (writing) a byte here fault? Asked of a child process. */
bool unit_faults(const volatile void *addr);
bool unit_write_faults(volatile void *addr);

/* Run this program again with one argument and an environment variable; its standard output. */
void unit_rerun(const char *argument, const char *name, const char *value, char *out, size_t size);

/* A small generator, so that a seed means the same everywhere. */
uint64_t unit_random(uint64_t *state);
/* A seed for tests by chance: KMALLOC_SEED, or a fixed one. */
uint64_t unit_seed(void);

/* A pattern that differs by place and seed. */
void unit_fill(void *ptr, size_t size, uint64_t seed);
bool unit_is_filled(const void *ptr, size_t size, uint64_t seed);
bool unit_is_zero(const void *ptr, size_t size);
/* How many of the pages from addr on, which are all mapped, are resident. */
size_t unit_resident(const void *addr, size_t size);

/* Is anything mapped at this page? */
bool unit_is_mapped(const void *addr);
/* Lines of /proc/self/maps. */
size_t unit_maps(void);
/* Let the address space grow by `bytes` more and no further; SIZE_MAX: without limit again. */
void unit_limit_address_space(size_t bytes);

/* Keep this thread on one CPU; which is one that it may run on. */
void unit_pin(unsigned nth);
/* How many CPUs this process may run on. */
unsigned unit_cpus(void);

#endif
