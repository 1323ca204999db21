/* SPDX-License-Identifier: MIT */
/*
 * test_percpu_drain.c - objects that threads move through their CPUs' sheaves while
 * others drain, divert and vfork: each object is always in one place.
 *
 *	thread's stash <-> main sheaf <-> spare <-> drained: the pool <-> stash
 *
 * An object's `held` is 1 in a stash and in the pool, 0 in a sheaf; it changes by an
 * exchange each time, so an object that is handed out twice is seen at once, and
 * the count at the end finds those that were lost. Drained sheaves are overwritten
 * before they are freed: a thread that still used one would be seen too.
 */
#include "unit.h"

#include "slab/percpu.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

#define SLOT 1 /* the first that a drain comes to: the least time after its barrier */
#define CAPACITY 8
#define THREADS 6
#define OBJECTS 1500
#define STASH 48
#define ROUNDS 2000000

struct object {
	_Atomic int held;
	int padding[3];
};

static struct object objects[OBJECTS] __attribute__((aligned(16)));
static struct object *pool[OBJECTS];
static unsigned nr_pool;
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned nr_running;
static _Atomic unsigned nr_vforks;

static void pool_put(struct object *object)
{
	pthread_mutex_lock(&pool_lock);
	CHECK(nr_pool < OBJECTS);
	pool[nr_pool++] = object;
	pthread_mutex_unlock(&pool_lock);
}

static struct object *pool_get(void)
{
	struct object *object;

	pthread_mutex_lock(&pool_lock);
	object = nr_pool ? pool[--nr_pool] : NULL;
	pthread_mutex_unlock(&pool_lock);
	return object;
}

static void became_held(struct object *object)
{
	CHECK(object >= objects && object < objects + OBJECTS);
	CHECK_EQ(atomic_exchange(&object->held, 1), 0);
}

static void becomes_free(struct object *object)
{
	CHECK_EQ(atomic_exchange(&object->held, 0), 1);
}

/* To the pool, and the sheaf is no more. */
static void empty_sheaf(struct slab_sheaf *sheaf)
{
	while (!sheaf_empty(sheaf)) {
		struct object *object = *--sheaf->top;

		became_held(object);
		pool_put(object);
	}
	memset(sheaf, 0xa5, sheaf_bytes(CAPACITY));
	free(sheaf);
}

static struct slab_sheaf *sheaf_new(void)
{
	struct slab_sheaf *sheaf = percpu_take_spare(SLOT, false, GFP_KERNEL);

	if (!sheaf) {
		sheaf = malloc(sheaf_bytes(CAPACITY));
		CHECK(sheaf != NULL);
		memset(sheaf, 0, sheaf_bytes(CAPACITY));
		sheaf_init(sheaf, CAPACITY);
	}
	sheaf->top = &sheaf->slots[1];
	return sheaf;
}

static void put_sheaf(struct slab_sheaf *sheaf)
{
	bool full = sheaf_full(sheaf);

	if (!full && !sheaf_empty(sheaf))
		empty_sheaf(sheaf);
	else if (!percpu_put_spare(SLOT, sheaf, full, GFP_KERNEL))
		empty_sheaf(sheaf);
}

/* The free path of a cache, as far as sheaves go. */
static bool push(struct object *object)
{
	struct slab_sheaf *sheaf, *old;

	becomes_free(object);
	if (percpu_push(SLOT, object))
		return true;
	if (percpu_prepare(GFP_KERNEL)) {
		if (percpu_push_slow(SLOT, object, GFP_KERNEL))
			return true;
		sheaf = sheaf_new();
		*sheaf->top++ = object;
		if (percpu_replace_full(SLOT, sheaf, &old, GFP_KERNEL)) {
			if (old) {
				old->top = &old->slots[CAPACITY + 1];
				put_sheaf(old);
			}
			return true;
		}
		sheaf->top--;
		put_sheaf(sheaf);
	}
	became_held(object);
	return false;
}

/* The allocation path. */
static struct object *pop(void)
{
	struct slab_sheaf *sheaf, *old;
	void *object;

	if (percpu_pop(SLOT, &object))
		goto found;
	if (!percpu_prepare(GFP_KERNEL))
		return NULL;
	if (percpu_pop_slow(SLOT, &object, GFP_KERNEL))
		goto found;
	sheaf = percpu_take_spare(SLOT, true, GFP_KERNEL);
	if (!sheaf)
		return NULL;
	sheaf->top = &sheaf->slots[CAPACITY + 1];
	object = *--sheaf->top;
	if (percpu_replace_empty(SLOT, sheaf, &old, GFP_KERNEL)) {
		if (old)
			put_sheaf(old);
	} else {
		put_sheaf(sheaf);
	}
found:
	became_held(object);
	return object;
}

static void disturb(unsigned turn, uint64_t *random)
{
	if (turn % 512 == 0)
		unit_pin((unsigned)unit_random(random));
	else if (turn % 64 == 0)
		sched_yield();
	if (turn % 1024 == 1 && atomic_load(&nr_vforks) == 0) {
		/* what the child of a vfork does, here by the parent's thread itself */
		atomic_fetch_add(&nr_vforks, 1);
		percpu_vfork_child();
		CHECK(pop() == NULL);
		sched_yield();
		percpu_vfork_parent();
		atomic_fetch_sub(&nr_vforks, 1);
	}
}

static void *move_objects(void *arg)
{
	uint64_t random = (uintptr_t)arg + 77;
	struct object *stash[STASH];
	unsigned count = 0;
	bool filling = true;

	for (unsigned i = 0; i < ROUNDS; i++) {
		if (count == STASH || (count && unit_random(&random) % 64 == 0))
			filling = false;
		else if (count == 0)
			filling = true;
		if (filling) {
			stash[count] = pop();
			if (!stash[count])
				stash[count] = pool_get();
			count += stash[count] != NULL;
		} else if (!push(stash[count - 1])) {
			pool_put(stash[--count]);
		} else {
			count--;
		}
		disturb(i, &random);
	}
	while (count)
		pool_put(stash[--count]);
	atomic_fetch_sub(&nr_running, 1);
	return NULL;
}

static void drain(void)
{
	struct slab_sheaf *lists[KMEM_CACHES_MAX];

	CHECK(percpu_drain(lists));
	while (lists[SLOT]) {
		struct slab_sheaf *sheaf = lists[SLOT];

		lists[SLOT] = sheaf->next;
		empty_sheaf(sheaf);
	}
}

static void on_tick(int sig)
{
	(void)sig;
}

static void objects_under_threads_and_drain_stay_in_one_place(void)
{
	struct itimerval often = { { 0, 700 }, { 0, 700 } };
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < OBJECTS; i++) {
		objects[i].held = 1;
		pool_put(&objects[i]);
	}
	signal(SIGPROF, on_tick);
	CHECK(setitimer(ITIMER_PROF, &often, NULL) == 0);
	nr_running = THREADS;
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, move_objects, (void *)i) == 0);
	for (unsigned turn = 0; atomic_load(&nr_running); turn++) {
		drain();
		if (turn % 8 == 0)
			percpu_divert(PERCPU_DIVERT_STAT,
				      turn % 16 == 0 ? PERCPU_DIVERT_ALL : PERCPU_DIVERT_NOTHING);
		if (turn % 4 == 0)
			usleep(20);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	drain();
	CHECK_EQ(nr_pool, OBJECTS);
	for (unsigned i = 0; i < OBJECTS; i++)
		CHECK_EQ(atomic_exchange(&pool[i]->held, 5), 1);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(objects_under_threads_and_drain_stay_in_one_place),
	};

	return UNIT_MAIN(tests);
}
