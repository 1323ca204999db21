/* SPDX-License-Identifier: MIT */
/*
 * account.h - where the objects of the caches are. All with every lock held, the per-CPU
 * areas stopped (kmalloc/account.c).
 */
#ifndef SLAB_ACCOUNT_H
#define SLAB_ACCOUNT_H

#include "slab/kmem_cache.h"

/*
 * Of one index: slabs, and objects by the place where they are. That is one cache, but for KMEM_CACHE_SHARED,
 * where the objects of all caches without a slot are counted together.
 */
struct cache_account {
	size_t slabs;
	size_t free; /* in slabs */
	size_t cpu;  /* in main and spare sheaves */
	size_t barn; /* in full sheaves of the barn, or of the deferred list */
	size_t out;  /* the others: live, deferred, or in a thread's hands */
};

struct slab_account {
	struct cache_account caches[KMEM_CACHES_MAX];
	/* bytes, over all caches */
	size_t out;	/* objects whose free was put off too */
	size_t put_off; /* those */
	size_t cpu;
	size_t barn;
	size_t free;
	size_t rest; /* at the ends of slabs, too little for an object */
	/* pieces of metadata */
	size_t sheaves;
	size_t bitmaps;
	size_t areas;
	size_t structs; /* caches without a slot, and groups */
};

/* Adds a slab, found in the walk of page_account(), to an account that was all 0. */
void slab_account_slab(const struct page *page, void *account);
/* Then all the rest. */
void slab_account(struct slab_account *account);

/* Visit each sheaf that a CPU holds, with the objects in it. */
void percpu_walk(void (*visit)(struct kmem_cache *cache, struct slab_sheaf *sheaf, unsigned count,
			       void *arg),
		 void *arg);

#endif
