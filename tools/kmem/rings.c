/* SPDX-License-Identifier: MIT */
/*
 * rings.c - the reader's side of src/trace/trace.c.
 *
 * Each ring is in order by itself. A pass reads the clock, then every ring up to its head: an event that is older than the
 * clock was then, and is not there yet, is in the hands of a thread between its time stamp and its commit, a
 * few instructions. So all that is older than the clock less SLACK can be merged and passed on; the rest waits for the next pass.
 */
#include "rings.h"

#include "say.h"

#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#define SLACK 2000000UL /* of the time stamp counter: about a millisecond */
#define PASS_EVENTS 65536UL

const char *event_name(unsigned type)
{
	static const char *const names[TRACE_NR_TYPES] = {
		"?",	      "kmalloc", "kfree",	  "kmem_cache_alloc", "kmem_cache_free",
		"vmalloc",    "vfree",	 "mm_page_alloc", "mm_page_free",     "slab_refill",
		"slab_flush",
	};

	return type < TRACE_NR_TYPES ? names[type] : names[0];
}

struct ring {
	uint64_t address; /* in the process */
	uint64_t tail;	  /* events taken */
	uint64_t lost_before;
	uint64_t lost;
	uint64_t *words; /* taken and not passed on: [first, count) events */
	size_t first, count, room;
	uint16_t cpu;
};

struct rings {
	struct target *target;
	struct ring *ring;
	size_t nr_rings, room;
	bool skip_old; /* what is in rings that are found now is an earlier reader's */
	uint64_t lost_before;
	uint32_t gfp[TRACE_GFPS];
};

void rings_close(struct rings *rings)
{
	for (size_t i = 0; i < rings->nr_rings; i++)
		free(rings->ring[i].words);
	free(rings->ring);
	free(rings);
}

static uint64_t wanted_limit(const struct rings *rings, const struct ring *ring)
{
	return ring->tail + rings->target->state.ring_events;
}

static int set_limit(struct rings *rings, struct ring *ring)
{
	uint64_t limit = wanted_limit(rings, ring);

	return target_write(rings->target, ring->address + offsetof(struct trace_ring, limit),
			    &limit, sizeof(limit));
}

static bool is_known(const struct rings *rings, uint64_t address)
{
	for (size_t i = 0; i < rings->nr_rings; i++)
		if (rings->ring[i].address == address)
			return true;
	return false;
}

/* Rings that have come since. */
static int find_rings(struct rings *rings)
{
	const struct trace_control *state = &rings->target->state;
	uint64_t table[TRACE_NR_RINGS];

	if (!state->nr_rings)
		return 0;
	if (state->nr_rings > TRACE_NR_RINGS || state->ring_events > 1U << 24 ||
	    state->ring_events & (state->ring_events - 1)) {
		say("process %d: its rings make no sense: it is damaged", rings->target->pid);
		return -1;
	}
	if (target_read(rings->target, state->rings, table, state->nr_rings * sizeof(*table)) != 0)
		return -1;
	for (size_t i = 0; i < state->nr_rings; i++) {
		struct trace_ring header;
		struct ring *ring;

		if (!table[i] || is_known(rings, state->base + table[i]))
			continue;
		if (rings->nr_rings == rings->room) {
			rings->room = rings->room * 2 + 8;
			rings->ring = xrealloc(rings->ring, rings->room * sizeof(*rings->ring));
		}
		ring = &rings->ring[rings->nr_rings++];
		*ring = (struct ring){ .address = state->base + table[i], .cpu = (uint16_t)i };
		if (target_read(rings->target, ring->address, &header, sizeof(header)) != 0)
			return -1;
		if (rings->skip_old) {
			ring->tail = header.head;
			ring->lost_before = header.lost;
		}
		if (set_limit(rings, ring) != 0)
			return -1;
	}
	return 0;
}

struct rings *rings_open(struct target *target, bool from_start)
{
	struct rings *rings = xcalloc(1, sizeof(*rings));

	rings->target = target;
	if (from_start)
		return rings;
	/* before it is told to trace: what comes from now on counts */
	rings->skip_old = true;
	rings->lost_before = target->state.lost;
	find_rings(rings);
	rings->skip_old = false;
	return rings;
}

static int read_events(struct rings *rings, struct ring *ring, uint64_t from, size_t n)
{
	uint64_t size = rings->target->state.ring_events;
	size_t at = from & (size - 1), part = n < size - at ? n : size - at;
	uint64_t events = ring->address + TRACE_RING_HEADER;
	uint64_t *words;

	if (ring->first && ring->first == ring->count)
		ring->first = ring->count = 0;
	if (ring->first > 4 * PASS_EVENTS) {
		ring->count -= ring->first;
		memmove(ring->words, ring->words + ring->first * TRACE_WORDS,
			ring->count * TRACE_EVENT_BYTES);
		ring->first = 0;
	}
	if (ring->count + n > ring->room) {
		ring->room = (ring->count + n) * 2;
		ring->words = xrealloc(ring->words, ring->room * TRACE_EVENT_BYTES);
	}
	words = ring->words + ring->count * TRACE_WORDS;
	if (target_read(rings->target, events + at * TRACE_EVENT_BYTES, words,
			part * TRACE_EVENT_BYTES) != 0 ||
	    (n > part && target_read(rings->target, events, words + part * TRACE_WORDS,
				     (n - part) * TRACE_EVENT_BYTES) != 0))
		return -1;
	ring->count += n;
	return 0;
}

