/* SPDX-License-Identifier: MIT */
/* memcg.h - whose an accounted object is. Any context. */
#ifndef SLAB_MEMCG_H
#define SLAB_MEMCG_H

#include "kmalloc/memcontrol.h"
#include "slab/kmem_cache.h"

/* Note whose a new object is. */
void memcg_set_owner(const struct kmem_cache *cache, void *object, const struct mem_cgroup *group);
/* An object of an accounted cache is freed: uncharge its group, if it has one. Whatever ptr is. */
void memcg_free_object(const struct kmem_cache *cache, const void *ptr);

#endif
