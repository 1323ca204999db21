/* SPDX-License-Identifier: MIT */
/*
 * mempool.c - reserves of elements over any allocator.
 *
 * Mirrors mm/mempool.c. Differences: the reserve has no lock, so that a handler may take from it and
 * give to it whatever it interrupted; there are no pools of pages; when an allocation that may
 * wait finds nothing, it sleeps on the pool's word.
 *
 * The reserve is a number of slots, each NULL or an element. Taking one is a compare-and-swap of an
 * element by NULL, and putting one of NULL by the element: who wins has it, and nobody looks into
 * an element of somebody else's. curr_nr counts reservations: a put raises it first, if it is below
 * min_nr, and a take lowers it last. So no more elements are in slots than curr_nr says, no more
 * than min_nr, and whoever reserved finds a free slot. Slots come in blocks, which only
 * mempool_exit() frees: a search that runs while the pool grows sees the new block or not.
 *
 * Waiting: 1. read `wait`; 2. look for an element; 3. sleep as long as `wait` is what it was, for
 * RETRY_MS at most, since the allocator may have memory again as well; 4. try all again. A put stores the element,
 * raises `wait`, and wakes, which is a system call, only if somebody waits. Both are sequentially
 * consistent: either the sleeper sees the element, or the put sees the sleeper.
 *
 * exit while others use the pool is a fault of the program, as in the kernel.
 */
#include "kmalloc/mempool.h"
#include "kmalloc/context.h"

#include "kmalloc/caller.h"
#include "kmalloc/report.h"
#include "lib/port.h"

#include <errno.h>
#include <stdatomic.h>

#define RETRY_MS 5000

struct mempool_slots {
	struct mempool_slots *_Atomic next; /* NULL ends it */
	unsigned nr;
	_Atomic(void *) element[]; /* NULL: free */
};

static _Atomic int *curr_nr(mempool_t *pool)
{
	return (_Atomic int *)&pool->curr_nr;
}

static _Atomic uint32_t *wait_word(mempool_t *pool)
{
	return (_Atomic uint32_t *)&pool->wait;
}

static _Atomic unsigned *nr_waiting(mempool_t *pool)
{
	return (_Atomic unsigned *)&pool->nr_waiting;
}

static int min_nr(const mempool_t *pool)
{
	return __atomic_load_n(&pool->min_nr, __ATOMIC_RELAXED);
}

/* An element of the reserve; NULL: there is none. */
static void *take(mempool_t *pool)
{
	for (struct mempool_slots *slots = pool->slots; slots; slots = atomic_load(&slots->next)) {
		for (unsigned i = 0; i < slots->nr; i++) {
			void *element =
				atomic_load_explicit(&slots->element[i], memory_order_relaxed);

			if (element &&
			    atomic_compare_exchange_strong(&slots->element[i], &element, NULL)) {
				atomic_fetch_sub(curr_nr(pool), 1);
				return element;
			}
		}
	}
	return NULL;
}

/* Room for one element more; false: the reserve is full. */
static bool reserve(mempool_t *pool)
{
	int n = atomic_load(curr_nr(pool));

	while (n < min_nr(pool))
		if (atomic_compare_exchange_weak(curr_nr(pool), &n, n + 1))
			return true;
	return false;
}

/* Put an element into the reserve; false: it is full. */
static bool put(mempool_t *pool, void *element)
{
	if (!reserve(pool))
		return false;
	/* there is a free slot at any moment; others may be faster, each of them once */
	for (;;) {
		for (struct mempool_slots *slots = pool->slots; slots;
		     slots = atomic_load(&slots->next)) {
			for (unsigned i = 0; i < slots->nr; i++) {
				void *none = NULL;

				if (atomic_compare_exchange_strong(&slots->element[i], &none,
								   element))
					return true;
			}
		}
	}
}

static struct mempool_slots *slots_alloc(int nr, gfp_t gfp)
{
	struct mempool_slots *slots = kvzalloc(struct_size(slots, element, (size_t)nr), gfp);

	if (slots)
		slots->nr = (unsigned)nr;
	return slots;
}

/* Fill the reserve. False: no memory. */
static bool fill(mempool_t *pool, gfp_t gfp)
{
	while (!mempool_is_saturated(pool)) {
		void *element = pool->alloc(gfp, pool->pool_data);

		if (!element)
			return false;
		if (!put(pool, element))
			pool->free(element, pool->pool_data);
	}
	return true;
}

exported void mempool_exit(mempool_t *pool)
{
	struct mempool_slots *slots = pool->slots, *next;
	void *element;

	while ((element = take(pool)))
		pool->free(element, pool->pool_data);
	for (; slots; slots = next) {
		next = atomic_load(&slots->next);
		kvfree(slots);
	}
	pool->slots = NULL;
}

exported int mempool_init_node(mempool_t *pool, int min, mempool_alloc_t *alloc,
			       mempool_free_t *release, void *pool_data, gfp_t gfp, int node)
{
	(void)node;
	*pool = (mempool_t){
		.min_nr = min,
		.pool_data = pool_data,
		.alloc = alloc,
		.free = release,
		/* with a reserve of none it is a pool all the same */
		.slots = slots_alloc(min > 0 ? min : 1, gfp),
	};
	if (!pool->slots)
		return -ENOMEM;
	if (fill(pool, gfp))
		return 0;
	mempool_exit(pool);
	return -ENOMEM;
}

