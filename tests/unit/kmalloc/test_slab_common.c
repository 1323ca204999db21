/* SPDX-License-Identifier: MIT */
/*
 * test_slab_common.c - kmem_cache_create() and what is done with a cache; prefilled sheaves. What a
 * cache is below is slab/test_create.c's.
 */
#include "unit.h"

#include "kmalloc/slab.h"
#include "slab/kmem_cache.h"

#include <errno.h>

struct session {
	unsigned long id;
	char name[50];
};

static void construct(void *object)
{
	((struct session *)object)->id = 4711;
}

static void both_forms_of_create_give_a_cache(void)
{
	struct kmem_cache_args args = { .align = 512, .ctor = construct, .sheaf_capacity = 100 };
	struct kmem_cache *new_form = kmem_cache_create("new", sizeof(struct session), &args, 0);
	struct kmem_cache *old_form = kmem_cache_create("old", 100, 0, SLAB_PANIC, NULL);
	struct kmem_cache *plain = kmem_cache_create("plain", 100, NULL, 0);
	struct kmem_cache *typed = KMEM_CACHE(session, SLAB_HWCACHE_ALIGN | SLAB_ACCOUNT);
	struct session *session = kmem_cache_alloc(new_form, GFP_KERNEL);

	CHECK(new_form && old_form && plain && typed && session);
	CHECK_EQ((uintptr_t)session % 512, 0);
	CHECK_EQ(session->id, 4711);
	CHECK_EQ(new_form->capacity, 100);
	CHECK_EQ(kmem_cache_size(new_form), sizeof(struct session));
	CHECK_EQ(kmem_cache_size(old_form), 100);
	CHECK(!strcmp(typed->name, "session"));
	CHECK_EQ(typed->align, 64);
	kmem_cache_free(new_form, session);
	kmem_cache_destroy(new_form);
	kmem_cache_destroy(old_form);
	kmem_cache_destroy(plain);
	kmem_cache_destroy(typed);
	kmem_cache_destroy(NULL);
}

static void small_objects_share_a_cache_line_when_aligned_to_it(void)
{
	static const unsigned sizes[][2] = {
		{ 8, 16 }, { 17, 32 }, { 33, 64 }, { 64, 64 }, { 65, 128 }
	};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct kmem_cache *cache =
			kmem_cache_create("line", sizes[i][0], NULL, SLAB_HWCACHE_ALIGN);

		CHECK_EQ(cache->size, sizes[i][1]);
		kmem_cache_destroy(cache);
	}
}

static void create_wrongly(void *unused)
{
	struct kmem_cache_args args = { .align = 48 };

	(void)unused;
	CHECK(kmem_cache_create("empty", 0, NULL, 0) == NULL);
	CHECK(kmem_cache_create("huge", 131057, NULL, 0) == NULL);
	CHECK(kmem_cache_create("crooked", 64, &args, 0) == NULL);
	CHECK(kmem_cache_create(NULL, 64, NULL, 0) == NULL);
}

static void create_or_panic(void *unused)
{
	(void)unused;
	kmem_cache_create("needed", 0, NULL, SLAB_PANIC);
}

static void create_with_bad_arguments_is_reported(void)
{
	struct unit_end end = unit_child(create_wrongly, NULL);

	CHECK_EQ(end.status, 0);
	CHECK(!strcmp(end.text, "libkmalloc: kmem_cache_create(empty) failed with error -22\n"
				"libkmalloc: kmem_cache_create(huge) failed with error -22\n"
				"libkmalloc: kmem_cache_create(crooked) failed with error -22\n"
				"libkmalloc: kmem_cache_create((null)) failed with error -22\n"));
	unit_dies(create_or_panic, NULL,
		  "libkmalloc: BUG kmem_cache_create: Failed to create slab 'needed'. Error -22\n");
}

static void object_may_be_freed_by_any_call_that_frees(void)
{
	struct kmem_cache *cache = kmem_cache_create("any", 72, NULL, 0);

	for (unsigned i = 0; i < 300; i++) {
		void *object = i % 2 ? kmem_cache_alloc(cache, GFP_KERNEL) :
				       kmem_cache_zalloc(cache, GFP_ATOMIC);

		if (!object)
			object = kmem_cache_zalloc(cache, GFP_KERNEL);
		CHECK(i % 2 || unit_is_zero(object, 72));
		CHECK_EQ(ksize(object), 72);
		memset(object, 0xa5, 72);
		if (i % 3 == 0)
			kfree(object);
		else if (i % 3 == 1)
			kvfree(object);
		else
			kmem_cache_free(cache, object);
	}
	kmem_cache_destroy(cache);
	CHECK_EQ(kmem_cache_state(cache), KMEM_CACHE_DEAD);
}

