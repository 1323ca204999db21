/* SPDX-License-Identifier: MIT */
/*
 * test_size_class.c - the table from sizes to caches, against the list of classes, for every
 * size there is.
 */
#include "unit.h"

#include "kmalloc/kvmalloc.h"

/* The list, as the preprocessor has it; entry 0 is no class. */
static const size_t class_size[NR_KMALLOC_CLASSES] = {
#define SIZE(index, size, order) [index] = (size),
	KMALLOC_CLASSES(SIZE)
#undef SIZE
};
static const unsigned class_order[NR_KMALLOC_CLASSES] = {
#define ORDER(index, size, order) [index] = (order),
	KMALLOC_CLASSES(ORDER)
#undef ORDER
};

static size_t usable(size_t index)
{
	return class_size[index] > KMALLOC_MAX_SIZE ? KMALLOC_MAX_SIZE : class_size[index];
}

static void classes_ascend_in_steps_of_16(void)
{
	CHECK_EQ(class_size[1], KMALLOC_MIN_SIZE);
	CHECK_EQ(class_size[NR_KMALLOC_CLASSES - 1], KMALLOC_TOP_BLOCK);
	CHECK_EQ(KMALLOC_MAX_SIZE, (128UL << 10) - 16);
	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++) {
		CHECK(class_size[i] > class_size[i - 1]);
		CHECK_EQ(class_size[i] % 16, 0);
		CHECK(class_size[i] <= GRANULE_SIZE << class_order[i]);
	}
	CHECK(NR_KMALLOC_CLASSES <= KMEM_CACHES_MAX);
	CHECK(NR_KMALLOC_CLASSES <= 256); /* owners are bytes */
}

static void caches_are_made_as_the_list_says(void)
{
	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++) {
		CHECK_EQ(kmem_caches[i].index, i);
		CHECK_EQ(kmem_caches[i].size, class_size[i]);
		CHECK_EQ(kmem_caches[i].order, class_order[i]);
		CHECK_EQ(kmem_caches[i].object_size, usable(i));
	}
	CHECK(!strcmp(kmem_caches[kmalloc_index(96)].name, "kmalloc-96"));
	CHECK(!strcmp(kmem_caches[kmalloc_index(8192)].name, "kmalloc-8k"));
	CHECK(!strcmp(kmem_caches[kmalloc_index(KMALLOC_MAX_SIZE)].name, "kmalloc-128k"));
}

/* The index of every size is that of the smallest class that holds it. */
static void index_of_every_size_is_the_smallest_class_that_holds_it(void)
{
	for (size_t size = 0; size <= KMALLOC_MAX_SIZE; size++) {
		size_t index = kmalloc_index(size);

		CHECK(index >= 1 && index < NR_KMALLOC_CLASSES);
		CHECK(usable(index) >= size);
		CHECK(index == 1 || class_size[index - 1] < size);
	}
}

static void waste_of_every_size_is_bounded(void)
{
	for (size_t size = 1; size <= KMALLOC_MAX_SIZE; size++) {
		size_t waste = class_size[kmalloc_index(size)] - size;

		CHECK(waste < 16 || waste * 4 <= size);
	}
}

static void sizes_of_the_kernel_are_classes(void)
{
	CHECK_EQ(class_size[kmalloc_index(96)], 96);
	CHECK_EQ(class_size[kmalloc_index(192)], 192);
	for (size_t size = 16; size < KMALLOC_TOP_BLOCK; size *= 2)
		CHECK_EQ(class_size[kmalloc_index(size)], size);
}

static void power_of_two_classes_are_naturally_aligned(void)
{
	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++) {
		size_t align = class_size[i] & -class_size[i];
		unsigned n = kmem_caches[i].nr_objects * 2U + 1;

		for (unsigned k = 0; k < n; k++) {
			void *object = kvmalloc_slow(usable(i), NULL, NULL);

			CHECK(object != NULL);
			CHECK_EQ((uintptr_t)object % align, 0);
		}
	}
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(classes_ascend_in_steps_of_16),
		UNIT_TEST(caches_are_made_as_the_list_says),
		UNIT_TEST(index_of_every_size_is_the_smallest_class_that_holds_it),
		UNIT_TEST(waste_of_every_size_is_bounded),
		UNIT_TEST(sizes_of_the_kernel_are_classes),
		UNIT_TEST(power_of_two_classes_are_naturally_aligned),
	};

	return UNIT_MAIN(tests);
}
