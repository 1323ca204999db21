/* SPDX-License-Identifier: MIT */
/*
 * look.c - have the reader look at which modules there are, before one goes and another one comes to its place.
 *
 * The kernel's counterpart is the event of mmap(2) that perf has. Here the reader looks at /proc/PID/maps by itself, now and then, and
 * would not see what came and went in between. So who takes a module away asks for a look before and after that (interpose/dlclose.c):
 *
 *  1. want_look is raised, and the bell is rung (format.h);
 *  2. the reader's next pass sees it, reads the maps, and then writes the number that it had seen to `looked`;
 *  3. here that is waited for, TRACE_LOOK_MS at most.
 *
 * Nobody is waited for who has not said that he answers (`looker` is the generation of his wishes), nor one who was waited for in vain and
 * has given no sign of life since (`beat`): so a reader that was killed costs one wait. Each look that was not answered, or not
 * asked for therefore, is counted in `unlooked`: then the reader knows that it may have missed something.
 *
 * Several threads may ask at once: one look that begins after all of them did answers all. The tracing may end meanwhile, by
 * the reader or since there is none: then nobody waits any more. In the child of fork nothing is traced. A signal handler that comes here
 * waits as well, and holds no lock that the reader wants. No locks; may sleep.
 */
#include "lib/port.h"
#include "os/os.h"
#include "trace/trace.h"

#define STEP_US 50U  /* the reader was woken, and is quick */
#define QUICK_MS 10U /* or is not: from then on in milliseconds */

/* The reader's beat + 1 when it did not answer; 0: it always did. */
static uint64_t beat_in_vain;

static uint64_t beat_now(void)
{
	return __atomic_load_n(&trace_control.beat, __ATOMIC_RELAXED) + 1UL;
}

/* How often loads are held, and by this thread. */
static uint32_t held;
static _Thread_local uint32_t held_here initial_exec;

void trace_pause(uint64_t waited_ms)
{
	_Atomic uint32_t word = 0;

	port_futex_wait_us(&word, 0, waited_ms < QUICK_MS ? STEP_US : 1000);
}

static bool is_answered(uint32_t look)
{
	/* pairs with the reader, which reads the maps before */
	return (int32_t)(__atomic_load_n(&trace_control.looked, __ATOMIC_ACQUIRE) - look) >= 0;
}

static bool reader_answers(void)
{
	return trace_mode() != TRACE_OFF &&
	       __atomic_load_n(&trace_control.looker, __ATOMIC_RELAXED) ==
		       __atomic_load_n(&trace_control.applied, __ATOMIC_RELAXED);
}

static bool wait_for_answer(uint32_t look)
{
	const uint32_t *bell = (const uint32_t *)trace_control.bell;
	uint64_t start = port_clock_ms(), waited = 0;

	for (; waited < TRACE_LOOK_MS; waited = port_clock_ms() - start) {
		/* again and again: it may just not have slept yet */
		port_futex_wake_others(bell);
		trace_pause(waited);
		if (is_answered(look) || !reader_answers())
			return true;
	}
	return is_answered(look);
}

bool trace_look(void)
{
	uint32_t look;

	if (!reader_answers())
		return false;
	if (beat_now() != __atomic_load_n(&beat_in_vain, __ATOMIC_RELAXED)) {
		/* all that was done before is there for who sees it */
		look = __atomic_add_fetch(&trace_control.want_look, 1, __ATOMIC_RELEASE);
		if (wait_for_answer(look))
			return true;
		__atomic_store_n(&beat_in_vain, beat_now(), __ATOMIC_RELAXED);
	}
	__atomic_fetch_add(&trace_control.unlooked, 1, __ATOMIC_RELEASE);
	return false;
}

void trace_hold_loads(void)
{
	held_here++;
	__atomic_fetch_add(&held, 1, __ATOMIC_ACQ_REL);
}

void trace_release_loads(void)
{
	__atomic_fetch_sub(&held, 1, __ATOMIC_RELEASE);
	held_here--;
}

void trace_wait_to_load(void)
{
	uint64_t start, waited = 0;

	if (likely(!__atomic_load_n(&held, __ATOMIC_ACQUIRE)) || held_here)
		return;
	for (start = port_clock_ms(); waited < TRACE_LOOK_MS; waited = port_clock_ms() - start) {
		if (!__atomic_load_n(&held, __ATOMIC_ACQUIRE) || trace_mode() == TRACE_OFF)
			return;
		trace_pause(waited);
	}
}

void trace_look_fork_child(void)
{
	held = held_here;
}
