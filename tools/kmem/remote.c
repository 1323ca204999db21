/* SPDX-License-Identifier: MIT */
/* remote.c - read the library's structs in another process. */
#include "remote.h"

#include "kmalloc/layout.h"
#include "say.h"

#define CACHES_MAX 1000000 /* a longer list is a ring */

bool remote_layout_fits(const struct target *target)
{
	if (target->state.layout == TRACE_LAYOUT)
		return true;
	say("process %d runs another build of libkmalloc: use the kmem that came with it",
	    target->pid);
	return false;
}

int remote_caches(const struct target *target,
		  bool (*visit)(const struct kmem_cache *cache, uint64_t address, void *arg),
		  void *arg)
{
	uint64_t address;

	if (target_read(target, target->state.caches, &address, sizeof(address)) != 0)
		return -1;
	for (int i = 0; address && i < CACHES_MAX; i++) {
		struct kmem_cache cache;

		if (target_read(target, address, &cache, sizeof(cache)) != 0)
			return -1;
		cache.name[sizeof(cache.name) - 1] = 0;
		if (!visit(&cache, address, arg))
			break;
		address = (uintptr_t)cache.next;
	}
	return 0;
}
