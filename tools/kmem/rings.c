/* SPDX-License-Identifier: MIT */
/*
 * rings.c - the reader's side of src/trace/trace.c.
 *
 * Each ring is in order by itself. A pass reads the clock, then every ring up to its head: an event that is older than the
 * clock was then, and is not there yet, is in the hands of a thread between its time stamp and its commit, a
 * few instructions. So all that is older than the clock less SLACK can be merged and passed on; the rest waits for the next pass.
 *
 * A pass takes so much of each ring that what waits here is HELD_EVENTS in all. What is newer than the last event taken of a ring that
 * has more waits too, so that the order is kept.
 *
 * Nothing that is read is believed. A head that is further than a ring is large means that events were overwritten; a time that goes
 * back or is still to come is made the nearest that is possible; an event of no known kind is lost. So whatever a process writes
 * there, memory is bounded, each pass ends, and what waits is passed on.
 *
 * Each pass beats (format.h), so that the process knows that somebody reads.
 */
#include "rings.h"

#include "say.h"

#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#define SLACK 2000000UL /* of the time stamp counter: about a millisecond */
#define PASS_EVENTS 65536UL
#define BATCH_EVENTS 64U
#define HELD_EVENTS (8UL << 20) /* 256 MB */
#define RING_EVENTS_MAX (1U << 24)

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
	uint64_t address;     /* in the process */
	uint64_t tail;	      /* events taken */
	uint64_t lost_before; /* of the process' count */
	uint64_t lost;
	uint64_t last;	 /* time of the last event taken */
	uint64_t *words; /* taken and not passed on: [first, count) events */
	size_t first, count, room;
	uint16_t cpu;
	bool whole; /* nothing was left there by this pass */
};

struct rings {
	struct target *target;
	struct ring *ring;
	bool known[TRACE_NR_RINGS]; /* by the library's number */
	size_t nr_rings, room;
	bool damaged;  /* said so: nothing is taken any more */
	bool skip_old; /* what is in rings that are found now is an earlier reader's */
	uint64_t lost_before;
	uint64_t spoilt;   /* events that were taken and make no sense */
	uint64_t *next;	   /* see merge(): times of those that take part, */
	size_t *next_ring; /* and which they are */
	size_t nr_next, next_room;
	void (*after_read)(void *arg); /* NULL: nobody wants to know */
	void *after_read_arg;
};

