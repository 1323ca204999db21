/* SPDX-License-Identifier: MIT */
/* progress.h - how far long work is, on standard error if that is a terminal. */
#ifndef KMEM_PROGRESS_H
#define KMEM_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what;
	uint64_t start_ms, shown_ms;
	bool on;
};

void progress_start(struct progress *progress, const char *what);
/* share: 0 to 1. At most five times a second. */
void progress_show(struct progress *progress, double share);
void progress_end(struct progress *progress);

#endif
