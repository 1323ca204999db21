/* SPDX-License-Identifier: MIT */
/*
 * kvmalloc.h - memory of any size: kmalloc up to KMALLOC_MAX_SIZE, vmalloc above.
 *
 * The hit paths are here, to be inlined into the entry points; everything
 * else is a miss. `caller` is the program's return address, for who wants to know, and
 * `caller_sp` the stack pointer that it returns to; 0: not at hand. None touches errno. Valid in any context: before the
 * library's start, in signal handlers, in children of fork and vfork.
 */
#ifndef KMALLOC_KVMALLOC_H
#define KMALLOC_KVMALLOC_H

#include "kmalloc/size_class.h"
#include "slab/kmem_cache.h"

#include <string.h>

/* The hit path of an allocation. False: a miss, or a size for the vmalloc path. */
static always_inline bool kmalloc_hit(size_t size, void **object)
{
	if (unlikely(size > KMALLOC_MAX_SIZE))
		return false;
	return percpu_pop(kmalloc_index(size), object);
}

/*
 * The hit path of a free. False: a miss, an area, NULL, or a foreign pointer: those have
 * owner 0, and slot 0 of each CPU is a sheaf that takes nothing, so there is no test.
 */
static always_inline bool kfree_hit(void *ptr)
{
	return percpu_push(page_owner(ptr), ptr);
}

/*
 * `size` bytes, aligned to 16. NULL: no memory. *zeroed, if asked for, tells
 * whether the first `size` bytes are known to read as zero. May block, but not when it
 * interrupted the allocator.
 */
void *kvmalloc_slow(size_t size, bool *zeroed, const void *caller);
/* The same where hits are not diverted: it was a miss. */
void *kvmalloc_missed(size_t size, bool *zeroed, const void *caller);
/* Where they are for samples alone: as good as a hit. NULL: not this one. */
void *kvmalloc_tested(size_t size);
/* Where they are, each of them: it may be one all the same. */
void *kvmalloc_observed(size_t size, bool *zeroed, const void *caller);
/* The same for an alignment, a power of two. */
void *kvmalloc_aligned(size_t size, size_t align, const void *caller);
/* `size` bytes, zeroed: what is left when the hit path missed. */
void *kvmalloc_zeroed_slow(size_t size, const void *caller);

/* The hit path of that. */
static always_inline bool kvmalloc_zeroed_hit(size_t size, void **object)
{
	if (!kmalloc_hit(size, object))
		return false;
	memset(*object, 0, kmem_caches[kmalloc_index(size)].object_size);
	return true;
}

static always_inline void *kvmalloc_zeroed(size_t size, const void *caller)
{
	void *object;

	return likely(kvmalloc_zeroed_hit(size, &object)) ? object :
							    kvmalloc_zeroed_slow(size, caller);
}

/* Free what any of these gave; NULL is nothing; others as foreign_free= says. */
void kvfree_slow(void *ptr, const void *caller);
/* The same without ever waiting or making a system call: what can't be done now is done later. */
void kfree_nowait_slow(void *ptr, const void *caller);
static always_inline void kvmalloc_free(void *ptr)
{
	if (likely(kfree_hit(ptr)))
		return;
	kvfree_slow(ptr, __builtin_return_address(0));
}

/*
 * The hit path of a reallocation: ptr is a kmalloc object, and size one that its cache serves.
 * False for NULL, a size of 0, areas, foreign pointers: their owner is 0, no size's index.
 */
static always_inline bool krealloc_hit(const void *ptr, size_t size)
{
	return size - 1 < KMALLOC_MAX_SIZE && page_owner(ptr) == kmalloc_index(size);
}

/*
 * Change the size, keeping the bytes up to the smaller one. ptr is not NULL, size not
 * 0. NULL: no memory, or not a pointer of ours; the object is as before.
 */
void *kvmalloc_resize_at(void *ptr, size_t size, const void *caller, uintptr_t caller_sp);
static inline void *kvmalloc_resize(void *ptr, size_t size, const void *caller)
{
	return kvmalloc_resize_at(ptr, size, caller, 0);
}

/* Usable bytes of an object, constant for its life; 0: not ours. The kernel's ksize(). */
size_t kvmalloc_size(const void *ptr);

/*
 * Visit what was freed where nothing could be had, and waits for a miss, until visit says false. With all
 * locks held and the per-CPU areas stopped: then whoever takes the list meanwhile gets no further.
 */
void kvmalloc_walk_deferred(bool (*visit)(void *ptr, void *arg), void *arg);
/* Where that list's head is, for who reads it from outside. */
const void *kvmalloc_deferred_place(void);

/* Bring everything free back to the system; true if anything was there. */
bool kmalloc_trim(void);

/* What each miss does first: frees that were put off, and the reserve, as far as gfp allows. */
void kvmalloc_poll_deferred(gfp_t gfp);

#endif
