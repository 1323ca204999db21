/* SPDX-License-Identifier: MIT */
/* percpu_internal.h - what percpu.c, percpu_step.c and percpu_drain.c share. Internal to the room. */
#ifndef SLAB_PERCPU_INTERNAL_H
#define SLAB_PERCPU_INTERNAL_H

#include "lib/lock.h"
#include "slab/percpu.h"

#include <stdatomic.h>

#define LOCKED_AREAS_MAX 64

/* A sheaf of capacity 0: both full and empty; belongs to nobody. */
extern const uintptr_t percpu_zero_sheaf[2] hidden;

extern enum percpu_mode percpu_chosen_mode hidden;
extern struct lock percpu_lock hidden;
/* guarded by percpu_lock */
extern uintptr_t percpu_area_offsets[RSEQ_NR_CPUS] hidden; /* 0: none yet */
extern unsigned percpu_area_count hidden;		   /* highest index with an area, + 1 */

/* locked mode */
extern struct lock percpu_area_locks[LOCKED_AREAS_MAX] hidden;
extern unsigned percpu_nr_locked hidden;	   /* areas dealt out; constant */
extern _Atomic unsigned percpu_next_locked hidden; /* the next thread's */
extern _Thread_local unsigned percpu_locked_slot initial_exec
	hidden; /* index + 1; 0: not dealt yet */

static inline uintptr_t *area_at(uintptr_t offset)
{
	return (uintptr_t *)((char *)&percpu + offset);
}

/* Of the area that this thread uses now; in mode locked it is dealt one at its first call. RSEQ_NR_CPUS and more: none. */
static inline unsigned current_index(void)
{
	if (likely(percpu_chosen_mode != PERCPU_LOCKED))
		return rseq_index();
	if (unlikely(!percpu_locked_slot))
		percpu_locked_slot =
			atomic_fetch_add_explicit(&percpu_next_locked, 1, memory_order_relaxed) %
				percpu_nr_locked +
			1;
	return percpu_locked_slot - 1;
}

/* The sheaf whose sentinel that is; NULL: the one that belongs to nobody. */
static inline struct slab_sheaf *sheaf_of_sentinel(uintptr_t sentinel)
{
	return (struct slab_sheaf *)(sentinel & ~SHEAF_SENTINEL);
}

/* Make a compare-and-store on this CPU's area. */
bool percpu_cmpxchg(size_t word, uintptr_t expected, uintptr_t desired, gfp_t gfp);
/* A word of this CPU's area, or of that where we were: a hint. False: there is no area. */
static inline bool percpu_look(size_t word, uintptr_t *value)
{
	unsigned index = current_index();
	uintptr_t offset;

	if (index >= RSEQ_NR_CPUS)
		return false;
	offset = __atomic_load_n(&percpu.backing[index], __ATOMIC_ACQUIRE);
	*value = __atomic_load_n(&area_at(offset)[word], __ATOMIC_RELAXED);
	return true;
}

/* The sheaf that has this top. */
static inline struct slab_sheaf *sheaf_of_top(void **top)
{
	void **bottom = top - 1;

	while (!sheaf_is_sentinel(*bottom))
		bottom--;
	return sheaf_of_sentinel((uintptr_t)*bottom);
}

/* Are the area's tested objects tested for the samples that are taken now? */
bool percpu_session_is_begun(const uintptr_t *area);
/* [percpu_lock] They are from now on. False: it is another thread's turn, or it has moved to another CPU. */
bool percpu_begin_session_locked(unsigned index);

/* [percpu_lock] Let the hit path use an index's area, unless somebody has reason against. */
void percpu_publish_locked(unsigned index);
/* Keep it off the area. */
void percpu_withdraw(unsigned index);

#endif
