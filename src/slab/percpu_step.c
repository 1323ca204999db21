/* SPDX-License-Identifier: MIT */
/*
 * percpu_step.c - what the slow path does to this CPU's area: each is one atomic step.
 *
 * The kernel's counterparts are what __pcs_replace_empty_main() and its like do under local_trylock(). Here a step is a
 * restartable sequence that commits one word (arch/.../rseq.h), on whatever CPU the thread is by then; in locked mode the same
 * under the area's lock. It finds the area by the table `backing`, so that it works while the hit path is kept off.
 *
 * A step is refused, and nothing is done, where its condition does not hold or there is no area now. Any context that gfp
 * states; a child of vfork gets no step.
 *
 * Locks: in locked mode that of the thread's area (rank AREA), for a few instructions.
 */
#include "lib/lock.h"
#include "slab/percpu_internal.h"

/* Locked mode: this thread's area, its lock held; NULL when it can't be had. */
static uintptr_t *area_lock(unsigned *index, gfp_t gfp)
{
	*index = current_index();
	if (!lock_get(&percpu_area_locks[*index], gfp))
		return NULL;

	uintptr_t offset = __atomic_load_n(&percpu.backing[*index], __ATOMIC_ACQUIRE);

	if (offset)
		return area_at(offset);
	lock_release(&percpu_area_locks[*index]);
	return NULL;
}

static bool locked_pop(size_t word, void **object, gfp_t gfp)
{
	unsigned index;
	uintptr_t *area = area_lock(&index, gfp);

	if (!area)
		return false;

	void **top = (void **)area[word];
	bool found = !sheaf_is_sentinel(top[-1]);

	if (found) {
		*object = top[-1];
		area[word] = (uintptr_t)(top - 1);
	}
	lock_release(&percpu_area_locks[index]);
	return found;
}

static bool locked_push(size_t slot, void *object, gfp_t gfp)
{
	unsigned index;
	uintptr_t *area = area_lock(&index, gfp);

	if (!area)
		return false;

	void **top = (void **)area[PERCPU_MAIN + slot];
	bool room = !sheaf_is_sentinel(top[0]);

	if (room) {
		top[0] = object;
		area[PERCPU_MAIN + slot] = (uintptr_t)(top + 1);
	}
	lock_release(&percpu_area_locks[index]);
	return room;
}

/* `at` is -1 to ask whether the sheaf is empty, 0 whether it is full. */
static bool locked_replace(size_t word, int at, uintptr_t top, uintptr_t *sentinel, gfp_t gfp)
{
	unsigned index;
	uintptr_t *area = area_lock(&index, gfp);

	if (!area)
		return false;
	*sentinel = (uintptr_t)((void **)area[word])[at];

	bool due = *sentinel & SHEAF_SENTINEL;

	if (due)
		area[word] = top;
	lock_release(&percpu_area_locks[index]);
	return due;
}

static bool locked_cmpxchg(size_t word, uintptr_t expected, uintptr_t desired, gfp_t gfp)
{
	unsigned index;
	uintptr_t *area = area_lock(&index, gfp);

	if (!area)
		return false;

	bool same = area[word] == expected;

	if (same)
		__atomic_store_n(&area[word], desired, __ATOMIC_RELAXED);
	lock_release(&percpu_area_locks[index]);
	return same;
}

bool percpu_pop_slow(size_t word, void **object, gfp_t gfp)
{
	if (unlikely(percpu_vfork_depth))
		return false;
	if (unlikely(percpu_chosen_mode == PERCPU_LOCKED))
		return locked_pop(word, object, gfp);
	return rseq_pop(PERCPU_BACKING, word, object);
}

bool percpu_push_slow(size_t slot, void *object, gfp_t gfp)
{
	if (unlikely(percpu_vfork_depth))
		return false;
	if (unlikely(percpu_chosen_mode == PERCPU_LOCKED))
		return locked_push(slot, object, gfp);
	return rseq_push(PERCPU_BACKING, slot, object);
}

bool percpu_replace_empty(size_t word, struct slab_sheaf *sheaf, struct slab_sheaf **old, gfp_t gfp)
{
	uintptr_t sentinel;
	bool done;

	if (unlikely(percpu_vfork_depth))
		return false;
	if (unlikely(percpu_chosen_mode == PERCPU_LOCKED))
		done = locked_replace(word, -1, (uintptr_t)sheaf->top, &sentinel, gfp);
	else
		done = rseq_replace_empty(PERCPU_BACKING, word, (uintptr_t)sheaf->top, &sentinel);
	if (!done)
		return false;
	*old = sheaf_of_sentinel(sentinel);
	if (*old)
		(*old)->top = &(*old)->slots[1];
	return true;
}

bool percpu_replace_full(size_t slot, struct slab_sheaf *sheaf, struct slab_sheaf **old, gfp_t gfp)
{
	uintptr_t sentinel;
	bool done;

	if (unlikely(percpu_vfork_depth))
		return false;
	if (unlikely(percpu_chosen_mode == PERCPU_LOCKED))
		done = locked_replace(PERCPU_MAIN + slot, 0, (uintptr_t)sheaf->top, &sentinel, gfp);
	else
		done = rseq_replace_full(PERCPU_BACKING, PERCPU_MAIN + slot, (uintptr_t)sheaf->top,
					 &sentinel);
	if (!done)
		return false;
	*old = sheaf_of_sentinel(sentinel);
	return true;
}

bool percpu_cmpxchg(size_t word, uintptr_t expected, uintptr_t desired, gfp_t gfp)
{
	if (unlikely(percpu_vfork_depth))
		return false;
	if (unlikely(percpu_chosen_mode == PERCPU_LOCKED))
		return locked_cmpxchg(word, expected, desired, gfp);
	return rseq_cmpxchg(PERCPU_BACKING, word, expected, desired);
}

/* Those that follow look first, which is a hint; the compare decides, on whatever CPU we are by then. */

void **percpu_take_sheaf(size_t word, gfp_t gfp)
{
	uintptr_t value;
	void **top;

	if (!percpu_look(word, &value))
		return NULL;
	/* a sheaf that is another's by now, or was freed, reads as one */
	top = (void **)value;
	if (sheaf_is_sentinel(__atomic_load_n(&top[-1], __ATOMIC_RELAXED)))
		return NULL;
	return percpu_cmpxchg(word, value, (uintptr_t)&percpu_zero_sheaf[1], gfp) ? top : NULL;
}

bool percpu_put_sheaf(size_t word, struct slab_sheaf *sheaf, gfp_t gfp)
{
	return percpu_cmpxchg(word, (uintptr_t)&percpu_zero_sheaf[1], (uintptr_t)sheaf->top, gfp);
}

struct slab_sheaf *percpu_take_spare(size_t slot, bool full, gfp_t gfp)
{
	uintptr_t spare;

	if (!percpu_look(PERCPU_SPARE + slot, &spare))
		return NULL;
	if (!spare || (spare & SPARE_FULL) != (full ? SPARE_FULL : 0))
		return NULL;
	if (!percpu_cmpxchg(PERCPU_SPARE + slot, spare, 0, gfp))
		return NULL;
	return (struct slab_sheaf *)(spare & ~SPARE_FULL);
}

bool percpu_put_spare(size_t slot, struct slab_sheaf *sheaf, bool full, gfp_t gfp)
{
	uintptr_t spare = (uintptr_t)sheaf | (full ? SPARE_FULL : 0);

	return percpu_cmpxchg(PERCPU_SPARE + slot, 0, spare, gfp);
}
