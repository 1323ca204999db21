/* SPDX-License-Identifier: MIT */
/*
 * percpu.h - per-CPU areas: which sheaves a CPU holds.
 *
 * An area is an array of words. For cache `slot`: word PERCPU_MAIN + slot is
 * the top of its main sheaf; word PERCPU_SPARE + slot its spare sheaf: 0, or
 * the address of an empty sheaf, or that of a full one | SPARE_FULL. While samples are taken objects are popped
 * from another sheaf than they are pushed to: word PERCPU_TESTED + slot is its top, and PERCPU_COUNTDOWN + slot the count
 * to the next sample (percpu_sample.c).
 *
 * Slot 0 belongs to no cache: its words stay as they are in the empty area,
 * so a pop and a push there always miss. (That of the count is another one: PERCPU_SESSION.)
 *
 * Three tables say where each CPU's area is (see arch/.../rseq.h):
 *   hit      used by the hit path of allocations alone. Entry 0 sends all of
 *            these on that CPU to the slow path: not populated, being drained,
 *            held by a vfork child, or diverted on purpose (statistics, tracing).
 *            Where samples are taken it leads PERCPU_TESTED words further, so that
 *            the same instructions pop from there.
 *   hit_free the same for frees, which are let be where samples are taken: an
 *            object that is one has a cache without sheaves.
 *   backing  used by the slow path. Entry 0 only where there is no area, or
 *            while it is being drained.
 */
#ifndef SLAB_PERCPU_H
#define SLAB_PERCPU_H

#include "arch/x86_64/rseq.h"
#include "lib/compiler.h"
#include "lib/gfp.h"
#include "slab/sheaf.h"
#include "trace/trace.h"

#define KMEM_CACHES_MAX 128
#define PERCPU_MAIN 0
#define PERCPU_SPARE KMEM_CACHES_MAX
#define PERCPU_TESTED (2 * KMEM_CACHES_MAX)
#define PERCPU_COUNTDOWN (3 * KMEM_CACHES_MAX)
#define PERCPU_SESSION PERCPU_COUNTDOWN /* which samples the tested sheaves are for; 0: none */
#define PERCPU_WORDS (4 * KMEM_CACHES_MAX)
#define PERCPU_SPLIT                                                                               \
	(PERCPU_TESTED * sizeof(uintptr_t)) /* from an entry of `hit_free` to that of `hit` */
#define SPARE_FULL 1UL

struct percpu {
	uintptr_t empty[PERCPU_WORDS]; /* the shared all-empty area; never written after start-up */
	uintptr_t hit[RSEQ_NR_CPUS];   /* offsets of the areas from `empty` */
	uintptr_t hit_free[RSEQ_NR_CPUS]; /* the same */
	uintptr_t backing[RSEQ_NR_CPUS];  /* the same */
	union {
		uint8_t divert[4]; /* by enum percpu_diverter: an enum percpu_diversion */
		uint32_t diverted; /* all of them */
	};
};

extern struct percpu percpu hidden;

/* By what the slow path finds this CPU's area; for the sequences of rseq.h. */
#define PERCPU_BACKING &percpu, offsetof(struct percpu, backing)

enum percpu_mode { PERCPU_MM_CID, PERCPU_CPU_ID, PERCPU_LOCKED };

/*
 * [start] Choose the mode and set up the tables. Not the first try: locked mode, as threads may
 * have read what the hit paths find their area by.
 */
void percpu_init(bool first);
enum percpu_mode percpu_mode(void);
/* The mode in words, and why it was chosen. */
const char *percpu_mode_name(void);
const char *percpu_mode_reason(void);

/* The hit path: pop from, push to, the main sheaf of `slot`. False: a miss. */
static always_inline bool percpu_pop(size_t slot, void **object)
{
	return rseq_pop(&percpu, offsetof(struct percpu, hit), slot, object);
}

static always_inline bool percpu_push(size_t slot, void *object)
{
	return rseq_push(&percpu, offsetof(struct percpu, hit_free), slot, object);
}

/*
 * The slow path's operations on this CPU's area; each is one atomic step. All
 * return false when the condition does not hold, and when the area can't be
 * used now (drained, not populated, vfork child, area lock busy and gfp
 * forbids to wait).
 *
 * `word` is PERCPU_MAIN or PERCPU_TESTED + slot.
 */
bool percpu_pop_slow(size_t word, void **object, gfp_t gfp);
bool percpu_push_slow(size_t slot, void *object, gfp_t gfp);
/* Put `sheaf` there if the one that is there is empty (full); *old is that, or NULL. */
bool percpu_replace_empty(size_t word, struct slab_sheaf *sheaf, struct slab_sheaf **old,
			  gfp_t gfp);
bool percpu_replace_full(size_t slot, struct slab_sheaf *sheaf, struct slab_sheaf **old, gfp_t gfp);
/* Take the sheaf that is there, unless it is empty: its top. NULL: it is, or there is none. Not for MAIN in locked mode. */
void **percpu_take_sheaf(size_t word, gfp_t gfp);
/* Put `sheaf` there if there is none. */
bool percpu_put_sheaf(size_t word, struct slab_sheaf *sheaf, gfp_t gfp);
/* Take the spare sheaf if there is one, and it is full (empty). NULL: no such. */
struct slab_sheaf *percpu_take_spare(size_t slot, bool full, gfp_t gfp);
/* Make it the spare sheaf if there is none. */
bool percpu_put_spare(size_t slot, struct slab_sheaf *sheaf, bool full, gfp_t gfp);

