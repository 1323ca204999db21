/* SPDX-License-Identifier: MIT */
/*
 * vmalloc.c - hand out, take back and resize areas.
 *
 * Mirrors mm/vmalloc.c: areas of whole pages with a guard page after each;
 * freed ones wait in pools by size and are purged lazily in batches, bounded in
 * bytes and in time. Differences: a waiting area keeps its pages, and is used
 * again first (for the kernel the waiting hides the cost of TLB flushes; here it
 * saves the page faults, which are what costs); realloc grows in place or moves page tables.
 *
 * Allocation: 1. a lazy range of about this size, or cut from a larger one, or several
 * neighbours joined; 2. before new
 * memory is mapped, lazy ranges are purged, oldest first, as many bytes as it takes, down to an
 * eighth of the live bytes: so much may add to a peak, as sizes that drift find their pages there, and more
 * while areas come and go fast (churn_spare_locked()); 3. a hole; 4. the top of the
 * window; both mapped with MAP_FIXED_NOREPLACE, without the lock: the range is
 * MOVING, nobody else touches it. What somebody else mapped there first is FOREIGN for good.
 *
 * Free: the range becomes lazy; past the limit, or older than reclaim.age_ms,
 * it is unmapped and becomes a hole.
 *
 * An area may be charged to a group (page/memcg.c): the pages that were asked for, from vmalloc_set_owner() until the
 * free, the change of size included. Who owns the area is the only one to change that.
 *
 * The guard page is vmap_guard.c's. Holes cost VMAs too: past HOLES_MAX a purge
 * discards the pages but keeps the mapping; the range stays lazy, and zeroed.
 *
 * Locks: vmap_lock (rank VMALLOC); system calls are made without it, but for a
 * leaf of the table (once per GiB). May block where gfp allows; without it, only
 * lazy ranges are handed out.
 */
#include "vmalloc/vmalloc.h"

#include "lib/die.h"
#include "lib/param.h"
#include "lib/port.h"
#include "os/os.h"
#include "page/memcg.h"
#include "page/reclaim.h"
#include "vmalloc/vmalloc_internal.h"
#include "vmalloc/vmap_guard.h"

#include <errno.h>

#define LAZY_UNIT (32UL << 20)
#define LAZY_MIN (128UL << 20)
#define PURGE_BATCH 32
#define SPARE_SHARE 8 /* of the live bytes, so much may wait while new memory is mapped */
#define CHURN_MS 32
#define CHURN_RATE (8UL << 20) /* bytes handed out in a millisecond */
#define CHURN_MIN (4UL << 20)
#define CHURN_MAX (32UL << 20)
#define RUN_MAX 16  /* lazy ranges joined at once, at most */
#define RUN_SCAN 32 /* of those freed last, how many are looked at */
#define HOLES_MAX 8192
#define FOREIGN_TRIES 32
#define FOREIGN_SKIP (64UL << 20) /* address space given up where others map */

struct vmalloc_counts vmalloc_counts;
static size_t lazy_max;

uint32_t vmalloc_stamp(void)
{
	return (uint32_t)(port_clock_ms() >> VMALLOC_STAMP_SHIFT);
}

bool vmalloc_owns(const void *ptr)
{
	return (uintptr_t)ptr >= vmap_base && (uintptr_t)ptr < vmap_end;
}

/* Take ranges to purge off the lists, oldest first; at most `bytes`, or what is due. */
static unsigned isolate_locked(enum reclaim what, size_t *bytes, struct vmap_area **batch)
{
	unsigned n = 0;

	lock_assert_held(&vmap_lock);
	while (n < PURGE_BATCH && *bytes && !list_empty(&vmap_age)) {
		struct vmap_area *area = list_entry(vmap_age.prev, struct vmap_area, age);
		uint64_t age = (uint64_t)(vmalloc_stamp() - area->stamp) << VMALLOC_STAMP_SHIFT;

		if (what == RECLAIM_AGE && age < params.reclaim_age_ms)
			break;
		vmap_isolate(area);
		batch[n++] = area;
		*bytes -= min_size(*bytes, area->span);
	}
	return n;
}

static void purge_one(struct vmap_area *area, uint32_t stamp)
{
	size_t bytes = area->span;
	bool unmapped = __atomic_load_n(&vmap_nr_holes, __ATOMIC_RELAXED) < HOLES_MAX &&
			vmap_unmap(area);

	if (!unmapped) {
		/* refused only for memory that the program locked */
		area->zeroed = os_discard((void *)area->addr, bytes - os_page_size) == 0;
		bytes = area->zeroed ? bytes : 0;
	}
	lock_acquire(&vmap_lock);
	if (unmapped)
		vmap_put_hole(area);
	else
		vmap_put_lazy(area, stamp);
	vmalloc_counts.purged += bytes;
	lock_release(&vmap_lock);
}

