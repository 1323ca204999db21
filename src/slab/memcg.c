/* SPDX-License-Identifier: MIT */
/*
 * memcg.c - the owner of each accounted object.
 *
 * Mirrors obj_cgroup of mm/memcontrol.c: accounted caches have a vector of owners per slab, one per
 * object, behind the slab's bitmaps. Difference: an owner is the number of its group (page/memcg.c).
 *
 * Accounted caches have no slot, so each allocation and free passes here. The owner of an
 * object is written by who allocates it and exchanged for 0 by who frees it, so a second free uncharges nothing.
 *
 * No locks; any context.
 */
#include "slab/memcg.h"

#include "page/memcg.h"
#include "slab/slab.h"

#include <stdatomic.h>

void memcg_set_owner(const struct kmem_cache *cache, void *object, const struct mem_cgroup *group)
{
	atomic_store_explicit(slab_owner(cache, object), memcg_id(group), memory_order_relaxed);
}

void memcg_free_object(const struct kmem_cache *cache, const void *ptr)
{
	_Atomic uint16_t *owner = slab_owner(cache, ptr);
	uint16_t id = owner ? atomic_exchange(owner, 0) : 0;

	if (id)
		memcg_uncharge(memcg_from_id(id), cache->size);
}

exported struct mem_cgroup *mem_cgroup_from_slab_obj(const void *object)
{
	const struct kmem_cache *cache = virt_to_cache(object);
	_Atomic uint16_t *owner;

	if (!cache || !(cache->flags & KMEM_CACHE_ACCOUNT))
		return NULL;
	owner = slab_owner(cache, object);
	return owner ? memcg_from_id(atomic_load(owner)) : NULL;
}
