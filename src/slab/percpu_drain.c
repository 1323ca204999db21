/* SPDX-License-Identifier: MIT */
/*
 * percpu_drain.c - taking the sheaves of all CPUs, and keeping every thread off all areas.
 *
 * The kernel's counterpart is flush_all_cpus_locked(), which runs on each CPU; here one thread does it for all, once nobody
 * can be at work in an area.
 *
 * Drain, mode rseq, under percpu_lock:
 *   1. both table entries of every CPU := 0;
 *   2. membarrier(PRIVATE_EXPEDITED_RSEQ): sequences that read an old entry
 *      are restarted or have committed;
 *   3. nobody can reach the areas: take their sheaves with plain accesses;
 *   4. entries back.
 * Threads that miss meanwhile go to the slabs; they never wait for a drain.
 * Where the system refuses 2, nothing is taken: a sequence may be at work in an area.
 * The slot of a cache that is destroyed needs steps 3 alone: every operation on it
 * happened before, by the promise of the program, and by slab_mutex.
 *
 * Locks: percpu_lock (rank PERCPU), and below it, in locked mode, one area's at a time. May block; asks the system for a
 * barrier, so only where the user asked, but for percpu_drain_idle_slot().
 */
#include "lib/lock.h"
#include "os/os.h"
#include "slab/percpu_internal.h"

#include <string.h>

static void list_sheaf(struct slab_sheaf **list, struct slab_sheaf *sheaf)
{
	sheaf->next = *list;
	*list = sheaf;
}

/* The words are stored whole, as percpu_look() does before it has the area. */
static void empty_word(uintptr_t *word, struct slab_sheaf **list)
{
	void **top = (void **)*word;
	struct slab_sheaf *sheaf = sheaf_of_top(top);

	if (!sheaf)
		return;
	sheaf->top = top;
	list_sheaf(list, sheaf);
	__atomic_store_n(word, (uintptr_t)&percpu_zero_sheaf[1], __ATOMIC_RELAXED);
}

/* Take a slot's sheaves out of an area in which nobody else can reach them. */
static void empty_slot(uintptr_t *area, size_t slot, struct slab_sheaf **list)
{
	uintptr_t spare = area[PERCPU_SPARE + slot];

	empty_word(&area[PERCPU_MAIN + slot], list);
	empty_word(&area[PERCPU_TESTED + slot], list);
	if (spare)
		list_sheaf(list, (struct slab_sheaf *)(spare & ~SPARE_FULL));
	__atomic_store_n(&area[PERCPU_SPARE + slot], 0, __ATOMIC_RELAXED);
	/* tested objects go, which are no samples; so when the next one comes must be forgotten too */
	if (slot)
		__atomic_store_n(&area[PERCPU_COUNTDOWN + slot], 0, __ATOMIC_RELAXED);
}

static void empty_area(uintptr_t *area, struct slab_sheaf *lists[KMEM_CACHES_MAX])
{
	for (size_t slot = 0; slot < KMEM_CACHES_MAX; slot++)
		empty_slot(area, slot, &lists[slot]);
}

static void drain_locked_mode(struct slab_sheaf *lists[KMEM_CACHES_MAX])
{
	for (unsigned index = 0; index < percpu_area_count; index++) {
		lock_acquire(&percpu_area_locks[index]);
		if (percpu_area_offsets[index])
			empty_area(area_at(percpu_area_offsets[index]), lists);
		lock_release(&percpu_area_locks[index]);
	}
}

bool percpu_stop(void)
{
	lock_assert_held(&percpu_lock);
	if (percpu_chosen_mode == PERCPU_LOCKED)
		return true;
	for (unsigned index = 0; index < percpu_area_count; index++) {
		percpu_withdraw(index);
		__atomic_store_n(&percpu.backing[index], 0, __ATOMIC_SEQ_CST);
	}
	return os_membarrier_rseq() == 0;
}

void percpu_start(void)
{
	lock_assert_held(&percpu_lock);
	for (unsigned index = 0; index < percpu_area_count; index++) {
		__atomic_store_n(&percpu.backing[index], percpu_area_offsets[index],
				 __ATOMIC_RELEASE);
		if (percpu_area_offsets[index])
			percpu_publish_locked(index);
	}
}

uintptr_t *percpu_area(unsigned index)
{
	return percpu_area_offsets[index] ? area_at(percpu_area_offsets[index]) : NULL;
}

static bool drain_rseq(struct slab_sheaf *lists[KMEM_CACHES_MAX])
{
	bool fenced = percpu_stop();

	for (unsigned index = 0; fenced && index < percpu_area_count; index++)
		if (percpu_area_offsets[index])
			empty_area(area_at(percpu_area_offsets[index]), lists);
	percpu_start();
	return fenced;
}

/* Without a barrier: what this CPU holds, step by step. */
static void drain_this_cpu(struct slab_sheaf *lists[KMEM_CACHES_MAX])
{
	for (size_t slot = 0; slot < KMEM_CACHES_MAX; slot++) {
		struct slab_sheaf *sheaf = percpu_take_spare(slot, true, GFP_KERNEL);

		if (sheaf)
			list_sheaf(&lists[slot], sheaf);
	}
}

bool percpu_drain(struct slab_sheaf *lists[KMEM_CACHES_MAX])
{
	bool all = true;

	memset(lists, 0, KMEM_CACHES_MAX * sizeof(void *));
	if (percpu_vfork_depth)
		return false;
	lock_acquire(&percpu_lock);
	if (percpu_chosen_mode == PERCPU_LOCKED)
		drain_locked_mode(lists);
	else
		all = drain_rseq(lists);
	lock_release(&percpu_lock);
	if (!all)
		drain_this_cpu(lists);
	return all;
}

/* In locked mode under each area's lock; else nobody else may reach the slot. */
static void empty_slots_locked(size_t slot, struct slab_sheaf **list)
{
	lock_assert_held(&percpu_lock);
	for (unsigned index = 0; index < percpu_area_count; index++) {
		if (!percpu_area_offsets[index])
			continue;
		if (percpu_chosen_mode == PERCPU_LOCKED)
			lock_acquire(&percpu_area_locks[index]);
		empty_slot(area_at(percpu_area_offsets[index]), slot, list);
		if (percpu_chosen_mode == PERCPU_LOCKED)
			lock_release(&percpu_area_locks[index]);
	}
}

bool percpu_drain_slot(size_t slot, struct slab_sheaf **list)
{
	bool fenced = true;

	*list = NULL;
	if (percpu_vfork_depth)
		return false;
	lock_acquire(&percpu_lock);
	if (percpu_chosen_mode != PERCPU_LOCKED)
		fenced = percpu_stop();
	if (fenced)
		empty_slots_locked(slot, list);
	if (percpu_chosen_mode != PERCPU_LOCKED)
		percpu_start();
	lock_release(&percpu_lock);
	return fenced;
}

bool percpu_drain_idle_slot(size_t slot, struct slab_sheaf **list)
{
	*list = NULL;
	if (percpu_vfork_depth)
		return false;
	lock_acquire(&percpu_lock);
	empty_slots_locked(slot, list);
	lock_release(&percpu_lock);
	return true;
}