/* Return lazy ranges: `bytes` of them whatever their age (RECLAIM_ALL), or the old ones. */
static size_t purge(enum reclaim what, size_t bytes)
{
	struct vmap_area *batch[PURGE_BATCH];
	size_t left = bytes;
	unsigned n;

	do {
		lock_acquire(&vmap_lock);
		n = isolate_locked(what, &left, batch);
		lock_release(&vmap_lock);
		for (unsigned i = 0; i < n; i++)
			purge_one(batch[i], vmalloc_stamp());
	} while (n == PURGE_BATCH && left);
	return bytes - left;
}

static size_t vmalloc_shrink(enum reclaim what)
{
	lock_acquire(&vmap_lock);
	size_t bytes = vmap_lazy_bytes;
	lock_release(&vmap_lock);
	if (what != RECLAIM_EXCESS)
		return purge(what, bytes);
	return bytes > lazy_max ? purge(RECLAIM_ALL, bytes - lazy_max / 4 * 3) : 0;
}

void vmalloc_init(uintptr_t base, size_t size)
{
	static struct shrinker shrinker = { vmalloc_shrink, NULL };

	vmap_area_init(base, size);
	shrinker_register(&shrinker);
	lazy_max = params.vmalloc_lazy_max;
	if (lazy_max == SIZE_MAX)
		lazy_max = max_size(LAZY_MIN, LAZY_UNIT * (ilog2(os_nr_cpus()) + 1));
}

static void hand_out_locked(struct vmap_area *area)
{
	area->state = VMAP_BUSY;
	area->marked = false;
	area->sampled = false;
	area->owner = 0;
	vmalloc_counts.nr_areas++;
	vmalloc_counts.bytes += area->span;
	vmalloc_counts.nr_alloc++;
	vmalloc_counts.bytes_alloc += area->span - os_page_size;
}

void vmalloc_take_back_locked(struct vmap_area *area)
{
	area->state = VMAP_MOVING;
	vmalloc_counts.nr_areas--;
	vmalloc_counts.bytes -= area->span;
	vmalloc_counts.nr_free++;
}

/* Addresses for a new area, not mapped yet; MOVING. */
struct vmap_area *vmalloc_take_addresses(size_t span, size_t align)
{
	struct vmap_area *area;

	lock_acquire(&vmap_lock);
	area = vmap_take(VMAP_HOLE, span, align, GFP_KERNEL);
	if (!area)
		area = vmap_extend(span, align, GFP_KERNEL);
	lock_release(&vmap_lock);
	return area;
}

/* What could not be mapped: a hole again, or, if somebody else is there, never more. */
void vmalloc_give_up_addresses(struct vmap_area *area, int err)
{
	lock_acquire(&vmap_lock);
	if (err != -EEXIST) {
		vmap_put_hole(area);
	} else {
		area->state = VMAP_FOREIGN;
		/* whoever maps here maps more: keep away */
		area = vmap_extend(FOREIGN_SKIP, 0, GFP_KERNEL);
		if (area)
			area->state = VMAP_FOREIGN;
	}
	lock_release(&vmap_lock);
}

struct vmap_area *vmalloc_map_new(size_t span, size_t align)
{
	for (int i = 0; i < FOREIGN_TRIES; i++) {
		struct vmap_area *area = vmalloc_take_addresses(span, align);
		int err;

		if (!area)
			return NULL;
		err = vmap_map(area);
		if (!err)
			return area;
		vmalloc_give_up_addresses(area, err);
		if (err != -EEXIST)
			return NULL;
	}
	return NULL;
}

/* The first of the lazy neighbours before `area`, RUN_MAX steps away at most. */
static struct vmap_area *first_of_run_locked(struct vmap_area *area)
{
	for (unsigned n = 0; n < RUN_MAX; n++) {
		struct vmap_area *prev = vmap_prev(area);

		if (!vmap_can_join(prev, area))
			break;
		area = prev;
	}
	return area;
}

/* The lazy neighbours from `area` on, until they are `span` together; 0: they are not, or are one. */
static unsigned run_locked(struct vmap_area *area, size_t span, struct vmap_area **run)
{
	size_t bytes = area->span;
	unsigned n = 1;

	run[0] = area;
	while (bytes < span && n < RUN_MAX) {
		struct vmap_area *next = vmap_next(run[n - 1]);

		if (!vmap_can_join(run[n - 1], next))
			return 0;
		bytes += next->span;
		run[n++] = next;
	}
	return bytes >= span && n > 1 ? n : 0;
}

/*
 * A run of neighbouring lazy ranges, around one that was freed lately, that
 * are large enough together: taken off the lists. Returns how many, in address order.
 */
