/* SPDX-License-Identifier: MIT */
/* bell.h - sleep until a process has something to say. */
#ifndef KMEM_BELL_H
#define KMEM_BELL_H

#include "target.h"

struct bell {
	void *page; /* NULL: none, and it sleeps by the clock alone */
	const void *word;
};

/* Where the process has one that can be had: silent if not. */
void bell_open(struct bell *bell, const struct target *target);
void bell_close(struct bell *bell);
/* Sleep until it rings, and is_deaf is not set, a signal comes or the time is over. True: it rang. */
bool bell_wait(const struct bell *bell, unsigned us, bool is_deaf);

#endif
