/* SPDX-License-Identifier: MIT */
/*
 * test_kvmalloc.c - memory of any size: which path, how large, how aligned, zero or not,
 * resized, freed, not ours.
 */
#include "unit.h"

#include "kmalloc/kvmalloc.h"
#include "kmalloc/start.h"
#include "vmalloc/vmalloc.h"

#define M (1UL << 20)

static void *alloc(size_t size)
{
	void *object;

	if (!kmalloc_hit(size, &object))
		object = kvmalloc_slow(size, NULL, NULL);
	CHECK(object != NULL);
	return object;
}

static bool on_kmalloc_path(const void *ptr)
{
	return page_owner(ptr) != 0;
}

/* Sizes around every border: of each class, of pages, of the two paths. */
static unsigned list_sizes(size_t *sizes)
{
	unsigned n = 0;

	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++) {
		sizes[n++] = kmem_caches[i].object_size - 1;
		sizes[n++] = kmem_caches[i].object_size;
		sizes[n++] = kmem_caches[i].object_size + 1;
	}
	for (size_t size = 132000; size < 12 * M; size = size * 3 / 2) {
		sizes[n++] = size / 4096 * 4096;
		sizes[n++] = size / 4096 * 4096 + 1;
	}
	return n;
}

#define SIZES_MAX 400

static void size_at_the_limit_goes_to_kmalloc_and_past_it_to_vmalloc(void)
{
	char *under = alloc(KMALLOC_MAX_SIZE), *over = alloc(KMALLOC_MAX_SIZE + 1);

	CHECK(on_kmalloc_path(under) && !vmalloc_owns(under));
	CHECK(!on_kmalloc_path(over) && vmalloc_owns(over));
	CHECK_EQ(kvmalloc_size(under), KMALLOC_MAX_SIZE);
	CHECK_EQ(kvmalloc_size(over), 131072);
	memset(under, 1, KMALLOC_MAX_SIZE);
	memset(over, 1, 131072);
	CHECK(on_kmalloc_path(alloc(0)));
	CHECK(!on_kmalloc_path(alloc(100 * M)));
}

static void object_of_every_size_is_apart_and_of_constant_size(void)
{
	size_t sizes[SIZES_MAX];
	unsigned n = list_sizes(sizes);
	char *objects[SIZES_MAX];
	size_t usable[SIZES_MAX];

	for (unsigned i = 0; i < n; i++) {
		objects[i] = alloc(sizes[i]);
		usable[i] = kvmalloc_size(objects[i]);
		CHECK(usable[i] >= sizes[i]);
		CHECK_EQ((uintptr_t)objects[i] % 16, 0);
		unit_fill(objects[i], usable[i], i);
	}
	for (unsigned i = 0; i < n; i++) {
		CHECK_EQ(kvmalloc_size(objects[i]), usable[i]);
		CHECK(unit_is_filled(objects[i], usable[i], i));
		kvmalloc_free(objects[i]);
	}
}

static void objects_of_no_bytes_are_apart(void)
{
	void *a = alloc(0), *b = alloc(0);

	CHECK(a != b);
	CHECK_EQ(kvmalloc_size(a), 16);
	kvmalloc_free(a);
	kvmalloc_free(b);
	kvmalloc_free(NULL);
}

static void request_that_is_too_large_is_refused(void)
{
	static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 15, SIZE_MAX - 4096, SIZE_MAX / 2,
					1UL << 47 };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		CHECK(kvmalloc_slow(sizes[i], NULL, NULL) == NULL);
		CHECK(kvmalloc_zeroed(sizes[i], NULL) == NULL);
		for (size_t align = 1; align; align *= 2)
			CHECK(kvmalloc_aligned(sizes[i], align, NULL) == NULL);
	}
	CHECK(kvmalloc_aligned(1, 1UL << 63, NULL) == NULL);
	CHECK(kvmalloc_aligned(1, 1UL << 47, NULL) == NULL);
	alloc(1);
}

