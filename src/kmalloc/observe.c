/* SPDX-License-Identifier: MIT */
/*
 * observe.c - calls become events, probes, and counts.
 *
 * The kernel's counterparts are the trace_kmalloc() and so on in mm/slub.c, with its names: malloc() and its like are
 * kmalloc up to KMALLOC_MAX_SIZE and vmalloc above it, free() is kfree or vfree, new and delete too. Differences: an area is an
 * event of its own kind (the kernel has none for vmalloc()); free(NULL) is none; a block that realloc() finds large enough
 * is none, one that it moves or resizes is a free and an allocation.
 *
 * An allocation is told of after it, a free before it: so between the two events of an object, its address is
 * nobody else's.
 *
 * Sampling: an allocation that is none is told of nowhere; hits are from objects that are known to be none (slab/percpu_sample.c),
 * unless every call is diverted, or counts: then each is asked for itself. What is sampled comes from caches of its own (kmalloc_caches.c), or is an area with a mark. So its free
 * is known for what it is, however much later, and no other free is looked at. Recordings and listeners of otel_memory
 * share the samples: who comes late may hear of a free of what was sampled for another.
 *
 * Probes: a listener raises a semaphore and does nothing else, so it is noticed by the next miss (observe_poll_probes()),
 * which diverts all CPUs; when the last one has gone, the next call that is diverted gives them back, even if a sheaf serves
 * it. What a thread takes from its sheaves before that miss is not told of. A listener that is there before the program starts
 * hears of everything.
 *
 * No state, no locks; any context.
 */
#include "kmalloc/observe.h"

#include "kmalloc/context.h"
#include "kmalloc/kmalloc_caches.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/reserve.h"
#include "kmalloc/start.h"
#include "kmalloc/stat.h"
#include "lib/param.h"
#include "os/os.h"
#include "vmalloc/vmalloc.h"

/* malloc_trim(), if the reader asked for it. */
static void poll_trim(gfp_t gfp)
{
	uint32_t wanted = __atomic_load_n(&trace_control.want_trim, __ATOMIC_RELAXED);

	if (likely(wanted == __atomic_load_n(&trace_control.trimmed, __ATOMIC_RELAXED)) ||
	    !gfpflags_allow_blocking(gfp) || context_is_atomic())
		return;
	/* first, so that what the trim frees does not come here again */
	__atomic_store_n(&trace_control.trimmed, wanted, __ATOMIC_RELAXED);
	kmalloc_trim();
}

static void poll(gfp_t gfp)
{
	observe_poll_probes();
	trace_poll(gfp);
	poll_trim(gfp);
	/* a reader that was killed between two steps, or has got what it wanted */
	if (unlikely(trace_mode() == TRACE_OFF &&
		     __atomic_load_n(&percpu.divert[PERCPU_DIVERT_TRACE], __ATOMIC_RELAXED)))
		trace_undivert();
}

static enum trace_type alloc_type(const struct kmem_cache *cache)
{
	if (!cache)
		return TRACE_VMALLOC;
	return cache->flags & KMEM_CACHE_PROGRAM ? TRACE_KMEM_CACHE_ALLOC : TRACE_KMALLOC;
}

cold_path void observe_probes(void)
{
	bool armed = probes_armed() != 0;

	/* before the start there is nothing to divert; it looks by itself */
	if (armed ==
		    (__atomic_load_n(&percpu.divert[PERCPU_DIVERT_PROBE], __ATOMIC_RELAXED) != 0) ||
	    percpu_is_vfork_child() ||
	    atomic_load_explicit(&start_state, memory_order_acquire) != START_DONE)
		return;
	/* a later miss does it, if this one can't */
	percpu_try_divert(PERCPU_DIVERT_PROBE, armed ? PERCPU_DIVERT_ALL : PERCPU_DIVERT_NOTHING);
}

bool observe_samples(void)
{
	return trace_mode() == TRACE_SAMPLE || probe_is_armed(PROBE_OTEL_ALLOC);
}

bool observe_samples_only(void)
{
	return trace_mode() == TRACE_SAMPLE && !params.stat && !probes_armed() &&
	       !__atomic_load_n(&percpu.divert[PERCPU_DIVERT_PROBE], __ATOMIC_RELAXED) &&
	       !trace_wish_is_pending();
}

/* What an object takes, by which it is chosen as a sample, and weighs: kmem counts the same. */
static size_t bytes_taken(const struct kmem_cache *cache, size_t size)
{
	return cache ? cache->size : align_up(size, os_page_size);
}

