/* SPDX-License-Identifier: MIT */
/*
 * fault_inject.h - calls that are made to fail on purpose, in debug builds.
 *
 * In a release build should_fail() is the constant false, and nothing is left of it.
 */
#ifndef LIB_FAULT_INJECT_H
#define LIB_FAULT_INJECT_H

#include "lib/compiler.h"

/* What one kind of call does. Zeroed: it never fails, and is counted. */
struct fault_attr {
	size_t probability; /* of a failure, in percent, where the others let it happen */
	size_t interval;    /* of the calls after `space`, each interval-th may fail */
	_Atomic long
		space; /* goes down by the size of each call; none fails before it is used up */
	_Atomic long times;	 /* failures left; negative: without end */
	_Atomic size_t count;	 /* calls since `space` was used up */
	_Atomic size_t nr_calls; /* all calls */
	_Atomic size_t nr_failed;
};

/* What system calls are told apart by; the names are in lib/param_table.c. */
enum fault_call {
	FAULT_MMAP,
	FAULT_MPROTECT,
	FAULT_MUNMAP,
	FAULT_MREMAP,
	FAULT_MADVISE,
	FAULT_GUARD, /* madvise too: guard pages put up and taken away */
	FAULT_FUTEX,
	FAULT_MEMBARRIER,
	FAULT_WRITE,
	FAULT_FCNTL,
	FAULT_OTHER,
	NR_FAULT_CALLS,
};

#ifdef DEBUG_CHECKS
/* Count a call of this size; does it fail? Any context. */
bool should_fail(struct fault_attr *attr, size_t size);
/* A pseudo-random number in [0, limit); repeats from params.fail_seed on. */
size_t fault_random(size_t limit);
/* "interval,probability,space,times"; false, and nothing set: malformed. */
bool fault_attr_parse(struct fault_attr *attr, const char *text);
#else
#define should_fail(attr, size) false
#endif

#endif
