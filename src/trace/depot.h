/* SPDX-License-Identifier: MIT */
/* depot.h - call stacks, each once; and what threads remember to find them. Any context; no locks. */
#ifndef TRACE_DEPOT_H
#define TRACE_DEPOT_H

#include "trace/memo.h"
#include "trace/trace.h"

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
