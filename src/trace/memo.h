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

/* A frame of the stack that was walked last. */
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

#define STACK_WAY_WORDS 12U
#define STACK_WAYS 4U /* in a set */
#define STACK_SETS 128U

/*
 * From a call site, at a place on the stack, out to entry[joint]: it is that way as long as the words are what they were. First come the
 * return addresses, innermost first, of which the last is that of the joint.
 */
struct stack_way {
	uintptr_t site, sp;
	uint32_t at[STACK_WAY_WORDS]; /* from sp on */
	uintptr_t value[STACK_WAY_WORDS];
	uint8_t nr_links, nr_words;
	bool needs_bp, has_joint_bp;
	uint16_t joint;
	uint32_t node, parent; /* of the innermost frame, where the joint's is parent */
	uintptr_t joint_sp, joint_ip;
	uintptr_t bp;	    /* needs_bp: at the call site */
	uintptr_t joint_bp; /* has_joint_bp */
};

/* The stack that was walked last, from the call site on; and one that is being walked. */
struct stack_memo {
	uintptr_t busy; /* somebody uses it, who has that place on its stack; 0: nobody */
	uint32_t nr, nr_new;
	enum unwind_step end; /* what was behind the outermost */
	uint64_t session;     /* when it was valid */
	unsigned last_prefix;
	unsigned last_way; /* where a new one goes, modulo STACK_WAYS */
	struct stack_prefix prefix[STACK_PREFIXES];
	uint32_t tag[STACK_SETS][STACK_WAYS]; /* 0: no way */
	struct stack_way way[STACK_SETS][STACK_WAYS];
	/* outermost first; link[i] is the return address from entry[i] to entry[i - 1], saved[] what they need to know of rbp */
	struct stack_word link[TRACE_STACK_FRAMES], saved[TRACE_STACK_FRAMES];
	struct stack_entry entry[TRACE_STACK_FRAMES];
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

/* Is what is remembered outside of entry[at] what it was? */
bool stack_is_as_before(const struct stack_memo *memo, const struct walk *walk, uint32_t at);
/* The number of the stack from new[0] on, which is a call site; remembered. 0: no room. */
uint32_t stack_walk(struct trace_depot *depot, struct stack_memo *memo, struct walk *walk);

/* What it has is of before the program's modules changed, or of nothing. */
void stack_forget(struct stack_memo *memo);

#endif
