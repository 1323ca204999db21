/* SPDX-License-Identifier: MIT */
/* trace.h - events into the rings. Any context; nothing here allocates from the heap. */
#ifndef TRACE_TRACE_H
#define TRACE_TRACE_H

#include "lib/compiler.h"
#include "lib/gfp.h"
#include "trace/format.h"

extern struct trace_control trace_control __asm__("libkmalloc_trace") exported;

/* TRACE_GIVE_UP_MS and TRACE_SILENT_MS; tests have less patience. */
extern unsigned trace_give_up_ms hidden, trace_silent_ms hidden;

/* [start] Make the control block known; begin to trace if the parameters say so. */
void trace_init(void);
/*
 * Do what the reader wants, if that has changed: on the slow path, where calls are diverted. May make system calls where
 * gfp allows to sleep; else it is left to another call.
 */
void trace_poll(gfp_t gfp);

/* Does the reader want something that is not done yet? */
static inline bool trace_wish_is_pending(void)
{
	return __atomic_load_n(&trace_control.generation, __ATOMIC_SEQ_CST) !=
		       __atomic_load_n(&trace_control.applied, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&trace_control.want_trim, __ATOMIC_SEQ_CST) !=
		       __atomic_load_n(&trace_control.trimmed, __ATOMIC_RELAXED);
}

/* The same in one number, not 0 if so: to be looked at together with others. */
static inline uint32_t trace_wish_difference(void)
{
	return (__atomic_load_n(&trace_control.generation, __ATOMIC_RELAXED) ^
		__atomic_load_n(&trace_control.applied, __ATOMIC_RELAXED)) |
	       (__atomic_load_n(&trace_control.want_trim, __ATOMIC_RELAXED) ^
		__atomic_load_n(&trace_control.trimmed, __ATOMIC_RELAXED));
}

/* Nothing is traced: CPUs may find back, unless the reader wants something that is not done yet. */
void trace_undivert(void);

struct trace_event {
	enum trace_type type;
	unsigned cache; /* id; 0: none */
	const void *ptr;
	const void *call_site;
	uint32_t stack; /* its number, in place of call_site; 0: none */
	size_t bytes_req;
	gfp_t gfp;
};

/* Write it to this CPU's ring. Not in a vfork child. */
void trace_write(const struct trace_event *event);

static inline enum trace_mode trace_mode(void)
{
	return (enum trace_mode)__atomic_load_n(&trace_control.mode, __ATOMIC_RELAXED);
}

/*
 * TRACE_SAMPLE: is this allocation one of those? Each byte that a thread allocates has the same chance to be
 * the one that says so.
 */
bool trace_sample(size_t bytes);
/* Would it be, or does it have to draw anew to know? Counts nothing. */
bool trace_sample_is_due(size_t bytes);
/* Of allocations of so many bytes to come, which one is the next sample: 1 or more. For who counts by himself. */
uint64_t trace_draw(size_t bytes);

/* Are call stacks wanted, and is there room for them? */
static inline bool trace_wants_stacks(void)
{
	return __atomic_load_n(&trace_control.want_stacks, __ATOMIC_RELAXED) &&
	       __atomic_load_n(&trace_control.depot, __ATOMIC_RELAXED);
}

/*
 * [trace_wants_stacks()] The number of this thread's call stack, from the return address call_site on; 0: no room. sp: the stack
 * pointer there, once it is returned to; 0: not known, and it takes longer. gfp: may it make system calls? Where not, a stack that
 * was not looked at before is cut at the end of its page.
 */
uint32_t trace_stack(const void *call_site, uintptr_t sp, gfp_t gfp);
/* Wait a little for the reader, having waited for so long. A signal ends it early: who waits goes by the clock. */
void trace_pause(uint64_t waited_ms);
/* Have the reader look at which modules there are, and wait for that, but not for long. False: nobody has looked. May sleep. */
bool trace_look(void);
/* From the first to the second of these no other thread loads a module: it waits in the third, but not for long. */
void trace_hold_loads(void);
void trace_release_loads(void);
void trace_wait_to_load(void);
/* In the child of fork: no other thread holds anything. */
void trace_look_fork_child(void);
/* The program's modules have changed, or are about to: what is known of its code may be wrong. */
void trace_modules_changed(void);
/* [trace_lock] Make room for stacks; give its pages back. In the child of fork: forget it. */
void trace_depot_create(bool replace); /* one that is half full */
void trace_depot_discard(void);
void trace_depot_fork_child(void);

/* A full ring: has nobody raised its limit for long? */
bool trace_ring_is_abandoned(struct trace_ring *ring);
/* A full ring gets this limit from a writer: that is no sign of a reader. Before it does. */
void trace_ring_expect(struct trace_ring *ring, uint64_t limit);
/* Has the reader given no sign of life for long? No system call. */
bool trace_reader_is_silent(void);
/* Its wishes hold from now on. */
void trace_reader_begins(void);

/* In the child of fork: nobody reads its rings. */
void trace_fork_child(void);
/* The program ends: wait for the reader to take what is left, as long as it does. */
void trace_end(void);

#endif