static unsigned isolate_run_locked(size_t span, struct vmap_area **run)
{
	struct list_head *entry = vmap_age.next;

	lock_assert_held(&vmap_lock);
	for (unsigned scanned = 0; scanned < RUN_SCAN && entry != &vmap_age; scanned++) {
		struct vmap_area *area = list_entry(entry, struct vmap_area, age);
		unsigned n = run_locked(first_of_run_locked(area), span, run);

		for (unsigned i = 0; i < n; i++)
			vmap_isolate(run[i]);
		if (n)
			return n;
		entry = entry->next;
	}
	return 0;
}

/* Cut what is too much off a MOVING range and hand the range out. */
static struct vmap_area *cut_run_locked(struct vmap_area *area, size_t span)
{
	if (area->span > span + span / VMAP_SLACK) {
		struct vmap_area *upper = vmap_split(area, span, GFP_KERNEL);

		if (upper)
			vmap_put_lazy(upper, vmalloc_stamp());
	}
	hand_out_locked(area);
	return area;
}

/*
 * Join small lazy ranges to one of the wanted size: nothing that waits is big
 * enough, and taking new memory would purge them. NULL: there is no such run.
 */
static struct vmap_area *take_joined(size_t span)
{
	struct vmap_area *run[RUN_MAX];
	struct vmap_area *area = NULL;
	unsigned n, joined = 1;

	lock_acquire(&vmap_lock);
	n = isolate_run_locked(span, run);
	lock_release(&vmap_lock);
	if (!n)
		return NULL;
	while (joined < n && vmap_guard_remove(run[joined - 1]))
		joined++;
	lock_acquire(&vmap_lock);
	for (unsigned i = 1; i < joined; i++) {
		run[0]->zeroed = false;
		vmap_join(run[0], run[i]);
	}
	for (unsigned i = joined; i < n; i++)
		vmap_put_lazy(run[i], vmalloc_stamp());
	if (run[0]->span >= span)
		area = cut_run_locked(run[0], span);
	else
		vmap_put_lazy(run[0], vmalloc_stamp());
	lock_release(&vmap_lock);
	return area;
}

static struct vmap_area *take_lazy(size_t span, size_t align, gfp_t gfp)
{
	struct vmap_area *area;
	bool worth;

	if (!lock_get(&vmap_lock, gfp))
		return NULL;
	area = vmap_take(VMAP_LAZY, span, align, gfp);
	if (area)
		hand_out_locked(area);
	worth = !area && vmap_lazy_bytes >= span;
	lock_release(&vmap_lock);
	if (worth && !align && gfpflags_allow_blocking(gfp))
		area = take_joined(span);
	return area;
}

/*
 * What may wait besides, because areas come and go so fast that the page faults of new memory would be most of the work:
 * twice as much, up to CHURN_MAX, with each CHURN_MS in which that holds, half with each in which it is far from that.
 */
static size_t churn_spare_locked(void)
{
	static uint64_t since, bytes_before;
	static size_t spare;
	uint64_t now = port_clock_ms(), spans, rate;

	lock_assert_held(&vmap_lock);
	if (now - since < CHURN_MS)
		return spare;
	spans = (now - since) / CHURN_MS;
	rate = (vmalloc_counts.bytes_alloc - bytes_before) / (now - since);
	since = now;
	bytes_before = vmalloc_counts.bytes_alloc;
	if (rate >= CHURN_RATE)
		spare = min_size(max_size(spare * 2, CHURN_MIN), CHURN_MAX);
	else if (rate < CHURN_RATE / 8)
		spare = spans < 64 ? spare >> spans : 0;
	return spare;
}

/* How much of what waits has to go before `span` bytes more are mapped. */
static size_t excess_with(size_t span)
{
	size_t lazy, spare;

	lock_acquire(&vmap_lock);
	lazy = vmap_lazy_bytes;
	spare = max_size((vmalloc_counts.bytes + span) / SPARE_SHARE, churn_spare_locked());
	lock_release(&vmap_lock);
	return lazy > spare ? min_size(lazy - spare, span) : 0;
}

void vmalloc_purge_for(size_t bytes)
{
	size_t excess = excess_with(bytes);

	if (excess)
		purge(RECLAIM_ALL, excess);
}

static struct vmap_area *take_new(size_t span, size_t align, gfp_t gfp)
{
	struct vmap_area *area;

	vmalloc_purge_for(span);
	area = vmalloc_map_new(span, align);
	if (!area && gfp_may_reclaim(gfp)) {
		reclaim_run(RECLAIM_ALL);
		area = vmalloc_map_new(span, align);
	}
	if (!area)
		return NULL;
	lock_acquire(&vmap_lock);
	hand_out_locked(area);
	lock_release(&vmap_lock);
	return area;
}

