/* SPDX-License-Identifier: MIT */
/*
 * memcg.c - groups, their counters and limits, and the owner of each accounted object.
 *
 * Mirrors mm/memcontrol.c's obj_cgroup: accounted caches have a vector of owners per slab, one per
 * object, behind the slab's bitmaps. Differences: an owner is a number of 16 bits; a charge is exact and goes
 * to the group at once (the kernel charges pages in batches per CPU); there is no hierarchy, no
 * reclaim within a group and no OOM killer: over the limit is NULL.
 *
 * Accounted caches have no slot, so each allocation and free passes here.
 *
 * Races: counters are atomics. A charge is a compare-and-swap of `bytes` against the limit, so the limit
 * holds whatever others do. A group lives as long as it has references: the creator's, and one per
 * object. Numbers are taken and given back in the table by compare-and-swap. The owner of an
 * object is written by who allocates it and exchanged for 0 by who frees it, so a second free uncharges nothing.
 *
 * No locks; any context, but mem_cgroup_create() may sleep.
 */
#include "slab/memcg.h"

#include "lib/fmt.h"
#include "lib/lock.h"
#include "page/meta.h"
#include "slab/slab.h"

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

exported struct mem_cgroup *mem_cgroup_create(const char *name)
{
	struct mem_cgroup *group = NULL;

	/* a handler may have interrupted this very file */
	if (!lock_in_atomic())
		group = meta_alloc(sizeof(*group), GFP_KERNEL);
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

static void note_peak(struct mem_cgroup *group, size_t bytes)
{
	size_t peak = atomic_load_explicit(&group->peak, memory_order_relaxed);

	while (bytes > peak && !atomic_compare_exchange_weak(&group->peak, &peak, bytes))
		;
}

bool memcg_charge(struct mem_cgroup *group, const struct kmem_cache *cache, bool force)
{
	size_t bytes = atomic_load_explicit(&group->bytes, memory_order_relaxed);

	do {
		if (!force && bytes + cache->size > atomic_load(&group->max)) {
			atomic_fetch_add(&group->failures, 1);
			return false;
		}
	} while (!atomic_compare_exchange_weak(&group->bytes, &bytes, bytes + cache->size));
	note_peak(group, bytes + cache->size);
	atomic_fetch_add(&group->objects, 1);
	mem_cgroup_get(group);
	return true;
}

void memcg_uncharge(struct mem_cgroup *group, const struct kmem_cache *cache)
{
	atomic_fetch_sub(&group->objects, 1);
	atomic_fetch_sub(&group->bytes, cache->size);
	mem_cgroup_put(group);
}

void memcg_set_owner(const struct kmem_cache *cache, void *object, struct mem_cgroup *group)
{
	atomic_store_explicit(slab_owner(cache, object), group->id, memory_order_relaxed);
}

void memcg_free_object(const struct kmem_cache *cache, const void *ptr)
{
	_Atomic uint16_t *owner = slab_owner(cache, ptr);
	unsigned id = owner ? atomic_exchange(owner, 0) : 0;

	if (id)
		memcg_uncharge(atomic_load(&groups[id]), cache);
}

exported struct mem_cgroup *mem_cgroup_from_slab_obj(const void *object)
{
	const struct kmem_cache *cache = virt_to_cache(object);
	_Atomic uint16_t *owner;

	if (!cache || !(cache->flags & KMEM_CACHE_ACCOUNT))
		return NULL;
	owner = slab_owner(cache, object);
	return owner ? atomic_load(&groups[atomic_load(owner)]) : NULL;
}

cold_path void memcg_complain(struct mem_cgroup *group)
{
	if (!atomic_exchange(&group->complained, true))
		fmt_warn("Memory cgroup out of memory: group %s, usage %zu bytes, limit %zu bytes",
			 group->name, atomic_load(&group->bytes), atomic_load(&group->max));
}

size_t memcg_account(void)
{
	size_t bytes = 0;

	for (unsigned id = 1; id < NR_GROUPS; id++)
		if (atomic_load_explicit(&groups[id], memory_order_relaxed))
			bytes += meta_piece_bytes(sizeof(struct mem_cgroup));
	return bytes;
}