static void aligned_request_of_every_power_of_two_is_aligned(void)
{
	static const size_t sizes[] = { 0,    1,     16,    17,	    100,    1000,   4096,
					5000, 33000, 65536, 131056, 131057, 131072, 3 * M };

	for (size_t align = 1; align <= 1UL << 30; align *= 2) {
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			char *first = kvmalloc_aligned(sizes[i], align, NULL);
			char *second = kvmalloc_aligned(sizes[i], align, NULL);

			CHECK(first && second && first != second);
			CHECK_EQ((uintptr_t)first % align, 0);
			CHECK_EQ((uintptr_t)second % align, 0);
			CHECK_EQ((uintptr_t)first % 16, 0);
			CHECK(kvmalloc_size(first) >= sizes[i]);
			memset(first, 1, sizes[i]);
			memset(second, 2, sizes[i]);
			if (align <= 4096 && sizes[i] <= 100000)
				CHECK(on_kmalloc_path(first));
			kvmalloc_free(first);
			if (i % 2)
				kvmalloc_free(second);
		}
	}
}

static void aligned_object_of_no_bytes_is_an_object_all_the_same(void)
{
	for (size_t align = 16; align <= 1UL << 24; align *= 2) {
		char *a = kvmalloc_aligned(0, align, NULL), *b = kvmalloc_aligned(0, align, NULL);

		CHECK(a && b && a != b);
		CHECK(kvmalloc_size(a) > 0);
		a = kvmalloc_resize(a, 1000, NULL);
		CHECK(a != NULL);
		memset(a, 1, 1000);
		kvmalloc_free(a);
		kvmalloc_free(b);
	}
}

/* Use up what the slab window has, and let it have no more; areas of vmalloc still fit. */
static void leave_room_for_small_areas_alone(void)
{
	bool zeroed;

	vmalloc_area(4096, 0, GFP_KERNEL, NULL); /* its table */
	for (unsigned order = MAX_ORDER + 1; order-- > 0;)
		while (page_alloc(order, GFP_ATOMIC, &zeroed))
			;
	unit_limit_address_space(SECTION_SIZE - 4096);
}

static void small_request_without_slab_memory_gets_an_area(void)
{
	size_t left = 3 * M;

	leave_room_for_small_areas_alone();
	for (unsigned i = 1; i < NR_KMALLOC_CLASSES && left > 200000; i++) {
		size_t size = kmem_caches[i].object_size;
		char *ptr = kvmalloc_slow(size, NULL, NULL);

		CHECK(ptr != NULL);
		CHECK(kvmalloc_size(ptr) >= size);
		memset(ptr, 1, size);
		left -= align_up(size, 4096) + 4096;
	}
}

static void aligned_request_without_slab_memory_is_still_aligned(void)
{
	leave_room_for_small_areas_alone();
	for (size_t align = 32; align <= 65536; align *= 2) {
		char *ptr = kvmalloc_aligned(align, align, NULL),
		     *odd = kvmalloc_aligned(48, align, NULL);

		CHECK(ptr && odd);
		CHECK_EQ((uintptr_t)ptr % align, 0);
		CHECK_EQ((uintptr_t)odd % align, 0);
	}
}

static void zeroed_memory_is_zero_after_dirty_use_in_every_class(void)
{
	size_t sizes[SIZES_MAX];
	unsigned n = list_sizes(sizes);
	char *objects[8];

	for (int turn = 0; turn < 3; turn++) {
		for (unsigned i = 0; i < n; i++) {
			unsigned count = sizes[i] > M ? 2 : 8;

			for (unsigned k = 0; k < count; k++) {
				objects[k] = kvmalloc_zeroed(sizes[i], NULL);
				CHECK(objects[k] != NULL);
				CHECK(unit_is_zero(objects[k], sizes[i]));
				memset(objects[k], 0xff, kvmalloc_size(objects[k]));
			}
			for (unsigned k = 0; k < count; k++)
				kvmalloc_free(objects[k]);
			if (turn == 1 && i % 16 == 0)
				kmalloc_trim();
		}
	}
}

