/* SPDX-License-Identifier: MIT */
/*
 * stack.c - the number of this thread's call stack.
 *
 * Most stacks differ from the one that the thread had before by a few innermost frames. So that one is remembered, frame by
 * frame, each with its rule and its node. Where a walk comes to a frame that is the same - address, stack pointer and rbp - its
 * callers are looked at only for whether the words of the stack from which they followed are still what they were:
 * that these give the same callers, the rules being the same, needs no steps one after the other.
 *
 * Steps: 1. through the library, from here to the call site: there are few ways, so these are remembered too, as the return
 * addresses on them and where they stand; 2. walk up from the call site, frame by frame, into `new`, until one is among
 * those remembered, at `base`; 3. check the words of those that are outside it. One that is different: the frames up to there go
 * to `new` as well, and the walk goes on with it; 4. `new` replaces what was inside base; 5. nodes for what has none.
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
	    rule->bp_kind == UNWIND_BP_BP)
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

/* The remembered frame that is the same as the one at hand: its index + 1, or 0. None is at *from or above. */
static uint32_t find_same(const struct stack_memo *memo, uint32_t *from, const struct frame *frame)
{
	const struct frame *same;

	/* stack pointers fall from the outermost on, but for a signal's on another stack */
	while (*from && memo->entry[*from - 1].frame.sp < frame->sp)
		--*from;
	if (!*from)
		return 0;
	same = &memo->entry[*from - 1].frame;
	return same->sp == frame->sp && same->ip == frame->ip && same->bp == frame->bp &&
			       same->is_exact == frame->is_exact ?
		       *from :
		       0;
}

/* Of the entries from `at` on to the outermost, the first whose caller may be another one than it was. */
static uint32_t find_change(const struct stack_memo *memo, const struct walk *walk, uint32_t at)
{
	const struct stack_entry *entry = &memo->entry[at];

	for (; at > 0; at--, entry--) {
		const struct frame *caller = &entry[-1].frame;
		/* once each: should the page be given back meanwhile, what was looked at is what is read */
		uintptr_t sp = __atomic_load_n(&caller->sp, __ATOMIC_RELAXED);
		uintptr_t bp_at = __atomic_load_n(&entry->bp_at, __ATOMIC_RELAXED);

		if (!entry->is_plain || sp <= walk->low || sp > walk->high ||
		    *(const uintptr_t *)(sp - WORD) != caller->ip ||
		    (bp_at && (bp_at < walk->low || bp_at > walk->high - WORD ||
			       *(const uintptr_t *)bp_at != caller->bp)))
			break;
	}
	return at;
}

/*
 * new[nr_new], the frame at hand, is entry[at]. True: so are all outside it what they were. Else those up to the first whose caller
 * is another one go to `new`, of which that is the frame at hand now.
 */
static bool is_as_before(struct stack_memo *memo, struct walk *walk, uint32_t at)
{
	struct frame outermost, unused;
	uint32_t change = find_change(memo, walk, at);

	if (change == 0) {
		outermost = memo->entry[0].frame;
		if (unwind_step(walk, &outermost, &outermost, &unused) == memo->end)
			return true;
	}
	/* with their rules, which the frame at hand has not yet */
	while (at > change && memo->nr_new < TRACE_STACK_FRAMES)
		memo->new[memo->nr_new++] = memo->entry[at--].frame;
	memo->new[memo->nr_new] = memo->entry[at].frame;
	return false;
}

/* A frame whose rule may be that of the frame at hand: the one as far from the innermost. */
static const struct frame *find_hint(const struct stack_memo *memo)
{
	return memo->nr_new < memo->nr ? &memo->entry[memo->nr - 1 - memo->nr_new].frame : NULL;
}

/* Fills `new`, in which the innermost is; *base: how many of the frames remembered are outside of these. */
static enum unwind_step walk_up(struct stack_memo *memo, struct walk *walk, uint32_t *base)
{
	uint32_t from = memo->nr;
	enum unwind_step step;

