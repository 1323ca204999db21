/* SPDX-License-Identifier: MIT */
/*
 * memcontrol.h - groups that __GFP_ACCOUNT (and caches with SLAB_ACCOUNT) charge objects to.
 *
 * The kernel's mem_cgroup, with its calls where it has some; a group there is a directory that is made
 * and read, here are calls for it. While a thread has an active group, its accounted objects are
 * charged to that: the bytes of the object in its cache. Who frees them, and when, does not matter.
 * Without one, nothing is charged (the kernel's root group).
 */
#ifndef KMALLOC_MEMCONTROL_H
#define KMALLOC_MEMCONTROL_H

#include <kmalloc/symbol.h>

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mem_cgroup;

/* A new group without a limit. May sleep. NULL: no memory, or there are 4095. The name is copied, up to 31 bytes. */
struct mem_cgroup *mem_cgroup_create(const char *name) KMALLOC_SYMBOL(mem_cgroup_create);
/* One reference more, or less. A group is gone with its last reference and its last object. */
void mem_cgroup_get(struct mem_cgroup *group) KMALLOC_SYMBOL(mem_cgroup_get);
void mem_cgroup_put(struct mem_cgroup *group) KMALLOC_SYMBOL(mem_cgroup_put);

/* The group that this thread charges from now on (NULL: none); returns the one before. Takes no reference. */
struct mem_cgroup *set_active_memcg(struct mem_cgroup *group) KMALLOC_SYMBOL(set_active_memcg);
/* The group that an object is charged to; NULL: none. */
struct mem_cgroup *mem_cgroup_from_slab_obj(const void *object)
	KMALLOC_SYMBOL(mem_cgroup_from_slab_obj);

/* memory.max: an allocation that would pass it gets NULL. What is charged already stays. */
void mem_cgroup_set_max(struct mem_cgroup *group, size_t bytes) KMALLOC_SYMBOL(mem_cgroup_set_max);

struct mem_cgroup_usage {
	size_t bytes;	 /* memory.current */
	size_t peak;	 /* memory.peak */
	size_t max;	 /* memory.max; SIZE_MAX: none */
	size_t objects;	 /* live */
	size_t failures; /* memory.events, max: allocations refused by the limit */
};

void mem_cgroup_read(struct mem_cgroup *group, struct mem_cgroup_usage *usage)
	KMALLOC_SYMBOL(mem_cgroup_read);

#ifdef __cplusplus
}
#endif

#endif
