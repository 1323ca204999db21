/* SPDX-License-Identifier: MIT */
/*
 * slow_step.h - between the scenarios (slow_step.c) and what steps through them
 * (slow_step_trap.c).
 */
#ifndef TORTURE_SLOW_STEP_H
#define TORTURE_SLOW_STEP_H

#include "lib/lock.h"

#include <stddef.h>
#include <stdint.h>

#define STEP_HANG_SECONDS 30 /* without a step */

/* Counted in all processes together. */
struct step_stats {
	unsigned long scenarios;
	unsigned long points;	     /* handlers run at an instruction */
	unsigned long points_here;   /* of the scenario at work */
	unsigned long atomic_points; /* with lock_depth > 0 */
	unsigned long sections;	     /* sequences let through */
	unsigned long objects;	     /* made in handlers */
	unsigned long forks;
	unsigned long
		rank_points[LOCK_RANK_META + 1]; /* with a lock of that rank held; of this mode */
	unsigned long all_rank_points[LOCK_RANK_META + 1];
};

extern struct step_stats *stats;

/* Once: find the sequences of this program. */
struct step_stats *step_prepare(void);
/* Once in each process, before the library starts; `phase` shifts what handlers do when. */
void step_setup(uint64_t phase);
/* Trap at each instruction of what follows; handlers use objects of this size. */
void step_begin(size_t size);
/* The same, but until the miss path is under way they use another size, so that it is a miss. */
void step_begin_miss(size_t size);
void step_end(void);
/* At how many different instructions a handler ran. */
size_t step_distinct(void);

/* The entry points, which are not linked here. */
void *slow_malloc(size_t size);
void *slow_realloc(void *ptr, size_t size);

#endif