/* The allocation is one of the samples: its object is from a cache of those, or an area that is marked as one now. */
static bool sample_alloc(const void *object, const struct kmem_cache *cache, bool area, size_t size)
{
	if (!observe_samples())
		return false;
	if (!area)
		return cache && cache->flags & KMEM_CACHE_SAMPLED;
	if (!trace_sample(bytes_taken(cache, size)))
		return false;
	vmalloc_mark_sampled(object, true);
	return true;
}

/* The free of a sample; once: realloc() may let an area be that was told of as freed. */
static bool sample_free(const void *ptr, const struct kmem_cache *cache)
{
	if (cache)
		return cache->flags & KMEM_CACHE_SAMPLED;
	if (!vmalloc_is_sampled(ptr))
		return false;
	vmalloc_mark_sampled(ptr, false);
	return true;
}

static bool is_told_of(bool sample)
{
	return trace_mode() == TRACE_ALL || (trace_mode() == TRACE_SAMPLE && sample);
}

static cold_path void tell_probes(const struct trace_event *event, const struct kmem_cache *cache,
				  bool is_alloc, bool sample)
{
	size_t mean = __atomic_load_n(&trace_control.want_sample_bytes, __ATOMIC_RELAXED);
	double taken, weight;

	if (sample && is_alloc) {
		taken = (double)bytes_taken(cache, event->bytes_req);
		weight = trace_weight(taken, (double)mean) / taken * (double)event->bytes_req;
		probe_otel_alloc(event->ptr, event->bytes_req, (size_t)(weight + 0.5));
	} else if (sample) {
		probe_otel_free(event->ptr);
	}
	probe_event(event, cache ? cache->name : NULL,
		    !is_alloc ? 0 :
		    cache     ? cache->size :
				kvmalloc_size(event->ptr));
}

void observe_alloc(const void *object, const struct kmem_cache *cache, size_t size, gfp_t gfp,
		   const void *caller)
{
	gfp_t here = current_gfp_context(gfp); /* what may be done for the event */
	bool area = !cache && vmalloc_owns(object);
	struct trace_event event = {
		.type = area || cache ? alloc_type(cache) : TRACE_KMALLOC,
		.cache = cache ? cache->id : 0,
		.ptr = object,
		.call_site = caller,
		.bytes_req = size,
		.gfp = here,
	};

	bool sample;

	if (params.stat && cache)
		stat_count_alloc(cache->index, size);
	if (percpu_is_vfork_child())
		return;
	poll(here);
	sample = sample_alloc(object, cache, area, size);
	if (is_told_of(sample)) {
		if (trace_wants_stacks())
			event.stack = trace_stack(caller, 0, here);
		trace_write(&event);
	}
	if (unlikely(probes_armed()))
		tell_probes(&event, cache, true, sample);
}

/* What kind of free that is; TRACE_NONE: of nothing that is ours. */
static enum trace_type free_type(const void *ptr, const struct kmem_cache *cache)
{
	if (cache)
		return cache->flags & KMEM_CACHE_PROGRAM ? TRACE_KMEM_CACHE_FREE : TRACE_KFREE;
	if (vmalloc_owns(ptr))
		return vmalloc_size(ptr) ? TRACE_VFREE : TRACE_NONE;
	return ptr && kvmalloc_size(ptr) ? TRACE_KFREE : TRACE_NONE;
}

void observe_free(const void *ptr, gfp_t gfp, const void *caller)
{
	gfp_t here = current_gfp_context(gfp);
	const struct kmem_cache *cache = virt_to_cache(ptr);
	struct trace_event event = { .ptr = ptr, .call_site = caller, .gfp = here };
	bool sample;

	if (params.stat)
		stat_count_free(page_owner(ptr));
	if (percpu_is_vfork_child())
		return;
	poll(here);
	sample = sample_free(ptr, cache);
	if (!is_told_of(sample) && !probes_armed())
		return;
	event.type = free_type(ptr, cache);
	event.cache = cache ? cache->id : 0;
	if (event.type == TRACE_NONE)
		return;
	if (is_told_of(sample))
		trace_write(&event);
	if (unlikely(probes_armed()))
		tell_probes(&event, cache, false, sample);
}

/* Who counts the class' objects: this CPU, where their hits are such that need not be asked; else this thread. */
static bool is_sample(unsigned index, gfp_t gfp)
{
	if (percpu_takes_samples() && percpu_prepare(gfp))
		return percpu_sample(index);
	return trace_sample(kmem_caches[index].size);
}

struct kmem_cache *observe_sampled_cache(unsigned index, gfp_t gfp)
{
	if (likely(!observe_samples()) || percpu_is_vfork_child() || !is_sample(index, gfp))
		return NULL;
	return kmalloc_cache_of_kind(KMALLOC_SAMPLED, index, gfp);
}
