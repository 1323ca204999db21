/* SPDX-License-Identifier: MIT */
/*
 * observe.h - what the slow paths tell of their calls while those are diverted: statistics and events. Any context.
 */
#ifndef KMALLOC_OBSERVE_H
#define KMALLOC_OBSERVE_H

#include "slab/kmem_cache.h"
#include "trace/probes.h"
#include "trace/trace.h"

/* Are all calls on the slow path now, because somebody wants to know of them? */
static always_inline bool observed(void)
{
	return unlikely(percpu_diverted());
}

/* Each of them, hits too? Samples alone are among what misses (slab/percpu_sample.c). */
static always_inline bool observed_each(void)
{
	return observed() && !percpu_takes_samples();
}

/* Somebody listens to probes, or did: divert all calls, or no longer. */
void observe_probes(void);

/* On each miss and each call that is told of, so that who comes to listen, or goes, is noticed. */
static always_inline void observe_poll_probes(void)
{
	if (unlikely(probes_armed() |
		     __atomic_load_n(&percpu.divert[PERCPU_DIVERT_PROBE], __ATOMIC_RELAXED)))
		observe_probes();
}

/*
 * [observed] An allocation succeeded. cache: of the object; NULL: an area, or memory that no cache has.
 * size: what was asked for.
 */
void observe_alloc(const void *object, const struct kmem_cache *cache, size_t size, gfp_t gfp,
		   const void *caller);
/* [observed] ptr, whatever it is, is going to be freed. */
void observe_free(const void *ptr, gfp_t gfp, const void *caller);
/* [observed] Are allocations counted for samples? */
bool observe_samples(void);
/* [observed] Is nobody interested in what is no sample, and nothing else to be done? */
bool observe_samples_only(void);

/*
 * [observed] The cache for an object of the class `index` that a trace is going to tell of; NULL: it is none
 * of those, and its class is its cache.
 */
struct kmem_cache *observe_sampled_cache(unsigned index, gfp_t gfp);

#endif