void *vmalloc_area(size_t size, size_t align, gfp_t gfp, bool *zeroed)
{
	size_t span = vmalloc_span(size);
	struct vmap_area *area;
	bool fresh = false;

	if (size > vmap_end - vmap_base || align > vmap_end - vmap_base)
		return NULL;
	if (align <= os_page_size)
		align = 0;
	area = take_lazy(span, align, gfp);
	if (area) {
		fresh = area->zeroed;
	} else {
		if (!gfpflags_allow_blocking(gfp))
			return NULL;
		reclaim_poll();
		area = take_new(span, align, gfp);
		if (!area)
			return NULL;
		fresh = true;
	}
	area->zeroed = false;
	vmap_guard_install(area);
	if (zeroed)
		*zeroed = fresh;
	return (void *)area->addr;
}

struct vmap_area *vmalloc_lookup(const void *ptr)
{
	struct vmap_area *area = vmap_find((uintptr_t)ptr);

	if (!area || area->addr != (uintptr_t)ptr)
		return NULL;
	return area;
}

enum vfree vfree_area(void *ptr, gfp_t gfp)
{
	bool blocking = gfpflags_allow_blocking(gfp);
	struct mem_cgroup *owner = NULL;
	size_t charged = 0;
	bool excess, unmap;

	if (!lock_get(&vmap_lock, gfp))
		return VFREE_BUSY;

	struct vmap_area *area = vmalloc_lookup(ptr);

	if (area && (area->state == VMAP_LAZY || area->state == VMAP_MOVING))
		die("BUG vmalloc: Area already free: %p (double free)", ptr);
	if (!area || area->state != VMAP_BUSY) {
		lock_release(&vmap_lock);
		return VFREE_NOT_AREA;
	}
	if (unlikely(area->owner)) {
		owner = memcg_from_id(area->owner);
		charged = (size_t)area->charged << os_page_shift;
	}
	vmalloc_take_back_locked(area);
	unmap = blocking && area->span > lazy_max;
	if (!unmap)
		vmap_put_lazy(area, vmalloc_stamp());
	excess = vmap_lazy_bytes > lazy_max;
	lock_release(&vmap_lock);

	if (unlikely(owner))
		memcg_uncharge(owner, charged);
	if (unmap)
		purge_one(area, vmalloc_stamp());
	else if (excess && blocking)
		purge(RECLAIM_ALL, lazy_max / 4);
	else if (excess)
		reclaim_wake();
	if (blocking)
		reclaim_poll();
	return VFREE_DONE;
}

/*
 * Without the lock: the struct of a live area is changed by its owner alone, who
 * is the caller; for any other address the worst is a wrong answer.
 */
size_t vmalloc_size(const void *ptr)
{
	const struct vmap_area *area = vmalloc_lookup(ptr);

	return area && area->state == VMAP_BUSY ? area->span - os_page_size : 0;
}

void vmalloc_mark(const void *ptr)
{
	struct vmap_area *area = vmalloc_lookup(ptr);

	if (likely(area))
		area->marked = true;
}

void vmalloc_mark_sampled(const void *ptr, bool sampled)
{
	struct vmap_area *area = vmalloc_lookup(ptr);

	if (likely(area))
		area->sampled = sampled;
}

bool vmalloc_is_sampled(const void *ptr)
{
	const struct vmap_area *area = vmalloc_lookup(ptr);

	return area && area->state == VMAP_BUSY && area->sampled;
}

bool vmalloc_is_marked(const void *ptr)
{
	const struct vmap_area *area = vmalloc_lookup(ptr);

	return area && area->state == VMAP_BUSY && area->marked;
}

void vmalloc_set_owner(const void *ptr, const struct mem_cgroup *group, size_t bytes)
{
	struct vmap_area *area = vmalloc_lookup(ptr);

	if (unlikely(!area))
		return;
	area->charged = (uint32_t)(bytes >> os_page_shift);
	__atomic_store_n(&area->owner, memcg_id(group), __ATOMIC_RELAXED);
}

void vmalloc_stat(struct vmalloc_stat *stat)
{
	lock_acquire(&vmap_lock);
	stat->nr_areas = vmalloc_counts.nr_areas;
	stat->bytes = vmalloc_counts.bytes - vmalloc_counts.nr_areas * os_page_size;
	stat->lazy = vmap_lazy_bytes;
	stat->nr_lazy = vmap_nr_lazy;
	stat->purged = vmalloc_counts.purged;
	stat->nr_alloc = vmalloc_counts.nr_alloc;
	stat->nr_free = vmalloc_counts.nr_free;
	stat->bytes_alloc = vmalloc_counts.bytes_alloc;
	lock_release(&vmap_lock);
}
