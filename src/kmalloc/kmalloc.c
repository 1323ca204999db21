/* SPDX-License-Identifier: MIT */
/*
 * kmalloc.c - the kernel's kmalloc(), kfree() and krealloc(), for programs that link the library.
 *
 * Mirrors the calls of include/linux/slab.h and mm/slub.c. The classes are malloc()'s own, so objects
 * of the two are the same kind and may be freed by either. Differences: the limit is 131056 bytes, and
 * above it nothing is tried; the smallest alignment is 16.
 *
 * Hit path: 1. the size, 0 and too large in one compare; 2. the class, one load; 3. pop. The
 * header calls __kmalloc_plain() where the flags are constant and ask for nothing more, so
 * they are not even looked at; on a miss they are there. With __GFP_ZERO a hit is cleared to the
 * end of its object.
 * Miss path: kmem_cache_alloc_gfp() of the cache that kmalloc_cache_for() chooses by flags.
 *
 * kfree() never waits and makes no system call, as in the kernel: what would need one is done later, by
 * a call that may sleep. It takes whatever has an owner byte, and areas that malloc() gave. An area of vmalloc() is
 * reported and left alone, as the kernel does.
 *
 * No state, no locks of its own; any context that the flags state. errno is not touched.
 */
#include "kmalloc/caller.h"
#include "kmalloc/gfp_alloc.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/observe.h"
#include "kmalloc/report.h"
#include "kmalloc/slab.h"
#include "vmalloc/vmalloc.h"

#include <string.h>

static void *too_large(size_t size, gfp_t gfp, const void *caller)
{
	if (!(gfp & __GFP_NOWARN) && caller_is_new(caller))
		report_fault(gfp, caller,
			     "kmalloc: %zu bytes are over the limit of %lu, called "
			     "from " REPORT_CALLER,
			     size, KMALLOC_MAX_SIZE);
	return NULL;
}

/* Without trying hard, and without a word. */
static gfp_t sample_gfp(gfp_t gfp)
{
	gfp &= ~(__GFP_NOFAIL | __GFP_RETRY_MAYFAIL | __GFP_HIGH | __GFP_MEMALLOC);
	return gfp | __GFP_NORETRY | __GFP_NOWARN | __GFP_NOMEMALLOC;
}

static cold_path void *observed_alloc(struct kmem_cache *cache, size_t size, gfp_t gfp,
				      const void *caller)
{
	struct kmem_cache *sampled = NULL;
	void *object;

	if (kmem_cache_has_slot(cache))
		sampled = observe_sampled_cache(cache->index, gfp);
	/* it has no sheaves: what it can't give at once its class may */
	object = sampled ? kmem_cache_alloc_gfp(sampled, sample_gfp(gfp), caller) : NULL;
	if (object)
		cache = sampled;
	else
		object = kmem_cache_alloc_gfp(cache, gfp, caller);
	if (object)
		observe_alloc(object, cache, size, gfp, caller);
	return object;
}

cold_path void *kmalloc_slow(size_t size, gfp_t gfp, const void *caller)
{
	struct kmem_cache *cache;

	if (!size)
		return ZERO_SIZE_PTR;
	if (size > KMALLOC_MAX_SIZE)
		return too_large(size, gfp, caller);
	cache = kmalloc_cache_for(size, gfp);
	if (unlikely(!cache))
		return kmalloc_no_cache(size, gfp, caller);
	if (observed())
		return observed_alloc(cache, size, gfp, caller);
	return kmem_cache_alloc_gfp(cache, gfp, caller);
}

/* Both ends of the range of sizes in one compare; else as kmalloc_hit(). */
static always_inline bool hit(size_t size, void **object)
{
	return likely(size - 1 < KMALLOC_MAX_SIZE) &&
	       likely(percpu_pop(kmalloc_index(size), object));
}

exported hot_path void *__kmalloc_plain(size_t size, gfp_t gfp)
{
	void *object;

	if (hit(size, &object))
		return object;
	return kmalloc_slow(size, gfp, __builtin_return_address(0));
}

exported hot_path void *__kzalloc_plain(size_t size, gfp_t gfp)
{
	void *object;

	if (hit(size, &object))
		return memset(object, 0, kmem_caches[kmalloc_index(size)].object_size);
	return kmalloc_slow(size, gfp | __GFP_ZERO, __builtin_return_address(0));
}