/*
 * Bring this CPU's area into use if it is not. False: it can't be used now.
 * Call before the others on each slow path.
 */
bool percpu_prepare(gfp_t gfp);

/*
 * Take all sheaves off all CPUs; lists[slot] is then a list of sheaves with
 * valid tops. Asks the system for a barrier: only where the user asked.
 * False: the system has none; only this CPU's were taken.
 */
bool percpu_drain(struct slab_sheaf *lists[KMEM_CACHES_MAX]);

/* The same for one slot. False, and nothing taken: the system has no barrier, or a vfork child. */
bool percpu_drain_slot(size_t slot, struct slab_sheaf **list);

/*
 * The same for a slot whose operations are all over, as the caller knows: asks for no barrier. False, and
 * nothing taken: a vfork child.
 */
bool percpu_drain_idle_slot(size_t slot, struct slab_sheaf **list);

/*
 * Keep every thread off all areas until percpu_start(), so that they can be read. With all
 * locks held (in locked mode those of the areas are what keeps others off). Asks the
 * system for a barrier. False: the system has none, and others may be at work in one.
 */
bool percpu_stop(void);
void percpu_start(void);
/* The words of an area, index below percpu_nr_areas(); NULL: none there. Stopped. */
uintptr_t *percpu_area(unsigned index);

/* Who wants that calls on every CPU take the slow path. */
enum percpu_diverter {
	PERCPU_DIVERT_STAT,
	PERCPU_DIVERT_TRACE, /* another process may write it, and the tables: see trace/format.h */
	PERCPU_DIVERT_PROBE, /* somebody listens to a probe */
};

/* Which: entries of `hit` lead to tested objects or stay 0; or they, and those of `hit_free`, stay 0. */
enum percpu_diversion {
	PERCPU_DIVERT_NOTHING = 0,
	PERCPU_DIVERT_SAMPLES = TRACE_DIVERT_SAMPLES,
	PERCPU_DIVERT_ALL = TRACE_DIVERT_ALL,
};

void percpu_divert(enum percpu_diverter who, enum percpu_diversion which);
/* The same, without waiting. False: not now, and nothing done. */
bool percpu_try_divert(enum percpu_diverter who, enum percpu_diversion which);

/* Are allocations? */
static inline bool percpu_diverted(void)
{
	return __atomic_load_n(&percpu.diverted, __ATOMIC_SEQ_CST) != 0;
}

static inline bool percpu_frees_diverted(void)
{
	return __atomic_load_n(&percpu.diverted, __ATOMIC_SEQ_CST) &
	       0x01010101U * (TRACE_DIVERT_ALL & ~TRACE_DIVERT_SAMPLES);
}

/* Are they by tracing alone, which takes samples? */
static inline bool percpu_diverted_for_samples(void)
{
	return __atomic_load_n(&percpu.diverted, __ATOMIC_SEQ_CST) ==
	       (uint32_t)PERCPU_DIVERT_SAMPLES << (8 * PERCPU_DIVERT_TRACE);
}

/* Are all calls by tracing alone, which wants every one? */
static inline bool percpu_diverted_for_all(void)
{
	return __atomic_load_n(&percpu.diverted, __ATOMIC_RELAXED) ==
	       (uint32_t)PERCPU_DIVERT_ALL << (8 * PERCPU_DIVERT_TRACE);
}

/* Are hits from among tested objects? In locked mode nothing is a hit, and each call is asked. */
static inline bool percpu_takes_samples(void)
{
	return unlikely(percpu_diverted_for_samples()) && trace_mode() == TRACE_SAMPLE &&
	       !trace_wish_is_pending() && percpu_mode() != PERCPU_LOCKED;
}

/* And on this CPU, as far as a hint goes? */
static inline bool percpu_hits_are_tested(void)
{
	uint32_t index;

	if (!percpu_takes_samples())
		return false;
	index = rseq_index();
	return index < RSEQ_NR_CPUS &&
	       __atomic_load_n(&percpu.hit[index], __ATOMIC_RELAXED) ==
		       __atomic_load_n(&percpu.hit_free[index], __ATOMIC_RELAXED) + PERCPU_SPLIT;
}

/*
 * [percpu_takes_samples(), percpu_prepare()] Is the next object of the kmalloc class `slot` that is allocated a
 * sample? Counts it.
 */
bool percpu_sample(size_t slot);
/* Of the next n: how many are there before one that is? These are counted, and known to be none. */
unsigned percpu_test(size_t slot, unsigned n);
/* Are the next n all none, and is that known? Then these are counted. */
bool percpu_test_all(size_t slot, unsigned n);
/* As many that were counted were not allocated, or are to be counted again. */
void percpu_untest(size_t slot, unsigned n);

/* Is this a child of vfork, which must not touch what belongs to a CPU? */
bool percpu_is_vfork_child(void);
/* Not 0: it is, or was forked by one. */
extern _Thread_local unsigned short percpu_vfork_depth initial_exec hidden;
/* Areas in use, for statistics. */
unsigned percpu_nr_areas(void);
/* Where the offsets of all areas, and their number, are kept, for who reads them from outside. */
void percpu_places(const uintptr_t **offsets, const unsigned **number);

/* Around vfork; the child calls _child first of all, the parent _parent. */
void percpu_vfork_child(void);
void percpu_vfork_parent(void);
/* In the child of fork: forget the vfork children of the parent's other threads. */
void percpu_fork_child(void);

#endif