static void resize_between_all_sizes_keeps_the_bytes(void)
{
	size_t sizes[SIZES_MAX];
	unsigned n = list_sizes(sizes);

	for (unsigned i = 0; i < n; i += 2) {
		for (unsigned k = i % 3; k < n; k += 3) {
			char *ptr = alloc(sizes[i]);
			size_t kept = min_size(min_size(sizes[i], sizes[k]), 9000);

			unit_fill(ptr, kept, i);
			ptr = kvmalloc_resize(ptr, sizes[k], NULL);
			CHECK(ptr != NULL);
			CHECK(kvmalloc_size(ptr) >= sizes[k]);
			CHECK_EQ((uintptr_t)ptr % 16, 0);
			CHECK(unit_is_filled(ptr, kept, i));
			ptr[sizes[k] - 1] = 1;
			kvmalloc_free(ptr);
		}
	}
}

static void resize_within_the_object_leaves_it_where_it_is(void)
{
	for (unsigned i = 2; i < NR_KMALLOC_CLASSES; i++) {
		size_t size = kmem_caches[i].object_size;
		char *ptr = alloc(size);

		CHECK(kvmalloc_resize(ptr, size - 1, NULL) == ptr);
		CHECK(kvmalloc_resize(ptr, size / 2 + 1, NULL) == ptr);
		CHECK(kvmalloc_resize(ptr, size, NULL) == ptr);
		CHECK_EQ(kvmalloc_size(ptr), size);
		ptr = kvmalloc_resize(ptr, 1, NULL); /* and does not hold all of it for ever */
		CHECK(kvmalloc_size(ptr) < size || size == 16);
		kvmalloc_free(ptr);
	}
}

static void resize_that_fails_leaves_the_object(void)
{
	char *small = alloc(100), *large = alloc(M);

	unit_fill(small, 100, 1);
	unit_fill(large, M, 2);
	CHECK(kvmalloc_resize(small, SIZE_MAX, NULL) == NULL);
	CHECK(kvmalloc_resize(large, SIZE_MAX, NULL) == NULL);
	unit_limit_address_space(M);
	CHECK(kvmalloc_resize(small, 64 * M, NULL) == NULL);
	CHECK(kvmalloc_resize(large, 64 * M, NULL) == NULL);
	CHECK(unit_is_filled(small, 100, 1));
	CHECK(unit_is_filled(large, M, 2));
	kvmalloc_free(small);
	kvmalloc_free(large);
}

/* What is not ours. */

static char foreign[64] __attribute__((aligned(64)));

static void free_foreign(void *arg)
{
	kvmalloc_free(arg);
}

static void resize_foreign(void *arg)
{
	CHECK(kvmalloc_resize(arg, 100, NULL) == NULL);
}

static void foreign_pointer_is_ignored_by_default(void)
{
	struct unit_end end = unit_child(free_foreign, foreign);

	CHECK(end.signal == 0 && end.status == 0 && !end.text[0]);
	end = unit_child(free_foreign, foreign + 1);
	CHECK(end.signal == 0 && end.status == 0 && !end.text[0]);
	end = unit_child(resize_foreign, foreign);
	CHECK(end.signal == 0 && end.status == 0 && !end.text[0]);
	CHECK_EQ(kvmalloc_size(foreign), 0);
	CHECK_EQ(kvmalloc_size(foreign + 3), 0);
	CHECK_EQ(kvmalloc_size(NULL), 0);
}

static void foreign_pointer_is_named_when_asked(void)
{
	struct unit_end end = unit_child(free_foreign, foreign + 16);
	char report[128];

	snprintf(report, sizeof(report),
		 "libkmalloc: free of %p, which is not from this allocator, is ignored\n",
		 (void *)(foreign + 16));
	CHECK(end.signal == 0 && end.status == 0);
	CHECK(!strcmp(end.text, report));
	end = unit_child(resize_foreign, foreign + 16);
	CHECK(end.signal == 0 && end.status == 0 && !strcmp(end.text, report));
}

