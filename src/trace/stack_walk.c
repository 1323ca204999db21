/* SPDX-License-Identifier: MIT */
/*
 * stack_walk.c - a call stack that is not known yet, frame by frame.
 *
 * Most stacks differ from the one that the thread walked before by a few innermost frames. So that one is remembered, frame by
 * frame, each with its rule and its node. Where a walk comes to a frame that is the same - address, stack pointer, and rbp if it
 * matters - its callers are looked at only for whether the words of the stack from which they followed are still what they were:
 * that these give the same callers, the rules being the same, needs no steps one after the other. What rbp was matters only where
 * a frame is found by it: few programs have such, and then that word is looked at as well.
 *
 * Steps: 1. walk up from the call site, frame by frame, into `new`, until one is among those remembered, at `base`; 2. check the
 * words of those that are outside it. One that is different: the frames up to there go to `new` as well, and the walk goes on with
 * it; 3. `new` replaces what was inside base; 4. nodes for what has none; 5. the way from the call site to that frame is
 * remembered by itself, so that the next stack like this needs no walk (stack.c).
 *
 * No locks; any context. The memo is the caller's alone.
 */
#include "trace/depot.h"

#include <string.h>

#define WORD sizeof(uintptr_t)

static bool is_same(const struct stack_entry *entry, const struct frame *frame)
{
	return entry->frame.sp == frame->sp && entry->frame.ip == frame->ip &&
	       entry->frame.is_exact == frame->is_exact &&
	       (!entry->needs_bp || entry->frame.bp == frame->bp);
}

/* The remembered frame that is the same as the one at hand: its index + 1, or 0. None is at *from or above. */
static uint32_t find_same(const struct stack_memo *memo, uint32_t *from, const struct frame *frame)
{
	/* stack pointers fall from the outermost on, but for a signal's on another stack */
	while (*from && memo->entry[*from - 1].frame.sp < frame->sp)
		--*from;
	return *from && is_same(&memo->entry[*from - 1], frame) ? *from : 0;
}

/* Does what was behind the outermost follow from it as before? The walk stays where it is. */
cold_path bool stack_ends_as_before(const struct stack_memo *memo, const struct walk *walk)
{
	struct frame outermost = memo->entry[0].frame, unused;
	struct walk trial = *walk;

	return unwind_step(&trial, &outermost, &outermost, &unused) == memo->end;
}

/* Does entry[at - 1] follow from it? */
static bool has_same_caller(const struct stack_memo *memo, const struct walk *walk, uint32_t at)
{
	const struct stack_entry *entry = &memo->entry[at], *caller = entry - 1;

	if (!entry->is_plain || caller->frame.sp <= walk->low || caller->frame.sp > walk->high ||
	    *(const uintptr_t *)stack_link(memo, at)->at != caller->frame.ip)
		return false;
	/* a place where the bp is lies in the frame */
	return !entry->bp_at || !caller->needs_bp ||
	       (entry->bp_at >= walk->low && *(const uintptr_t *)entry->bp_at == caller->frame.bp);
}

/*
 * The frame at hand is entry[at], and what is outside of that is not as before: those up to the first whose caller is another one go to
 * `new`, with their rules; that one is the frame at hand now.
 */
static void take_what_is_same(struct stack_memo *memo, struct walk *walk, uint32_t at)
{
	struct frame *frame = &memo->new[memo->nr_new];

	while (at && memo->nr_new < TRACE_STACK_FRAMES && has_same_caller(memo, walk, at)) {
		const struct stack_entry *entry = &memo->entry[at--];
		uintptr_t bp = entry->bp_at ? *(const uintptr_t *)entry->bp_at : frame->bp;

		frame->rule = entry->frame.rule;
		memo->nr_new++;
		*++frame = memo->entry[at].frame;
		/* which is remembered only where it is needed */
		frame->bp = bp;
	}
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

		if (same && stack_is_as_before(memo, walk, same - 1)) {
			*base = same;
			return memo->end;
		}
		if (same) {
			take_what_is_same(memo, walk, same - 1);
			from = same - 1;
		}
		if (memo->nr_new == TRACE_STACK_FRAMES)
			return UNWIND_CUT;
		frame = &memo->new[memo->nr_new];
		step = unwind_step(walk, find_hint(memo), frame, frame + 1);
		memo->nr_new++;
	} while (step == UNWIND_UP);
	return step;
}

static bool needs_bp(const struct unwind_rule *rule, bool caller_needs)
{
	if (rule->kind != UNWIND_SP)
		return rule->kind != UNWIND_END;
	return rule->bp_kind == UNWIND_BP_BP || (rule->bp_kind == UNWIND_BP_SAME && caller_needs);
}

static struct stack_word *link_at(struct stack_memo *memo, uint32_t i)
{
	return &memo->link[STACK_GROUP - 1 + i];
}

/* Of entry[i], how its caller, which is there, follows from it. */
static void set_link(struct stack_memo *memo, uint32_t i)
{
	struct stack_entry *entry = &memo->entry[i], *caller = entry - 1;
	const struct frame *frame = &entry->frame;
	const struct unwind_rule *rule = &frame->rule;
	uintptr_t offset = (uintptr_t)(intptr_t)rule->bp, top = caller->frame.sp;

	entry->needs_bp = needs_bp(rule, caller->needs_bp);
	entry->is_plain = rule->kind == UNWIND_SP || rule->kind == UNWIND_BP;
	entry->nr_saved = caller->nr_saved;
	*link_at(memo, i) = (struct stack_word){ top - WORD, caller->frame.ip };
	if (entry->is_plain && rule->bp_kind != UNWIND_BP_SAME) {
		entry->bp_at = (rule->bp_kind == UNWIND_BP_CFA ? top : frame->bp) + offset;
		/* then it is within bounds if the caller's stack pointer is */
		if (entry->bp_at < frame->sp || entry->bp_at >= top)
			entry->is_plain = false;
		else if (caller->needs_bp)
			memo->saved[entry->nr_saved++] =
				(struct stack_word){ entry->bp_at, caller->frame.bp };
	}
	entry->all_plain = entry->is_plain && caller->all_plain;
}

