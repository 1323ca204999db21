/* SPDX-License-Identifier: MIT */
/*
 * stack.c - the number of this thread's call stack.
 *
 * Nearly all stacks were there before, at the same place. So a thread remembers the last one that it walked (memo.h), and ways: from a
 * call site out to one of that one's frames, as words of the stack and what they were. Where a way's words are what they
 * were, and those of the frames outside of where it ends, the stack is known, and its number: no rule is looked for, and no step
 * waits for the one before.
 *
 * Steps: 1. through the library, from here to the call site: there are few ways, so these are remembered too, as the return
 * addresses on them and where they stand; 2. a way from there; 3. the words outside of it. Where one of these fails the stack is walked
 * (stack_walk.c), and remembered. An entry point knows its call site's stack pointer: then step 1 is left out, unless rbp matters there,
 * which only that step finds.
 *
 * No locks; any context. A thread that can't get a memo walks all of its stack, BARE_FRAMES at most. One that gets no node, or whose call
 * site is not on its stack, has its call site alone; that is counted.
 */
#include "trace/depot.h"

#define WORD sizeof(uintptr_t)
#define BARE_FRAMES 96U
#define SITE_STEPS_MAX 64U /* of the library's own calls, up to the call site */

/* Is that the way from sp? Then *site is the frame of the call site. */
static bool is_prefix(struct walk *walk, const struct stack_prefix *prefix,
		      const struct frame *here, const void *call_site, struct frame *site)
{
	unsigned last = prefix->nr - 1;
	uintptr_t at;

	if (!prefix->nr)
		return false;
	at = here->sp + prefix->frame[last].at;
	if (at > walk->high - WORD || *(const uintptr_t *)at != (uintptr_t)call_site)
		return false;
	for (unsigned i = 0; i < last; i++)
		if (*(const uintptr_t *)(here->sp + prefix->frame[i].at) != prefix->frame[i].ip)
			return false;
	site->ip = (uintptr_t)call_site;
	site->sp = at + WORD;
	site->bp = prefix->bp_at ? *(const uintptr_t *)(here->sp + prefix->bp_at) : here->bp;
	site->is_exact = false;
	return true;
}

/* Adds the step from frame to its caller. False: it is none that a prefix can have. */
static bool add_to_prefix(struct stack_prefix *prefix, const struct frame *here,
			  const struct frame *frame, const struct frame *caller)
{
	const struct unwind_rule *rule = &frame->rule;

	if (prefix->nr == STACK_PREFIX_MAX || rule->kind != UNWIND_SP ||
	    rule->bp_kind == UNWIND_BP_BP || (rule->bp_kind == UNWIND_BP_CFA && rule->bp >= 0))
		return false;
	if (rule->bp_kind == UNWIND_BP_CFA)
		prefix->bp_at = (uint32_t)(caller->sp - here->sp) + (uint32_t)rule->bp;
	prefix->frame[prefix->nr].ip = caller->ip;
	prefix->frame[prefix->nr++].at = (uint32_t)(caller->sp - WORD - here->sp);
	return true;
}

/* Step by step, and remembered. False: the call site is not on the stack. */
static cold_path bool walk_to_site_slow(struct stack_memo *memo, struct walk *walk,
					const struct frame *here, const void *call_site,
					struct frame *site)
{
	unsigned at = (memo->last_prefix + 1) % STACK_PREFIXES;
	struct stack_prefix *prefix = &memo->prefix[at];
	struct frame frame = *here;
	bool known = true;

	prefix->nr = prefix->bp_at = 0;
	for (unsigned i = 0; i < SITE_STEPS_MAX; i++) {
		if (unwind_step(walk, NULL, &frame, site) != UNWIND_UP)
			break;
		known = known && add_to_prefix(prefix, here, &frame, site);
		if (site->ip == (uintptr_t)call_site) {
			if (known)
				memo->last_prefix = at;
			else
				prefix->nr = 0;
			return true;
		}
		frame = *site;
	}
	prefix->nr = 0;
	return false;
}

static bool walk_to_site(struct stack_memo *memo, struct walk *walk, const struct frame *here,
			 const void *call_site, struct frame *site)
{
	for (unsigned i = 0; i < STACK_PREFIXES; i++) {
		unsigned at = (memo->last_prefix + i) % STACK_PREFIXES;

		if (is_prefix(walk, &memo->prefix[at], here, call_site, site)) {
			memo->last_prefix = at;
			return true;
		}
	}
	return walk_to_site_slow(memo, walk, here, call_site, site);
}

static always_inline uintptr_t words_difference(const struct stack_words *words, uintptr_t sp)
{
	uintptr_t difference = 0;

	for (unsigned i = 0; i < STACK_GROUP; i++)
		difference |= *(const uintptr_t *)(sp + words->at[i]) ^ words->value[i];
	return difference;
}

/* Are the words on it what they were? */
static always_inline bool is_way(const struct stack_way *way, const struct frame *site)
{
	uintptr_t difference = 0;

	if (unlikely(way->site != site->ip || way->sp != site->sp))
		return false;
	for (unsigned i = 0; i < way->nr_groups; i++)
		difference |= words_difference(&way->group[i], site->sp);
	return !difference;
}

/* Does it end at the frame that is remembered there now? */
static always_inline bool leads_to(const struct stack_way *way, const struct stack_memo *memo)
{
	const struct stack_entry *joint = &memo->entry[way->joint];

	return way->joint < memo->nr && joint->frame.sp == way->joint_sp &&
	       joint->frame.ip == way->joint_ip && !joint->frame.is_exact &&
	       (!joint->needs_bp || (way->has_joint_bp && way->joint_bp == joint->frame.bp));
}

