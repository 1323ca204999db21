/* SPDX-License-Identifier: MIT */
/*
 * slab_common.c - the kernel's kmem_cache_*() calls, for programs that link the library.
 *
 * Mirrors mm/slab_common.c and the entry points of mm/slub.c; what a cache is and how it comes and
 * goes is slab/create.c's. Differences: objects are aligned to 16 at least; an object that is
 * passed to the wrong cache is reported and stays allocated (as there), and so is the use of a cache that
 * was destroyed, which the kernel can't see; a second destruction is the end of the process.
 *
 * Alloc: 1. pop from the cache's slot: where it has none, the shared slot's sheaf is empty for good;
 * 2. kmem_cache_alloc_gfp(). Free: 1. the owner byte must be the cache's index; 2. push; 3. else the
 * slow path, which compares caches and not indices.
 *
 * No locks of its own. create, destroy and shrink may block and are refused to a handler that
 * interrupted the allocator; the others are valid in any context that the flags state.
 */
#include "kmalloc/caller.h"
#include "kmalloc/gfp_alloc.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/observe.h"
#include "kmalloc/report.h"
#include "kmalloc/reserve.h"
#include "kmalloc/slab.h"
#include "kmalloc/start.h"
#include "lib/die.h"
#include "lib/fmt.h"

#include <errno.h>
#include <string.h>

#define CACHE_LINE 64U
#define REPORTED_MAX 16 /* objects left that a report names */

/* As the kernel: small objects share a line, but none straddles two. */
static unsigned line_alignment(unsigned object_size)
{
	unsigned align = CACHE_LINE;

	while (object_size <= align / 2)
		align /= 2;
	return align;
}

/* 0, or why there can be no such cache. */
static int check_args(const char *name, unsigned object_size, const struct kmem_cache_args *args)
{
	if (!name || !object_size || object_size > KMALLOC_MAX_SIZE)
		return -EINVAL;
	if (args && args->align && (!is_power_of_2(args->align) || args->align > GRANULE_SIZE))
		return -EINVAL;
	return kmalloc_start() && !context_is_atomic() ? 0 : -EAGAIN;
}

static void fill_spec(struct kmem_cache_spec *spec, const struct kmem_cache_args *args,
		      slab_flags_t flags)
{
	if (args) {
		spec->align = args->align;
		spec->ctor = args->ctor;
		spec->capacity = args->sheaf_capacity;
	}
	spec->flags = KMEM_CACHE_PROGRAM;
	if (flags & SLAB_HWCACHE_ALIGN)
		spec->align = max_size(spec->align, line_alignment((unsigned)spec->object_size));
	if (flags & SLAB_CACHE_DMA)
		spec->flags |= KMEM_CACHE_DMA;
	if (flags & SLAB_ACCOUNT)
		spec->flags |= KMEM_CACHE_ACCOUNT;
	if (flags & SLAB_TYPESAFE_BY_RCU)
		spec->flags |= KMEM_CACHE_TYPESAFE;
	spec->slab_flags = flags;
	/* what has to be looked at when it is freed can't take the hit path */
	spec->slotless = flags & (SLAB_CACHE_DMA | SLAB_ACCOUNT | SLAB_NO_SHEAVES);
}

exported struct kmem_cache *__kmem_cache_create_args(const char *name, unsigned int object_size,
						     struct kmem_cache_args *args,
						     slab_flags_t flags)
{
	struct kmem_cache_spec spec = { .name = name, .object_size = object_size };
	int err = check_args(name, object_size, args);
	struct kmem_cache *cache;

	if (!err) {
		fill_spec(&spec, args, flags);
		cache = kmem_cache_new(&spec);
		if (likely(cache))
			return cache;
		err = -ENOMEM;
	}
	if (flags & SLAB_PANIC)
		die("BUG kmem_cache_create: Failed to create slab '%s'. Error %d", name ? name : "",
		    err);
	fmt_warn("kmem_cache_create(%s) failed with error %d", name ? name : "(null)", err);
	return NULL;
}

static void report_object(const struct kmem_cache *cache, const void *object, size_t offset)
{
	fmt_warn("BUG %s: Objects remaining on __kmem_cache_shutdown(): Object %p @offset=%zu",
		 cache->name, object, offset);
}

