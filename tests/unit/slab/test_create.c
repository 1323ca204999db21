/* SPDX-License-Identifier: MIT */
/*
 * test_create.c - caches that come and go: slots, the shared index, constructors, deferred frees,
 * destruction with sheaves on other CPUs.
 */
#include "unit.h"

#include "kmalloc/kvmalloc.h"
#include "page/reclaim.h"
#include "slab/slab.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define SLOTS (KMEM_CACHE_SHARED - NR_KMALLOC_CLASSES)

static struct kmem_cache *create(const char *name, size_t size, void (*ctor)(void *), bool slotless)
{
	struct kmem_cache_spec spec = {
		.name = name, .object_size = size, .ctor = ctor, .slotless = slotless
	};
	struct kmem_cache *cache = kmem_cache_new(&spec);

	CHECK(cache != NULL);
	return cache;
}

static void *cache_alloc(struct kmem_cache *cache)
{
	void *object;
	bool zeroed;

	if (!percpu_pop(cache->index, &object))
		object = kmem_cache_alloc_slow(cache, GFP_KERNEL, &zeroed);
	CHECK(object != NULL);
	CHECK(virt_to_cache(object) == cache);
	CHECK_EQ((uintptr_t)object % cache->align, 0);
	return object;
}

static size_t shutdown(struct kmem_cache *cache)
{
	size_t left;

	CHECK(kmem_cache_shutdown(cache, 0, NULL, &left));
	return left;
}

static void first_caches_have_slots_and_later_ones_share(void)
{
	static struct kmem_cache *caches[SLOTS + 100];
	static void *objects[SLOTS + 100];
	bool seen[KMEM_CACHES_MAX] = { false };

	for (unsigned i = 0; i < ARRAY_SIZE(caches); i++) {
		caches[i] = create("many", 40 + i, NULL, false);
		CHECK_EQ(kmem_cache_has_slot(caches[i]), i < SLOTS);
		CHECK(i >= SLOTS || !seen[caches[i]->index]);
		seen[caches[i]->index] = true;
		objects[i] = cache_alloc(caches[i]);
		unit_fill(objects[i], 40 + i, i);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(caches); i++) {
		CHECK(virt_to_cache(objects[i]) == caches[i]);
		CHECK_EQ(kvmalloc_size(objects[i]), 40 + i);
		CHECK(unit_is_filled(objects[i], 40 + i, i));
		kvmalloc_free(objects[i]);
		CHECK_EQ(shutdown(caches[i]), 0);
		CHECK_EQ(kmem_cache_state(caches[i]), KMEM_CACHE_DEAD);
	}
}

static void shared_slot_stays_empty(void)
{
	struct kmem_cache *cache = create("shared", 100, NULL, true);
	void *objects[300], *object;

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 300; i++)
			objects[i] = cache_alloc(cache);
		for (unsigned i = 0; i < 300; i++)
			kvmalloc_free(objects[i]);
		CHECK(!percpu_pop(KMEM_CACHE_SHARED, &object));
		CHECK(!percpu_push(KMEM_CACHE_SHARED, objects[0]));
		CHECK(!percpu_pop_slow(KMEM_CACHE_SHARED, &object, GFP_KERNEL));
	}
	CHECK_EQ(shutdown(cache), 0);
}

/* Slabs of several granules: an address in the last one leads to the cache as well. */
static void every_object_of_a_large_slab_leads_to_its_cache(void)
{
	for (size_t size = 5000; size < KMALLOC_MAX_SIZE; size = size * 3 / 2) {
		struct kmem_cache *cache = create("large", size, NULL, true);
		void *objects[64];
		unsigned n = cache->nr_objects < 64 ? cache->nr_objects : 64;

		for (unsigned i = 0; i < n; i++)
			objects[i] = cache_alloc(cache);
		for (unsigned i = 0; i < n; i++)
			kvmalloc_free(objects[i]);
		CHECK_EQ(shutdown(cache), 0);
	}
}

static void slots_of_destroyed_caches_are_used_again(void)
{
	for (unsigned i = 0; i < 1000; i++) {
		struct kmem_cache *cache = create("again", 16 + i % 500, NULL, false);
		void *objects[100];

		CHECK(kmem_cache_has_slot(cache));
		for (unsigned j = 0; j < 100; j++)
			objects[j] = cache_alloc(cache);
		for (unsigned j = 0; j < 100; j++)
			kvmalloc_free(objects[j]);
		CHECK_EQ(shutdown(cache), 0);
	}
}