static void foreign_pointer_is_fatal_when_asked(void)
{
	char *area = alloc(M), *misaligned = (char *)alloc(100) + 8;
	char report[128];

	snprintf(report, sizeof(report),
		 "libkmalloc: BUG free of %p, which is not from this allocator\n", (void *)foreign);
	unit_dies(free_foreign, foreign, report);
	unit_dies(resize_foreign, foreign, report);
	snprintf(report, sizeof(report),
		 "libkmalloc: BUG free of %p, which is not from this allocator\n",
		 (void *)(area + 4096));
	unit_dies(free_foreign, area + 4096, report);
	snprintf(report, sizeof(report),
		 "libkmalloc: BUG free of %p, which is not from this allocator\n",
		 (void *)misaligned);
	unit_dies(free_foreign, misaligned, report);
}

static void trim_with_everything_free_leaves_nothing_mapped(void)
{
	static void *objects[20000];
	struct page_stat pages;
	struct vmalloc_stat areas;

	for (unsigned i = 0; i < 20000; i++)
		objects[i] = memset(alloc(i % 5000), 1, i % 5000);
	for (unsigned i = 0; i < 20; i++)
		kvmalloc_free(memset(alloc(M), 1, M));
	for (unsigned i = 0; i < 20000; i++)
		kvmalloc_free(objects[i]);
	CHECK(kmalloc_trim());
	page_stat(&pages);
	vmalloc_stat(&areas);
	CHECK_EQ(pages.mapped, 0);
	CHECK_EQ(areas.lazy, 0);
	CHECK_EQ(areas.nr_areas, 0);
	CHECK(!kmalloc_trim()); /* nothing was left */
	alloc(10);
}

static void first_request_starts_the_library(void)
{
	void *object;
	bool zeroed = false;

	CHECK_EQ(start_state, START_NOT);
	CHECK(!kmalloc_hit(100, &object));
	CHECK_EQ(kvmalloc_size(&object), 0);
	kvmalloc_free(&object);
	object = kvmalloc_slow(100, &zeroed, NULL);
	CHECK(object != NULL);
	CHECK(!zeroed || unit_is_zero(object, 100));
	CHECK_EQ(start_state, START_DONE);
	CHECK(on_kmalloc_path(object));
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(size_at_the_limit_goes_to_kmalloc_and_past_it_to_vmalloc),
		UNIT_TEST(object_of_every_size_is_apart_and_of_constant_size),
		UNIT_TEST(objects_of_no_bytes_are_apart),
		UNIT_TEST(request_that_is_too_large_is_refused),
		UNIT_TEST(aligned_request_of_every_power_of_two_is_aligned),
		UNIT_TEST(aligned_object_of_no_bytes_is_an_object_all_the_same),
		UNIT_TEST(small_request_without_slab_memory_gets_an_area),
		UNIT_TEST(aligned_request_without_slab_memory_is_still_aligned),
		UNIT_TEST(zeroed_memory_is_zero_after_dirty_use_in_every_class),
		UNIT_TEST(resize_between_all_sizes_keeps_the_bytes),
		UNIT_TEST(resize_within_the_object_leaves_it_where_it_is),
		UNIT_TEST(resize_that_fails_leaves_the_object),
		UNIT_TEST(foreign_pointer_is_ignored_by_default),
		UNIT_TEST_WITH(foreign_pointer_is_named_when_asked, "foreign_free=warn"),
		UNIT_TEST_WITH(foreign_pointer_is_fatal_when_asked, "foreign_free=panic"),
		UNIT_TEST(trim_with_everything_free_leaves_nothing_mapped),
		UNIT_TEST_RAW(first_request_starts_the_library),
	};

	return UNIT_MAIN(tests);
}
