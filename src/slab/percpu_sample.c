/* SPDX-License-Identifier: MIT */
/*
 * percpu_sample.c - hits while samples are taken: objects that are known to be none.
 *
 * The kernel has nothing like it. Here the hit path of allocations must not ask whether one is a sample, not even count. So that
 * is asked for a whole sheaf, when a miss brings it:
 *
 *	pushes   go to the main sheaf, as ever;
 *	pops     come from another one, of objects that were tested: `hit` leads there (percpu.h);
 *	a miss   tests the one object that it is for: is it the sample? Then it takes a sheaf with objects, of which the main one comes
 *		 first, tests as many as pass, and puts these where pops are from (cache.c).
 *
 * Through one sheaf an object that was freed would be popped again at once, and nobody would have counted.
 *
 * Tests: word PERCPU_COUNTDOWN + slot says which of the class' objects to come is the next sample. The distance in bytes is
 * exponentially distributed, so in objects of one size it is geometrically, and each is a sample with probability
 * 1 - e^(-size / mean), whatever the others are. The k-th object that is allocated here gets the k-th answer: who asks for it,
 * and in what rhythm, changes nothing. To know answers ahead does no harm as long as they are used. Where tested objects are not
 * allocated after all, their answers are put back in front (percpu_untest()), or forgotten together with what is known of the
 * next ones (drains): without them that would come too soon. Of the kmalloc classes alone: no object of another cache is a sample.
 *
 * Races. Each change is one step on whatever CPU the thread runs on by then, of words that mean the same everywhere:
 *   - a thread goes to another CPU between a test and the step that puts the sheaf there: answers of one CPU are used on
 *     another. Each is still used once, and why the thread moved has nothing to do with them. Where the sheaf finds no place they
 *     are put back on the CPU where the thread is;
 *   - an object gets among the tested ones by a miss alone. So a free need not know that samples begin. A miss that does
 *     not know it yet puts its sheaf to the main ones, where anything may be; one that does not know that they
 *     ended leaves a tested sheaf behind;
 *   - an allocation that began before samples did on its CPU may take its object from the main sheaf: it is one of before. One that
 *     is held up from one session into another may use the answers of that one, as many as a sheaf has;
 *   - a drain, or whoever stops all CPUs, comes between a test and the step that puts the sheaf there: what is counted and what is
 *     installed differ by one sheaf then, on that CPU.
 *
 * Begin: an area's tested sheaves are for a session, PERCPU_SESSION: what the reader told last, as the mean may be another
 * one. The first miss of each CPU that finds another one there takes what is left away, step by step, and then publishes the
 * area; until it has, allocations get single objects from the slabs, each asked for by its thread's count. A CPU's count says for
 * which session it was drawn, and is drawn anew where that is another.
 * End: pops are from the main sheaves again. A tested sheaf that has objects left serves the next miss of its
 * slot, or goes with a drain.
 *
 * Where all calls are diverted, and in locked mode, each call is asked by itself (kmalloc/observe.c), and these sheaves rest.
 *
 * Locks: none but percpu_lock to begin. Any context; a vfork child does not come here.
 */
#include "slab/cache_internal.h"
#include "slab/percpu_internal.h"

#define TRIES 16
#define TAG_SHIFT 48
#define COUNT_MASK ((1UL << TAG_SHIFT) - 1)

/* Which samples are taken now; never 0. */
static uintptr_t session(void)
{
	return __atomic_load_n(&trace_control.applied, __ATOMIC_RELAXED) + 1UL;
}

bool percpu_session_is_begun(const uintptr_t *area)
{
	return __atomic_load_n(&area[PERCPU_SESSION], __ATOMIC_RELAXED) == session();
}

/* What a session's counts are marked with. */
static uintptr_t tag_of(uintptr_t number)
{
	return (number * 0x9e3779b97f4a7c15UL) >> TAG_SHIFT << TAG_SHIFT;
}

/* Objects that were left: nobody pops there any more, as the entry of `hit` is another one or 0. */
static bool take_rest(const uintptr_t *area, size_t slot)
{
	uintptr_t top = __atomic_load_n(&area[PERCPU_TESTED + slot], __ATOMIC_RELAXED);
	struct slab_sheaf *sheaf;

	if (likely(top == (uintptr_t)&percpu_zero_sheaf[1]))
		return true;
	if (!percpu_cmpxchg(PERCPU_TESTED + slot, top, (uintptr_t)&percpu_zero_sheaf[1],
			    GFP_NOWAIT))
		return false;
	sheaf = sheaf_of_top((void **)top);
	sheaf->top = (void **)top;
	kmem_cache_defer_sheaf(&kmem_caches[slot], sheaf);
	return true;
}

bool percpu_begin_session_locked(unsigned index)
{
	uintptr_t *area = area_at(percpu_area_offsets[index]);
	uintptr_t number = session();

	lock_assert_held(&percpu_lock);
	if (percpu_session_is_begun(area))
		return true;
	__atomic_store_n(&percpu.hit[index], 0, __ATOMIC_SEQ_CST);
	for (size_t slot = 1; slot < KMEM_CACHES_MAX; slot++)
		if (!take_rest(area, slot))
			return false;
	__atomic_store_n(&area[PERCPU_SESSION], number, __ATOMIC_RELAXED);
	return true;
}

/* A count, and for which session it is. */
struct count {
	uintptr_t word; /* as it was: a hint, to compare with */
	uintptr_t left; /* which object from now on is the sample */
	uintptr_t tag;
};

/* False: there is no area. */
static bool look(size_t slot, struct count *count)
{
	if (!percpu_look(PERCPU_COUNTDOWN + slot, &count->word))
		return false;
	count->tag = tag_of(session());
	count->left = count->word & COUNT_MASK;
	if (unlikely(!count->left || (count->word & ~COUNT_MASK) != count->tag))
		count->left = trace_draw(kmem_caches[slot].size);
	return true;
}

static bool change(size_t slot, const struct count *count, uintptr_t left)
{
	return percpu_cmpxchg(PERCPU_COUNTDOWN + slot, count->word, count->tag | left, GFP_NOWAIT);
}

bool percpu_sample(size_t slot)
{
	struct count count;

	for (int i = 0; i < TRIES && look(slot, &count); i++)
		if (likely(change(slot, &count, count.left - 1)))
			return count.left == 1;
	return trace_sample(kmem_caches[slot].size);
}

bool percpu_test_all(size_t slot, unsigned n)
{
	struct count count;

	if (unlikely(!percpu_look(PERCPU_COUNTDOWN + slot, &count.word)))
		return false;
	/* not drawn, or for other samples: the long way knows what to do */
	count.tag = tag_of(session());
	count.left = count.word ^ count.tag;
	return count.left - n - 1 < COUNT_MASK - n && change(slot, &count, count.left - n);
}

unsigned percpu_test(size_t slot, unsigned n)
{
	struct count count;

	for (int i = 0; i < TRIES && look(slot, &count); i++) {
		unsigned passing = (unsigned)min_size(n, count.left - 1);

		if (likely(change(slot, &count, count.left - passing)))
			return passing;
	}
	return 0;
}

void percpu_untest(size_t slot, unsigned n)
{
	struct count count;

	for (int i = 0; i < TRIES && look(slot, &count); i++)
		if (change(slot, &count, count.left + n))
			return;
}
