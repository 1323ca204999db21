/* SPDX-License-Identifier: MIT */
/*
 * unwind.c - from a call to its callers.
 *
 * The kernel's counterpart is arch/x86/kernel/unwind_orc.c: a rule for each instruction says where the caller's stack pointer and its
 * rbp are, so the program needs no frame pointers, and a frame costs a look into a table and two or three loads. Differences:
 * rules are found when they are first needed (cfi.c) and remembered; code without a table (a just-in-time compiler's) is
 * followed by its frame pointer; signal frames are restored from what sigreturn(2) would take.
 *
 * Rules are remembered in a table that threads share, without a lock: a word holds an address and its rule, so it is right
 * whole or not at all. Two addresses with one slot take it from each other. It has to be emptied when modules go: another
 * one may come to the same place. What was not found is not remembered, as a module may come there.
 *
 * What may be read: a wrong rule must not make the program crash, so no address is read that is not known to be the stack's.
 *	- the first thread's stack ends at a known place, and is whole from the stack pointer up to there;
 *	- the C library puts another thread's control block at the upper end of its stack. It is asked once whether all pages in between
 *	  are there; below them is the guard, so a stack that a program made for itself (makecontext, sigaltstack) has a hole
 *	  in between;
 *	- of such a stack it is asked page by page, each time; and so it is of every page from the first frame on that
 *	  was found by a frame pointer, which may hold anything;
 *	- where a signal has interrupted code, its stack pointer may be anything: it is asked.
 * What the program unmaps below its thread's stack, where that has no guard page and a stack of its own making was right below it, may have
 * been taken for the thread's: not told apart here.
 * Asking is a system call. Where none may be made the stack is cut at the end of the page.
 *
 * Callers are above. After a signal frame it may be another stack.
 *
 * State: the rules, and what this thread knows of its own stack. A handler that interrupts may change that: each
 * value is right by itself.
 */
#include "trace/unwind.h"

#include "lib/port.h"
#include "os/os.h"

#include <ucontext.h>

#define PAGE 4096UL /* of the system's smallest kind */
#define WORD sizeof(uintptr_t)
#define RED_ZONE 128UL /* bytes below the stack pointer that no signal's frame is laid over */
#define STACK_MAX (64UL << 20) /* no memory map is nearer to the first thread's stack */

/* A rule in a word: the address less its lowest 16 bits, then these. */
#define KIND_BITS 3
#define BP_KIND_BITS 2
#define CFA_BITS 14 /* in words, with a sign */
#define BP_BITS 13
#define BP_SHIFT (KIND_BITS + BP_KIND_BITS + CFA_BITS)
#define TAG_SHIFT 32

_Static_assert(BP_SHIFT + BP_BITS == TAG_SHIFT, "a rule fits");

_Thread_local struct unwind_own unwind_own initial_exec;

/* Of this thread: what is not its own. */
static _Thread_local struct {
	uintptr_t low, high;
} other initial_exec;

static size_t slot_of(uintptr_t ip)
{
	uint64_t tag = ip >> UNWIND_RULES_BITS;

	return (ip ^ (tag * 0x9e3779b97f4a7c15UL >> (64 - UNWIND_RULES_BITS))) & (UNWIND_RULES - 1);
}

/* The field of `bits` at `shift`, with its sign, in bytes. */
static int32_t unpack_field(uint64_t word, unsigned shift, unsigned bits)
{
	return (int32_t)((int64_t)(word << (64 - shift - bits)) >> (64 - bits)) * (int32_t)WORD;
}

static void unpack(uint64_t word, struct unwind_rule *rule)
{
	rule->kind = word & ((1U << KIND_BITS) - 1);
	rule->bp_kind = word >> KIND_BITS & ((1U << BP_KIND_BITS) - 1);
	rule->cfa = unpack_field(word, KIND_BITS + BP_KIND_BITS, CFA_BITS);
	rule->bp = unpack_field(word, BP_SHIFT, BP_BITS);
}