static void constructed_state_survives_free_and_shrink(void)
{
	for (unsigned slotless = 0; slotless < 2; slotless++) {
		struct kmem_cache *cache = kmem_cache_create("constructed", sizeof(struct session),
							     0, slotless ? SLAB_NO_SHEAVES : 0,
							     construct);
		struct session *sessions[1000];

		CHECK_EQ(kmem_cache_has_slot(cache), !slotless);
		for (unsigned round = 0; round < 5; round++) {
			for (unsigned i = 0; i < 1000; i++) {
				sessions[i] = kmem_cache_alloc(cache, GFP_KERNEL);
				CHECK_EQ(sessions[i]->id, 4711);
				sessions[i]->id = i;
			}
			for (unsigned i = 0; i < 1000; i++) {
				sessions[i]->id = 4711;
				kmem_cache_free(cache, sessions[i]);
			}
			sessions[0] = kmem_cache_alloc(cache, GFP_KERNEL);
			CHECK_EQ(kmem_cache_shrink(cache), 1);
			CHECK_EQ(cache->nr_slabs, 1);
			kmem_cache_free(cache, sessions[0]);
			CHECK_EQ(kmem_cache_shrink(cache), 0);
			CHECK_EQ(cache->nr_inuse, 0);
			CHECK_EQ(cache->nr_slabs, 0);
		}
		kmem_cache_destroy(cache);
	}
}

static void bulk_gives_all_or_none(void)
{
	struct kmem_cache *cache = kmem_cache_create("bulk", 4000, NULL, 0);
	static void *objects[200000];

	CHECK(kmem_cache_alloc_bulk(cache, GFP_KERNEL, 500, objects));
	for (unsigned i = 0; i < 500; i++) {
		CHECK(virt_to_cache(objects[i]) == cache);
		memset(objects[i], 1, 4000);
	}
	kmem_cache_free_bulk(cache, 500, objects);
	unit_limit_address_space(16 << 20);
	CHECK(!kmem_cache_alloc_bulk(cache, GFP_KERNEL | __GFP_NOWARN, ARRAY_SIZE(objects),
				     objects));
	unit_limit_address_space(SIZE_MAX);
	kmem_cache_destroy(cache);
	CHECK_EQ(kmem_cache_state(cache), KMEM_CACHE_DEAD);
	objects[0] = kmalloc(10, GFP_KERNEL);
	objects[1] = kmalloc(1000, GFP_KERNEL);
	kmem_cache_free_bulk(NULL, 2, objects);
}

static void sheaf_gives_what_it_was_filled_with(void)
{
	struct kmem_cache *cache = kmem_cache_create("sheaf", 100, NULL, 0);
	struct slab_sheaf *sheaf = kmem_cache_prefill_sheaf(cache, GFP_KERNEL, 20);
	void *objects[50];

	CHECK_EQ(kmem_cache_sheaf_size(sheaf), 20);
	unit_limit_address_space(0);
	for (unsigned i = 0; i < 20; i++) {
		gfp_t zero = i % 2 ? __GFP_ZERO : 0;

		objects[i] = kmem_cache_alloc_from_sheaf(cache, GFP_NOWAIT | zero, sheaf);
		CHECK(objects[i] && virt_to_cache(objects[i]) == cache);
		CHECK(!zero || unit_is_zero(objects[i], 100));
	}
	CHECK(kmem_cache_alloc_from_sheaf(cache, GFP_KERNEL, sheaf) == NULL);
	unit_limit_address_space(SIZE_MAX);
	CHECK_EQ(kmem_cache_refill_sheaf(cache, GFP_KERNEL, &sheaf, 50), 0);
	CHECK_EQ(kmem_cache_sheaf_size(sheaf), 50);
	CHECK_EQ(kmem_cache_refill_sheaf(cache, GFP_KERNEL, &sheaf, 10), 0);
	CHECK_EQ(kmem_cache_sheaf_size(sheaf), 50);
	CHECK_EQ(kmem_cache_refill_sheaf(cache, GFP_KERNEL, NULL, 10), -EINVAL);
	for (unsigned i = 20; i < 50; i++)
		objects[i] = kmem_cache_alloc_from_sheaf(cache, GFP_KERNEL, sheaf);
	for (unsigned i = 0; i < 50; i++)
		for (unsigned j = 0; j < i; j++)
			CHECK(objects[i] != objects[j]);
	kmem_cache_return_sheaf(cache, GFP_KERNEL, sheaf);
	kmem_cache_free_bulk(cache, 50, objects);
	kmem_cache_destroy(cache);
	CHECK_EQ(kmem_cache_state(cache), KMEM_CACHE_DEAD);
}

int main(void)
{
	const struct unit_case cases[] = {
		UNIT_TEST_RAW(both_forms_of_create_give_a_cache),
		UNIT_TEST(small_objects_share_a_cache_line_when_aligned_to_it),
		UNIT_TEST(create_with_bad_arguments_is_reported),
		UNIT_TEST(object_may_be_freed_by_any_call_that_frees),
		UNIT_TEST(constructed_state_survives_free_and_shrink),
		UNIT_TEST(bulk_gives_all_or_none),
		UNIT_TEST(sheaf_gives_what_it_was_filled_with),
	};

	return UNIT_MAIN(cases);
}
