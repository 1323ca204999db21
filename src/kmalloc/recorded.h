/* SPDX-License-Identifier: MIT */
/*
 * recorded.h - the straight way of a hit that is told of, while a reader wants every call and nothing else is the matter.
 *
 * The kernel's counterpart is the static key of a tracepoint: with it on, what follows is one call to a writer. Here most of what
 * kvmalloc.c and observe.c do for a call that is told of asks whether one of many things is so that hardly ever is: statistics,
 * probes, a wish of the reader, a child of vfork, a handler that interrupted the allocator, an atomic scope. Here all of these are one
 * condition. Where it does not hold, or the sheaf has nothing (no room), the general way is taken as if this one had
 * not been tried: nothing was done and nothing told. A free that finds its sheaf full is told of by then: TOLD.
 *
 *	alloc: 1. pop from the CPU's sheaf; 2. the event into the CPU's ring
 *	free:  1. is it the start of an object? 2. the event; 3. push
 *
 * Each step is one restartable sequence (rseq.h), on whatever CPU the thread is by then. In mode locked the sequences miss, so
 * there the general way is the only one. errno is untouched.
 *
 * No state, no locks. Any context.
 */
#ifndef KMALLOC_RECORDED_H
#define KMALLOC_RECORDED_H

#include "kmalloc/context.h"
#include "kmalloc/size_class.h"
#include "slab/kmem_cache.h"
#include "trace/probes.h"
#include "trace/put.h"

/* [percpu_diverted_for_all()] Is all as it is nearly always then? Counts the event. */
static always_inline bool recorded_plainly(void)
{
	uint64_t unusual = trace_mode() ^ TRACE_ALL;

	unusual |= trace_wish_difference();
	unusual |= probes_armed();
	unusual |= (unsigned)lock_depth | context_scope | percpu_vfork_depth;
	if (unlikely(unusual || !trace_thread.tid || !trace_thread.until_look))
		return false;
	trace_thread.until_look--;
	return true;
}

/*
 * [percpu_diverted_for_all()] An allocation that would have been a hit. NULL: none, or it is to be told of in another way. caller_sp: as
 * trace_stack() takes it.
 */
static always_inline void *kmalloc_recorded(size_t size, const void *caller, uintptr_t caller_sp)
{
	uint32_t stack = 0;
	size_t index;
	void *object;

	if (unlikely(size > KMALLOC_MAX_SIZE) || !recorded_plainly())
		return NULL;
	index = kmalloc_index(size);
	if (unlikely(!rseq_pop(PERCPU_BACKING, index, &object)))
		return NULL;
	if (trace_wants_stacks())
		stack = trace_stack(caller, caller_sp, GFP_KERNEL);
	trace_put(trace_word_ptr(object, TRACE_KMALLOC, TRACE_GFP_KERNEL),
		  trace_word_site(caller, stack, (unsigned)index), size | trace_thread.tid,
		  GFP_KERNEL);
	return object;
}

enum recorded_free { RECORDED_FREE_NOT, RECORDED_FREE_TOLD, RECORDED_FREE_DONE };

/* [percpu_diverted_for_all()] A free of a kmalloc object. TOLD: but its sheaf was full, and the rest is to be done. */
static always_inline enum recorded_free kfree_recorded(void *ptr, const void *caller)
{
	unsigned owner = page_owner(ptr);

	if (unlikely(owner - 1 >= NR_KMALLOC_CLASSES - 1) || !recorded_plainly())
		return RECORDED_FREE_NOT;
	if (unlikely(!kmem_cache_is_object(&kmem_caches[owner], ptr)))
		kmem_cache_check_object(&kmem_caches[owner], ptr);
	trace_put(trace_word_ptr(ptr, TRACE_KFREE, TRACE_GFP_KERNEL),
		  trace_word_site(caller, 0, owner), trace_thread.tid, GFP_KERNEL);
	return likely(rseq_push(PERCPU_BACKING, owner, ptr)) ? RECORDED_FREE_DONE :
							       RECORDED_FREE_TOLD;
}

#endif