static uint64_t pack(uintptr_t ip, const struct unwind_rule *rule)
{
	uint64_t cfa = (uint64_t)(rule->cfa / (int32_t)WORD) & ((1U << CFA_BITS) - 1);
	uint64_t bp = (uint64_t)(rule->bp / (int32_t)WORD) & ((1U << BP_BITS) - 1);

	return (ip >> UNWIND_RULES_BITS) << TAG_SHIFT | bp << BP_SHIFT |
	       cfa << (KIND_BITS + BP_KIND_BITS) | (uint64_t)rule->bp_kind << KIND_BITS |
	       rule->kind;
}

static cold_path void find_rule_slow(uint64_t *slot, uintptr_t ip, struct unwind_rule *rule)
{
	struct unwind_rule again;
	uint64_t word;

	cfi_find_rule(ip, rule);
	if (rule->kind == UNWIND_UNKNOWN)
		return;
	word = pack(ip, rule);
	unpack(word, &again);
	/* does it fit? */
	if (again.cfa == rule->cfa && again.bp == rule->bp)
		__atomic_store_n(slot, word, __ATOMIC_RELAXED);
}

static void find_rule(const struct walk *walk, struct frame *frame)
{
	/* a return address may be the next function's first */
	uintptr_t ip = frame->is_exact ? frame->ip : frame->ip - 1;
	uint64_t *slot = &walk->rules[slot_of(ip)], word = __atomic_load_n(slot, __ATOMIC_RELAXED);

	if (likely(word && word >> TAG_SHIFT == ip >> UNWIND_RULES_BITS))
		unpack(word, &frame->rule);
	else
		find_rule_slow(slot, ip, &frame->rule);
}

static uintptr_t page_of(uintptr_t at)
{
	return at & ~(PAGE - 1);
}

/* Or one that has forked, which is as good: of its stack nothing is taken for known. */
static bool is_first_thread(void)
{
	static _Thread_local enum { UNKNOWN, FIRST, ANOTHER } which initial_exec;

	if (which == UNKNOWN)
		which = port_getpid() == port_gettid() ? FIRST : ANOTHER;
	return which == FIRST;
}

/* Is it all there from sp up to this thread's control block? */
static cold_path bool is_own_stack_slow(uintptr_t sp, uintptr_t top)
{
	uintptr_t end = unwind_own.high == top ? unwind_own.low : page_of(top);

	if ((sp >= other.low && sp < other.high) || is_first_thread())
		return false;
	for (uintptr_t page = page_of(sp); page < end; page += PAGE) {
		if (!os_is_readable((const void *)page)) {
			other.low = page_of(sp);
			other.high = page;
			return false;
		}
	}
	unwind_own.low = page_of(sp);
	unwind_own.high = top;
	return true;
}

/* From the stack pointer up. */
static void set_bounds(struct walk *walk, uintptr_t sp)
{
	uintptr_t first = (uintptr_t)os_stack_end(), top = (uintptr_t)__builtin_thread_pointer();

	walk->low = sp;
	if (first > sp && first - sp < STACK_MAX) {
		walk->high = first;
	} else if (top > sp && top - sp < STACK_MAX &&
		   ((sp >= unwind_own.low && sp < unwind_own.high) ||
		    (walk->may_call && is_own_stack_slow(sp, top)))) {
		walk->high = top;
	} else {
		/* the page that has the word below sp: where sp is the end of a page, what is behind it may be nothing */
		walk->high = page_of(sp - 1) + PAGE;
	}
}

cold_path void unwind_start_slow(struct walk *walk, uintptr_t sp)
{
	set_bounds(walk, sp);
	/* the first thread's */
	if (walk->high == (uintptr_t)os_stack_end()) {
		unwind_own.low = sp;
		unwind_own.high = walk->high;
	}
}

/* Is the page there, with which a guess goes on? */
static bool ask_page(struct walk *walk, uintptr_t at)
{
	if (walk->asked == page_of(at))
		return true;
	if (!walk->may_call || !os_is_readable((const void *)page_of(at)))
		return false;
	walk->asked = page_of(at);
	return true;
}

cold_path bool unwind_read_slow(struct walk *walk, uintptr_t at, uintptr_t *value)
{
	if (at % WORD || at < walk->low || at - walk->low > STACK_MAX)
		return false;
	while (at > walk->high - WORD) {
		/* where the end is known it does not end with a page */
		if (!walk->may_call || walk->high % PAGE ||
		    !os_is_readable((const void *)walk->high))
			return false;
		walk->high += PAGE;
	}
	if (walk->is_guess && !ask_page(walk, at))
		return false;
	*value = *(const uintptr_t *)at;
	return true;
}

