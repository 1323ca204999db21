/* SPDX-License-Identifier: MIT */
/*
 * percpu.c - per-CPU areas, their tables, the drain, vfork, and locked mode.
 *
 * The kernel's counterpart is struct slub_percpu_sheaves with its
 * local_trylock_t: there, preemption off makes a few words one atomic step.
 * Here each step is one rseq critical section that commits one word, and
 * multi-word changes are sequences of steps by a thread that owns the sheaf it
 * is moving. A step that finds the CPU changed simply works on the new CPU.
 *
 * Modes, chosen once at start-up:
 *   mm_cid   index by the kernel's concurrency id: dense, as many areas as
 *            threads run at once;
 *   cpu_id   index by CPU number (kernel before 6.3);
 *   locked   no rseq: each thread is dealt one of nr_cpus areas in turn, each
 *            under a lock. The hit path's index is a dummy that always misses.
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
 * vfork: the child runs on the parent's memory and thread pointer, without a
 * registration: the index it reads is the parent's last, and other threads may
 * own that index now. So the child first puts the hit entry of its stale index
 * to 0, then runs with percpu_vfork_depth > 0, which keeps it off all areas. It
 * does so before anything else, and the parent's thread sleeps meanwhile. A count per index
 * (holds) keeps others from publishing the entry; publish_locked() looks at
 * the count and stores the entry inside a window (publishing) that the child
 * waits out, unless that window is its own parent's, which can't go on. The
 * entry comes back by the next slow path on that index.
 *
 * fork: a registration is kept by the kernel; areas are copied with all sheaves
 * in them. A sheaf that another thread was moving is lost to the child: memory,
 * not correctness. A fork out of a vfork child keeps percpu_vfork_depth and so
 * works without areas for good: it has no registration.
 *
 * Locks: percpu_lock (rank PERCPU) guards areas[], both tables' entries but for
 * the vfork child's store, and nr_areas. Area locks (rank AREA), locked mode
 * only, guard one area each. A handler that interrupted the holder fails the
 * try and takes another way.
 */
#include "slab/percpu.h"

#include "lib/lock.h"
#include "lib/param.h"
#include "os/os.h"
#include "page/meta.h"

#include <string.h>
#include <sys/rseq.h>

#define LOCKED_AREAS_MAX 64
#define RSEQ_OFFSET_CPU_ID 4
#define RSEQ_OFFSET_CS 8
#define RSEQ_OFFSET_MM_CID 24
#define RSEQ_END_CPU_ID 20U
#define RSEQ_END_MM_CID 28U

/* Absent before glibc 2.35. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

struct percpu percpu hidden __attribute__((aligned(64)));

/* A sheaf of capacity 0: both full and empty; belongs to nobody. */
static const uintptr_t zero_sheaf[2] = { SHEAF_SENTINEL, SHEAF_SENTINEL };

static enum percpu_mode mode;
static const char *mode_reason;
static struct lock percpu_lock;
static struct lock area_locks[LOCKED_AREAS_MAX];
static unsigned nr_locked_areas;      /* locked mode: areas dealt out */
static _Atomic unsigned next_slot;    /* locked mode: the next thread's */
static uintptr_t areas[RSEQ_NR_CPUS]; /* offsets; 0: none yet. Guarded by percpu_lock */
static unsigned nr_areas;	      /* highest index with an area, + 1 */
static _Atomic unsigned short holds[RSEQ_NR_CPUS]; /* vfork children with that stale index */
static _Atomic bool publishing;

static _Thread_local unsigned locked_slot initial_exec; /* index + 1; 0: not dealt yet */
static _Thread_local unsigned short percpu_vfork_depth initial_exec;
static _Thread_local unsigned vfork_index
	initial_exec; /* what the child holds; valid at depth > 0 */

static uintptr_t *area_at(uintptr_t offset)
{
	return (uintptr_t *)((char *)&percpu + offset);
}

static void area_init(uintptr_t *area)
{
	for (size_t slot = 0; slot < KMEM_CACHES_MAX; slot++) {
		area[PERCPU_MAIN + slot] = (uintptr_t)&zero_sheaf[1];
		/* percpu_take_spare() looks before it has the area */
		__atomic_store_n(&area[PERCPU_SPARE + slot], 0, __ATOMIC_RELAXED);
	}
}

