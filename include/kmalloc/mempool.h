/* SPDX-License-Identifier: MIT */
/*
 * mempool.h - the kernel's memory pools: a number of elements kept in reserve, so that an
 * allocation that may wait never fails.
 *
 * mempool_alloc() asks the pool's allocator without letting it wait; if that has none it
 * takes an element out of the reserve; if that is empty and gfp may wait, it lets the allocator
 * try hard, and then sleeps until an element is freed. mempool_free() fills the reserve first.
 */
#ifndef KMALLOC_MEMPOOL_H
#define KMALLOC_MEMPOOL_H

#include <kmalloc/gfp.h>
#include <kmalloc/slab.h>
#include <kmalloc/symbol.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void *(mempool_alloc_t)(gfp_t gfp, void *pool_data);
typedef void(mempool_free_t)(void *element, void *pool_data);

struct mempool_slots; /* opaque */

/* The fields but the first five are the library's. */
typedef struct mempool {
	int min_nr;  /* elements that the reserve holds when full */
	int curr_nr; /* and now; read it with mempool_is_saturated() */
	void *pool_data;
	mempool_alloc_t *alloc;
	mempool_free_t *free;
	struct mempool_slots *slots; /* NULL: not initialised */
	unsigned int wait;	     /* counts elements that came back; a futex */
	unsigned int nr_waiting;
} mempool_t;

/* A pool with a reserve of min_nr elements, which are allocated now. NULL: no memory. May block. */
mempool_t *mempool_create(int min_nr, mempool_alloc_t *alloc, mempool_free_t *release,
			  void *pool_data) KMALLOC_SYMBOL(mempool_create);
mempool_t *mempool_create_node(int min_nr, mempool_alloc_t *alloc, mempool_free_t *release,
			       void *pool_data, gfp_t gfp, int node)
	KMALLOC_SYMBOL(mempool_create_node);
/* The same in memory of the caller's. 0; -ENOMEM. */
int mempool_init(mempool_t *pool, int min_nr, mempool_alloc_t *alloc, mempool_free_t *release,
		 void *pool_data) KMALLOC_SYMBOL(mempool_init);
int mempool_init_node(mempool_t *pool, int min_nr, mempool_alloc_t *alloc, mempool_free_t *release,
		      void *pool_data, gfp_t gfp, int node) KMALLOC_SYMBOL(mempool_init_node);
/* Free the reserve, and the pool. Elements that are out need not come back first. NULL is nothing. */
void mempool_exit(mempool_t *pool) KMALLOC_SYMBOL(mempool_exit);
void mempool_destroy(mempool_t *pool) KMALLOC_SYMBOL(mempool_destroy);
/* Change the reserve; it is filled as far as memory is there. 0; -ENOMEM. One caller at a time. May block. */
int mempool_resize(mempool_t *pool, int new_min_nr) KMALLOC_SYMBOL(mempool_resize);

/* Never NULL if gfp may wait. Not with __GFP_ZERO: an element of the reserve holds old data. */
void *mempool_alloc(mempool_t *pool, gfp_t gfp) KMALLOC_SYMBOL(mempool_alloc);
/* Out of the reserve alone; NULL: it is empty. Never waits. */
void *mempool_alloc_preallocated(mempool_t *pool) KMALLOC_SYMBOL(mempool_alloc_preallocated);
/* NULL is nothing. Any context. */
void mempool_free(void *element, mempool_t *pool) KMALLOC_SYMBOL(mempool_free);

static inline bool mempool_initialized(mempool_t *pool)
{
	return pool->slots != NULL;
}

/* Is the reserve full? */
static inline bool mempool_is_saturated(mempool_t *pool)
{
	return __atomic_load_n(&pool->curr_nr, __ATOMIC_RELAXED) >=
	       __atomic_load_n(&pool->min_nr, __ATOMIC_RELAXED);
}

/* Allocators for pools: of a cache (pool_data), of kmalloc() objects (their size). */
void *mempool_alloc_slab(gfp_t gfp, void *pool_data) KMALLOC_SYMBOL(mempool_alloc_slab);
void mempool_free_slab(void *element, void *pool_data) KMALLOC_SYMBOL(mempool_free_slab);
void *mempool_kmalloc(gfp_t gfp, void *pool_data) KMALLOC_SYMBOL(mempool_kmalloc);
void mempool_kfree(void *element, void *pool_data) KMALLOC_SYMBOL(mempool_kfree);

#define mempool_create_slab_pool(min_nr, cache)                                                    \
	mempool_create(min_nr, mempool_alloc_slab, mempool_free_slab, (void *)(cache))
#define mempool_init_slab_pool(pool, min_nr, cache)                                                \
	mempool_init(pool, min_nr, mempool_alloc_slab, mempool_free_slab, (void *)(cache))
#define mempool_create_kmalloc_pool(min_nr, size)                                                  \
	mempool_create(min_nr, mempool_kmalloc, mempool_kfree, (void *)(unsigned long)(size))
#define mempool_init_kmalloc_pool(pool, min_nr, size)                                              \
	mempool_init(pool, min_nr, mempool_kmalloc, mempool_kfree, (void *)(unsigned long)(size))

#ifdef __cplusplus
}
#endif

#endif