	*base = 0;
	memo->nr_new = 0;
	do {
		uint32_t same = walk->is_guess ? 0 :
						 find_same(memo, &from, &memo->new[memo->nr_new]);
		struct frame *frame;

		if (same && is_as_before(memo, walk, same - 1)) {
			*base = same;
			return memo->end;
		}
		if (same)
			from = same - 1;
		if (memo->nr_new == TRACE_STACK_FRAMES)
			return UNWIND_CUT;
		frame = &memo->new[memo->nr_new];
		step = unwind_step(walk, find_hint(memo), frame, frame + 1);
		memo->nr_new++;
	} while (step == UNWIND_UP);
	return step;
}

static void set_entry(struct stack_entry *entry, const struct frame *frame, bool has_caller)
{
	const struct unwind_rule *rule = &frame->rule;
	uintptr_t offset = (uintptr_t)(intptr_t)rule->bp, top;

	entry->frame = *frame;
	entry->node = 0;
	entry->bp_at = 0;
	entry->is_plain = has_caller && (rule->kind == UNWIND_SP || rule->kind == UNWIND_BP);
	if (!entry->is_plain || rule->bp_kind == UNWIND_BP_SAME)
		return;
	top = entry[-1].frame.sp;
	entry->bp_at = (rule->bp_kind == UNWIND_BP_CFA ? top : frame->bp) + offset;
	/* then it is within bounds if the caller's stack pointer is */
	if (entry->bp_at < frame->sp || entry->bp_at >= top)
		entry->is_plain = false;
}

/* Of the first `count` entries those go; the rest are of another stack then, which is cut. How many that are. */
static cold_path uint32_t forget_outermost(struct stack_memo *memo, uint32_t count, uint32_t gone)
{
	for (uint32_t i = gone; i < count; i++) {
		memo->entry[i - gone] = memo->entry[i];
		memo->entry[i - gone].node = 0;
	}
	return count - gone;
}

/* `new` in place of what is inside base. */
static void remember(struct stack_memo *memo, uint32_t base, enum unwind_step end)
{
	uint32_t nr_new = memo->nr_new;

	if (base + nr_new > TRACE_STACK_FRAMES) {
		base = forget_outermost(memo, base, base + nr_new - TRACE_STACK_FRAMES);
		end = UNWIND_CUT;
	}
	for (uint32_t i = 0; i < nr_new; i++)
		set_entry(&memo->entry[base + i], &memo->new[nr_new - 1 - i], base + i > 0);
	memo->nr = base + nr_new;
	memo->end = end;
}

/* The node of the innermost frame; 0: no room. */
static uint32_t number_of(struct trace_depot *depot, struct stack_memo *memo)
{
	uint32_t i = memo->nr, node;

	while (i && !memo->entry[i - 1].node)
		i--;
	node = i		       ? memo->entry[i - 1].node :
	       memo->end == UNWIND_TOP ? TRACE_NODE_ROOT :
					 TRACE_NODE_CUT;
	for (; i < memo->nr; i++) {
		node = depot_node(depot, node, memo->entry[i].frame.ip);
		if (!node)
			return 0;
		memo->entry[i].node = node;
	}
	return node;
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

/* 0: no room, or the call site is not on the stack. */
static uint32_t find_number(struct trace_depot *depot, struct stack_memo *memo,
			    const void *call_site, gfp_t gfp)
{
	enum unwind_step end;
	struct frame here;
	struct walk walk;
	uint32_t base;

	start_here(&here);
	unwind_start(&walk, here.sp, depot_rules(depot), gfp);
	if (!walk_to_site(memo, &walk, &here, call_site, &memo->new[0]))
		return 0;
	end = walk_up(memo, &walk, &base);
	remember(memo, base, end);
	return number_of(depot, memo);
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

uint32_t trace_stack(const void *call_site, gfp_t gfp)
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
		number = find_number(depot, memo, call_site, gfp);
		depot_put_memo(memo);
	} else {
		number = find_number_bare(depot, call_site, gfp);
	}
	if (!number)
		__atomic_fetch_add(&depot->lost, 1, __ATOMIC_RELAXED);
	return number;
}
