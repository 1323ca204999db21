/* SPDX-License-Identifier: MIT */
/* progress.c - how far long work is. */
#include "progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define EVERY_MS 200

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void progress_start(struct progress *progress, const char *what)
{
	*progress = (struct progress){ .what = what,
				       .start_ms = now_ms(),
				       .shown_ms = now_ms(),
				       .on = isatty(STDERR_FILENO) };
}

void progress_show(struct progress *progress, double share)
{
	uint64_t now = progress->on ? now_ms() : 0, spent;

	if (!progress->on || now - progress->shown_ms < EVERY_MS)
		return;
	progress->shown_ms = now;
	spent = now - progress->start_ms;
	fprintf(stderr, "\r%s: %3.0f %%", progress->what, share * 100);
	if (share > 0.01)
		fprintf(stderr, ", %.0f s left ", (double)spent / 1000 * (1 - share) / share);
	fflush(stderr);
}

void progress_end(struct progress *progress)
{
	if (progress->on)
		fprintf(stderr, "\r\033[K");
	progress->on = false;
}
