/* SPDX-License-Identifier: MIT */
/* stacks.c - call stacks of a recording, turned outermost first. */
#include "stacks.h"

#include <string.h>

size_t stacks_addresses(const struct reader *reader, uint32_t stack, uint64_t site,
			uint64_t addresses[STACKS_FRAMES_MAX], bool *cut)
{
	size_t count = 0;
	const uint64_t *frames = recording_stack_frames(reader, stack, &count, cut);

	if (!frames || !count) {
		*cut = false;
		addresses[0] = site;
		return 1;
	}
	/* of too many the innermost are kept */
	if (count > STACKS_FRAMES_MAX) {
		count = STACKS_FRAMES_MAX;
		*cut = true;
	}
	for (size_t i = 0; i < count; i++)
		addresses[i] = frames[count - 1 - i];
	return count;
}

size_t stacks_frames(struct symbols *symbols, const struct reader *reader, uint32_t stack,
		     uint64_t site, struct stack_frame frames[STACKS_FRAMES_MAX], bool *cut)
{
	uint64_t addresses[STACKS_FRAMES_MAX];
	size_t count = stacks_addresses(reader, stack, site, addresses, cut), n = 0;

	for (size_t i = 0; i < count; i++) {
		struct frame inner[FRAMES_MAX];
		size_t nr_inner = symbols_frames(symbols, addresses[i], inner);

		/* room for the rest, one each, comes first */
		while (nr_inner > 1 && n + nr_inner + (count - 1 - i) > STACKS_FRAMES_MAX)
			nr_inner--;
		for (size_t k = nr_inner; k-- > 0;)
			frames[n++] =
				(struct stack_frame){ inner[k], addresses[i], k + 1 < nr_inner };
	}
	return n;
}