exported int mempool_init(mempool_t *pool, int min, mempool_alloc_t *alloc, mempool_free_t *release,
			  void *pool_data)
{
	return mempool_init_node(pool, min, alloc, release, pool_data, GFP_KERNEL, NUMA_NO_NODE);
}

exported mempool_t *mempool_create_node(int min, mempool_alloc_t *alloc, mempool_free_t *release,
					void *pool_data, gfp_t gfp, int node)
{
	mempool_t *pool = __kmalloc_caller(sizeof(*pool), gfp, __builtin_return_address(0));

	if (!pool)
		return NULL;
	if (mempool_init_node(pool, min, alloc, release, pool_data, gfp, node)) {
		kfree(pool);
		return NULL;
	}
	return pool;
}

exported mempool_t *mempool_create(int min, mempool_alloc_t *alloc, mempool_free_t *release,
				   void *pool_data)
{
	return mempool_create_node(min, alloc, release, pool_data, GFP_KERNEL, NUMA_NO_NODE);
}

exported void mempool_destroy(mempool_t *pool)
{
	if (!pool)
		return;
	mempool_exit(pool);
	kfree(pool);
}

/* Slots for so many more elements, behind the others. */
static bool add_slots(mempool_t *pool, int nr)
{
	struct mempool_slots *more = slots_alloc(nr, GFP_KERNEL);
	struct mempool_slots *last = pool->slots;

	if (!more)
		return false;
	while (atomic_load(&last->next))
		last = atomic_load(&last->next);
	atomic_store(&last->next, more);
	return true;
}

static int slots_nr(const mempool_t *pool)
{
	unsigned nr = 0;

	for (const struct mempool_slots *slots = pool->slots; slots;
	     slots = atomic_load(&slots->next))
		nr += slots->nr;
	return (int)nr;
}

exported int mempool_resize(mempool_t *pool, int new_min_nr)
{
	int have = slots_nr(pool);

	if (new_min_nr > have && !add_slots(pool, new_min_nr - have))
		return -ENOMEM;
	/* only after the slots are there may so many be reserved */
	__atomic_store_n(&pool->min_nr, new_min_nr, __ATOMIC_SEQ_CST);
	while (atomic_load(curr_nr(pool)) > new_min_nr) {
		void *element = take(pool);

		if (!element)
			break;
		pool->free(element, pool->pool_data);
	}
	/* what is missing comes with mempool_free(), as in the kernel */
	fill(pool, GFP_KERNEL | __GFP_NOWARN);
	return 0;
}

/* Sleep until an element may have come back; one that did meanwhile is taken. */
static void *wait_for_element(mempool_t *pool)
{
	uint32_t seen = atomic_load(wait_word(pool));
	void *element;

	atomic_fetch_add(nr_waiting(pool), 1);
	element = take(pool);
	if (!element)
		port_futex_wait_ms(wait_word(pool), seen, RETRY_MS);
	atomic_fetch_sub(nr_waiting(pool), 1);
	return element;
}

exported void *mempool_alloc(mempool_t *pool, gfp_t gfp)
{
	const void *caller = __builtin_return_address(0);

	if (unlikely(gfp & __GFP_ZERO)) {
		if (caller_is_new(caller))
			report_fault(gfp, caller,
				     "mempool_alloc: __GFP_ZERO is ignored, called "
				     "from " REPORT_CALLER);
		gfp &= ~__GFP_ZERO;
	}
	gfp |= __GFP_NOMEMALLOC | __GFP_NORETRY | __GFP_NOWARN;
	for (gfp_t now = gfp & ~(__GFP_DIRECT_RECLAIM | __GFP_IO);; now = gfp) {
		void *element = pool->alloc(now, pool->pool_data);

		if (!element)
			element = take(pool);
		if (element)
			return element;
		if (now != gfp)
			continue;
		if (!gfpflags_allow_blocking(gfp) || context_is_atomic())
			return NULL;
		element = wait_for_element(pool);
		if (element)
			return element;
	}
}

exported void *mempool_alloc_preallocated(mempool_t *pool)
{
	return take(pool);
}

exported void mempool_free(void *element, mempool_t *pool)
{
	if (!element)
		return;
	if (!put(pool, element)) {
		pool->free(element, pool->pool_data);
		return;
	}
	/* pairs with wait_for_element() */
	atomic_fetch_add(wait_word(pool), 1);
	/* waking is a system call; who waits looks by itself after a while */
	if (atomic_load(nr_waiting(pool)) && !context_is_atomic())
		port_futex_wake(wait_word(pool), 1);
}

exported void *mempool_alloc_slab(gfp_t gfp, void *pool_data)
{
	return __kmem_cache_alloc(pool_data, gfp);
}

exported void mempool_free_slab(void *element, void *pool_data)
{
	kmem_cache_free(pool_data, element);
}

exported void *mempool_kmalloc(gfp_t gfp, void *pool_data)
{
	return __kmalloc((size_t)pool_data, gfp);
}

exported void mempool_kfree(void *element, void *pool_data)
{
	(void)pool_data;
	kfree(element);
}
