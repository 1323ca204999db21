/* SPDX-License-Identifier: MIT */
/*
 * trace.c - events into per-CPU rings, and the reader's wishes.
 *
 * The kernel's counterparts are the tracepoints of include/trace/events/kmem.h and kernel/trace/ring_buffer.c.
 * Differences: the reader is another process, which looks into this one (format.h); an event has four words, whatever its kind; a
 * ring is a plain array that wraps.
 *
 * Nothing here is on a hit path. A reader that comes diverts all CPUs to the slow path (slab/percpu.h), which calls
 * trace_poll() and then trace_write() for what it did. What would have been a hit writes its event in line (put.h).
 *
 * Writing: one restartable sequence copies the four words behind the head and commits the new head, so an event
 * is there whole or not at all, and no other thread or handler of this CPU gets in between. The time stamp is read inside it: a
 * ring is in order. A thread without an index (mode locked) writes to one of TRACE_NR_LOCKED rings of their own, under a flag
 * that names its holder. Who finds it taken, by a thread that is off its CPU or by what a handler of its own thread interrupted,
 * goes on to the next of those rings and stays there. Where there is no other (one that would have to be mapped by who may
 * not sleep; all of them taken) the event is lost, and counted.
 *
 * A holder may never come back: a handler left it by siglongjmp(). It is named by where its event stands, on its stack. Who
 * has an event at that very place knows that the holder is gone, and has the ring: so a program that allocates at the same depth
 * again takes it up. Nobody else can tell such a holder from one that was interrupted, and need not: the next ring serves.
 *
 * A ring is mapped when the first event of its CPU comes that may sleep; a thread on another CPU by then does that for
 * nothing. Rings stay until the process ends; when tracing ends their pages go back.
 *
 * No reader (reader.c): a ring that stays full, or a reader that gives no sign of life, ends the tracing, and the program is as fast
 * as before.
 *
 * fork: the child has copies of the rings, which nobody reads: it forgets them and gives their pages back, but keeps their
 * addresses, as a handler that forked may have interrupted a writer. A vfork child must not come here, for its index is its parent's.
 *
 * Lock: trace_lock (rank TRACE), for mapping rings and applying wishes. Who may sleep waits for it to map a ring, as its event
 * is lost else; wishes can wait.
 */
#include "trace/trace.h"

#include "lib/lock.h"
#include "lib/param.h"
#include "lib/port.h"
#include "os/os.h"
#include "trace/put.h"

#include <stdatomic.h>
#include <string.h>

#define TRIES 100
#define LOCKED_SPINS 1000
#define BUSY_WAIT_MS 1
#define LOOK_EVERY 64U
#define LOOK_EVERY_SAMPLE 8U
#define RING_EVENTS_MIN 128UL
#define RING_EVENTS_MAX (1UL << 24)

_Static_assert(RSEQ_NR_CPUS == TRACE_NR_CPUS, "a ring for each index");

struct trace_control trace_control;

struct trace_rings trace_rings __attribute__((aligned(64)));

/* Of the library's file, and never of this process alone: format.h */
static const uint32_t bell;

static struct lock trace_lock;
_Thread_local struct trace_thread trace_thread initial_exec;
/* of a thread without an index: from its first ring to the one in use */
static _Thread_local uint32_t rings_on initial_exec;

static struct trace_ring *ring_at(unsigned index)
{
	uintptr_t offset = __atomic_load_n(&trace_rings.offset[index], __ATOMIC_ACQUIRE);

	return offset ? (struct trace_ring *)((uintptr_t)&trace_rings + offset) : NULL;
}

static size_t ring_bytes(void)
{
	return TRACE_RING_HEADER + trace_control.ring_events * TRACE_EVENT_BYTES;
}

static void count(uint64_t *lost)
{
	__atomic_fetch_add(lost, 1, __ATOMIC_RELAXED);
}

static bool ring_create_locked(unsigned index)
{
	struct trace_ring *ring;

	lock_assert_held(&trace_lock);
	if (ring_at(index))
		return true;
	ring = os_map(ring_bytes());
	if (!ring)
		return false;
	ring->limit = trace_control.ring_events;
	ring->mask = trace_control.ring_events - 1;
	ring->index = index;
	if (index >= trace_control.nr_rings)
		__atomic_store_n(&trace_control.nr_rings, index + 1UL, __ATOMIC_RELEASE);
	__atomic_store_n(&trace_rings.offset[index], (uintptr_t)ring - (uintptr_t)&trace_rings,
			 __ATOMIC_RELEASE);
	return true;
}