static void struct_without_a_slot_waits_its_turn(void)
{
	struct kmem_cache *first = create("a", 64, NULL, true),
			  *second = create("b", 64, NULL, true);

	CHECK_EQ(shutdown(first), 0);
	CHECK_EQ(shutdown(second), 0);
	CHECK(create("c", 3000, NULL, true) == first);
	CHECK(create("d", 20, NULL, true) == second);
	CHECK(create("e", 20, NULL, true) != first);
}

struct made {
	unsigned long mark;
	char rest[40];
};

static unsigned nr_made;

static void make(void *object)
{
	struct made *made = object;

	made->mark = 0x600dUL;
	nr_made++;
}

static void constructor_runs_once_for_each_object_of_a_slab(void)
{
	for (unsigned slotless = 0; slotless < 2; slotless++) {
		struct kmem_cache *cache = create("made", sizeof(struct made), make, slotless);
		struct made *objects[500];

		nr_made = 0;
		for (unsigned round = 0; round < 4; round++) {
			for (unsigned i = 0; i < 500; i++) {
				objects[i] = cache_alloc(cache);
				CHECK_EQ(objects[i]->mark, 0x600dUL);
			}
			for (unsigned i = 0; i < 500; i++)
				kvmalloc_free(objects[i]);
			CHECK_EQ(nr_made, cache->nr_objects);
		}
		CHECK_EQ(shutdown(cache), 0);
	}
}

static void deferred_free_keeps_the_object_and_is_reaped(void)
{
	struct kmem_cache *cache = create("put-off", sizeof(struct made), make, true);
	struct made *objects[700], before;

	for (unsigned i = 0; i < 700; i++)
		objects[i] = cache_alloc(cache);
	memset(objects[3]->rest, 7, sizeof(objects[3]->rest));
	before = *objects[3];
	for (unsigned i = 0; i < 700; i++)
		kmem_cache_defer(cache, objects[i]);
	CHECK(!memcmp(&before, objects[3], sizeof(before)));
	CHECK(kmem_cache_any_deferred);
	CHECK_EQ(cache->nr_inuse, 700);
	kmem_cache_reap_deferred();
	CHECK(!kmem_cache_any_deferred);
	CHECK_EQ(cache->nr_inuse, 0);
	CHECK_EQ(cache->nr_slabs, 1);
	CHECK(!memcmp(&before, objects[3], sizeof(before)));
	CHECK_EQ(shutdown(cache), 0);
}

/* A handler can't have the lock that its own thread holds: what kfree() comes to then. */
static void free_under_the_caches_own_lock_is_put_off(void)
{
	struct kmem_cache *cache = create("busy", sizeof(struct made), make, true);
	struct made *object = cache_alloc(cache);

	object->rest[0] = 1;
	lock_acquire(&cache->lock);
	kvmalloc_free(object);
	lock_release(&cache->lock);
	CHECK_EQ(object->mark, 0x600dUL);
	CHECK_EQ(object->rest[0], 1);
	CHECK(cache->put_off);
	kvmalloc_poll_deferred(GFP_KERNEL);
	CHECK_EQ(cache->nr_inuse, 0);
	CHECK_EQ(shutdown(cache), 0);
}

static void defer_twice(void *object)
{
	kmem_cache_defer(virt_to_cache(object), object);
	kmem_cache_defer(virt_to_cache(object), object);
}

static void defer_and_free(void *object)
{
	kmem_cache_defer(virt_to_cache(object), object);
	kvmalloc_free(object);
	kmem_cache_reap_deferred();
}

static void double_free_of_a_deferred_object_dies(void)
{
	void *object = cache_alloc(create("twice", 64, NULL, true));
	char report[100];

	snprintf(report, sizeof(report),
		 "libkmalloc: BUG twice: Object already free: %p (double free)\n", object);
	unit_dies(defer_twice, object, report);
	unit_dies(defer_and_free, object, report);
}

static struct kmem_cache *worker_cache;
static _Atomic unsigned at_work;

static void *leave_sheaves(void *nth)
{
	void *objects[200];

	unit_pin((unsigned)(uintptr_t)nth);
	for (unsigned i = 0; i < 200; i++)
		objects[i] = cache_alloc(worker_cache);
	/* all at once, so that threads on one CPU have several indexes as well */
	for (at_work++; at_work < 4;)
		sched_yield();
	for (unsigned i = 0; i < 200; i++)
		kvmalloc_free(objects[i]);
	return NULL;
}