/* Was any of what was just read overwritten meanwhile? Then it is lost, and so is all before it. */
static int drop_overwritten(struct rings *rings, struct ring *ring, size_t n)
{
	uint64_t head, size = rings->target->state.ring_events, first = ring->tail - n;

	if (rings->target->state.want_full != TRACE_OVERWRITE)
		return 0;
	if (target_read(rings->target, ring->address, &head, sizeof(head)) != 0)
		return -1;
	/* one more: the event at the head may be half written */
	if (head + 1 > first + size) {
		size_t gone = head + 1 - size - first;

		gone = gone < n ? gone : n;
		memmove(ring->words + (ring->count - n) * TRACE_WORDS,
			ring->words + (ring->count - n + gone) * TRACE_WORDS,
			(n - gone) * TRACE_EVENT_BYTES);
		ring->count -= gone;
		ring->lost += gone;
	}
	return 0;
}

static long take_ring(struct rings *rings, struct ring *ring)
{
	uint64_t size = rings->target->state.ring_events;
	struct trace_ring header;
	long taken = 0;

	if (target_read(rings->target, ring->address, &header, sizeof(header)) != 0)
		return -1;
	if (rings->target->state.want_full == TRACE_OVERWRITE) {
		if (header.head - ring->tail > size) {
			ring->lost += header.head - size - ring->tail;
			ring->tail = header.head - size;
		}
	} else {
		ring->lost = header.lost - ring->lost_before;
	}
	/* that of an earlier reader, or of a writer that overwrites: it is to see that somebody reads */
	if (header.limit != wanted_limit(rings, ring) && set_limit(rings, ring) != 0)
		return -1;
	while (ring->tail < header.head) {
		size_t n = header.head - ring->tail < PASS_EVENTS ? header.head - ring->tail :
								    PASS_EVENTS;

		if (read_events(rings, ring, ring->tail, n) != 0)
			return -1;
		ring->tail += n;
		taken += (long)n;
		if (set_limit(rings, ring) != 0 || drop_overwritten(rings, ring, n) != 0)
			return -1;
	}
	return taken;
}

static void decode(const struct rings *rings, const struct ring *ring, struct event *event)
{
	const uint64_t *words = ring->words + ring->first * TRACE_WORDS;

	event->when = words[0];
	event->ptr = words[1] & TRACE_ADDRESS_MASK;
	event->type = words[1] >> TRACE_ADDRESS_BITS & 0xff;
	event->gfp = rings->gfp[(words[1] >> (TRACE_ADDRESS_BITS + 8)) % TRACE_GFPS];
	event->site = words[2] & TRACE_ADDRESS_MASK;
	event->cache = (uint16_t)(words[2] >> TRACE_ADDRESS_BITS);
	event->req = words[3] & TRACE_REQ_MASK;
	event->tid = (uint32_t)(words[3] >> TRACE_REQ_BITS);
	event->cpu = ring->cpu;
	event->stack = 0;
}

static uint64_t next_time(const struct ring *ring)
{
	return ring->first < ring->count ? ring->words[ring->first * TRACE_WORDS] : UINT64_MAX;
}

/* Pass on what is older than `until`. */
static void merge(struct rings *rings, uint64_t until, void (*take)(const struct event *, void *),
		  void *arg)
{
	for (;;) {
		struct ring *oldest = NULL;
		uint64_t first = until, second = until;

		for (size_t i = 0; i < rings->nr_rings; i++) {
			uint64_t time = next_time(&rings->ring[i]);

			if (time < first) {
				second = first;
				first = time;
				oldest = &rings->ring[i];
			} else if (time < second) {
				second = time;
			}
		}
		if (!oldest)
			return;
		/* all of one ring until another has its turn */
		do {
			struct event event;

			decode(rings, oldest, &event);
			oldest->first++;
			take(&event, arg);
		} while (next_time(oldest) < second);
	}
}

long rings_collect(struct rings *rings, bool last,
		   void (*take)(const struct event *event, void *arg), void *arg)
{
	uint64_t now = __rdtsc();
	bool gone = false;
	long taken = 0;

	if (target_refresh(rings->target) != 0 || find_rings(rings) != 0)
		gone = true;
	for (size_t i = 0; !gone && i < rings->nr_rings; i++) {
		long n = take_ring(rings, &rings->ring[i]);

		if (n < 0)
			gone = true;
		else
			taken += n;
	}
	/* after the events: their codes are in the table by now */
	if (target_refresh(rings->target) == 0)
		memcpy(rings->gfp, rings->target->state.gfp, sizeof(rings->gfp));
	merge(rings, last || gone ? UINT64_MAX : now - SLACK, take, arg);
	return gone ? -1 : taken;
}

uint64_t rings_lost(const struct rings *rings)
{
	uint64_t lost = rings->target->state.lost - rings->lost_before;

	for (size_t i = 0; i < rings->nr_rings; i++)
		lost += rings->ring[i].lost;
	return lost;
}