static bool rseq_find(enum percpu_mode *found, const char **reason)
{
	if (params.rseq == PARAM_RSEQ_OFF) {
		*reason = "rseq=off in KMALLOC_CMDLINE";
		return false;
	}
	if (!&__rseq_size || !&__rseq_offset) {
		*reason = "the C library does not register rseq (glibc before 2.35)";
		return false;
	}

	unsigned size = __rseq_size;
	size_t feature = os_rseq_feature_size();

	if (size == 0) {
		*reason = "the C library did not register rseq (tunable off, or no kernel support)";
		return false;
	}
	/* glibc 2.35 to 2.40 export 20 or 32 whatever the kernel fills */
	if (size == 20 || size == 32)
		size = (unsigned)min_size(32, feature ? feature : RSEQ_END_CPU_ID);

	const char *self = (const char *)__builtin_thread_pointer() + __rseq_offset;
	int32_t cpu_id = *(const volatile int32_t *)(self + RSEQ_OFFSET_CPU_ID);

	if (cpu_id < 0 || cpu_id >= RSEQ_NR_CPUS) {
		*reason = "the kernel refused to register rseq";
		return false;
	}
	*found = PERCPU_CPU_ID;
	*reason = "the kernel has no mm_cid (before 6.3)";
	if (params.rseq == PARAM_RSEQ_CPU_ID) {
		*reason = "rseq=cpu_id in KMALLOC_CMDLINE";
	} else if (size >= RSEQ_END_MM_CID) {
		*found = PERCPU_MM_CID;
		*reason = "registered by the C library, filled by the kernel";
	}
	return true;
}

void percpu_init(bool first)
{
	lock_init(&percpu_lock, LOCK_RANK_PERCPU);
	area_init(percpu.empty);
	if (!first) {
		mode_reason = "there was no address space for the library when the program began";
	} else if (rseq_find(&mode, &mode_reason)) {
		rseq_abi.cs = __rseq_offset + RSEQ_OFFSET_CS;
		rseq_abi.index = __rseq_offset +
				 (mode == PERCPU_MM_CID ? RSEQ_OFFSET_MM_CID : RSEQ_OFFSET_CPU_ID);
		return;
	}
	mode = PERCPU_LOCKED;
	nr_locked_areas = (unsigned)min_size(os_nr_cpus(), LOCKED_AREAS_MAX);
	for (unsigned i = 0; i < nr_locked_areas; i++)
		lock_init(&area_locks[i], LOCK_RANK_AREA);
}

enum percpu_mode percpu_mode(void)
{
	return mode;
}

const char *percpu_mode_name(void)
{
	static const char *const names[] = { "rseq with mm_cid", "rseq with cpu_id", "locked" };

	return names[mode];
}

const char *percpu_mode_reason(void)
{
	return mode_reason;
}

static unsigned current_index(void)
{
	if (likely(mode != PERCPU_LOCKED))
		return rseq_index();
	if (unlikely(!locked_slot))
		locked_slot = atomic_fetch_add_explicit(&next_slot, 1, memory_order_relaxed) %
				      nr_locked_areas +
			      1;
	return locked_slot - 1;
}

/* Let the hit path use an index's area, unless somebody has reason against. */
static void publish_locked(unsigned index)
{
	lock_assert_held(&percpu_lock);
	if (mode == PERCPU_LOCKED || percpu_diverted())
		return;
	atomic_store(&publishing, true);
	/* pairs with percpu_vfork_child(): it counts, then looks at publishing */
	if (!atomic_load(&holds[index]))
		__atomic_store_n(&percpu.hit[index], areas[index], __ATOMIC_SEQ_CST);
	atomic_store(&publishing, false);
}

