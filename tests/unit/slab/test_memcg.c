/* SPDX-License-Identifier: MIT */
/*
 * test_memcg.c - __GFP_ACCOUNT and SLAB_ACCOUNT: what is charged to a group, what its limit refuses, and who
 * takes the charge back.
 */
#include "unit.h"

#include "kmalloc/kvmalloc.h"
#include "kmalloc/memcontrol.h"
#include "kmalloc/slab.h"
#include "kmalloc/vmalloc.h"
#include "slab/kmem_cache.h"
#include "vmalloc/vmalloc.h"

#include <pthread.h>

static struct mem_cgroup *group;

static struct mem_cgroup_usage usage(void)
{
	struct mem_cgroup_usage now;

	mem_cgroup_read(group, &now);
	return now;
}

static void objects_are_charged_by_flag_and_group_alone(void)
{
	void *charged, *plain, *nobodys;

	group = mem_cgroup_create("shop");
	nobodys = kmalloc(1000, GFP_KERNEL_ACCOUNT);
	CHECK_EQ(usage().bytes, 0);
	CHECK(set_active_memcg(group) == NULL);
	plain = kmalloc(1000, GFP_KERNEL);
	CHECK_EQ(usage().bytes, 0);
	charged = kmalloc(1000, GFP_KERNEL_ACCOUNT);
	CHECK_EQ(usage().bytes, 1024);
	CHECK_EQ(usage().objects, 1);
	CHECK(!strcmp(virt_to_cache(charged)->name, "kmalloc-cg-1k"));
	CHECK(mem_cgroup_from_slab_obj(charged) == group);
	CHECK(mem_cgroup_from_slab_obj(plain) == NULL);
	CHECK(set_active_memcg(NULL) == group);
	/* whoever frees it, and with what */
	kvmalloc_free(charged);
	CHECK_EQ(usage().bytes, 0);
	CHECK_EQ(usage().objects, 0);
	CHECK_EQ(usage().peak, 1024);
	kfree(plain);
	kfree(nobodys);
	CHECK_EQ(usage().bytes, 0);
	mem_cgroup_put(group);
}

static void cache_of_a_group_charges_each_object(void)
{
	struct kmem_cache *cache = kmem_cache_create("charged", 100, 0, SLAB_ACCOUNT, NULL);
	void *objects[50];

	group = mem_cgroup_create("shop");
	set_active_memcg(group);
	for (int i = 0; i < 50; i++)
		objects[i] = kmem_cache_alloc(cache, i ? GFP_ATOMIC : GFP_KERNEL);
	set_active_memcg(NULL);
	CHECK_EQ(usage().objects, 50);
	CHECK_EQ(usage().bytes, 50UL * cache->size);
	for (int i = 0; i < 50; i++)
		kmem_cache_free(cache, objects[i]);
	CHECK_EQ(usage().bytes, 0);
	kmem_cache_destroy(cache);
	mem_cgroup_put(group);
}

static void ask_over_the_limit(void *gfp)
{
	for (int i = 0; i < 3; i++)
		CHECK(kmalloc(1000, (gfp_t)(uintptr_t)gfp) == NULL);
}

