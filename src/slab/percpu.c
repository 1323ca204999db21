/* SPDX-License-Identifier: MIT */
/*
 * percpu.c - per-CPU areas: how a thread finds its own, when they come into use, and who keeps the hit path off them.
 *
 * The kernel's counterpart is struct slub_percpu_sheaves with its
 * local_trylock_t: there, preemption off makes a few words one atomic step.
 * Here each step is one rseq critical section that commits one word, and
 * multi-word changes are sequences of steps by a thread that owns the sheaf it
 * is moving. A step that finds the CPU changed simply works on the new CPU.
 * The steps are in percpu_step.c; percpu_drain.c takes the sheaves of all CPUs away; percpu_sample.c is for samples.
 *
 * Modes, chosen once at start-up:
 *   mm_cid   index by the kernel's concurrency id: dense, as many areas as
 *            threads run at once;
 *   cpu_id   index by CPU number (kernel before 6.3);
 *   locked   no rseq: each thread is dealt one of nr_cpus areas in turn, each
 *            under a lock. The hit path's index is a dummy that always misses.
 *
 * vfork: the child runs on the parent's memory and thread pointer, without a
 * registration: the index it reads is the parent's last, and other threads may
 * own that index now. So the child first puts the hit entry of its stale index
 * to 0, then runs with percpu_vfork_depth > 0, which keeps it off all areas. It
 * does so before anything else, and the parent's thread sleeps meanwhile. A count per index
 * (holds) keeps others from publishing the entry; percpu_publish_locked() looks at
 * the count and stores the entry inside a window (publishing) that the child
 * waits out, unless that window is its own parent's, which can't go on. The
 * entry comes back by the next slow path on that index.
 *
 * fork: a registration is kept by the kernel; areas are copied with all sheaves
 * in them. A sheaf that another thread was moving is lost to the child: memory,
 * not correctness. A fork out of a vfork child keeps percpu_vfork_depth and so
 * works without areas for good: it has no registration.
 *
 * Locks: percpu_lock (rank PERCPU) guards the offsets of areas, both tables' entries but for
 * the vfork child's store, and the number of areas. Area locks (rank AREA), locked mode
 * only, guard one area each (percpu_step.c). A handler that interrupted the holder fails the
 * try and takes another way.
 */
#include "slab/percpu.h"

#include "lib/lock.h"
#include "lib/param.h"
#include "os/os.h"
#include "page/meta.h"
#include "slab/percpu_internal.h"

#include <sys/rseq.h>

#define RSEQ_OFFSET_CPU_ID 4
#define RSEQ_OFFSET_CS 8
#define RSEQ_OFFSET_MM_CID 24
#define RSEQ_END_CPU_ID 20U
#define RSEQ_END_MM_CID 28U

/* Absent before glibc 2.35. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

struct percpu percpu hidden __attribute__((aligned(64)));

const uintptr_t percpu_zero_sheaf[2] = { SHEAF_SENTINEL, SHEAF_SENTINEL };

enum percpu_mode percpu_chosen_mode;
static const char *mode_reason;
struct lock percpu_lock;
struct lock percpu_area_locks[LOCKED_AREAS_MAX];
unsigned percpu_nr_locked;
_Atomic unsigned percpu_next_locked;
uintptr_t percpu_area_offsets[RSEQ_NR_CPUS];
unsigned percpu_area_count;
static _Atomic unsigned short holds[RSEQ_NR_CPUS]; /* vfork children with that stale index */
static _Atomic bool publishing;

_Thread_local unsigned percpu_locked_slot initial_exec;
_Thread_local unsigned short percpu_vfork_depth initial_exec;
static _Thread_local unsigned vfork_index
	initial_exec; /* what the child holds; valid at depth > 0 */

