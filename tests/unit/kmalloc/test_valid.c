/* SPDX-License-Identifier: MIT */
/*
 * test_valid.c - emergency mappings, the deferred list, and the whole: at work all is valid, each damage is named.
 */
#include "damage.h"

#include "kmalloc/account.h"
#include "kmalloc/emergency.h"
#include "kmalloc/kvmalloc.h"
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
		CHECK((held[k] = kvmalloc_slow(size, NULL)) != NULL);
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

/* As a handler that finds every lock taken. */
static void free_deferred_by_a_handler(void *ptr)
{
	lock_fork_prepare();
	CHECK(percpu_stop());
	kvfree_slow(ptr);
	percpu_start();
	lock_fork_parent();
}

static void deferred_list_damaged_is_named(void)
{
	void **first = kvmalloc_slow(100, NULL), **second = kvmalloc_slow(100, NULL);
	void **area = kvmalloc_slow(1UL << 20, NULL);
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

	CHECK(kvmalloc_slow(1UL << 20, NULL) && kvmalloc_slow(100, NULL));
	CHECK(kmalloc_is_valid());
	CHECK(account_read(&account));
	CHECK_EQ(account.accounted, account.reserved);
	NOTICES(vmap_nr_lazy++, kmalloc_is_valid(), "vmalloc: 0 lazy ranges, 1 counted");
	NOTICES(kmem_caches[3].nr_inuse++, kmalloc_is_valid(), "%s: 0 objects in use, 1 counted",
		kmem_caches[3].name);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(allocator_at_work_is_valid),
		UNIT_TEST(emergency_slot_damaged_is_named),
		UNIT_TEST(deferred_list_damaged_is_named),
		UNIT_TEST(damage_anywhere_is_named_by_the_whole),
	};

	return UNIT_MAIN(tests);
}
