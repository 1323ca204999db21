/* SPDX-License-Identifier: MIT */
/* memcg.h - groups that memory is charged to. Any context, but for memcg_create(). */
#ifndef PAGE_MEMCG_H
#define PAGE_MEMCG_H

#include "kmalloc/memcontrol.h"
#include "lib/gfp.h"

/* A new group; see mem_cgroup_create(). May sleep; not in a handler that interrupted the allocator. */
struct mem_cgroup *memcg_create(const char *name);
/* This thread's active group; NULL: none. */
struct mem_cgroup *memcg_active(void);
/* Its number, never 0, for as long as anything is charged to it; and back. NULL: nobody. */
uint16_t memcg_id(const struct mem_cgroup *group);
struct mem_cgroup *memcg_from_id(uint16_t id);
/*
 * Charge an object or an area of so many bytes; with __GFP_NOFAIL whatever the limit. False: over the
 * limit, which is counted, and said once where gfp allows to sleep and to warn.
 */
bool memcg_charge(struct mem_cgroup *group, size_t bytes, gfp_t gfp);
/* It is gone. */
void memcg_uncharge(struct mem_cgroup *group, size_t bytes);
/* What is charged gets larger, if the limit allows, or smaller. */
bool memcg_grow(struct mem_cgroup *group, size_t more, gfp_t gfp);
void memcg_shrink(struct mem_cgroup *group, size_t less);
/* Bytes of metadata that the groups are. */
size_t memcg_account(void);

#endif