static void area_init(uintptr_t *area)
{
	for (size_t slot = 0; slot < KMEM_CACHES_MAX; slot++) {
		area[PERCPU_MAIN + slot] = (uintptr_t)&percpu_zero_sheaf[1];
		area[PERCPU_TESTED + slot] = (uintptr_t)&percpu_zero_sheaf[1];
		area[PERCPU_COUNTDOWN + slot] = 0;
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
	} else if (rseq_find(&percpu_chosen_mode, &mode_reason)) {
		rseq_abi.cs = __rseq_offset + RSEQ_OFFSET_CS;
		rseq_abi.index = __rseq_offset + (percpu_chosen_mode == PERCPU_MM_CID ?
							  RSEQ_OFFSET_MM_CID :
							  RSEQ_OFFSET_CPU_ID);
		return;
	}
	percpu_chosen_mode = PERCPU_LOCKED;
	percpu_nr_locked = (unsigned)min_size(os_nr_cpus(), LOCKED_AREAS_MAX);
	for (unsigned i = 0; i < percpu_nr_locked; i++)
		lock_init(&percpu_area_locks[i], LOCK_RANK_AREA);
}

enum percpu_mode percpu_mode(void)
{
	return percpu_chosen_mode;
}

const char *percpu_mode_name(void)
{
	static const char *const names[] = { "rseq with mm_cid", "rseq with cpu_id", "locked" };

	return names[percpu_chosen_mode];
}

const char *percpu_mode_reason(void)
{
	return mode_reason;
}

/* Nothing on this CPU is a hit from now on, but for what has begun. */
void percpu_withdraw(unsigned index)
{
	__atomic_store_n(&percpu.hit[index], 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&percpu.hit_free[index], 0, __ATOMIC_SEQ_CST);
}

/* What the entries of the area at `offset` are to be. 0: nothing is a hit. */
static uintptr_t wanted_hit(uintptr_t offset)
{
	if (likely(!percpu_diverted()))
		return offset;
	return percpu_takes_samples() && percpu_session_is_begun(area_at(offset)) ?
		       offset + PERCPU_SPLIT :
		       0;
}

static uintptr_t wanted_hit_free(uintptr_t offset)
{
	return percpu_frees_diverted() ? 0 : offset;
}

/* As somebody from outside writes it: first what is wanted, then the entries. So what was wanted is looked at again. */
static void publish_entry(uintptr_t *entry, uintptr_t (*wanted)(uintptr_t), uintptr_t offset)
{
	uintptr_t value = wanted(offset);

	__atomic_store_n(entry, value, __ATOMIC_SEQ_CST);
	if (value != wanted(offset))
		__atomic_store_n(entry, 0, __ATOMIC_SEQ_CST);
}

/* Let the hit path use an index's area, unless somebody has reason against. */
void percpu_publish_locked(unsigned index)
{
	lock_assert_held(&percpu_lock);
	if (percpu_chosen_mode == PERCPU_LOCKED)
		return;
	atomic_store(&publishing, true);
	/* pairs with percpu_vfork_child(): it counts, then looks at publishing */
	if (!atomic_load(&holds[index])) {
		publish_entry(&percpu.hit_free[index], wanted_hit_free, percpu_area_offsets[index]);
		publish_entry(&percpu.hit[index], wanted_hit, percpu_area_offsets[index]);
	}
	atomic_store(&publishing, false);
}