static bool populate_locked(unsigned index, gfp_t gfp)
{
	lock_assert_held(&percpu_lock);
	if (!areas[index]) {
		uintptr_t *area = meta_alloc(PERCPU_WORDS * sizeof(uintptr_t), gfp);

		if (!area)
			return false;
		area_init(area);
		areas[index] = (uintptr_t)area - (uintptr_t)&percpu;
		if (index >= nr_areas)
			__atomic_store_n(&nr_areas, index + 1, __ATOMIC_RELAXED);
		__atomic_store_n(&percpu.backing[index], areas[index], __ATOMIC_RELEASE);
	}
	publish_locked(index);
	return true;
}

static cold_path bool percpu_prepare_slow(unsigned index, gfp_t gfp)
{
	/* tried only: a drain holds it for long, and the slabs are always there */
	if (!lock_try(&percpu_lock))
		return false;

	bool ready = populate_locked(index, gfp);

	lock_release(&percpu_lock);
	return ready;
}

bool percpu_prepare(gfp_t gfp)
{
	unsigned index;

	if (unlikely(percpu_vfork_depth))
		return false;
	index = current_index();
	if (unlikely(index >= RSEQ_NR_CPUS))
		return false;
	if (likely(__atomic_load_n(&percpu.hit[index], __ATOMIC_RELAXED)))
		return true;
	if (__atomic_load_n(&percpu.backing[index], __ATOMIC_RELAXED) &&
	    (mode == PERCPU_LOCKED || percpu_diverted() ||
	     atomic_load_explicit(&holds[index], memory_order_relaxed)))
		return true;
	return percpu_prepare_slow(index, gfp);
}

/* Locked mode: this thread's area, its lock held; NULL when it can't be had. */
static uintptr_t *area_lock(unsigned *index, gfp_t gfp)
{
	*index = current_index();
	if (!lock_get(&area_locks[*index], gfp))
		return NULL;

	uintptr_t offset = __atomic_load_n(&percpu.backing[*index], __ATOMIC_ACQUIRE);

	if (offset)
		return area_at(offset);
	lock_release(&area_locks[*index]);
	return NULL;
}

static bool locked_pop(size_t slot, void **object, gfp_t gfp)
{
	unsigned index;
	uintptr_t *area = area_lock(&index, gfp);

	if (!area)
		return false;

	void **top = (void **)area[PERCPU_MAIN + slot];
	bool found = !sheaf_is_sentinel(top[-1]);

	if (found) {
		*object = top[-1];
		area[PERCPU_MAIN + slot] = (uintptr_t)(top - 1);
	}
	lock_release(&area_locks[index]);
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
	lock_release(&area_locks[index]);
	return room;
}

/* `at` is -1 to ask whether the main sheaf is empty, 0 whether it is full. */
static bool locked_replace(size_t slot, int at, uintptr_t top, uintptr_t *sentinel, gfp_t gfp)
{
	unsigned index;
	uintptr_t *area = area_lock(&index, gfp);

	if (!area)
		return false;
	*sentinel = (uintptr_t)((void **)area[PERCPU_MAIN + slot])[at];

	bool due = *sentinel & SHEAF_SENTINEL;

	if (due)
		area[PERCPU_MAIN + slot] = top;
	lock_release(&area_locks[index]);
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
	lock_release(&area_locks[index]);
	return same;
}

#define BACKING &percpu, offsetof(struct percpu, backing)

bool percpu_pop_slow(size_t slot, void **object, gfp_t gfp)
{
	if (unlikely(percpu_vfork_depth))
		return false;
	if (unlikely(mode == PERCPU_LOCKED))
		return locked_pop(slot, object, gfp);
	return rseq_pop(BACKING, slot, object);
}

bool percpu_push_slow(size_t slot, void *object, gfp_t gfp)
{
	if (unlikely(percpu_vfork_depth))
		return false;
	if (unlikely(mode == PERCPU_LOCKED))
		return locked_push(slot, object, gfp);
	return rseq_push(BACKING, slot, object);
}

static struct slab_sheaf *sheaf_of_sentinel(uintptr_t sentinel)
{
	return (struct slab_sheaf *)(sentinel & ~SHEAF_SENTINEL);
}

