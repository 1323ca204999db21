/* SPDX-License-Identifier: MIT */
/*
 * reclaim.c - shrinkers, called in turn.
 *
 * The kernel's counterpart is mm/shrinker.c and kswapd. A period is a quarter of
 * reclaim.age_ms, so free memory goes back at most a quarter late. One thread
 * runs at a time; another that polls meanwhile goes on with its work: the
 * deadline is claimed by compare-and-swap, no lock is needed.
 *
 * Without the kswapd thread an idle process does not poll: what it holds free
 * is bounded by the watermarks (page.dirty_max, vmalloc.lazy_max).
 */
#include "page/reclaim.h"

#include "lib/param.h"
#include "lib/port.h"
#include "os/os.h"

#include <stdatomic.h>

static struct shrinker *shrinkers;
static _Atomic uint64_t next_poll_ms;
static _Atomic bool excess; /* a watermark was passed where nobody could wait */

void shrinker_register(struct shrinker *shrinker)
{
	shrinker->next = shrinkers;
	shrinkers = shrinker;
}

size_t reclaim_run(enum reclaim what)
{
	size_t bytes = 0;

	for (struct shrinker *shrinker = shrinkers; shrinker; shrinker = shrinker->next)
		bytes += shrinker->shrink(what);
	return bytes;
}

void reclaim_wake(void)
{
	atomic_store_explicit(&excess, true, memory_order_relaxed);
}

void reclaim_poll(void)
{
	if (unlikely(atomic_load_explicit(&excess, memory_order_relaxed)) &&
	    atomic_exchange_explicit(&excess, false, memory_order_relaxed))
		reclaim_run(RECLAIM_EXCESS);

	uint64_t now = port_clock_ms();
	uint64_t due = atomic_load_explicit(&next_poll_ms, memory_order_relaxed);

	if (likely(now < due))
		return;

	uint64_t period = params.reclaim_age_ms / 4;

	if (!atomic_compare_exchange_strong(&next_poll_ms, &due, now + (period ? period : 1)))
		return;
	if (due)
		reclaim_run(RECLAIM_AGE);
}