static void set_entry(struct stack_memo *memo, uint32_t i, const struct frame *frame)
{
	struct stack_entry *entry = &memo->entry[i];

	entry->frame = *frame;
	entry->node = 0;
	entry->bp_at = 0;
	if (i) {
		set_link(memo, i);
		return;
	}
	entry->needs_bp = needs_bp(&frame->rule, false);
	entry->is_plain = false;
	entry->all_plain = true;
	entry->nr_saved = 0;
}

/* Of the first `count` entries those go; the rest are of another stack then, which is cut. How many that are. */
static cold_path uint32_t forget_outermost(struct stack_memo *memo, uint32_t count, uint32_t gone)
{
	for (uint32_t i = gone; i < count; i++)
		set_entry(memo, i - gone, &memo->entry[i].frame);
	return count - gone;
}

/* `new` in place of what is inside base; how much of that is left. */
static uint32_t remember(struct stack_memo *memo, uint32_t base, enum unwind_step end)
{
	uint32_t nr_new = memo->nr_new;

	if (base + nr_new > TRACE_STACK_FRAMES) {
		base = forget_outermost(memo, base, base + nr_new - TRACE_STACK_FRAMES);
		end = UNWIND_CUT;
	}
	for (uint32_t i = 0; i < nr_new; i++)
		set_entry(memo, base + i, &memo->new[nr_new - 1 - i]);
	memo->nr = base + nr_new;
	memo->end = end;
	memo->outermost = memo->entry[0].frame.sp;
	memo->ends_surely = end == UNWIND_TOP && memo->entry[0].frame.rule.kind == UNWIND_END;
	for (uint32_t i = 0; i < STACK_GROUP && memo->nr > 1; i++)
		memo->link[i] = *stack_link(memo, 1);
	return base;
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

/* Where the way from the innermost frame to entry[joint] goes: the places of its set by turns. */
static struct stack_way *choose_way(struct stack_memo *memo, const struct frame *site)
{
	uintptr_t hash = way_hash(site->ip, site->sp);
	unsigned set = way_set(hash), at = memo->last_way++ % STACK_WAYS;

	memo->tag[set][at] = way_tag(hash);
	return &memo->way[set][at];
}

static void add_word(struct stack_way *way, uint32_t nr, const struct stack_word *word)
{
	struct stack_words *group = &way->group[nr / STACK_GROUP];

	group->at[nr % STACK_GROUP] = (uint32_t)(word->at - way->sp);
	group->value[nr % STACK_GROUP] = word->value;
}

/* The words from entry[innermost] to entry[joint]; the last group is filled up. */
static void set_words(const struct stack_memo *memo, struct stack_way *way, uint32_t innermost,
		      uint32_t joint)
{
	uint32_t nr = 0;

	for (uint32_t i = innermost; i > joint; i--)
		add_word(way, nr++, stack_link(memo, i));
	for (uint32_t i = memo->entry[joint].nr_saved; i < memo->entry[innermost].nr_saved; i++)
		add_word(way, nr++, &memo->saved[i]);
	for (; nr % STACK_GROUP; nr++)
		add_word(way, nr, stack_link(memo, innermost));
	way->nr_groups = (uint8_t)(nr / STACK_GROUP);
}

static void remember_way(struct stack_memo *memo, uint32_t joint)
{
	uint32_t innermost = memo->nr - 1;
	const struct stack_entry *site = &memo->entry[innermost], *end = &memo->entry[joint];
	uint32_t nr_words = innermost - joint + site->nr_saved - end->nr_saved;
	struct stack_way *way;

	if (nr_words > STACK_WAY_WORDS || !site->all_plain ||
	    end->frame.sp - site->frame.sp > UINT32_MAX)
		return;
	way = choose_way(memo, &site->frame);
	way->site = site->frame.ip;
	way->sp = site->frame.sp;
	way->nr_links = (uint8_t)(innermost - joint);
	way->needs_bp = site->needs_bp;
	way->bp = site->frame.bp;
	way->joint = (uint16_t)joint;
	way->joint_sp = end->frame.sp;
	way->joint_ip = end->frame.ip;
	way->has_joint_bp = end->needs_bp;
	way->joint_bp = end->frame.bp;
	way->node = site->node;
	way->parent = end->node;
	set_words(memo, way, innermost, joint);
}

uint32_t stack_walk(struct trace_depot *depot, struct stack_memo *memo, struct walk *walk)
{
	uint32_t base, number;
	enum unwind_step end = walk_up(memo, walk, &base);

	base = remember(memo, base, end);
	number = number_of(depot, memo);
	if (number && base)
		remember_way(memo, base - 1);
	return number;
}

void stack_forget(struct stack_memo *memo)
{
	memo->nr = 0;
	for (unsigned i = 0; i < STACK_PREFIXES; i++)
		memo->prefix[i].nr = 0;
	memset(memo->tag, 0, sizeof(memo->tag));
}