/* What the signal interrupted; sp points to the frame that the kernel made. */
static enum unwind_step leave_signal(struct walk *walk, const struct frame *frame,
				     struct frame *caller)
{
	uintptr_t regs = frame->sp + offsetof(ucontext_t, uc_mcontext.gregs), below;

	if (!unwind_read(walk, regs + REG_RSP * WORD, &caller->sp) ||
	    !unwind_read(walk, regs + REG_RBP * WORD, &caller->bp) ||
	    !unwind_read(walk, regs + REG_RIP * WORD, &caller->ip))
		return UNWIND_CUT;
	if (!caller->sp || caller->sp % WORD || !walk->may_call ||
	    !os_is_readable((const void *)page_of(caller->sp)))
		return UNWIND_CUT;
	caller->is_exact = true;
	set_bounds(walk, caller->sp);
	/* after a function's `leave` rbp is still found where that read it */
	below = caller->sp % PAGE < RED_ZONE ? caller->sp % PAGE : RED_ZONE;
	walk->low -= below;
	return caller->ip ? UNWIND_UP : UNWIND_TOP;
}

/* By the frame pointer; in the outermost frame it is 0. */
static enum unwind_step follow_bp(struct walk *walk, const struct frame *frame,
				  struct frame *caller)
{
	uintptr_t bp = frame->bp;

	if (!bp)
		return UNWIND_TOP;
	walk->is_guess = true;
	if (bp < frame->sp || !unwind_read(walk, bp + WORD, &caller->ip) ||
	    !unwind_read(walk, bp, &caller->bp))
		return UNWIND_CUT;
	caller->sp = bp + 2 * WORD;
	caller->is_exact = false;
	return caller->ip ? UNWIND_UP : UNWIND_TOP;
}

static bool find_cfa(struct walk *walk, const struct frame *frame, uintptr_t *cfa)
{
	uintptr_t offset = (uintptr_t)(intptr_t)frame->rule.cfa;

	if (likely(frame->rule.kind == UNWIND_SP))
		*cfa = frame->sp + offset;
	else if (frame->rule.kind == UNWIND_BP)
		*cfa = frame->bp + offset;
	else
		return frame->rule.kind == UNWIND_BP_AT &&
		       unwind_read(walk, frame->bp + offset, cfa);
	return true;
}

static cold_path enum unwind_step step_slow(struct walk *walk, const struct frame *frame,
					    struct frame *caller)
{
	switch (frame->rule.kind) {
	case UNWIND_SIGNAL:
		return leave_signal(walk, frame, caller);
	case UNWIND_UNKNOWN:
		return follow_bp(walk, frame, caller);
	case UNWIND_END:
		return UNWIND_TOP;
	}
	return UNWIND_CUT;
}

enum unwind_step unwind_step(struct walk *walk, const struct frame *hint, struct frame *frame,
			     struct frame *caller)
{
	const struct unwind_rule *rule = &frame->rule;
	uintptr_t cfa, at;

	/* the processor guesses that it is the same, and goes on without waiting for the address */
	if (likely(hint && hint->ip == frame->ip && hint->is_exact == frame->is_exact))
		frame->rule = hint->rule;
	else
		find_rule(walk, frame);
	if (unlikely(rule->kind > UNWIND_BP_AT))
		return step_slow(walk, frame, caller);
	if (!find_cfa(walk, frame, &cfa) || cfa <= frame->sp)
		return UNWIND_CUT;
	caller->sp = cfa;
	caller->is_exact = false;
	caller->bp = frame->bp;
	at = (rule->bp_kind == UNWIND_BP_CFA ? cfa : frame->bp) + (uintptr_t)(intptr_t)rule->bp;
	if (rule->bp_kind != UNWIND_BP_SAME && !unwind_read(walk, at, &caller->bp))
		return UNWIND_CUT;
	if (!unwind_read(walk, cfa - WORD, &caller->ip))
		return UNWIND_CUT;
	return caller->ip ? UNWIND_UP : UNWIND_TOP;
}
