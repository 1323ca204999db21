/* SPDX-License-Identifier: MIT */
/* remote.h - what the library in another process has: its caches. Read while it works: numbers that change meanwhile may disagree. */
#ifndef KMEM_REMOTE_H
#define KMEM_REMOTE_H

#include "slab/kmem_cache.h"
#include "target.h"

/* Each cache that ever was, oldest last; `cache` is a copy, `address` where it is. Stops when visit says false. 0; -1: the process is gone. */
int remote_caches(const struct target *target,
		  bool (*visit)(const struct kmem_cache *cache, uint64_t address, void *arg),
		  void *arg);
/* Is the library there built from the same structs? If not that is said. */
bool remote_layout_fits(const struct target *target);

#endif
