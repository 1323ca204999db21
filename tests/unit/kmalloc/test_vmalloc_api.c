/* SPDX-License-Identifier: MIT */
/* test_vmalloc_api.c - the kernel's vmalloc() and kvmalloc() families. */
#include "unit.h"

#include "kmalloc/kvmalloc.h"
#include "kmalloc/slab.h"
#include "kmalloc/vmalloc.h"
#include "vmalloc/vmalloc.h"

#define MIB (1UL << 20)

static void area_of_any_size_is_whole_pages(void)
{
	for (size_t size = 1; size < 20 * MIB; size = size * 5 + 1) {
		char *area = vmalloc(size), *zeroed = vzalloc(size), *array = vcalloc(size, 2);

		CHECK(area && zeroed && array);
		CHECK(is_vmalloc_addr(area) && !((uintptr_t)area % 4096));
		CHECK(is_vmalloc_addr(area + size - 1));
		CHECK_EQ(ksize(area), (size + 4095) / 4096 * 4096);
		CHECK(unit_is_zero(zeroed, ksize(zeroed)));
		CHECK(unit_is_zero(array, ksize(array)));
		memset(area, 1, size);
		memset(zeroed, 2, size);
		memset(array, 3, size);
		vfree(area);
		vfree(zeroed);
		kvfree(array);
	}
	vfree(NULL);
	CHECK(!is_vmalloc_addr(kmalloc(100, GFP_KERNEL)));
	CHECK(!is_vmalloc_addr(&area_of_any_size_is_whole_pages));
}

static void zeroed_area_is_zero_when_dirty_pages_are_used_again(void)
{
	for (unsigned i = 0; i < 5; i++) {
		char *area = i % 2 ? vzalloc(3 * MIB) : __vmalloc(3 * MIB, GFP_KERNEL | __GFP_ZERO);

		CHECK(unit_is_zero(area, ksize(area)));
		memset(area, 0xff, ksize(area));
		vfree(area);
	}
}

static void area_is_aligned_as_asked(void)
{
	for (size_t align = 4096; align <= 16 * MIB; align *= 4) {
		void *area = __vmalloc_node(100000, align, GFP_KERNEL, NUMA_NO_NODE, NULL);

		CHECK(area && (uintptr_t)area % align == 0);
		vfree(area);
	}
}

/* Not even one that waits for reuse: what is refused now would be refused then. */
static void area_without_waiting_is_refused(void)
{
	CHECK(__vmalloc(5 * MIB, GFP_NOWAIT) == NULL);
	vfree(vmalloc(5 * MIB));
	CHECK(__vmalloc(5 * MIB, GFP_NOWAIT) == NULL);
}

static void resized_area_keeps_its_bytes(void)
{
	char *area = vrealloc(NULL, 10000, GFP_KERNEL | __GFP_ZERO);

	CHECK(unit_is_zero(area, 10000));
	unit_fill(area, 10000, 1);
	for (size_t size = 20000; size < 40 * MIB; size *= 3) {
		area = vrealloc(area, size, GFP_KERNEL | __GFP_ZERO);
		CHECK(area && is_vmalloc_addr(area));
		CHECK(unit_is_filled(area, 10000, 1));
		CHECK(unit_is_zero(area + 12288, ksize(area) - 12288));
	}
	area = vrealloc(area, 5000, GFP_KERNEL | __GFP_ZERO);
	CHECK(unit_is_filled(area, 5000, 1));
	CHECK(unit_is_zero(area + 5000, ksize(area) - 5000));
	/* it is still one that kfree() does not take */
	CHECK(vmalloc_is_marked(area));
	CHECK(vrealloc(area, 0, GFP_KERNEL) == NULL);
}

static void kvmalloc_is_an_object_up_to_the_limit_and_an_area_above(void)
{
	void *object = kvmalloc(KMALLOC_MAX_SIZE, GFP_KERNEL);
	char *area = kvzalloc(KMALLOC_MAX_SIZE + 1, GFP_KERNEL);

	CHECK(!is_vmalloc_addr(object) && is_vmalloc_addr(area));
	CHECK(unit_is_zero(area, ksize(area)));
	kvfree(object);
	kvfree_sensitive(area, 100);
	CHECK(kvmalloc(0, GFP_KERNEL) == ZERO_SIZE_PTR);
	CHECK(kvcalloc(1000, 1000, GFP_KERNEL) != NULL);
	CHECK(kvmalloc(1UL << 31, GFP_KERNEL | __GFP_NOWARN) == NULL);
}

static void kvrealloc_crosses_the_limit_both_ways(void)
{
	char *memory = kvrealloc(NULL, 100, GFP_KERNEL);

	unit_fill(memory, 100, 9);
	for (size_t size = 200; size < 8 * MIB; size *= 2) {
		memory = kvrealloc(memory, size, GFP_KERNEL);
		CHECK_EQ(is_vmalloc_addr(memory), size > KMALLOC_MAX_SIZE);
		CHECK(unit_is_filled(memory, 100, 9));
	}
	memory = kvrealloc(memory, 100, GFP_KERNEL);
	CHECK(!is_vmalloc_addr(memory));
	CHECK(unit_is_filled(memory, 100, 9));
	CHECK(kvrealloc(memory, 0, GFP_KERNEL) == ZERO_SIZE_PTR);
	memory = kvmemdup("twelve bytes", 13, GFP_KERNEL);
	CHECK(!strcmp(memory, "twelve bytes"));
	kvfree(memory);
}

static void misuse(void *which)
{
	switch ((uintptr_t)which) {
	case 0:
		vfree((char *)vmalloc(10000) + 4096);
		break;
	case 1:
		vfree((char *)vmalloc(10000) + 5);
		break;
	case 2:
		CHECK(vmalloc(0) == NULL);
		break;
	case 3:
		CHECK(vrealloc(kmalloc(4096, GFP_KERNEL), 8192, GFP_KERNEL) == NULL);
		break;
	default:
		CHECK(kvmalloc(1UL << 31, GFP_KERNEL) == NULL);
	}
}

static void misuse_is_reported_once(void)
{
	static const char *const reports[] = {
		"libkmalloc: Trying to vfree() nonexistent vm area (0x",
		"libkmalloc: Trying to vfree() bad address (0x",
		"libkmalloc: vmalloc: 0 bytes asked for, called from ",
		"libkmalloc: Trying to vrealloc() nonexistent vm area (0x",
		"libkmalloc: kvmalloc: 2147483648 bytes are more than INT_MAX, called from ",
	};

	for (uintptr_t i = 0; i < ARRAY_SIZE(reports); i++) {
		struct unit_end end = unit_child(misuse, (void *)i);

		CHECK_EQ(end.signal, 0);
		CHECK_EQ(end.status, 0);
		CHECK(strstr(end.text, reports[i]) == end.text);
		CHECK(strchr(end.text, '\n') == end.text + strlen(end.text) - 1);
	}
}

int main(void)
{
	const struct unit_case cases[] = {
		UNIT_TEST_RAW(area_of_any_size_is_whole_pages),
		UNIT_TEST(zeroed_area_is_zero_when_dirty_pages_are_used_again),
		UNIT_TEST(area_is_aligned_as_asked),
		UNIT_TEST(area_without_waiting_is_refused),
		UNIT_TEST(resized_area_keeps_its_bytes),
		UNIT_TEST(kvmalloc_is_an_object_up_to_the_limit_and_an_area_above),
		UNIT_TEST(kvrealloc_crosses_the_limit_both_ways),
		UNIT_TEST(misuse_is_reported_once),
	};

	return UNIT_MAIN(cases);
}