void rings_close(struct rings *rings)
{
	for (size_t i = 0; i < rings->nr_rings; i++)
		free(rings->ring[i].words);
	free(rings->ring);
	free(rings->next);
	free(rings->next_ring);
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

/* Rings that have come since. */
static int find_rings(struct rings *rings)
{
	const struct trace_control *state = &rings->target->state;
	uint64_t table[TRACE_NR_RINGS];

	if (!state->nr_rings && !rings->nr_rings)
		return 0;
	if (state->nr_rings > TRACE_NR_RINGS || !state->ring_events ||
	    state->ring_events > RING_EVENTS_MAX || state->ring_events & (state->ring_events - 1)) {
		if (!rings->damaged)
			say("process %d: its rings make no sense: it is damaged",
			    rings->target->pid);
		rings->damaged = true;
		return -1;
	}
	if (target_read(rings->target, state->rings, table, state->nr_rings * sizeof(*table)) != 0)
		return -1;
	for (size_t i = 0; i < state->nr_rings; i++) {
		struct trace_ring header;
		struct ring *ring;

		if (!table[i] || rings->known[i])
			continue;
		rings->known[i] = true;
		if (rings->nr_rings == rings->room) {
			size_t room = rings->room * 2 + 8;

			rings->ring = xrealloc(rings->ring, room * sizeof(*rings->ring));
			rings->room = room;
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

	/* what is moved is no more than what was passed on since */
	if (ring->first && ring->first * 2 >= ring->count) {
		ring->count -= ring->first;
		memmove(ring->words, ring->words + ring->first * TRACE_WORDS,
			ring->count * TRACE_EVENT_BYTES);
		ring->first = 0;
	}
	if (ring->count + n > ring->room) {
		size_t room = (ring->count + n) * 2;

		/* in this order: who ends for lack of memory takes what is left before */
		ring->words = xrealloc(ring->words, room * TRACE_EVENT_BYTES);
		ring->room = room;
	}
	words = ring->words + ring->count * TRACE_WORDS;
	if (target_read_much(rings->target, events + at * TRACE_EVENT_BYTES, words,
			     part * TRACE_EVENT_BYTES) != 0 ||
	    (n > part && target_read_much(rings->target, events, words + part * TRACE_WORDS,
					  (n - part) * TRACE_EVENT_BYTES) != 0))
		return -1;
	ring->count += n;
	return 0;
}

/* Was any of the *left events just read overwritten meanwhile? Then it is lost, and so is all before it. */
static int drop_overwritten(struct rings *rings, struct ring *ring, size_t *left)
{
	uint64_t head, size = rings->target->state.ring_events, n = *left, first = ring->tail - n;

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
		*left -= gone;
	}
	return 0;
}

/* Times as they can be: none before the last one, none that is still to come. */
static void settle_times(struct ring *ring, size_t n)
{
	uint64_t *words = ring->words + (ring->count - n) * TRACE_WORDS, now = __rdtsc();
	uint64_t last = ring->last;
	bool are_odd = false;

	for (size_t i = 0; i < n; i++) {
		are_odd |= words[i * TRACE_WORDS] < last;
		last = words[i * TRACE_WORDS];
	}
	/* as nearly always: so they are looked at alone, which is all that it costs then */
	if (!are_odd && last <= now) {
		ring->last = last;
		return;
	}
	for (size_t i = 0; i < n; i++, words += TRACE_WORDS) {
		if (words[0] < ring->last)
			words[0] = ring->last;
		else if (words[0] > now)
			words[0] = now;
		ring->last = words[0];
	}
}

/* How many events may wait here, of each ring. */
static uint64_t allowance(const struct rings *rings)
{
	return HELD_EVENTS / rings->nr_rings;
}

static uint64_t difference(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

/* What was lost before the head that was just read. */
static void note_overwritten(struct rings *rings, struct ring *ring,
			     const struct trace_ring *header)
{
	uint64_t size = rings->target->state.ring_events;

	if (header->head > ring->tail && header->head - ring->tail > size) {
		ring->lost += header->head - size - ring->tail;
		ring->tail = header->head - size;
	}
	if (rings->target->state.want_full != TRACE_OVERWRITE)
		ring->lost = difference(header->lost, ring->lost_before);
}

static long take_ring(struct rings *rings, struct ring *ring)
{
	struct trace_ring header;
	uint64_t room = allowance(rings);
	long taken = 0;

	if (target_read(rings->target, ring->address, &header, sizeof(header)) != 0)
		return -1;
	note_overwritten(rings, ring, &header);
	/* that of an earlier reader, or of a writer that overwrites: it is to see that somebody reads */
	if (header.limit != wanted_limit(rings, ring) && set_limit(rings, ring) != 0)
		return -1;
	while (ring->tail < header.head && ring->count - ring->first < room) {
		size_t left = room - (ring->count - ring->first);
		size_t n = header.head - ring->tail < PASS_EVENTS ? header.head - ring->tail :
								    PASS_EVENTS;

		n = n < left ? n : left;
		if (read_events(rings, ring, ring->tail, n) != 0)
			return -1;
		ring->tail += n;
		taken += (long)n;
		if (set_limit(rings, ring) != 0 || drop_overwritten(rings, ring, &n) != 0)
			return -1;
		settle_times(ring, n);
	}
	ring->whole = ring->tail >= header.head;
	return taken;
}

bool rings_decode(struct rings *rings, const struct raw_event *raw, struct event *event)
{
	const uint64_t *words = raw->words;

	event->when = words[0];
	event->ptr = raw_ptr(raw);
	event->type = (uint8_t)(words[1] >> TRACE_ADDRESS_BITS);
	event->gfp = rings->target->state.gfp[(words[1] >> (TRACE_ADDRESS_BITS + 8)) % TRACE_GFPS];
	event->site = words[2] & TRACE_ADDRESS_MASK;
	event->cache = (uint16_t)(words[2] >> TRACE_ADDRESS_BITS);
	event->req = words[3] & TRACE_REQ_MASK;
	event->tid = raw_tid(raw);
	event->cpu = (uint16_t)raw->cpu;
	event->stack = 0;
	if (event->site & TRACE_SITE_IS_STACK) {
		event->stack = (uint32_t)event->site;
		event->site = 0;
	}
	if (event->type != TRACE_NONE && event->type < TRACE_NR_TYPES)
		return true;
	rings->spoilt++;
	return false;
}

static uint64_t next_time(const struct ring *ring)
{
	return ring->first < ring->count ? ring->words[ring->first * TRACE_WORDS] : UINT64_MAX;
}

/* Rings that have something before `until` take part. */
static void find_next(struct rings *rings, uint64_t until)
{
	if (rings->nr_rings > rings->next_room) {
		rings->next = xrealloc(rings->next, rings->room * sizeof(*rings->next));
		rings->next_ring =
			xrealloc(rings->next_ring, rings->room * sizeof(*rings->next_ring));
		rings->next_room = rings->room;
	}
	rings->nr_next = 0;
	for (size_t i = 0; i < rings->nr_rings; i++) {
		uint64_t time = next_time(&rings->ring[i]);

		if (time >= until)
			continue;
		rings->next[rings->nr_next] = time;
		rings->next_ring[rings->nr_next++] = i;
	}
}

/* Which of those has the earliest event. As it is written it is no branch: which one it is can't be foreseen. */
static inline size_t earliest(const struct rings *rings)
{
	size_t found = 0;

	for (size_t i = 1; i < rings->nr_next; i++)
		found = rings->next[i] < rings->next[found] ? i : found;
	return found;
}

/* Events that are collected to be passed on. */
struct batch {
	struct raw_event event[BATCH_EVENTS];
	size_t n;
	rings_take *take;
	void *arg;
};

static void pass_on(struct batch *batch)
{
	if (batch->n)
		batch->take(batch->event, batch->n, batch->arg);
	batch->n = 0;
}

/* The next event of a ring, and what follows it there and is older than `until`. Returns the time of what it has then. */
static uint64_t run_ring(struct ring *ring, uint64_t until, struct batch *batch)
{
	const uint64_t *words = ring->words + ring->first * TRACE_WORDS;
	const uint64_t *end = ring->words + ring->count * TRACE_WORDS;

	do {
		batch->event[batch->n++] = (struct raw_event){ words, ring->cpu };
		if (batch->n == BATCH_EVENTS)
			pass_on(batch);
		words += TRACE_WORDS;
	} while (words < end && words[0] < until);
	ring->first = (size_t)(words - ring->words) / TRACE_WORDS;
	return next_time(ring);
}

/*
 * Pass on what is older than `until`. A ring has its turn up to the next one's event, and then it is that one's: so who comes
 * after it is all that is looked for.
 */
static void merge(struct rings *rings, uint64_t until, rings_take *take, void *arg)
{
	struct batch batch = { .take = take, .arg = arg };
	size_t turn;

	find_next(rings, until);
	if (!rings->nr_next)
		return;
	for (turn = earliest(rings); rings->next[turn] < until;) {
		size_t after;
		uint64_t limit;

		rings->next[turn] = UINT64_MAX;
		after = earliest(rings);
		limit = rings->next[after] < until ? rings->next[after] : until;
		rings->next[turn] = run_ring(&rings->ring[rings->next_ring[turn]], limit, &batch);
		turn = limit < until ? after : turn;
	}
	pass_on(&batch);
}

/* Take of each ring. How many events; -1: the process is gone. */
static long take_rings(struct rings *rings)
{
	struct target *target = rings->target;
	long taken = 0;

	if (target_refresh(target) != 0 || target_beat(target) != 0 || find_rings(rings) != 0)
		return -1;
	for (size_t i = 0; i < rings->nr_rings; i++) {
		long n = take_ring(rings, &rings->ring[i]);

		if (n < 0)
			return -1;
		taken += n;
	}
	return taken;
}

/* Before which time nothing more comes. */
static uint64_t certain_until(const struct rings *rings, uint64_t until)
{
	for (size_t i = 0; i < rings->nr_rings; i++) {
		const struct ring *ring = &rings->ring[i];

		/* what it has next may be of the same time: then it comes a little late */
		if (!ring->whole && ring->last < until)
			until = ring->last + 1;
	}
	return until;
}

static long collect(struct rings *rings, uint64_t until, rings_take *take, void *arg)
{
	long taken = take_rings(rings);

	/* after the events: the codes of their gfp are in the table by now; if it is gone, what was read before them has to do */
	target_refresh(rings->target);
	if (rings->after_read)
		rings->after_read(rings->after_read_arg);
	merge(rings, taken < 0 ? UINT64_MAX : certain_until(rings, until), take, arg);
	return taken;
}

long rings_collect(struct rings *rings, bool last, rings_take *take, void *arg)
{
	long taken;

	if (!last)
		return collect(rings, __rdtsc() - SLACK, take, arg);
	/* what full rings hold; a process that was told to stop, and does not, need not be heard to its end */
	for (uint64_t sum = 0;; sum += (uint64_t)taken) {
		taken = collect(rings, UINT64_MAX, take, arg);
		if (taken <= 0 ||
		    sum > rings->nr_rings * (uint64_t)rings->target->state.ring_events)
			return taken;
	}
}

void rings_after_read(struct rings *rings, void (*after_read)(void *arg), void *arg)
{
	rings->after_read = after_read;
	rings->after_read_arg = arg;
}

bool rings_are_damaged(const struct rings *rings)
{
	return rings->damaged;
}

uint64_t rings_lost(const struct rings *rings)
{
	uint64_t lost = difference(rings->target->state.lost, rings->lost_before) + rings->spoilt;

	for (size_t i = 0; i < rings->nr_rings; i++)
		lost += rings->ring[i].lost;
	return lost;
}
