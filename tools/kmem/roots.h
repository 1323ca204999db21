/* SPDX-License-Identifier: MIT */
/*
 * roots.h - the memory of a stopped process from which its blocks are reached: all that it can read and that it, or the system for
 * it, has written.
 */
#ifndef KMEM_ROOTS_H
#define KMEM_ROOTS_H

#include "freeze.h"

struct roots_range {
	uint64_t start, end;
};

struct roots {
	pid_t pid;
	const struct freeze *freeze; /* its threads */
	struct roots_range *skip;    /* not to be visited */
	size_t nr_skip, skip_room;
	uint64_t *word; /* what the kernel keeps for the process, see roots_visit() */
	size_t nr_words, word_room;
};

/* Leave this out. */
void roots_skip(struct roots *roots, uint64_t start, uint64_t end);
/*
 * Visit all of it; then, in `word`, there is what the kernel hands back to the program: the data of epoll's
 * registrations and of timers. False: the process is gone, which was said.
 */
bool roots_visit(struct roots *roots, void (*visit)(uint64_t start, uint64_t end, void *arg),
		 void *arg);
void roots_free(struct roots *roots);

/*
 * Visit the parts of a range that are there: in memory or swapped out. `written`: only pages that are no longer the
 * file's.
 */
void roots_present(pid_t pid, uint64_t start, uint64_t end, bool written,
		   void (*visit)(uint64_t start, uint64_t end, void *arg), void *arg);

#endif
