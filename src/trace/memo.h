/* SPDX-License-Identifier: MIT */
/*
 * memo.h - what a thread remembers of its call stacks, so as not to walk them again. Internal to the room: stack.c looks at it,
 * stack_walk.c fills it.
 */
#ifndef TRACE_MEMO_H
#define TRACE_MEMO_H

#include "trace/format.h"
#include "trace/unwind.h"

/* A word of the stack, and what it was. */
struct stack_word {
	uintptr_t at, value;
};

/* A frame of the stack that was walked last: a line of the cache. */
struct stack_entry {
	struct frame frame; /* bp only if needs_bp */
	uintptr_t bp_at;    /* where its caller's bp is; 0: that is the same */
	uint32_t node;	    /* of the stack from here on; 0: not known */
	uint16_t nr_saved;  /* words of saved[] by which the frames outside of it follow from it */
	/*
	 * Its caller is entry[-1] as long as the word at link[].at, and the one at bp_at, are what they were. False: that has to be
	 * found out by a step.
	 */
	bool is_plain;
	bool all_plain; /* so it is from here on, up to the outermost */
	bool needs_bp;	/* what is outside of it depends on its bp */
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct stack_entry) == 64, "one line");

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

#define STACK_GROUP 4U /* so many words are compared at a time, without asking after each */

/* Words of the stack, relative to a stack pointer. A group that is not full has its first one again. */
struct stack_words {
	uint32_t at[STACK_GROUP];
	uintptr_t value[STACK_GROUP];
};

#define STACK_WAY_GROUPS 3U
#define STACK_WAY_WORDS (STACK_WAY_GROUPS * STACK_GROUP)
#define STACK_WAYS 4U /* in a set */
#define STACK_SETS 128U

/*
 * From a call site, at a place on the stack, out to entry[joint]: it is that way as long as the words are what they were. First come the
 * return addresses, innermost first, of which the last is that of the joint.
 */
struct stack_way {
	uintptr_t site, sp;
	uintptr_t joint_sp, joint_ip;
	uint32_t node, parent; /* of the innermost frame, where the joint's is parent */
	uint16_t joint;
	uint8_t nr_links, nr_groups;
	bool needs_bp, has_joint_bp;
	uintptr_t bp; /* needs_bp: at the call site */
	struct stack_words group[STACK_WAY_GROUPS];
	uintptr_t joint_bp; /* has_joint_bp */
} __attribute__((aligned(64)));

/* The stack that was walked last, from the call site on; and one that is being walked. */
struct stack_memo {
	uintptr_t busy;	  /* somebody uses it, who has that place on its stack; 0: nobody */
	uintptr_t owner;  /* a thread's pointer, see depot.c; 0: nobody's */
	bool is_closed;	  /* the owner too is to let it alone */
	uint64_t session; /* when it was valid */
	uint32_t nr, nr_new;
	uintptr_t outermost;  /* the stack pointer of entry[0] */
	enum unwind_step end; /* what was behind that */
	bool ends_surely;     /* by a table: that depends on nothing */
	unsigned last_prefix;
	unsigned last_way; /* where a new one goes, modulo STACK_WAYS */
	struct stack_prefix prefix[STACK_PREFIXES];
	uint32_t tag[STACK_SETS][STACK_WAYS]; /* 0: no way */
	struct stack_way way[STACK_SETS][STACK_WAYS];
	struct stack_entry entry[TRACE_STACK_FRAMES]; /* outermost first */
	/*
	 * stack_link() of i is the return address from entry[i] to entry[i - 1]; what stands before that of 1 is the same again, for
	 * who looks at a whole group. saved[]: what they need to know of rbp.
	 */
	struct stack_word link[STACK_GROUP - 1 + TRACE_STACK_FRAMES], saved[TRACE_STACK_FRAMES];
	struct frame new[TRACE_STACK_FRAMES + 1]; /* innermost first */
};

struct trace_depot;

static inline uintptr_t way_hash(uintptr_t site, uintptr_t sp)
{
	return (site ^ sp << 20 ^ sp) * 0x9e3779b97f4a7c15UL;
}

static inline unsigned way_set(uintptr_t hash)
{
	return (unsigned)(hash >> 32) % STACK_SETS;
}

static inline uint32_t way_tag(uintptr_t hash)
{
	return (uint32_t)(hash >> 40) | 1;
}

static inline const struct stack_word *stack_link(const struct stack_memo *memo, uint32_t i)
{
	return &memo->link[STACK_GROUP - 1 + i];
}

static always_inline uintptr_t stack_word_difference(const struct stack_word *word)
{
	return *(const uintptr_t *)word->at ^ word->value;
}

bool stack_ends_as_before(const struct stack_memo *memo, const struct walk *walk);

/* Is what is remembered outside of entry[at] what it was? */
static always_inline bool stack_is_as_before(const struct stack_memo *memo, const struct walk *walk,
					     uint32_t at)
{
	const struct stack_entry *entry = &memo->entry[at];
	const struct stack_word *word = stack_link(memo, at);
	uintptr_t difference = 0;

	/* the words are all between these */
	if (unlikely(!entry->all_plain || entry->frame.sp < walk->low ||
		     memo->outermost > walk->high))
		return false;
	/* none waits for the one before */
	for (; word > stack_link(memo, 0); word -= STACK_GROUP)
		difference |= stack_word_difference(word) | stack_word_difference(word - 1) |
			      stack_word_difference(word - 2) | stack_word_difference(word - 3);
	for (word = &memo->saved[entry->nr_saved]; unlikely(word-- > memo->saved);)
		difference |= stack_word_difference(word);
	return likely(!difference) &&
	       (likely(memo->ends_surely) || stack_ends_as_before(memo, walk));
}

/* The number of the stack from new[0] on, which is a call site; remembered. 0: no room. */
uint32_t stack_walk(struct trace_depot *depot, struct stack_memo *memo, struct walk *walk);

/* What it has is of before the program's modules changed, or of nothing. */
void stack_forget(struct stack_memo *memo);

#endif
