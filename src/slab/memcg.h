/* SPDX-License-Identifier: MIT */
/* memcg.h - charging objects to groups. Any context. */
#ifndef SLAB_MEMCG_H
#define SLAB_MEMCG_H

#include "kmalloc/memcontrol.h"
#include "slab/kmem_cache.h"

/* This thread's active group; NULL: none. */
struct mem_cgroup *memcg_active(void);
/* Charge one object of the cache; with `force` whatever the limit. False: over the limit. */
bool memcg_charge(struct mem_cgroup *group, const struct kmem_cache *cache, bool force);
/* Take that back: there was no object. */
void memcg_uncharge(struct mem_cgroup *group, const struct kmem_cache *cache);
/* Note whose a new object is. */
void memcg_set_owner(const struct kmem_cache *cache, void *object, struct mem_cgroup *group);
/* An object of an accounted cache is freed: uncharge its group, if it has one. Whatever ptr is. */
void memcg_free_object(const struct kmem_cache *cache, const void *ptr);
/* Bytes of metadata that the groups are. */
size_t memcg_account(void);
/* Say once that this group is at its limit. */
void memcg_complain(struct mem_cgroup *group);

#endif