static uintptr_t way_value(const struct stack_way *way, unsigned i)
{
	return way->group[i / STACK_GROUP].value[i % STACK_GROUP];
}

/* The node at the inner end of a way, of which the joint has another one than before. */
static cold_path uint32_t update_way(struct trace_depot *depot, struct stack_way *way,
				     uint32_t parent)
{
	uint32_t node = parent;

	/* the last one is the joint */
	for (unsigned i = way->nr_links; node && i-- > 1;)
		node = depot_node(depot, node, way_value(way, i - 1));
	if (node && way->nr_links)
		node = depot_node(depot, node, way->site);
	if (!node)
		return 0;
	way->parent = parent;
	way->node = node;
	return node;
}

/* By a way that is remembered, to a stack that is; 0: there is none. has_bp: site->bp is what it says. */
static always_inline uint32_t find_by_way(struct trace_depot *depot, struct stack_memo *memo,
					  const struct walk *walk, const struct frame *site,
					  bool has_bp)
{
	uintptr_t hash = way_hash(site->ip, site->sp);
	unsigned set = way_set(hash);
	uint32_t tag = way_tag(hash);

	/* one after the other: the processor guesses which it is, and goes on without waiting for the tags */
	for (unsigned i = 0; i < STACK_WAYS; i++) {
		struct stack_way *way = &memo->way[set][i];
		uint32_t parent;

		if (memo->tag[set][i] != tag || way->joint_sp > walk->high || !is_way(way, site) ||
		    (way->needs_bp && !(has_bp && way->bp == site->bp)) || !leads_to(way, memo))
			continue;
		if (!stack_is_as_before(memo, walk, way->joint))
			return 0;
		parent = memo->entry[way->joint].node;
		if (likely(way->parent == parent))
			return way->node;
		return parent ? update_way(depot, way, parent) : 0;
	}
	return 0;
}

/* The frame of whoever that is inlined into, all of one moment: what the tables say of this place finds the caller. */
static always_inline void start_here(struct frame *here)
{
	here->is_exact = true;
	__asm__ volatile("leaq 1f(%%rip), %0\n"
			 "1:\n\t"
			 "movq %%rsp, %1\n\t"
			 "movq %%rbp, %2"
			 : "=&r"(here->ip), "=&r"(here->sp), "=&r"(here->bp));
}

/* Step by step to the call site, and from there as well if need be. 0: no room, or the call site is not on the stack. */
static busy_path uint32_t find_number_slow(struct trace_depot *depot, struct stack_memo *memo,
					   const void *call_site, gfp_t gfp)
{
	struct frame here;
	struct walk walk;
	uint32_t number;

	start_here(&here);
	unwind_start(&walk, here.sp, depot_rules(depot), gfp);
	if (!walk_to_site(memo, &walk, &here, call_site, &memo->new[0]))
		return 0;
	number = find_by_way(depot, memo, &walk, &memo->new[0], true);
	return number ? number : stack_walk(depot, memo, &walk);
}

static always_inline uint32_t find_number(struct trace_depot *depot, struct stack_memo *memo,
					  const void *call_site, uintptr_t sp, gfp_t gfp)
{
	struct frame site = { .ip = (uintptr_t)call_site, .sp = sp };
	struct walk walk;
	uint32_t number = 0;

	if (likely(sp)) {
		unwind_start(&walk, sp, depot_rules(depot), gfp);
		number = find_by_way(depot, memo, &walk, &site, false);
	}
	return likely(number) ? number : find_number_slow(depot, memo, call_site, gfp);
}

/* The same without a memo: all step by step, and not so many. */
static cold_path uint32_t find_number_bare(struct trace_depot *depot, const void *call_site,
					   gfp_t gfp)
{
	uintptr_t ip[BARE_FRAMES];
	uint32_t count = 0, node, steps = 0;
	enum unwind_step step;
	struct frame frame, caller;
	struct walk walk;

	start_here(&frame);
	unwind_start(&walk, frame.sp, depot_rules(depot), gfp);
	while ((step = unwind_step(&walk, NULL, &frame, &caller)) == UNWIND_UP) {
		frame = caller;
		if (!count && frame.ip != (uintptr_t)call_site) {
			if (++steps == SITE_STEPS_MAX)
				return 0;
			continue;
		}
		if (count == BARE_FRAMES)
			break;
		ip[count++] = frame.ip;
	}
	if (!count)
		return 0;
	node = step == UNWIND_TOP ? TRACE_NODE_ROOT : TRACE_NODE_CUT;
	while (count && (node = depot_node(depot, node, ip[--count])))
		;
	return node;
}

uint32_t trace_stack(const void *call_site, uintptr_t sp, gfp_t gfp)
{
	struct trace_depot *depot = depot_now();
	struct stack_memo *memo;
	uint32_t number;
	uintptr_t here;

	/* a handler has forked */
	if (unlikely(!depot))
		return 0;
	memo = depot_take_memo(depot, (uintptr_t)&here, gfp);
	if (likely(memo)) {
		number = find_number(depot, memo, call_site, sp, gfp);
		depot_put_memo(memo);
	} else {
		number = find_number_bare(depot, call_site, gfp);
	}
	if (!number)
		__atomic_fetch_add(&depot->lost, 1, __ATOMIC_RELAXED);
	return number;
}