static void limit_refuses_with_one_line_and_failures_are_counted(void)
{
	struct unit_end end;
	void *objects[4], *more;

	group = mem_cgroup_create("shop");
	mem_cgroup_set_max(group, 4096);
	set_active_memcg(group);
	for (int i = 0; i < 4; i++)
		CHECK((objects[i] = kmalloc(1000, GFP_KERNEL_ACCOUNT)) != NULL);
	end = unit_child(ask_over_the_limit, (void *)(uintptr_t)GFP_KERNEL_ACCOUNT);
	CHECK(!end.signal && !end.status);
	more = strstr(end.text,
		      "Memory cgroup out of memory: group shop, usage 4096 bytes, limit 4096");
	CHECK(more && !strstr((char *)more + 1, "Memory cgroup out"));
	end = unit_child(ask_over_the_limit,
			 (void *)(uintptr_t)(GFP_KERNEL_ACCOUNT | __GFP_NOWARN));
	CHECK_EQ(strlen(end.text), 0);
	CHECK(kmalloc(1000, GFP_KERNEL_ACCOUNT | __GFP_NOWARN) == NULL);
	CHECK(kmalloc(1000, GFP_ATOMIC | __GFP_ACCOUNT | __GFP_NOWARN) == NULL);
	CHECK_EQ(usage().failures, 2);
	CHECK_EQ(usage().bytes, 4096);
	/* what can't fail goes over it, as in the kernel; and a smaller one fits after a free */
	more = kmalloc(1000, GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
	CHECK(more != NULL);
	CHECK_EQ(usage().bytes, 5120);
	kfree(more);
	kfree(objects[0]);
	CHECK((objects[0] = kmalloc(1000, GFP_KERNEL_ACCOUNT)) != NULL);
	for (int i = 0; i < 4; i++)
		kfree(objects[i]);
	CHECK_EQ(usage().bytes, 0);
	mem_cgroup_put(group);
}

static void group_stays_until_its_last_object_goes(void)
{
	struct mem_cgroup *other;
	void *object;

	group = mem_cgroup_create("first");
	set_active_memcg(group);
	object = kmalloc(100, GFP_KERNEL_ACCOUNT);
	set_active_memcg(NULL);
	mem_cgroup_put(group);
	other = mem_cgroup_create("second");
	CHECK(other != group);
	CHECK(mem_cgroup_from_slab_obj(object) == group);
	CHECK_EQ(usage().objects, 1);
	kfree(object);
	mem_cgroup_put(other);
}

/* An area is charged by its pages, from its allocation to its free, whatever becomes of its size. */
static void areas_are_charged_by_their_pages(void)
{
	const size_t page = 4096, meg = 1 << 20;
	void *area, *other, *plain;

	group = mem_cgroup_create("shop");
	set_active_memcg(group);
	plain = vmalloc(meg);
	CHECK_EQ(usage().bytes, 0);
	area = __vmalloc(meg + 1, GFP_KERNEL_ACCOUNT);
	CHECK_EQ(usage().bytes, meg + page);
	CHECK_EQ(usage().objects, 1);
	other = kvmalloc(meg, GFP_KERNEL_ACCOUNT);
	CHECK_EQ(usage().bytes, 2 * meg + page);
	set_active_memcg(NULL);
	area = vrealloc(area, 40 * meg, GFP_KERNEL); /* the one behind it is in the way: it moves */
	CHECK_EQ(usage().bytes, 41 * meg);
	area = vrealloc(area, 41 * meg, GFP_KERNEL); /* in place, into the room behind it */
	CHECK_EQ(usage().bytes, 42 * meg);
	area = vrealloc(area, 2 * meg, GFP_KERNEL);
	CHECK_EQ(usage().bytes, 3 * meg);
	other = kvmalloc_resize(other, 3 * meg, NULL); /* realloc() */
	CHECK_EQ(usage().bytes, 5 * meg);
	plain = vrealloc(plain, 3 * meg, GFP_KERNEL);
	CHECK_EQ(usage().bytes, 5 * meg);
	vfree(plain);
	vfree(area);
	CHECK_EQ(usage().bytes, 3 * meg);
	mem_cgroup_put(group); /* its last area still holds it */
	CHECK_EQ(usage().objects, 1);
	kvmalloc_free(other);
	/* the same addresses, and nobody's now */
	vfree(vmalloc(3 * meg));
}

static void area_over_the_limit_is_refused_and_stays_as_it_was(void)
{
	const size_t meg = 1 << 20;
	char *area;

	group = mem_cgroup_create("shop");
	mem_cgroup_set_max(group, 2 * meg);
	set_active_memcg(group);
	area = __vmalloc(meg, GFP_KERNEL_ACCOUNT);
	CHECK(area != NULL);
	area[meg - 1] = 7;
	CHECK(__vmalloc(meg + 1, GFP_KERNEL_ACCOUNT | __GFP_NOWARN) == NULL);
	CHECK(kvmalloc(meg + 1, GFP_KERNEL_ACCOUNT | __GFP_NOWARN) == NULL);
	CHECK(__vmalloc(SIZE_MAX / 2, GFP_KERNEL_ACCOUNT | __GFP_NOWARN) == NULL);
	CHECK_EQ(usage().failures, 2);
	CHECK(vrealloc(area, 3 * meg, GFP_KERNEL | __GFP_NOWARN) == NULL);
	CHECK_EQ(usage().bytes, meg);
	CHECK_EQ(vmalloc_size(area), meg);
	CHECK_EQ(area[meg - 1], 7);
	area = vrealloc(area, 2 * meg, GFP_KERNEL);
	CHECK(area != NULL && area[meg - 1] == 7);
	CHECK_EQ(usage().bytes, 2 * meg);
	area = vrealloc(area, 5 * meg, GFP_KERNEL | __GFP_NOFAIL);
	CHECK(area != NULL && area[meg - 1] == 7);
	CHECK_EQ(usage().bytes, 5 * meg);
	/* what has to be smaller gets it, over the limit as well */
	area = vrealloc(area, 4 * meg - 5, GFP_KERNEL);
	CHECK(area != NULL);
	vfree(area);
	CHECK_EQ(usage().bytes, 0);
	CHECK_EQ(usage().objects, 0);
	mem_cgroup_put(group);
}

#define THREADS 4
#define ROUNDS 20000

static _Atomic(void *) shelf[64];

/* Objects of a group are freed by any thread; the limit holds at each moment. */
static void *churn(void *arg)
{
	uint64_t random = (uintptr_t)arg;

	set_active_memcg(group);
	for (int i = 0; i < ROUNDS; i++) {
		void *object =
			kmalloc(1 + unit_random(&random) % 2000, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);

		kfree(atomic_exchange(&shelf[unit_random(&random) % ARRAY_SIZE(shelf)], object));
	}
	set_active_memcg(NULL);
	return NULL;
}

static void threads_share_a_group_and_its_limit(void)
{
	pthread_t threads[THREADS];

	group = mem_cgroup_create("shop");
	mem_cgroup_set_max(group, 20000);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK(usage().peak <= 20000);
	CHECK(usage().failures > 0);
	for (size_t i = 0; i < ARRAY_SIZE(shelf); i++)
		kfree(shelf[i]);
	CHECK_EQ(usage().bytes, 0);
	CHECK_EQ(usage().objects, 0);
	mem_cgroup_put(group);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(objects_are_charged_by_flag_and_group_alone),
		UNIT_TEST(cache_of_a_group_charges_each_object),
		UNIT_TEST(areas_are_charged_by_their_pages),
		UNIT_TEST(area_over_the_limit_is_refused_and_stays_as_it_was),
		UNIT_TEST(limit_refuses_with_one_line_and_failures_are_counted),
		UNIT_TEST(group_stays_until_its_last_object_goes),
		UNIT_TEST(threads_share_a_group_and_its_limit),
	};

	return UNIT_MAIN(tests);
}
