/* SPDX-License-Identifier: MIT */
/* event.h - an event, as the commands see it. */
#ifndef KMEM_EVENT_H
#define KMEM_EVENT_H

#include "trace/format.h"

#include <stdbool.h>
#include <stdint.h>

struct event {
	uint64_t when; /* time stamp counter */
	uint64_t ptr;
	uint64_t site; /* return address */
	uint64_t req;  /* bytes asked for; what it counts for TRACE_SLAB_* */
	uint32_t gfp;
	uint32_t stack; /* number of its call stack in the recording; 0: none */
	uint32_t tid;
	uint16_t cache; /* id; 0: none */
	uint16_t cpu;	/* the ring's number */
	uint8_t type;	/* enum trace_type */
};

/* One as it stands in a ring: src/trace/format.h. */
struct raw_event {
	const uint64_t *words; /* TRACE_WORDS of them */
	uint32_t cpu;	       /* the ring's number */
};

/* Events that have the same of both are the same but for time, thread and object. */
static inline uint64_t raw_site(const struct raw_event *raw)
{
	return raw->words[2];
}

static inline uint64_t raw_rest(const struct raw_event *raw)
{
	return raw->words[1] >> TRACE_ADDRESS_BITS << TRACE_REQ_BITS |
	       (raw->words[3] & TRACE_REQ_MASK);
}

static inline uint64_t raw_ptr(const struct raw_event *raw)
{
	return raw->words[1] & TRACE_ADDRESS_MASK;
}

static inline uint32_t raw_tid(const struct raw_event *raw)
{
	return (uint32_t)(raw->words[3] >> TRACE_REQ_BITS);
}

static inline bool event_is_alloc(const struct event *event)
{
	return event->type == TRACE_KMALLOC || event->type == TRACE_KMEM_CACHE_ALLOC ||
	       event->type == TRACE_VMALLOC;
}

static inline bool event_is_free(const struct event *event)
{
	return event->type == TRACE_KFREE || event->type == TRACE_KMEM_CACHE_FREE ||
	       event->type == TRACE_VFREE;
}

/* The kernel's name; "?" for none. */
const char *event_name(unsigned type);

#endif
