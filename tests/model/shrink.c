/* SPDX-License-Identifier: MIT */
/*
 * shrink.c - delta debugging over a sequence of operations.
 *
 * Pieces are left out, halves first, then smaller ones, down to single operations, and single
 * ones again until none can go. Each candidate is tried by the caller, in a process of its own.
 */
#include "shrink.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static time_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

size_t shrink(struct op *ops, size_t count, shrink_fails fails, void *arg, unsigned seconds)
{
	struct op *candidate = calloc(count, sizeof(*ops));
	time_t end = now() + (time_t)seconds;
	size_t piece = count / 2;

	while (candidate && piece && now() < end) {
		size_t before = count;

		for (size_t at = 0; at < count && now() < end;) {
			size_t cut = at + piece < count ? piece : count - at;

			memcpy(candidate, ops, at * sizeof(*ops));
			memcpy(candidate + at, ops + at + cut, (count - at - cut) * sizeof(*ops));
			if (cut == count || !fails(candidate, count - cut, arg)) {
				at += piece;
				continue;
			}
			count -= cut;
			memcpy(ops, candidate, count * sizeof(*ops));
		}
		if (piece > 1)
			piece /= 2;
		else if (count == before)
			break;
	}
	free(candidate);
	return count;
}
