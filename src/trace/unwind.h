/* SPDX-License-Identifier: MIT */
/* unwind.h - from a call of this thread to its callers. Any context; system calls only where gfp allows to sleep. */
#ifndef TRACE_UNWIND_H
#define TRACE_UNWIND_H

#include "lib/compiler.h"
#include "lib/gfp.h"
#include "trace/cfi.h"

#define UNWIND_RULES_BITS 16
#define UNWIND_RULES (1U << UNWIND_RULES_BITS)

struct frame {
	uintptr_t ip; /* what returns there, or, is_exact, what a signal interrupted */
	uintptr_t sp, bp;
	bool is_exact;
	struct unwind_rule
		rule; /* how to get to its caller; kind UNWIND_NONE: not looked for yet */
};

/* What the frames of a walk have in common. */
struct walk {
	uintptr_t asked;     /* a page of the stack that is there; is_guess */
	bool is_guess;	     /* it went by a frame pointer: where it is may be no frame */
	uintptr_t low, high; /* of the stack: what may be read; more may be above it */
	uint64_t *
		rules; /* UNWIND_RULES words that are 0 at first, and when a module may have gone */
	bool may_call; /* the system */
};

enum unwind_step {
	UNWIND_UP,
	UNWIND_TOP, /* there is no caller */
	UNWIND_CUT, /* there is one, but where is not known */
};

/* Of this thread: all in between is its stack, and there. high 0: not known. */
extern _Thread_local struct unwind_own {
	uintptr_t low, high;
} unwind_own initial_exec hidden;

void unwind_start_slow(struct walk *walk, uintptr_t sp);

/* Begin at a stack pointer. */
static inline void unwind_start(struct walk *walk, uintptr_t sp, uint64_t *rules, gfp_t gfp)
{
	walk->rules = rules;
	walk->may_call = gfpflags_allow_blocking(gfp);
	walk->is_guess = false;
	walk->asked = 0;
	walk->low = sp;
	walk->high = unwind_own.high;
	if (unlikely(sp >= unwind_own.high || sp < unwind_own.low))
		unwind_start_slow(walk, sp);
}

/*
 * From a frame, which gets its rule, to its caller. hint: a frame whose rule that may be, if the address is the same;
 * NULL: none. *caller holds only if this returns UNWIND_UP.
 */
enum unwind_step unwind_step(struct walk *walk, const struct frame *hint, struct frame *frame,
			     struct frame *caller);
/* The word at an address of the stack. False: it may not be read. */
bool unwind_read_slow(struct walk *walk, uintptr_t at, uintptr_t *value);

static inline bool unwind_read(struct walk *walk, uintptr_t at, uintptr_t *value)
{
	if (unlikely(at % sizeof(*value) || at < walk->low || at > walk->high - sizeof(*value) ||
		     walk->is_guess))
		return unwind_read_slow(walk, at, value);
	*value = *(const uintptr_t *)at;
	return true;
}

#endif