static always_inline void *alloc_caller(size_t size, gfp_t gfp, const void *caller)
{
	gfp_t special = gfp & KMALLOC_SLOW_FLAGS;
	void *object;

	if (likely(!(special & ~__GFP_ZERO)) && hit(size, &object)) {
		if (special)
			memset(object, 0, kmem_caches[kmalloc_index(size)].object_size);
		return object;
	}
	return kmalloc_slow(size, gfp, caller);
}

exported hot_path void *__kmalloc(size_t size, gfp_t gfp)
{
	return alloc_caller(size, gfp, __builtin_return_address(0));
}

exported void *__kmalloc_caller(size_t size, gfp_t gfp, const void *caller)
{
	return alloc_caller(size, gfp, caller);
}

static cold_path void free_slow(void *object, const void *caller)
{
	if (ZERO_OR_NULL_PTR(object))
		return;
	if (unlikely(vmalloc_owns(object) && vmalloc_is_marked(object))) {
		report_fault(GFP_KERNEL, caller,
			     "kfree(%p): Not a kmalloc allocation but a vmalloc area, called "
			     "from " REPORT_CALLER "; it is not freed",
			     object);
		return;
	}
	kfree_nowait_slow(object, caller);
}

exported hot_path void kfree(const void *object)
{
	void *ptr = (void *)(uintptr_t)object;

	if (likely(kfree_hit(ptr)))
		return;
	free_slow(ptr, __builtin_return_address(0));
}

/* A store that the compiler may not drop because the object is freed next. */
static void wipe(void *memory, size_t size)
{
	memset(memory, 0, size);
	__asm__ volatile("" : : "r"(memory) : "memory");
}

exported void kfree_sensitive(const void *object)
{
	void *ptr = (void *)(uintptr_t)object;

	if (ZERO_OR_NULL_PTR(ptr))
		return;
	wipe(ptr, ksize(ptr));
	kfree(ptr);
}

exported void kfree_bulk(size_t n, void **objects)
{
	while (n-- > 0)
		kfree(objects[n]);
}

exported size_t ksize(const void *object)
{
	return ZERO_OR_NULL_PTR(object) ? 0 : kvmalloc_size(object);
}

exported size_t kmalloc_size_roundup(size_t size)
{
	static const uint32_t sizes[NR_KMALLOC_CLASSES] = {
#define CLASS(index, size, order) [index] = (size),
		KMALLOC_CLASSES(CLASS)
#undef CLASS
	};

	if (!size || size > KMALLOC_MAX_SIZE)
		return size;
	return min_size(sizes[kmalloc_index(size)], KMALLOC_MAX_SIZE);
}

/* A new object of `want` bytes with what the old one holds of `size`, which is freed. */
static void *move(void *ptr, size_t size, size_t want, gfp_t gfp, const void *caller)
{
	void *object = alloc_caller(want, gfp, caller);

	if (unlikely(!object))
		return NULL;
	memcpy(object, ptr, min_size(ksize(ptr), size));
	kfree(ptr);
	return object;
}

exported void *krealloc(const void *object, size_t size, gfp_t gfp)
{
	void *ptr = (void *)(uintptr_t)object;

	if (ZERO_OR_NULL_PTR(ptr))
		return alloc_caller(size, gfp, __builtin_return_address(0));
	if (!size) {
		kfree(ptr);
		return ZERO_SIZE_PTR;
	}
	if (size <= ksize(ptr))
		return ptr;
	return move(ptr, size, size, gfp, __builtin_return_address(0));
}

/* The next size from `size` on whose objects are all aligned: a power of two is, to itself. */
static size_t aligned_size(size_t size, size_t align)
{
	if (align <= KMALLOC_MIN_SIZE)
		return size;
	size = max_size(size, align);
	if (size > KMALLOC_MAX_SIZE || is_power_of_2(size))
		return size;
	/* the largest class is a whole block, and so aligned to it, though its objects are smaller */
	return min_size(2UL << ilog2(size), KMALLOC_MAX_SIZE);
}

exported void *krealloc_node_align(const void *object, size_t size, unsigned long align, gfp_t gfp,
				   int node)
{
	void *ptr = (void *)(uintptr_t)object;
	const void *caller = __builtin_return_address(0);

	(void)node;
	if (!align)
		align = 1;
	if (!ZERO_OR_NULL_PTR(ptr) && size && size <= ksize(ptr) && !((uintptr_t)ptr & (align - 1)))
		return ptr;
	if (ZERO_OR_NULL_PTR(ptr) || !size) {
		kfree(ptr);
		return alloc_caller(size ? aligned_size(size, align) : 0, gfp, caller);
	}
	return move(ptr, size, aligned_size(size, align), gfp, caller);
}