exported void kmem_cache_destroy(struct kmem_cache *cache)
{
	const void *caller = __builtin_return_address(0);
	size_t left;

	if (!cache)
		return;
	if (context_is_atomic()) {
		report_fault(GFP_KERNEL, caller,
			     "kmem_cache_destroy(%s) may sleep and is ignored here, called "
			     "from " REPORT_CALLER,
			     cache->name);
		return;
	}
	kvmalloc_poll_deferred(GFP_KERNEL);
	if (!kmem_cache_shutdown(cache, REPORTED_MAX, report_object, &left))
		die("BUG kmem_cache_destroy(%p): cache %s is destroyed already (double destroy)",
		    cache, cache->name);
	if (left)
		report_fault(GFP_KERNEL, caller,
			     "kmem_cache_destroy %s: Slab cache still has objects (%zu) when "
			     "called from " REPORT_CALLER,
			     cache->name, left);
}

exported int kmem_cache_shrink(struct kmem_cache *cache)
{
	struct kmem_cache_stat stat;

	if (context_is_atomic())
		return 1;
	kmem_cache_drain(cache);
	kmem_cache_stat(cache, &stat);
	return stat.num_slabs != 0;
}

exported unsigned int kmem_cache_size(struct kmem_cache *cache)
{
	return cache->object_size;
}

static cold_path void *alloc_slow(struct kmem_cache *cache, gfp_t gfp, const void *caller)
{
	void *object;

	if (unlikely(kmem_cache_state(cache) != KMEM_CACHE_LIVE)) {
		report_fault(gfp, caller,
			     "kmem_cache_alloc(%s): the cache is destroyed, called "
			     "from " REPORT_CALLER,
			     cache->name);
		return NULL;
	}
	if (unlikely(cache->ctor && (gfp & __GFP_ZERO)) && caller_is_new(caller))
		report_fault(gfp, caller,
			     "kmem_cache_alloc(%s): __GFP_ZERO undoes what the constructor did, "
			     "called from " REPORT_CALLER,
			     cache->name);
	object = kmem_cache_alloc_gfp(cache, gfp, caller);
	if (observed() && object)
		observe_alloc(object, cache, cache->object_size, gfp, caller);
	return object;
}

exported hot_path void *__kmem_cache_alloc_plain(struct kmem_cache *cache, gfp_t gfp)
{
	void *object;

	if (likely(percpu_pop(cache->index, &object)))
		return object;
	return alloc_slow(cache, gfp, __builtin_return_address(0));
}

static always_inline void *alloc_caller(struct kmem_cache *cache, gfp_t gfp, const void *caller)
{
	gfp_t special = gfp & KMALLOC_SLOW_FLAGS;
	void *object;

	if (likely(!(special & ~__GFP_ZERO)) && !(special && cache->ctor) &&
	    likely(percpu_pop(cache->index, &object))) {
		if (special)
			memset(object, 0, cache->object_size);
		return object;
	}
	return alloc_slow(cache, gfp, caller);
}

exported hot_path void *__kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
	return alloc_caller(cache, gfp, __builtin_return_address(0));
}

static cold_path void free_slow(struct kmem_cache *cache, void *object, const void *caller)
{
	struct kmem_cache *owner = virt_to_cache(object);

	if (likely(owner == cache) || (reserve_owns(object) && reserve_cache(object) == cache))
		kfree_nowait_slow(object, caller);
	else if (owner)
		report_fault(GFP_KERNEL, caller,
			     "kmem_cache_free(%s, %p): object belongs to different cache %s, "
			     "called from " REPORT_CALLER "; it is not freed",
			     cache->name, object, owner->name);
	else
		report_fault(GFP_KERNEL, caller,
			     "kmem_cache_free(%s, %p): object is not in a slab page, called "
			     "from " REPORT_CALLER,
			     cache->name, object);
}

exported hot_path void kmem_cache_free(struct kmem_cache *cache, void *object)
{
	unsigned owner = page_owner(object);

	if (likely(owner == cache->index) && likely(percpu_push(owner, object)))
		return;
	free_slow(cache, object, __builtin_return_address(0));
}

exported bool kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp, size_t n, void **objects)
{
	for (size_t i = 0; i < n; i++) {
		objects[i] = alloc_caller(cache, gfp, __builtin_return_address(0));
		if (unlikely(!objects[i])) {
			kmem_cache_free_bulk(cache, i, objects);
			return false;
		}
	}
	return true;
}

exported void kmem_cache_free_bulk(struct kmem_cache *cache, size_t n, void **objects)
{
	if (!cache) {
		kfree_bulk(n, objects);
		return;
	}
	while (n-- > 0)
		kmem_cache_free(cache, objects[n]);
}
