/* SPDX-License-Identifier: MIT */
/*
 * memcg.c - groups, their counters and limits.
 *
 * Mirrors mm/memcontrol.c and mm/page_counter.c. Differences: a group has a number of 16 bits, which is what those who
 * are charged keep: accounted slabs one per object (slab/memcg.c), areas one each (vmalloc/vmalloc.c); a charge is
 * exact and goes to the group at once (the kernel charges pages in batches per CPU); there is no hierarchy, no
 * reclaim within a group and no OOM killer: over the limit is NULL.
 *
 * Races: counters are atomics. A charge is a compare-and-swap of `bytes` against the limit, so the limit
 * holds whatever others do. A group lives as long as it has references: the creator's, and one per
 * charge. Numbers are taken and given back in the table by compare-and-swap.
 *
 * No locks; any context, but memcg_create() may sleep.
 */
#include "page/memcg.h"

#include "lib/fmt.h"
#include "lib/lock.h"
#include "page/meta.h"

#include <stdatomic.h>
#include <string.h>

#define NR_GROUPS 4096U /* number 0 is nobody */
#define NAME_BYTES 32

struct mem_cgroup {
	_Atomic size_t bytes;
	_Atomic size_t peak;
	_Atomic size_t max;
	_Atomic size_t objects;
	_Atomic size_t failures;
	_Atomic size_t refs;
	_Atomic bool complained;
	uint16_t id;
	char name[NAME_BYTES];
};

static _Atomic(struct mem_cgroup *) groups[NR_GROUPS];
static _Thread_local struct mem_cgroup *active initial_exec;

struct mem_cgroup *memcg_create(const char *name)
{
	struct mem_cgroup *group = meta_alloc(sizeof(*group), GFP_KERNEL);

	if (!group)
		return NULL;
	strncpy(group->name, name, NAME_BYTES - 1);
	atomic_store(&group->max, SIZE_MAX);
	atomic_store(&group->refs, 1);
	for (unsigned id = 1; id < NR_GROUPS; id++) {
		struct mem_cgroup *nobody = NULL;

		group->id = (uint16_t)id;
		if (!atomic_load_explicit(&groups[id], memory_order_relaxed) &&
		    atomic_compare_exchange_strong(&groups[id], &nobody, group))
			return group;
	}
	meta_free(group, sizeof(*group), GFP_KERNEL);
	return NULL;
}

exported void mem_cgroup_get(struct mem_cgroup *group)
{
	atomic_fetch_add(&group->refs, 1);
}

exported void mem_cgroup_put(struct mem_cgroup *group)
{
	if (!group || atomic_fetch_sub(&group->refs, 1) != 1)
		return;
	atomic_store(&groups[group->id], NULL);
	meta_free(group, sizeof(*group), GFP_NOWAIT);
}

exported struct mem_cgroup *set_active_memcg(struct mem_cgroup *group)
{
	struct mem_cgroup *old = active;

	active = group;
	return old;
}

exported void mem_cgroup_set_max(struct mem_cgroup *group, size_t bytes)
{
	atomic_store(&group->max, bytes);
	atomic_store(&group->complained, false);
}

exported void mem_cgroup_read(struct mem_cgroup *group, struct mem_cgroup_usage *usage)
{
	usage->bytes = atomic_load(&group->bytes);
	usage->peak = atomic_load(&group->peak);
	usage->max = atomic_load(&group->max);
	usage->objects = atomic_load(&group->objects);
	usage->failures = atomic_load(&group->failures);
}

struct mem_cgroup *memcg_active(void)
{
	return active;
}

uint16_t memcg_id(const struct mem_cgroup *group)
{
	return group->id;
}

struct mem_cgroup *memcg_from_id(uint16_t id)
{
	return atomic_load(&groups[id % NR_GROUPS]);
}

static void note_peak(struct mem_cgroup *group, size_t bytes)
{
	size_t peak = atomic_load_explicit(&group->peak, memory_order_relaxed);

	while (bytes > peak && !atomic_compare_exchange_weak(&group->peak, &peak, bytes))
		;
}

static cold_path bool refuse(struct mem_cgroup *group, size_t bytes, gfp_t gfp)
{
	atomic_fetch_add(&group->failures, 1);
	if (gfpflags_allow_blocking(gfp) && !(gfp & __GFP_NOWARN) &&
	    !atomic_exchange(&group->complained, true))
		fmt_warn("Memory cgroup out of memory: group %s, usage %zu bytes, limit %zu bytes",
			 group->name, bytes, atomic_load(&group->max));
	return false;
}

/* Would that pass the limit? */
static bool is_over(struct mem_cgroup *group, size_t bytes, size_t more)
{
	size_t max = atomic_load(&group->max);

	return bytes > max || more > max - bytes;
}

bool memcg_grow(struct mem_cgroup *group, size_t more, gfp_t gfp)
{
	size_t bytes = atomic_load_explicit(&group->bytes, memory_order_relaxed);

	do {
		if (!(gfp & __GFP_NOFAIL) && is_over(group, bytes, more))
			return refuse(group, bytes, gfp);
	} while (!atomic_compare_exchange_weak(&group->bytes, &bytes, bytes + more));
	note_peak(group, bytes + more);
	return true;
}

void memcg_shrink(struct mem_cgroup *group, size_t less)
{
	atomic_fetch_sub(&group->bytes, less);
}

bool memcg_charge(struct mem_cgroup *group, size_t bytes, gfp_t gfp)
{
	if (!memcg_grow(group, bytes, gfp))
		return false;
	atomic_fetch_add(&group->objects, 1);
	mem_cgroup_get(group);
	return true;
}

void memcg_uncharge(struct mem_cgroup *group, size_t bytes)
{
	atomic_fetch_sub(&group->objects, 1);
	memcg_shrink(group, bytes);
	mem_cgroup_put(group);
}

size_t memcg_account(void)
{
	size_t bytes = 0;

	for (unsigned id = 1; id < NR_GROUPS; id++)
		if (atomic_load_explicit(&groups[id], memory_order_relaxed))
			bytes += meta_piece_bytes(sizeof(struct mem_cgroup));
	return bytes;
}