static void destruction_takes_sheaves_of_all_cpus(void)
{
	pthread_t threads[4];

	for (unsigned round = 0; round < 20; round++) {
		worker_cache = create("everywhere", 128, NULL, false);
		at_work = 0;
		for (uintptr_t i = 0; i < 4; i++)
			CHECK(pthread_create(&threads[i], NULL, leave_sheaves, (void *)i) == 0);
		for (unsigned i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		CHECK(worker_cache->nr_inuse > 0);
		CHECK_EQ(shutdown(worker_cache), 0);
		CHECK_EQ(worker_cache->nr_slabs, 0);
	}
}

static void refuse_membarrier(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_SIZE(code), code };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/*
 * CPU 0's main sheaf of a cache in use. Without a barrier a thread there may be in the midst of
 * taking an object out of it, so a drain on CPU 1 may not:
 *
 *	CPU 0: free(last) | CPU 1: drain | CPU 0: alloc() == last
 */
static void drain_without_a_barrier_leaves_other_cpus_alone(void)
{
	struct kmem_cache *cache = create("in-use", 128, NULL, false);
	void *objects[20], *object;

	/* an index is a CPU's own for sure only where it is the CPU's number */
	if (unit_cpus() < 2 || percpu_mode() != PERCPU_CPU_ID)
		return;
	refuse_membarrier();
	unit_pin(0);
	for (unsigned i = 0; i < 20; i++)
		objects[i] = cache_alloc(cache);
	for (unsigned i = 0; i < 20; i++)
		kvmalloc_free(objects[i]);
	unit_pin(1);
	kmem_cache_drain(cache);
	CHECK(cache->nr_inuse >= 20);
	unit_pin(0);
	CHECK(percpu_pop(cache->index, &object));
	CHECK(object == objects[19]);
	/* its own it does take, and all of a cache that nobody uses any more */
	kvmalloc_free(object);
	kmem_cache_drain(cache);
	CHECK_EQ(cache->nr_inuse, 0);
	kvmalloc_free(cache_alloc(cache));
	unit_pin(1);
	CHECK_EQ(shutdown(cache), 0);
}

static const void *reported[8];
static unsigned nr_reported;

static void note(const struct kmem_cache *cache, const void *object, size_t offset)
{
	CHECK(virt_to_cache(object) == cache);
	CHECK_EQ((uintptr_t)object % (GRANULE_SIZE << 0), offset);
	reported[nr_reported++] = object;
}

static void cache_with_objects_left_reports_them_and_takes_them_back(void)
{
	struct kmem_cache *cache = create("left", 256, NULL, false);
	void *objects[200];
	size_t left;

	for (unsigned i = 0; i < 200; i++)
		objects[i] = cache_alloc(cache);
	for (unsigned i = 3; i < 200; i++)
		kvmalloc_free(objects[i]);
	CHECK(kmem_cache_shutdown(cache, 2, note, &left));
	CHECK_EQ(left, 3);
	CHECK(!kmem_cache_shutdown(cache, 2, note, &left));
	CHECK_EQ(nr_reported, 2);
	CHECK_EQ(kmem_cache_state(cache), KMEM_CACHE_ZOMBIE);
	for (unsigned i = 0; i < nr_reported; i++)
		CHECK(reported[i] == objects[0] || reported[i] == objects[1] ||
		      reported[i] == objects[2]);
	for (unsigned i = 0; i < SLOTS + 10; i++)
		CHECK(create("other", 64, NULL, false) != cache);
	for (unsigned i = 0; i < 3; i++)
		kvmalloc_free(objects[i]);
	kmem_cache_drain_all();
	CHECK_EQ(cache->nr_inuse, 0);
}

static struct kmem_cache *shared_cache;
static _Atomic unsigned nr_destroyed;
static pthread_barrier_t start;

static void *destroy_shared(void *unused)
{
	size_t left;

	for (unsigned i = 0; i < 500; i++) {
		pthread_barrier_wait(&start);
		if (kmem_cache_shutdown(shared_cache, 0, NULL, &left))
			atomic_fetch_add(&nr_destroyed, 1);
		pthread_barrier_wait(&start);
	}
	return unused;
}

static void of_two_destructions_at_once_one_is_refused(void)
{
	pthread_t threads[2];

	pthread_barrier_init(&start, NULL, 3);
	for (unsigned i = 0; i < 2; i++)
		CHECK(pthread_create(&threads[i], NULL, destroy_shared, NULL) == 0);
	for (unsigned i = 0; i < 500; i++) {
		shared_cache = create("shared", 64, NULL, i % 2);
		kvmalloc_free(cache_alloc(shared_cache));
		pthread_barrier_wait(&start);
		pthread_barrier_wait(&start);
		CHECK_EQ(atomic_load(&nr_destroyed), i + 1);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

/* It can't take the sheaves, so no other cache may find them in that slot. */
static void destruction_in_a_vfork_child_leaves_the_slot_unused(void)
{
	struct kmem_cache *cache = create("vfork", 64, NULL, false);

	kvmalloc_free(cache_alloc(cache));
	percpu_vfork_child();
	CHECK_EQ(shutdown(cache), 0); /* what is in sheaves is no object that is left */
	CHECK_EQ(kmem_cache_state(cache), KMEM_CACHE_ZOMBIE);
	percpu_vfork_parent();
	for (unsigned i = 0; i < SLOTS + 10; i++)
		CHECK(create("other", 2000, NULL, false) != cache);
}

static void *churn_caches(void *unused)
{
	for (unsigned i = 0; i < 200; i++) {
		struct kmem_cache *cache = create("churn", 100 + i, NULL, i % 3 == 0);
		void *objects[70];

		for (unsigned j = 0; j < 70; j++)
			objects[j] = cache_alloc(cache);
		for (unsigned j = 0; j < 70; j++)
			kvmalloc_free(objects[j]);
		CHECK_EQ(shutdown(cache), 0);
	}
	return unused;
}

/* Nobody else may hold an object of a cache when it goes, whatever goes over all caches. */
static void destruction_beside_drains_and_shrinkers_leaves_nothing(void)
{
	pthread_t threads[3];

	for (unsigned i = 0; i < 3; i++)
		CHECK(pthread_create(&threads[i], NULL, churn_caches, NULL) == 0);
	for (unsigned i = 0; i < 100; i++) {
		kmem_cache_drain_all();
		reclaim_run(i % 2 ? RECLAIM_ALL : RECLAIM_AGE);
	}
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

static void typesafe_cache_keeps_its_slabs(void)
{
	struct kmem_cache_spec spec = { .name = "typesafe",
					.object_size = 1000,
					.flags = KMEM_CACHE_TYPESAFE,
					.slotless = true };
	struct kmem_cache *cache = kmem_cache_new(&spec);
	void *objects[300];

	for (unsigned i = 0; i < 300; i++)
		objects[i] = cache_alloc(cache);
	for (unsigned i = 0; i < 300; i++)
		kvmalloc_free(objects[i]);
	kmem_cache_drain(cache);
	reclaim_run(RECLAIM_ALL);
	for (unsigned i = 0; i < 300; i++)
		CHECK(virt_to_cache(objects[i]) == cache);
	CHECK_EQ(shutdown(cache), 0);
	for (unsigned i = 0; i < 300; i++)
		CHECK(virt_to_cache(objects[i]) == NULL);
}

static void geometry_of_every_size_fits(void)
{
	for (size_t size = 1; size <= KMALLOC_MAX_SIZE; size += size / 7 + 1) {
		for (size_t align = 8; align <= GRANULE_SIZE; align *= 8) {
			struct kmem_cache_spec spec = {
				.name = "any", .object_size = size, .align = align, .slotless = true
			};
			struct kmem_cache *cache = kmem_cache_new(&spec);

			CHECK(cache != NULL);
			CHECK_EQ(cache->size % (align < 16 ? 16 : align), 0);
			CHECK(cache->size >= size);
			CHECK(cache->nr_objects >= 1);
			CHECK(cache->nr_objects * (size_t)cache->size <= GRANULE_SIZE
										 << cache->order);
			kvmalloc_free(cache_alloc(cache));
			CHECK_EQ(shutdown(cache), 0);
		}
	}
}

int main(void)
{
	const struct unit_case cases[] = {
		UNIT_TEST(first_caches_have_slots_and_later_ones_share),
		UNIT_TEST(shared_slot_stays_empty),
		UNIT_TEST(every_object_of_a_large_slab_leads_to_its_cache),
		UNIT_TEST(slots_of_destroyed_caches_are_used_again),
		UNIT_TEST(struct_without_a_slot_waits_its_turn),
		UNIT_TEST(constructor_runs_once_for_each_object_of_a_slab),
		UNIT_TEST(deferred_free_keeps_the_object_and_is_reaped),
		UNIT_TEST(free_under_the_caches_own_lock_is_put_off),
		UNIT_TEST(double_free_of_a_deferred_object_dies),
		UNIT_TEST(destruction_takes_sheaves_of_all_cpus),
		UNIT_TEST(drain_without_a_barrier_leaves_other_cpus_alone),
		UNIT_TEST(cache_with_objects_left_reports_them_and_takes_them_back),
		UNIT_TEST(of_two_destructions_at_once_one_is_refused),
		UNIT_TEST(destruction_in_a_vfork_child_leaves_the_slot_unused),
		UNIT_TEST(destruction_beside_drains_and_shrinkers_leaves_nothing),
		UNIT_TEST(typesafe_cache_keeps_its_slabs),
		UNIT_TEST(geometry_of_every_size_fits),
	};

	return UNIT_MAIN(cases);
}