static bool ring_create(unsigned index, gfp_t gfp)
{
	bool done;

	if (!gfpflags_allow_blocking(gfp) || !lock_get(&trace_lock, gfp))
		return false;
	done = ring_create_locked(index);
	lock_release(&trace_lock);
	return done;
}

/* There is no reader any more. What it had of memory is given back by the next call that may sleep: as if it had wished so. */
static void give_up(void)
{
	uint32_t applied = __atomic_load_n(&trace_control.applied, __ATOMIC_RELAXED);

	__atomic_store_n(&trace_control.want_mode, TRACE_OFF, __ATOMIC_RELAXED);
	__atomic_store_n(&trace_control.mode, TRACE_OFF, __ATOMIC_RELAXED);
	__atomic_store_n(&trace_control.applied, applied - 1, __ATOMIC_RELEASE);
}

/* A full ring of which the oldest events may go: on with the limit, unless the reader was here. */
static void raise_limit(struct trace_ring *ring)
{
	uint64_t limit = __atomic_load_n(&ring->limit, __ATOMIC_RELAXED);
	uint64_t next = limit + trace_control.ring_events;

	/* as it is nobody else's, trace_ring_is_abandoned() goes on to count */
	trace_ring_expect(ring, next);
	__atomic_compare_exchange_n(&ring->limit, &limit, next, false, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);
}

/* A full ring: is there room now? Waits for it where that was asked for and gfp allows. */
static bool wait_for_room(struct trace_ring *ring, gfp_t gfp)
{
	bool may_wait = trace_control.want_full == TRACE_WAIT && gfpflags_allow_blocking(gfp);
	_Atomic uint32_t word = 0;

	for (unsigned ms = 0; ms < TRACE_WAIT_MS && trace_mode() != TRACE_OFF; ms++) {
		if (trace_ring_is_abandoned(ring)) {
			give_up();
			count(&ring->lost);
			return false;
		}
		if (trace_control.want_full == TRACE_OVERWRITE) {
			raise_limit(ring);
			return true;
		}
		if (!may_wait)
			return false;
		if (!ms)
			port_futex_wake_others(&bell);
		port_futex_wait_ms(&word, 0, 1);
		if (__atomic_load_n(&ring->head, __ATOMIC_RELAXED) <
		    __atomic_load_n(&ring->limit, __ATOMIC_RELAXED))
			return true;
	}
	return false;
}

