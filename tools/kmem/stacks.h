/* SPDX-License-Identifier: MIT */
/*
 * stacks.h - the calls that led to an allocation, outermost first, as viewers and profiles want them.
 *
 * Of a recording without stacks, or a sample that lost its own, that is the call site alone.
 */
#ifndef KMEM_STACKS_H
#define KMEM_STACKS_H

#include "recording.h"
#include "symbols.h"

#define STACKS_FRAMES_MAX 512U

/*
 * The return addresses, outermost first; the last one is the call site. stack, site: of a struct event, or of a struct
 * site. *cut: there are more above the first, which were not recorded. Returns how many, at least 1.
 */
size_t stacks_addresses(const struct reader *reader, uint32_t stack, uint64_t site,
			uint64_t addresses[STACKS_FRAMES_MAX], bool *cut);

struct stack_frame {
	struct frame frame;
	uint64_t address; /* return address of the call that was not inlined */
	bool inlined;	  /* into the frame before */
};

/* The same by name, with the functions that were inlined. At least one. */
size_t stacks_frames(struct symbols *symbols, const struct reader *reader, uint32_t stack,
		     uint64_t site, struct stack_frame frames[STACKS_FRAMES_MAX], bool *cut);

#endif
