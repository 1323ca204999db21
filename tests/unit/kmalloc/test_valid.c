/* SPDX-License-Identifier: MIT */
/*
 * test_valid.c - emergency mappings, the deferred list, and the whole: at work all is valid, each damage is named.
 */
#include "damage.h"

#include "kmalloc/account.h"
#include "kmalloc/emergency.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/memcontrol.h"
#include "kmalloc/reserve.h"
#include "kmalloc/slab.h"
#include "kmalloc/valid.h"
#include "lib/lock.h"
#include "os/os.h"
#include "vmalloc/vmalloc.h"
#include "vmalloc/vmap_area.h"

static void allocator_at_work_is_valid(void)
{
	void *held[200] = { 0 };
	uint64_t random = unit_seed();

	for (int i = 0; i < 20000; i++) {
		unsigned k = (unsigned)(unit_random(&random) % ARRAY_SIZE(held));
		size_t size = 1 + unit_random(&random) % (i % 50 ? 3000 : 400000);

		kvmalloc_free(held[k]);
		CHECK((held[k] = kvmalloc_slow(size, NULL, NULL)) != NULL);
		if (i % 1000 == 999)
			CHECK(kmalloc_is_valid());
		if (i % 5000 == 4999)
			kmalloc_trim();
	}
	CHECK(kmalloc_is_valid());
}

static void emergency_slot_damaged_is_named(void)
{
	char *ptr = emergency_alloc(5000, 0);
	size_t count;
	struct emergency_slot *slots = emergency_table(&count);

	CHECK(atomic_load(&slots[0].ptr) == (uintptr_t)ptr);
	CHECK(emergency_is_valid());
	NOTICES(slots[0].ptr += 8192, emergency_is_valid(),
		"emergency slot 0: %p is not in its mapping of 8192 at %p", (void *)(ptr + 8192),
		(void *)ptr);
	NOTICES(slots[0].ptr += 16, emergency_is_valid(),
		"emergency slot 0: %p is not in its mapping of 8192 at %p", (void *)(ptr + 16),
		(void *)ptr);
	NOTICES(slots[0].len++, emergency_is_valid(),
		"emergency slot 0: %p is not in its mapping of 8193 at %p", (void *)ptr,
		(void *)ptr);
	NOTICES(slots[0].map += 4096, emergency_is_valid(),
		"emergency slot 0: %p is not in its mapping of 8192 at %p", (void *)ptr,
		(void *)(ptr + 4096));
	NOTICES(slots[0].ptr = 0, emergency_is_valid(), "emergency: 0 slots in use, 1 counted");
}

static void reserve_page_damaged_is_named(void)
{
	_Atomic uint64_t *tag;
	void *slot, *run;
	uint64_t was;

	reserve_fill();
	slot = reserve_alloc(64, 16, NULL);
	run = reserve_alloc(3 * 4096, 16, NULL);
	CHECK(slot && run);
	CHECK(reserve_is_valid());
	tag = reserve_tag(0);
	was = atomic_load(tag);
	CHECK_EQ(was >> 56, 6);
	NOTICES(*tag = 9UL << 56 | 0x1fe, reserve_is_valid(),
		"reserve: page 0: it has slots that can't be in it (tag 0x%lx)", 9UL << 56 | 0x1fe);
	NOTICES(*tag = 5UL << 56 | 2, reserve_is_valid(),
		"reserve: page 0: it has slots that can't be in it (tag 0x%lx)", 5UL << 56 | 2);
	CHECK_EQ(atomic_load(tag), was);
	tag = reserve_tag(1);
	CHECK_EQ(atomic_load(tag), 0x83UL << 56);
	NOTICES(*tag = 0x80UL << 56, reserve_is_valid(),
		"reserve: page 1: its run is not in one chunk (tag 0x%lx)", 0x80UL << 56);
	NOTICES(*tag |= 1, reserve_is_valid(),
		"reserve: page 1: it heads a run, and has free slots (tag 0x%lx)",
		0x83UL << 56 | 1);
	NOTICES(*reserve_tag(40) = 0x81UL << 56, reserve_is_valid(),
		"reserve: page 40: it is free, and heads objects (tag 0x%lx)", 0x81UL << 56);
	reserve_free(slot);
	reserve_free(run);
	CHECK(reserve_is_valid());
}

/* As a handler that finds every lock taken. */
static void free_deferred_by_a_handler(void *ptr)
{
	lock_fork_prepare();
	CHECK(percpu_stop());
	kvfree_slow(ptr, NULL);
	percpu_start();
	lock_fork_parent();
}

static void deferred_list_damaged_is_named(void)
{
	void **first = kvmalloc_slow(100, NULL, NULL), **second = kvmalloc_slow(100, NULL, NULL);
	void **area = kvmalloc_slow(1UL << 20, NULL, NULL);
	int here;

	free_deferred_by_a_handler(first);
	free_deferred_by_a_handler(second);
	free_deferred_by_a_handler(area);
	CHECK(deferred_is_valid());
	NOTICES(*second = (char *)first + 32, deferred_is_valid(),
		"deferred list: %p is not the start of an object of kmalloc-112",
		(void *)((char *)first + 32));
	NOTICES(*second = (void *)&here, deferred_is_valid(),
		"deferred list: %p is no object and no area", (void *)&here);
}