static unsigned gfp_code(gfp_t gfp)
{
	for (unsigned i = 0; i < TRACE_GFP_OTHER; i++) {
		uint32_t known = __atomic_load_n(&trace_control.gfp[i], __ATOMIC_RELAXED);

		if (known == TRACE_GFP_NONE &&
		    __atomic_compare_exchange_n(&trace_control.gfp[i], &known, gfp, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return i;
		if (known == gfp)
			return i;
	}
	return TRACE_GFP_OTHER;
}

/* As word 3 has it. 0, not known, for a thread that has not had a call yet which may make system calls. */
static uint64_t thread_id(gfp_t gfp)
{
	if (unlikely(!trace_thread.tid) && gfpflags_allow_blocking(gfp))
		trace_thread.tid = (uint64_t)(uint32_t)port_gettid() << TRACE_REQ_BITS;
	return trace_thread.tid;
}

/* Become the one writer of a ring that has no CPU, of an event that is on this thread's stack. */
static bool take_busy(struct trace_ring *ring, const uint64_t words[3])
{
	uint64_t self = (uintptr_t)words, holder = 0;

	for (unsigned spins = 0; spins < LOCKED_SPINS; spins++) {
		if (__atomic_compare_exchange_n(&ring->busy, &holder, self, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return true;
		if (holder == self)
			return true;
		holder = 0;
		__builtin_ia32_pause();
	}
	return false;
}

/* [busy] False: it is full. */
static bool put_busy(struct trace_ring *ring, const uint64_t words[3])
{
	uint64_t head = ring->head, *event;

	if (head >= __atomic_load_n(&ring->limit, __ATOMIC_RELAXED))
		return false;
	event = (uint64_t *)((char *)ring + TRACE_RING_HEADER) + (head & ring->mask) * TRACE_WORDS;
	event[0] = __builtin_ia32_rdtsc();
	memcpy(event + 1, words, 3 * sizeof(*words));
	__atomic_store_n(&ring->head, head + 1, __ATOMIC_RELEASE);
	return true;
}

/* False: it can't be had for this event. */
static bool wait_for_busy(gfp_t gfp)
{
	_Atomic uint32_t word = 0;

	if (!gfpflags_allow_blocking(gfp))
		return false;
	/* its holder is off its CPU */
	port_futex_wait_ms(&word, 0, BUSY_WAIT_MS);
	return true;
}

/* The ring of a thread without an index; NULL: it is not there, and can't be mapped now. */
static struct trace_ring *locked_ring(uint32_t on, gfp_t gfp)
{
	unsigned index = TRACE_NR_CPUS +
			 (unsigned)(((thread_id(gfp) >> TRACE_REQ_BITS) + on) % TRACE_NR_LOCKED);
	struct trace_ring *ring = ring_at(index);

	if (!ring && ring_create(index, gfp))
		ring = ring_at(index);
	return ring;
}

/* From a ring that is taken on to the next one, for good. False: there is none, or all were tried. */
static bool next_ring(struct trace_ring **ring, unsigned tries, gfp_t gfp)
{
	struct trace_ring *next = locked_ring(rings_on + 1, gfp);

	if (!next || tries % TRACE_NR_LOCKED == TRACE_NR_LOCKED - 1)
		return false;
	rings_on++;
	*ring = next;
	return true;
}

/* A thread without an index. */
static void write_locked(const uint64_t words[3], gfp_t gfp)
{
	struct trace_ring *ring = locked_ring(rings_on, gfp);

	if (!ring) {
		count(&trace_control.lost);
		return;
	}
	for (unsigned i = 0; i < TRIES; i++) {
		bool done;

		if (!take_busy(ring, words)) {
			if (!next_ring(&ring, i, gfp) && !wait_for_busy(gfp))
				break;
			continue;
		}
		done = put_busy(ring, words);
		__atomic_store_n(&ring->busy, 0, __ATOMIC_RELEASE);
		if (done)
			return;
		if (!wait_for_room(ring, gfp))
			break;
	}
	/* what waited for room when tracing ended is not of it */
	if (trace_mode() != TRACE_OFF)
		count(&ring->lost);
}

bool trace_put_again(const uint64_t words[3], gfp_t gfp, unsigned tries)
{
	uint32_t index = rseq_index();
	struct trace_ring *ring;

	if (index >= RSEQ_NR_CPUS) {
		write_locked(words, gfp);
		return false;
	}
	ring = ring_at(index);
	if (tries < TRIES && (ring ? (__atomic_load_n(&ring->head, __ATOMIC_RELAXED) <
					      __atomic_load_n(&ring->limit, __ATOMIC_RELAXED) ||
				      wait_for_room(ring, gfp)) :
				     ring_create(index, gfp)))
		return true;
	/* as in write_locked() */
	if (trace_mode() != TRACE_OFF)
		count(ring ? &ring->lost : &trace_control.lost);
	return false;
}

void trace_write(const struct trace_event *event)
{
	trace_put(trace_word_ptr(event->ptr, event->type, gfp_code(event->gfp)),
		  trace_word_site(event->call_site, event->stack, event->cache),
		  min_size(event->bytes_req, TRACE_REQ_MASK) | thread_id(event->gfp), event->gfp);
}

/* To look is to look at a clock: not at each call that comes here. With samples fewer come. */
static bool is_time_to_look(void)
{
	enum trace_mode mode = trace_mode();

	if (mode == TRACE_OFF)
		return false;
	if (trace_thread.until_look) {
		trace_thread.until_look--;
		return false;
	}
	trace_thread.until_look = (mode == TRACE_SAMPLE ? LOOK_EVERY_SAMPLE : LOOK_EVERY) - 1;
	return true;
}

void trace_undivert(void)
{
	uint8_t *divert = (uint8_t *)trace_control.divert;

	if (trace_wish_is_pending())
		return;
	__atomic_store_n(divert, 0, __ATOMIC_SEQ_CST);
	/* a wish that came in between has set it before */
	if (trace_wish_is_pending())
		__atomic_store_n(divert, trace_diversion(trace_control.want_mode),
				 __ATOMIC_SEQ_CST);
}

static void apply_locked(uint32_t generation)
{
	uint32_t mode = trace_control.want_mode;
	uint64_t events = trace_control.want_ring_events;

	lock_assert_held(&trace_lock);
	if (!trace_control.nr_rings && mode != TRACE_OFF) {
		if (!is_power_of_2(events) || events < RING_EVENTS_MIN || events > RING_EVENTS_MAX)
			events = 1UL << 16;
		trace_control.ring_events = (uint32_t)events;
		trace_control.pid = (uint32_t)port_getpid();
	}
	if (mode != TRACE_OFF && trace_control.want_stacks)
		trace_depot_create(trace_mode() == TRACE_OFF);
	trace_reader_begins();
	__atomic_store_n(&trace_control.mode, mode, __ATOMIC_RELEASE);
	__atomic_store_n(&trace_control.applied, generation, __ATOMIC_RELEASE);
	if (mode != TRACE_OFF)
		return;
	trace_undivert();
	trace_depot_discard();
	for (unsigned i = 0; i < trace_control.nr_rings; i++)
		if (ring_at(i))
			os_discard((char *)ring_at(i) + TRACE_RING_HEADER,
				   ring_bytes() - TRACE_RING_HEADER);
}

void trace_poll(gfp_t gfp)
{
	uint32_t generation = __atomic_load_n(&trace_control.generation, __ATOMIC_ACQUIRE);

	if (likely(generation == __atomic_load_n(&trace_control.applied, __ATOMIC_RELAXED))) {
		if (unlikely(is_time_to_look()) && trace_reader_is_silent())
			give_up();
		return;
	}
	if (!gfpflags_allow_blocking(gfp) || !lock_try(&trace_lock))
		return;
	apply_locked(generation);
	lock_release(&trace_lock);
}

void trace_init(void)
{
	lock_init(&trace_lock, LOCK_RANK_TRACE);
	for (unsigned i = 0; i < TRACE_GFPS; i++)
		trace_control.gfp[i] = TRACE_GFP_NONE;
	trace_control.gfp[TRACE_GFP_KERNEL] = GFP_KERNEL;
	trace_control.version = TRACE_VERSION;
	trace_control.bytes = sizeof(trace_control);
	trace_control.rings = (uintptr_t)trace_rings.offset;
	trace_control.base = (uintptr_t)&trace_rings;
	trace_control.bell = (uintptr_t)&bell;
	trace_control.want_sample_bytes = params.trace_sample;
	if (params.trace && params.trace_pid == (size_t)port_getpid()) {
		trace_control.want_mode = (uint32_t)params.trace;
		trace_control.want_full = (uint32_t)params.trace_full;
		trace_control.want_ring_events = params.trace_ring;
		trace_control.want_stacks = params.trace_stacks;
		trace_control.generation = trace_control.looker = 1;
		trace_poll(GFP_KERNEL);
	}
	__atomic_store_n(&trace_control.magic, TRACE_MAGIC, __ATOMIC_RELEASE);
}

void trace_fork_child(void)
{
	trace_thread.tid = 0;
	trace_control.want_mode = TRACE_OFF;
	trace_control.mode = TRACE_OFF;
	trace_control.applied = trace_control.generation;
	trace_control.lost = 0;
	for (unsigned i = 0; i < trace_control.nr_rings; i++) {
		struct trace_ring *ring = ring_at(i);

		trace_rings.offset[i] = 0;
		/* not unmapped: a handler that forked may have interrupted somebody who looks at it */
		if (ring)
			os_discard((char *)ring + TRACE_RING_HEADER,
				   ring_bytes() - TRACE_RING_HEADER);
	}
	trace_control.nr_rings = 0;
	trace_look_fork_child();
	trace_depot_fork_child();
}

/* What comes from now on is not waited for: handlers, and other threads, may go on to allocate. */
static void note_ends(void)
{
	for (unsigned i = 0; i < trace_control.nr_rings; i++) {
		struct trace_ring *ring = ring_at(i);

		if (ring)
			ring->end = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
	}
}

/* Events before that which the reader has not taken. */
static uint64_t nr_left(void)
{
	uint64_t left = 0;

	for (unsigned i = 0; i < trace_control.nr_rings; i++) {
		const struct trace_ring *ring = ring_at(i);
		uint64_t limit, end;

		if (!ring)
			continue;
		limit = __atomic_load_n(&ring->limit, __ATOMIC_RELAXED);
		end = ring->end + trace_control.ring_events;
		left += end > limit ? end - limit : 0;
	}
	return left;
}

void trace_end(void)
{
	uint64_t left = UINT64_MAX, start = port_clock_ms(), progress = start, now = start;

	if (trace_mode() == TRACE_OFF)
		return;
	note_ends();
	__atomic_store_n(&trace_control.ending, 1, __ATOMIC_RELEASE);
	port_futex_wake_others(&bell);
	for (; now - progress < TRACE_WAIT_MS && now - start < TRACE_END_MS;
	     now = port_clock_ms()) {
		uint64_t before = left;

		left = trace_control.want_full == TRACE_OVERWRITE ? 0 : nr_left();
		if (!left && __atomic_load_n(&trace_control.seen_ending, __ATOMIC_ACQUIRE))
			return;
		if (left < before)
			progress = now;
		trace_pause(now - start);
	}
}
