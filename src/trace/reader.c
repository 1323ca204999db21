/* SPDX-License-Identifier: MIT */
/*
 * reader.c - is there still somebody who reads? A reader that was killed has told nobody.
 *
 * The kernel needs none of this: a file that is open there is closed when its process dies. Here the reader is another process,
 * which is known by what it writes only:
 *
 *	the limits of rings	one that is full, and whose limit nobody outside moves for TRACE_GIVE_UP_MS, is abandoned
 *	trace_control.beat	one that is the same for TRACE_SILENT_MS: the reader is silent. That finds out where rings never
 *				fill: with samples, or in a program that allocates little
 *
 * Either ends the tracing. Nothing else is asked: whether a process of some number lives is another question in each
 * PID namespace, and takes a system call that a filter may punish.
 *
 * Time: looks are taken by who writes events, so it may be long from one to the next, and a look alone says little. After a
 * long time without one the program may just have been stopped together with its reader (Ctrl-Z at a terminal stops both,
 * a virtual machine all of it), and look first. So one look that finds that it was too long only doubts; a second one, an eighth of
 * the patience later, decides. The clock does not count while the machine is suspended. A reader that alone is stopped, by Ctrl-Z or
 * a debugger, is given up after the same time: it is told by `mode` when it goes on.
 *
 * Who only listens to probes gives no beat, and needs none: its semaphores are the kernel's, which lowers them when it dies.
 *
 * Races, all of them with a reader that is another process, so without a lock:
 *
 *	a new reader comes while the last one is being given up: it beats, and raises limits, before it writes its
 *	wishes. What looks later sees that; what had decided before may still write want_mode and mode, a few instructions
 *	later: then the reader finds the tracing off, as after any end
 *	a reader goes on after it was given up: it may turn `divert` and hit_table once more before it sees that: then the next
 *	call turns them back (observe.c, poll())
 *	threads that look at the same time: `heard` is one word, changed by compare-and-swap: of two the first counts. In
 *	a ring full_since is written before full_limit, and who sees the limit sees since when
 *	a reader of another version: refused by TRACE_VERSION, so that each one here has a beat
 *
 * Any context; no locks, no system call.
 */
#include "trace/trace.h"

#include "lib/port.h"
#include "os/os.h"

#define RING_DOUBT (1UL << 63) /* in full_limit: it was too long, once */
#define HEARD_DOUBT (1UL << 31)
#define HEARD_MS_MASK (HEARD_DOUBT - 1)
#define GRACE(patience) ((patience) / 8)

unsigned trace_give_up_ms = TRACE_GIVE_UP_MS;
unsigned trace_silent_ms = TRACE_SILENT_MS;

/* The beat that was seen last << 32 | HEARD_DOUBT | when it was seen first, or doubt came. */
static uint64_t heard;

bool trace_ring_is_abandoned(struct trace_ring *ring)
{
	uint64_t known = __atomic_load_n(&ring->full_limit, __ATOMIC_ACQUIRE);
	uint64_t since = __atomic_load_n(&ring->full_since, __ATOMIC_RELAXED);
	uint64_t limit = __atomic_load_n(&ring->limit, __ATOMIC_RELAXED), now = port_clock_ms();
	bool doubt = known & RING_DOUBT;

	if ((known & ~RING_DOUBT) == limit) {
		unsigned patience = doubt ? GRACE(trace_give_up_ms) : trace_give_up_ms;

		/* another thread may have looked at the clock later */
		if (now <= since || now - since <= patience)
			return false;
		if (doubt)
			return true;
		limit |= RING_DOUBT;
	}
	__atomic_store_n(&ring->full_since, now, __ATOMIC_RELAXED);
	/* pairs with the load above */
	__atomic_store_n(&ring->full_limit, limit, __ATOMIC_RELEASE);
	return false;
}

void trace_ring_expect(struct trace_ring *ring, uint64_t limit)
{
	uint64_t known = __atomic_load_n(&ring->full_limit, __ATOMIC_RELAXED);

	__atomic_store_n(&ring->full_limit, limit | (known & RING_DOUBT), __ATOMIC_RELEASE);
}

static uint64_t heard_now(uint32_t beat)
{
	return (uint64_t)beat << 32 | (port_clock_ms() & HEARD_MS_MASK);
}

void trace_reader_begins(void)
{
	uint32_t beat = __atomic_load_n(&trace_control.beat, __ATOMIC_RELAXED);

	__atomic_store_n(&heard, heard_now(beat), __ATOMIC_RELEASE);
}

bool trace_reader_is_silent(void)
{
	/* before the clock, so that this is not the later one; pairs with the stores */
	uint64_t known = __atomic_load_n(&heard, __ATOMIC_ACQUIRE);
	uint64_t now = heard_now(__atomic_load_n(&trace_control.beat, __ATOMIC_RELAXED));
	bool doubt = known & HEARD_DOUBT;

	if (known >> 32 == now >> 32) {
		unsigned patience = doubt ? GRACE(trace_silent_ms) : trace_silent_ms;

		if (((now - known) & HEARD_MS_MASK) <= patience)
			return false;
		if (doubt)
			return true;
		now |= HEARD_DOUBT;
	}
	__atomic_compare_exchange_n(&heard, &known, now, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
	return false;
}