bool percpu_replace_empty(size_t slot, struct slab_sheaf *sheaf, struct slab_sheaf **old, gfp_t gfp)
{
	uintptr_t sentinel;
	bool done;

	if (unlikely(percpu_vfork_depth))
		return false;
	if (unlikely(mode == PERCPU_LOCKED))
		done = locked_replace(slot, -1, (uintptr_t)sheaf->top, &sentinel, gfp);
	else
		done = rseq_replace_empty(BACKING, PERCPU_MAIN + slot, (uintptr_t)sheaf->top,
					  &sentinel);
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
	if (unlikely(mode == PERCPU_LOCKED))
		done = locked_replace(slot, 0, (uintptr_t)sheaf->top, &sentinel, gfp);
	else
		done = rseq_replace_full(BACKING, PERCPU_MAIN + slot, (uintptr_t)sheaf->top,
					 &sentinel);
	if (!done)
		return false;
	*old = sheaf_of_sentinel(sentinel);
	return true;
}

static bool percpu_cmpxchg(size_t word, uintptr_t expected, uintptr_t desired, gfp_t gfp)
{
	if (unlikely(percpu_vfork_depth))
		return false;
	if (unlikely(mode == PERCPU_LOCKED))
		return locked_cmpxchg(word, expected, desired, gfp);
	return rseq_cmpxchg(BACKING, word, expected, desired);
}

struct slab_sheaf *percpu_take_spare(size_t slot, bool full, gfp_t gfp)
{
	unsigned index = current_index();
	uintptr_t offset;
	uintptr_t spare;

