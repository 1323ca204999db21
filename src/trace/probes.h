/* SPDX-License-Identifier: MIT */
/*
 * probes.h - the probes (USDT) that perf, bpftrace and their like attach to. Any context; not in a vfork child.
 *
 * Each has a semaphore, which a listener raises in the memory of this process before it listens. While it is 0 the probe is not
 * even reached.
 */
#ifndef TRACE_PROBES_H
#define TRACE_PROBES_H

#include "trace/trace.h"

/* The events by their enum trace_type, and behind them those that have no event. */
enum probe {
	PROBE_OTEL_ALLOC = TRACE_NR_TYPES,
	PROBE_OTEL_FREE,
	NR_PROBES,
};

/* Listeners of each probe but TRACE_NONE, from TRACE_NONE + 1 on; the system writes them, from any CPU. */
extern union probe_semaphores {
	uint16_t of[NR_PROBES - 1];
	uint64_t word[3];
} probe_semaphores hidden;

_Static_assert(sizeof(probe_semaphores) == (NR_PROBES - 1) * sizeof(uint16_t), "no word is missed");

/* Does anybody listen? Not 0: yes. */
static inline uint64_t probes_armed(void)
{
	return __atomic_load_n(&probe_semaphores.word[0], __ATOMIC_RELAXED) |
	       __atomic_load_n(&probe_semaphores.word[1], __ATOMIC_RELAXED) |
	       __atomic_load_n(&probe_semaphores.word[2], __ATOMIC_RELAXED);
}

static inline bool probe_is_armed(unsigned probe)
{
	return __atomic_load_n(&probe_semaphores.of[probe - 1], __ATOMIC_RELAXED) != 0;
}

/*
 * kmem:kmalloc and so on, by the type of the event. name: of its cache; NULL: none. bytes_alloc: that the object
 * takes; for pages, their order in pages of 4 KiB; bytes_req of TRACE_SLAB_*: how many objects.
 */
void probe_event(const struct trace_event *event, const char *name, size_t bytes_alloc);
/*
 * otel_memory, OpenTelemetry's contract for samples of memory. weight: the bytes that this sample stands for; the
 * sum of weights is an unbiased estimate of the bytes allocated.
 */
void probe_otel_alloc(const void *ptr, size_t size, size_t weight);
void probe_otel_free(const void *ptr);

#endif