static void damage_anywhere_is_named_by_the_whole(void)
{
	struct account account;

	CHECK(kvmalloc_slow(1UL << 20, NULL, NULL) && kvmalloc_slow(100, NULL, NULL));
	CHECK(kmalloc_is_valid());
	CHECK(account_read(&account));
	CHECK_EQ(account.accounted, account.reserved);
	NOTICES(vmap_nr_lazy++, kmalloc_is_valid(), "vmalloc: 0 lazy ranges, 1 counted");
	NOTICES(kmem_caches[3].nr_inuse++, kmalloc_is_valid(), "%s: 0 objects in use, 1 counted",
		kmem_caches[3].name);
}

/* What is live, before and after something; nothing is lost, and it adds up. */
static size_t live_now(void)
{
	struct account account;

	CHECK(account_read(&account));
	CHECK_EQ(account.accounted, account.reserved);
	CHECK_EQ(account.lost, 0);
	CHECK(kmalloc_is_valid());
	return account.live;
}

static void construct(void *object)
{
	memset(object, 1, 48);
}

/* More caches than there are slots: those without one, and the others, full slabs and a free put off. */
static void objects_of_created_caches_are_found(void)
{
	static struct kmem_cache *caches[KMEM_CACHES_MAX + 10];
	static void *objects[KMEM_CACHES_MAX + 10][700];
	size_t before, bytes = 0;
	struct account account;

	CHECK(kvmalloc_slow(1, NULL, NULL));
	before = live_now();
	for (size_t i = 0; i < ARRAY_SIZE(caches); i++) {
		caches[i] = kmem_cache_create("one", 48, 0, 0, construct);
		CHECK(caches[i] != NULL);
		for (size_t k = 0; k < (i % 16 ? 3 : 700); k++) {
			objects[i][k] = kmem_cache_alloc(caches[i], GFP_KERNEL);
			bytes += caches[i]->size;
		}
	}
	CHECK(!kmem_cache_has_slot(caches[KMEM_CACHES_MAX]));
	CHECK_EQ(live_now(), before + bytes);
	kmem_cache_defer(caches[0], objects[0][5]);
	kmem_cache_defer(caches[KMEM_CACHES_MAX], objects[KMEM_CACHES_MAX][2]);
	CHECK_EQ(live_now(), before + bytes - 2UL * caches[0]->size);
	CHECK(account_read(&account));
	CHECK_EQ(account.waiting, 2UL * caches[0]->size);
	kmem_cache_reap_deferred();
	CHECK_EQ(live_now(), before + bytes - 2UL * caches[0]->size);
	NOTICES(caches[0]->nr_slabs++, kmalloc_is_valid(), "one: 2 slabs on its lists, 3 counted");
	NOTICES(list_del(caches[16]->full.next), kmalloc_is_valid(),
		"one: 1 slabs on its lists, 2 counted");
	for (size_t i = 0; i < ARRAY_SIZE(caches); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(objects[i]); k++)
			if (objects[i][k] && !(i % KMEM_CACHES_MAX == 0 && k == (i ? 2 : 5)))
				kmem_cache_free(caches[i], objects[i][k]);
		kmem_cache_destroy(caches[i]);
	}
	CHECK_EQ(live_now(), before);
}

static void memory_of_the_kernels_calls_is_found(void)
{
	struct mem_cgroup *group = mem_cgroup_create("group");
	void *charged[100], *dma[20], *reserved[40];
	size_t before;

	kfree(kmalloc(1, GFP_KERNEL));
	kfree(kmalloc(1, GFP_KERNEL | GFP_DMA));
	before = live_now();
	set_active_memcg(group);
	for (int i = 0; i < 100; i++)
		CHECK((charged[i] = kmalloc(1000, GFP_KERNEL_ACCOUNT)) != NULL);
	set_active_memcg(NULL);
	CHECK_EQ(live_now(), before + 100 * 1024);
	for (size_t i = 0; i < 40; i++)
		CHECK((reserved[i] = reserve_alloc(i % 2 ? 64 : 10000, 16, NULL)) != NULL);
	CHECK_EQ(live_now(), before + 100 * 1024 + 20 * 64 + 20 * 12288);
	for (size_t i = 0; i < 40; i++)
		reserve_free(reserved[i]);
	for (int i = 0; i < 20; i++)
		dma[i] = kmalloc(5000UL * (size_t)i + 1, GFP_KERNEL | GFP_DMA | __GFP_NOWARN);
	live_now();
	for (int i = 0; i < 20; i++)
		kfree(dma[i]);
	for (int i = 0; i < 100; i++)
		kfree(charged[i]);
	CHECK_EQ(live_now(), before);
	mem_cgroup_put(group);
	kmalloc_trim();
	live_now();
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(allocator_at_work_is_valid),
		UNIT_TEST(emergency_slot_damaged_is_named),
		UNIT_TEST(reserve_page_damaged_is_named),
		UNIT_TEST(deferred_list_damaged_is_named),
		UNIT_TEST(damage_anywhere_is_named_by_the_whole),
		UNIT_TEST(objects_of_created_caches_are_found),
		UNIT_TEST(memory_of_the_kernels_calls_is_found),
	};

	return UNIT_MAIN(tests);
}