	if (index >= RSEQ_NR_CPUS)
		return NULL;
	offset = __atomic_load_n(&percpu.backing[index], __ATOMIC_ACQUIRE);
	/* a hint; the compare below decides, on whatever CPU we are by then */
	spare = __atomic_load_n(&area_at(offset)[PERCPU_SPARE + slot], __ATOMIC_RELAXED);
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

static void list_sheaf(struct slab_sheaf **list, struct slab_sheaf *sheaf)
{
	sheaf->next = *list;
	*list = sheaf;
}

/* Take a slot's sheaves out of an area in which nobody else can reach them. */
static void empty_slot(uintptr_t *area, size_t slot, struct slab_sheaf **list)
{
	void **top = (void **)area[PERCPU_MAIN + slot];
	void **bottom = top - 1;
	uintptr_t spare = area[PERCPU_SPARE + slot];
	struct slab_sheaf *sheaf;

	while (!sheaf_is_sentinel(*bottom))
		bottom--;
	sheaf = sheaf_of_sentinel((uintptr_t)*bottom);
	if (sheaf) {
		sheaf->top = top;
		list_sheaf(list, sheaf);
	}
	if (spare)
		list_sheaf(list, (struct slab_sheaf *)(spare & ~SPARE_FULL));
	area[PERCPU_MAIN + slot] = (uintptr_t)&zero_sheaf[1];
	/* percpu_take_spare() looks before it has the area */
	__atomic_store_n(&area[PERCPU_SPARE + slot], 0, __ATOMIC_RELAXED);
}

static void empty_area(uintptr_t *area, struct slab_sheaf *lists[KMEM_CACHES_MAX])
{
	for (size_t slot = 0; slot < KMEM_CACHES_MAX; slot++)
		empty_slot(area, slot, &lists[slot]);
}

static void drain_locked_mode(struct slab_sheaf *lists[KMEM_CACHES_MAX])
{
	for (unsigned index = 0; index < nr_areas; index++) {
		lock_acquire(&area_locks[index]);
		if (areas[index])
			empty_area(area_at(areas[index]), lists);
		lock_release(&area_locks[index]);
	}
}

bool percpu_stop(void)
{
	lock_assert_held(&percpu_lock);
	if (mode == PERCPU_LOCKED)
		return true;
	for (unsigned index = 0; index < nr_areas; index++) {
		__atomic_store_n(&percpu.hit[index], 0, __ATOMIC_SEQ_CST);
		__atomic_store_n(&percpu.backing[index], 0, __ATOMIC_SEQ_CST);
	}
	return os_membarrier_rseq() == 0;
}

void percpu_start(void)
{
	lock_assert_held(&percpu_lock);
	for (unsigned index = 0; index < nr_areas; index++) {
		__atomic_store_n(&percpu.backing[index], areas[index], __ATOMIC_RELEASE);
		if (areas[index])
			publish_locked(index);
	}
}

uintptr_t *percpu_area(unsigned index)
{
	return areas[index] ? area_at(areas[index]) : NULL;
}

static bool drain_rseq(struct slab_sheaf *lists[KMEM_CACHES_MAX])
{
	bool fenced = percpu_stop();

	for (unsigned index = 0; fenced && index < nr_areas; index++)
		if (areas[index])
			empty_area(area_at(areas[index]), lists);
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
	if (mode == PERCPU_LOCKED)
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
	for (unsigned index = 0; index < nr_areas; index++) {
		if (!areas[index])
			continue;
		if (mode == PERCPU_LOCKED)
			lock_acquire(&area_locks[index]);
		empty_slot(area_at(areas[index]), slot, list);
		if (mode == PERCPU_LOCKED)
			lock_release(&area_locks[index]);
	}
}

bool percpu_drain_slot(size_t slot, struct slab_sheaf **list)
{
	bool fenced = true;

	*list = NULL;
	if (percpu_vfork_depth)
		return false;
	lock_acquire(&percpu_lock);
	if (mode != PERCPU_LOCKED)
		fenced = percpu_stop();
	if (fenced)
		empty_slots_locked(slot, list);
	if (mode != PERCPU_LOCKED)
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

static void divert_locked(enum percpu_diverter who, bool on)
{
	lock_assert_held(&percpu_lock);
	__atomic_store_n(&percpu.divert[who], on, __ATOMIC_SEQ_CST);
	for (unsigned index = 0; index < nr_areas; index++) {
		if (percpu_diverted())
			__atomic_store_n(&percpu.hit[index], 0, __ATOMIC_SEQ_CST);
		else if (areas[index])
			publish_locked(index);
	}
}

void percpu_divert(enum percpu_diverter who, bool on)
{
	lock_acquire(&percpu_lock);
	divert_locked(who, on);
	lock_release(&percpu_lock);
}

bool percpu_try_divert(enum percpu_diverter who, bool on)
{
	if (!lock_try(&percpu_lock))
		return false;
	divert_locked(who, on);
	lock_release(&percpu_lock);
	return true;
}

bool percpu_is_vfork_child(void)
{
	return percpu_vfork_depth != 0;
}

unsigned percpu_nr_areas(void)
{
	return __atomic_load_n(&nr_areas, __ATOMIC_RELAXED);
}

void percpu_places(const uintptr_t **offsets, const unsigned **number)
{
	*offsets = areas;
	*number = &nr_areas;
}

void percpu_vfork_child(void)
{
	unsigned index;

	/* an index is only ever held once for a chain of vforks in one thread */
	if (percpu_vfork_depth++ || mode == PERCPU_LOCKED)
		return;
	index = rseq_index();
	vfork_index = index;
	if (index >= RSEQ_NR_CPUS)
		return;
	atomic_fetch_add(&holds[index], 1);
	__atomic_store_n(&percpu.hit[index], 0, __ATOMIC_SEQ_CST);
	/* pairs with publish_locked(); the parent's own window stands still */
	while (!lock_is_mine(&percpu_lock) && atomic_load(&publishing))
		__builtin_ia32_pause();
	__atomic_store_n(&percpu.hit[index], 0, __ATOMIC_SEQ_CST);
}

void percpu_vfork_parent(void)
{
	if (--percpu_vfork_depth || mode == PERCPU_LOCKED)
		return;
	if (vfork_index < RSEQ_NR_CPUS)
		atomic_fetch_sub(&holds[vfork_index], 1);
}

void percpu_fork_child(void)
{
	for (unsigned index = 0; index < nr_areas; index++) {
		atomic_store(&holds[index], 0);
		/* a fork in a handler may not have waited for the end of another thread's drain */
		if (mode != PERCPU_LOCKED)
			__atomic_store_n(&percpu.backing[index], areas[index], __ATOMIC_RELEASE);
	}
}
