/* SPDX-License-Identifier: MIT */
/* depot.h - call stacks, each once; and what threads remember to find them. Any context; no locks. */
#ifndef TRACE_DEPOT_H
#define TRACE_DEPOT_H

#include "trace/memo.h"
#include "trace/trace.h"

/* The node of a frame below its caller's; 0: no room, which is counted by whoever gets that. */
uint32_t depot_node(struct trace_depot *depot, uint32_t parent, uintptr_t ip);
/* This thread's memo, of whichever depot it was got from; NULL: none yet. */
extern _Thread_local struct stack_memo *depot_own initial_exec hidden;

extern uint32_t depot_module_changes hidden; /* that this process made */

void depot_update_rules_slow(struct trace_depot *depot, uint64_t maps, gfp_t gfp);
struct stack_memo *depot_take_memo_slow(struct trace_depot *depot, uintptr_t here);
void depot_renew_memo(struct stack_memo *memo, uint64_t session);

/* Pages of a depot: the header, which is never given back, and: */
#define DEPOT_PAGE 4096UL
#define DEPOT_NR_BUCKETS (1U << 18)
#define DEPOT_NR_OWN_MEMOS 256U
#define DEPOT_NR_MEMOS (DEPOT_NR_OWN_MEMOS + 64U) /* with those that are shared */
#define DEPOT_MEMO_BYTES ((sizeof(struct stack_memo) + DEPOT_PAGE - 1) & ~(DEPOT_PAGE - 1))
#define DEPOT_RULES_AT DEPOT_PAGE
#define DEPOT_BUCKETS_AT (DEPOT_RULES_AT + UNWIND_RULES * sizeof(uint64_t))
#define DEPOT_MEMOS_AT (DEPOT_BUCKETS_AT + DEPOT_NR_BUCKETS * sizeof(uint32_t))
#define DEPOT_NODES_AT (DEPOT_MEMOS_AT + DEPOT_NR_MEMOS * DEPOT_MEMO_BYTES)

static inline uint64_t *depot_rules(struct trace_depot *depot)
{
	return (uint64_t *)((char *)depot + DEPOT_RULES_AT);
}

static inline struct trace_depot *depot_now(void)
{
	return (struct trace_depot *)__atomic_load_n(&trace_control.depot, __ATOMIC_ACQUIRE);
}

/* Rules may be those of modules which are gone; memos have them too. */
static always_inline void depot_update_rules(struct trace_depot *depot, gfp_t gfp)
{
	uint64_t maps = (uint64_t)__atomic_load_n(&depot_module_changes, __ATOMIC_RELAXED) << 32 |
			__atomic_load_n(&trace_control.maps, __ATOMIC_RELAXED);

	if (unlikely(maps != __atomic_load_n(&depot->rules_of, __ATOMIC_RELAXED)))
		depot_update_rules_slow(depot, maps, gfp);
}

/* By its address alone: a handler may have got another one of another depot since. */
static always_inline bool depot_has_memo(const struct trace_depot *depot,
					 const struct stack_memo *memo)
{
	return (uintptr_t)memo - (uintptr_t)depot < DEPOT_NODES_AT;
}

/* False: somebody has it. Only against others on this thread. */
static always_inline bool depot_claim(struct stack_memo *memo, uintptr_t here)
{
	uintptr_t holder = 0;
	bool is_mine = false;

	__asm__ volatile("cmpxchgq %3, %1"
			 : "=@ccz"(is_mine), "+m"(memo->busy), "+a"(holder)
			 : "r"(here)
			 : "memory");
	return is_mine;
}

/* This thread's own, if it has one that is free. depot.c says why no lock is needed. */
static always_inline struct stack_memo *depot_take_own(struct trace_depot *depot, uintptr_t here)
{
	struct stack_memo *memo = __atomic_load_n(&depot_own, __ATOMIC_RELAXED);

	if (unlikely(!depot_has_memo(depot, memo) || !depot_claim(memo, here)))
		return NULL;
	if (likely(!__atomic_load_n(&memo->is_closed, __ATOMIC_RELAXED)))
		return memo;
	__atomic_store_n(&memo->busy, 0, __ATOMIC_RELEASE);
	return NULL;
}

static always_inline void depot_put_memo(struct stack_memo *memo)
{
	__atomic_store_n(&memo->busy, 0, __ATOMIC_RELEASE);
}

/*
 * One that nobody else uses; forgotten if it is out of date, and so are then the rules. here: a place on the stack that the caller has until
 * it puts it back. NULL: all are in use.
 */
static always_inline struct stack_memo *depot_take_memo(struct trace_depot *depot, uintptr_t here,
							gfp_t gfp)
{
	struct stack_memo *memo;
	uint64_t session;

	depot_update_rules(depot, gfp);
	session = __atomic_load_n(&depot->session, __ATOMIC_ACQUIRE);
	memo = depot_take_own(depot, here);
	if (unlikely(!memo))
		memo = depot_take_memo_slow(depot, here);
	if (memo && unlikely(memo->session != session))
		depot_renew_memo(memo, session);
	return memo;
}

#endif
