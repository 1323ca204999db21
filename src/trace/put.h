/* SPDX-License-Identifier: MIT */
/*
 * put.h - an event into this CPU's ring, in line: for calls that are told of one after the other, in the state that most are in.
 *
 * trace_write() is the general way. Here the caller has made sure that the thread is no child of vfork, may sleep, and has its
 * number. What finds no ring, or no room in it, goes on in trace.c.
 */
#ifndef TRACE_PUT_H
#define TRACE_PUT_H

#include "arch/x86_64/rseq.h"
#include "trace/trace.h"

/* The sequence finds a ring as it finds an area: by an offset from this; 0 is "no ring". */
extern struct trace_rings {
	uint64_t none[8];
	uintptr_t offset[TRACE_NR_RINGS];
} trace_rings hidden;

#define TRACE_RINGS &trace_rings, offsetof(struct trace_rings, offset)

/* What each event needs of its thread, in one place. */
extern _Thread_local struct trace_thread {
	uint64_t tid; /* as word 3 has it, << TRACE_REQ_BITS; 0: not known yet */
	uint32_t
		until_look; /* so many more events, and it is time to look whether there is a reader */
} trace_thread initial_exec hidden;

/* GFP_KERNEL's place in trace_control.gfp; the others are as they come. */
#define TRACE_GFP_KERNEL 0U

/* The words of an event, but for the first, which is the time. */
static inline uint64_t trace_word_ptr(const void *ptr, enum trace_type type, unsigned gfp_code)
{
	return ((uintptr_t)ptr & TRACE_ADDRESS_MASK) | ((uint64_t)type | (uint64_t)gfp_code << 8)
							       << TRACE_ADDRESS_BITS;
}

static inline uint64_t trace_word_site(const void *call_site, uint32_t stack, unsigned cache)
{
	return (stack ? stack | TRACE_SITE_IS_STACK : (uintptr_t)call_site & TRACE_ADDRESS_MASK) |
	       (uint64_t)cache << TRACE_ADDRESS_BITS;
}

/*
 * Where the ring has no room, or is not there: gfp says whether the thread may sleep. True: it is to be tried again, after so many tries.
 * False: the event is written, or lost and counted.
 */
bool trace_put_again(const uint64_t words[3], gfp_t gfp, unsigned tries);

static always_inline void trace_put(uint64_t word1, uint64_t word2, uint64_t word3, gfp_t gfp)
{
	for (unsigned tries = 0;; tries++) {
		const uint64_t words[3] = { word1, word2, word3 };

		if (likely(rseq_ring_put(TRACE_RINGS, words)) ||
		    !trace_put_again(words, gfp, tries))
			return;
	}
}

#endif