static bool populate_locked(unsigned index, gfp_t gfp)
{
	lock_assert_held(&percpu_lock);
	if (!percpu_area_offsets[index]) {
		uintptr_t *area = meta_alloc(PERCPU_WORDS * sizeof(uintptr_t), gfp);

		if (!area)
			return false;
		area_init(area);
		percpu_area_offsets[index] = (uintptr_t)area - (uintptr_t)&percpu;
		if (index >= percpu_area_count)
			__atomic_store_n(&percpu_area_count, index + 1, __ATOMIC_RELAXED);
		__atomic_store_n(&percpu.backing[index], percpu_area_offsets[index],
				 __ATOMIC_RELEASE);
	}
	if (percpu_takes_samples() && !percpu_begin_session_locked(index))
		return false;
	percpu_publish_locked(index);
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

/* As nearly always: nothing is diverted, and the entries are where they are then? */
static bool is_plain(unsigned index, uintptr_t offset)
{
	return __atomic_load_n(&percpu.hit[index], __ATOMIC_RELAXED) == offset &&
	       __atomic_load_n(&percpu.hit_free[index], __ATOMIC_RELAXED) == offset &&
	       !percpu_diverted();
}

/* Is there nothing to be done to the area at `offset` and its entries? A reader from outside writes these one after the other. */
static __attribute__((noinline)) bool is_ready(unsigned index, uintptr_t offset)
{
	bool published = __atomic_load_n(&percpu.hit[index], __ATOMIC_RELAXED) ==
				 wanted_hit(offset) &&
			 __atomic_load_n(&percpu.hit_free[index], __ATOMIC_RELAXED) ==
				 wanted_hit_free(offset);

	if (unlikely(!published) && !atomic_load_explicit(&holds[index], memory_order_relaxed))
		return false;
	return !percpu_takes_samples() || percpu_session_is_begun(area_at(offset));
}

bool percpu_prepare(gfp_t gfp)
{
	unsigned index;
	uintptr_t offset;

	if (unlikely(percpu_vfork_depth))
		return false;
	index = current_index();
	if (unlikely(index >= RSEQ_NR_CPUS))
		return false;
	offset = __atomic_load_n(&percpu.backing[index], __ATOMIC_ACQUIRE);
	if (likely(offset && (percpu_chosen_mode == PERCPU_LOCKED || is_plain(index, offset) ||
			      is_ready(index, offset))))
		return true;
	return percpu_prepare_slow(index, gfp);
}

static void divert_locked(enum percpu_diverter who, enum percpu_diversion which)
{
	lock_assert_held(&percpu_lock);
	__atomic_store_n(&percpu.divert[who], (uint8_t)which, __ATOMIC_SEQ_CST);
	for (unsigned index = 0; index < percpu_area_count; index++) {
		percpu_withdraw(index);
		if (percpu_area_offsets[index])
			percpu_publish_locked(index);
	}
}

void percpu_divert(enum percpu_diverter who, enum percpu_diversion which)
{
	lock_acquire(&percpu_lock);
	divert_locked(who, which);
	lock_release(&percpu_lock);
}

bool percpu_try_divert(enum percpu_diverter who, enum percpu_diversion which)
{
	if (!lock_try(&percpu_lock))
		return false;
	divert_locked(who, which);
	lock_release(&percpu_lock);
	return true;
}

bool percpu_is_vfork_child(void)
{
	return percpu_vfork_depth != 0;
}

unsigned percpu_nr_areas(void)
{
	return __atomic_load_n(&percpu_area_count, __ATOMIC_RELAXED);
}

void percpu_places(const uintptr_t **offsets, const unsigned **number)
{
	*offsets = percpu_area_offsets;
	*number = &percpu_area_count;
}

void percpu_vfork_child(void)
{
	unsigned index;

	/* an index is only ever held once for a chain of vforks in one thread */
	if (percpu_vfork_depth++ || percpu_chosen_mode == PERCPU_LOCKED)
		return;
	index = rseq_index();
	vfork_index = index;
	if (index >= RSEQ_NR_CPUS)
		return;
	atomic_fetch_add(&holds[index], 1);
	percpu_withdraw(index);
	/* pairs with percpu_publish_locked(); the parent's own window stands still */
	while (!lock_is_mine(&percpu_lock) && atomic_load(&publishing))
		__builtin_ia32_pause();
	percpu_withdraw(index);
}

void percpu_vfork_parent(void)
{
	if (--percpu_vfork_depth || percpu_chosen_mode == PERCPU_LOCKED)
		return;
	if (vfork_index < RSEQ_NR_CPUS)
		atomic_fetch_sub(&holds[vfork_index], 1);
}

void percpu_fork_child(void)
{
	for (unsigned index = 0; index < percpu_area_count; index++) {
		atomic_store(&holds[index], 0);
		/* a fork in a handler may not have waited for the end of another thread's drain */
		if (percpu_chosen_mode != PERCPU_LOCKED)
			__atomic_store_n(&percpu.backing[index], percpu_area_offsets[index],
					 __ATOMIC_RELEASE);
	}
}
