/* SPDX-License-Identifier: MIT */
/* depot.h - call stacks, each once; and what threads remember to find them. Any context; no locks. */
#ifndef TRACE_DEPOT_H
#define TRACE_DEPOT_H

#include "trace/trace.h"
#include "trace/unwind.h"

/* A frame of the stack that a thread had last. */
struct stack_entry {
	struct frame frame;
	uint32_t node; /* of the stack from here on; 0: not known */
	/*
	 * Its caller is entry[-1] as long as the word below that one's stack pointer is its ip, and the one at bp_at, if there is one,
	 * its bp. False: that has to be found out by a step.
	 */
	bool is_plain;
	uintptr_t bp_at; /* 0: bp is the same */
};

#define STACK_PREFIX_MAX 8U
#define STACK_PREFIXES 4U

/* A way through the library, from who asks for a stack to the call site. All places are relative to the stack pointer there. */
struct stack_prefix {
	uint32_t nr;	/* 0: none */
	uint32_t bp_at; /* where the call site's rbp is; 0: it is that of who asks */
	struct {
		uintptr_t ip; /* what returns there; of the last one any call site */
		uint32_t at;
	} frame[STACK_PREFIX_MAX];
};

/* The stack that a thread had last, from the call site on; and one that is being walked. */
struct stack_memo {
	uintptr_t busy; /* somebody uses it, who has that place on its stack; 0: nobody */
	uint32_t nr, nr_new;
	enum unwind_step end; /* what was behind the outermost */
	uint64_t session;     /* when it was valid */
	unsigned last_prefix;
	struct stack_prefix prefix[STACK_PREFIXES];
	struct stack_entry entry[TRACE_STACK_FRAMES]; /* outermost first */
	struct frame new[TRACE_STACK_FRAMES + 1];     /* innermost first */
};

/* The node of a frame below its caller's; 0: no room, which is counted by whoever gets that. */
uint32_t depot_node(struct trace_depot *depot, uint32_t parent, uintptr_t ip);
/*
 * One that nobody else uses; forgotten if it is out of date, and so are then the rules. here: a place on the stack that the caller has until
 * it puts it back. NULL: all are in use.
 */
struct stack_memo *depot_take_memo(struct trace_depot *depot, uintptr_t here, gfp_t gfp);
void depot_put_memo(struct stack_memo *memo);
uint64_t *depot_rules(struct trace_depot *depot);

static inline struct trace_depot *depot_now(void)
{
	return (struct trace_depot *)__atomic_load_n(&trace_control.depot, __ATOMIC_ACQUIRE);
}

#endif
