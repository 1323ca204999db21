/* SPDX-License-Identifier: MIT */
/*
 * reclaim.h - giving memory back. Rooms above register a shrinker; reclaim
 * calls them without knowing their names.
 */
#ifndef PAGE_RECLAIM_H
#define PAGE_RECLAIM_H

#include "lib/compiler.h"

enum reclaim {
	RECLAIM_AGE,	/* what has been idle for longer than reclaim.age_ms */
	RECLAIM_EXCESS, /* what is over the watermarks */
	RECLAIM_ALL,	/* everything: malloc_trim, or before ENOMEM */
};

struct shrinker {
	/* Give back; returns bytes returned to the system. May block; holds no lock. */
	size_t (*shrink)(enum reclaim what);
	struct shrinker *next; /* NULL ends the list */
};

/* [start] The last registered is called first: caches before what they feed. */
void shrinker_register(struct shrinker *shrinker);
/* Run all shrinkers. Only where blocking is allowed, with no lock held. */
size_t reclaim_run(enum reclaim what);
/*
 * Called on slow paths that may block: runs RECLAIM_AGE when a period has
 * passed since the last time. Costs a clock read.
 */
void reclaim_poll(void);
/*
 * A watermark was passed where nothing could be given back: the next poll runs
 * RECLAIM_EXCESS. Any context; the kernel's wakeup_kswapd().
 */
void reclaim_wake(void);

#endif
