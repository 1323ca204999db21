/* SPDX-License-Identifier: MIT */
/*
 * fault.h - what the parts of the fault torture share.
 *
 * The program is linked with the whole library, entry points included, built with
 * DEBUG_CHECKS: so its own malloc is the one that is made to fail, by setting
 * params.fail_... between two calls, and its structures can be walked after.
 *
 *	fault.c         points: which call of which kind fails, a process for each
 *	fault_work.c    what is done meanwhile
 *	fault_account.c nothing is lost: what is mapped against what the library knows
 */
#ifndef TESTS_TORTURE_FAULT_H
#define TESTS_TORTURE_FAULT_H

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIB 1024UL
#define MIB (1024UL * KIB)

/* One line on stderr, without allocating, and the end of this process. */
__attribute__((format(printf, 1, 2))) _Noreturn void fault_fail(const char *format, ...);

extern int fault_output;	/* where that goes */
extern const char *fault_doing; /* what it says is being done; NULL: nothing */

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			fault_fail("%s:%d: failed: %s (errno %d)", __FILE__, __LINE__, #cond,      \
				   errno);                                                         \
	} while (0)

/* What is done while a call fails. Each leaves nothing allocated. */
struct workload {
	const char *name;
	void (*run)(void);
	bool repeats; /* one thread, no signals: the same calls each time */
	bool in_start; /* run by a program that is started anew, with the failure in its parameters */
};

extern const struct workload workloads[]; /* ends with a NULL name */
/* With nothing made to fail, every request is granted, and all of it is right. */
void all_works(void);

/* The stack grows to its size here, and not while an account is open. */
void touch_stack(void);

/* What the library holds, when nothing runs and all is trimmed. */
struct account {
	size_t objects[128]; /* out of slabs, by cache */
	size_t nr_areas;
	size_t nr_foreign;
	size_t unknown; /* bytes of this process's address space that the library does not hold */
};

/* Trim, walk everything (dies when something is not as it must be), and count. */
void account_take(struct account *account);
/* Dies unless the same is held as before. `foreign`: address ranges may have been given up. */
void account_compare(const struct account *before, const struct account *now, bool foreign);

#endif
