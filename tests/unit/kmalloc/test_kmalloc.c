/* SPDX-License-Identifier: MIT */
/*
 * test_kmalloc.c - the kernel's kmalloc() family: results at the edges, warnings, and that its objects
 * are malloc()'s.
 */
#include "unit.h"

#include "kmalloc/kvmalloc.h"
#include "kmalloc/report.h"
#include "kmalloc/slab.h"
#include "kmalloc/vmalloc.h"

static gfp_t variable(gfp_t gfp)
{
	__asm__ volatile("" : "+r"(gfp));
	return gfp;
}

static void size_of_zero_gives_the_zero_pointer(void)
{
	CHECK(kmalloc(0, GFP_KERNEL) == ZERO_SIZE_PTR);
	CHECK(kmalloc(0, variable(GFP_KERNEL)) == ZERO_SIZE_PTR);
	CHECK(kzalloc(0, GFP_ATOMIC) == ZERO_SIZE_PTR);
	CHECK(kcalloc(0, 8, GFP_KERNEL) == ZERO_SIZE_PTR);
	CHECK(kmalloc_array(8, 0, variable(GFP_KERNEL)) == ZERO_SIZE_PTR);
	CHECK(ZERO_OR_NULL_PTR(ZERO_SIZE_PTR) && ZERO_OR_NULL_PTR(NULL));
	CHECK(!ZERO_OR_NULL_PTR(kmalloc(1, GFP_KERNEL)));
	CHECK_EQ(ksize(ZERO_SIZE_PTR), 0);
	CHECK_EQ(ksize(NULL), 0);
	kfree(ZERO_SIZE_PTR);
	kfree(NULL);
	kfree_sensitive(NULL);
	kfree_sensitive(ZERO_SIZE_PTR);
	kvfree(ZERO_SIZE_PTR);
	kvfree(NULL);
}

static void every_size_up_to_the_limit_is_an_object_of_its_class(void)
{
	for (size_t size = 1; size <= KMALLOC_MAX_SIZE; size += size / 9 + 1) {
		char *object = kmalloc(size, GFP_KERNEL),
		     *other = kmalloc(size, variable(GFP_NOFS));

		CHECK(object && other && object != other);
		CHECK_EQ((uintptr_t)object % 16, 0);
		CHECK(virt_to_cache(object) == &kmem_caches[kmalloc_index(size)]);
		CHECK_EQ(ksize(object), kmalloc_size_roundup(size));
		CHECK(ksize(object) >= size);
		unit_fill(object, ksize(object), size);
		unit_fill(other, ksize(other), size + 1);
		CHECK(unit_is_filled(object, ksize(object), size));
		kfree(object);
		kvmalloc_free(other);
	}
	CHECK_EQ(kmalloc_size_roundup(0), 0);
	CHECK_EQ(kmalloc_size_roundup(KMALLOC_MAX_SIZE), KMALLOC_MAX_SIZE);
	CHECK_EQ(kmalloc_size_roundup(KMALLOC_MAX_SIZE + 1), KMALLOC_MAX_SIZE + 1);
}

static void powers_of_two_are_aligned_to_themselves(void)
{
	for (size_t size = 16; size <= 65536; size *= 2)
		for (unsigned i = 0; i < 5; i++)
			CHECK_EQ((uintptr_t)kmalloc(size, GFP_KERNEL) % size, 0);
}

static void zeroed_object_is_zero_to_its_end(void)
{
	for (size_t size = 1; size <= KMALLOC_MAX_SIZE; size += size / 5 + 1) {
		for (unsigned i = 0; i < 4; i++) {
			char *object = i % 2 ? kzalloc(size, GFP_KERNEL) :
					       kmalloc(size, variable(GFP_KERNEL | __GFP_ZERO));

			CHECK(object != NULL);
			CHECK(unit_is_zero(object, ksize(object)));
			memset(object, 0xff, ksize(object));
			kfree(object);
		}
	}
}

static void ask_too_much(void *gfp)
{
	for (unsigned i = 0; i < 3; i++)
		CHECK(kmalloc(KMALLOC_MAX_SIZE + 1, variable((gfp_t)(uintptr_t)gfp)) == NULL);
}

static void ask_too_much_in_two_places(void *unused)
{
	(void)unused;
	CHECK(kmalloc(SIZE_MAX, GFP_KERNEL) == NULL);
	CHECK(kzalloc(1UL << 40, GFP_ATOMIC) == NULL);
	CHECK(kmalloc_array(SIZE_MAX / 2, 3, GFP_KERNEL | __GFP_NOWARN) == NULL);
	report_flush(); /* that of the one that may not wait */
}

static unsigned lines(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void size_over_the_limit_is_refused_with_one_warning_per_caller(void)
{
	struct unit_end end = unit_child(ask_too_much, (void *)(uintptr_t)GFP_KERNEL);

	CHECK_EQ(end.signal, 0);
	CHECK_EQ(end.status, 0);
	CHECK_EQ(lines(end.text), 1);
	CHECK(strstr(end.text, "libkmalloc: kmalloc: 131057 bytes are over the limit of 131056, "
			       "called from test_kmalloc_kmalloc+0x") == end.text);
	end = unit_child(ask_too_much_in_two_places, NULL);
	CHECK_EQ(end.status, 0);
	CHECK_EQ(lines(end.text), 2);
	end = unit_child(ask_too_much, (void *)(uintptr_t)(GFP_KERNEL | __GFP_NOWARN));
	CHECK_EQ(end.status, 0);
	CHECK_EQ(lines(end.text), 0);
}

static void array_that_overflows_is_refused(void)
{
	/* the compiler sees it by itself where it can */
	volatile size_t big = 1UL << 33;

	CHECK(kmalloc_array(SIZE_MAX / 8, big, GFP_KERNEL | __GFP_NOWARN) == NULL);
	CHECK(kcalloc(big, big, GFP_KERNEL | __GFP_NOWARN) == NULL);
	CHECK(krealloc_array(NULL, big, big, GFP_KERNEL | __GFP_NOWARN) == NULL);
	CHECK(kvmalloc_array(big, big, GFP_KERNEL | __GFP_NOWARN) == NULL);
	CHECK(vmalloc_array(big, big) == NULL);
	CHECK_EQ(size_add(SIZE_MAX, 1), SIZE_MAX);
	CHECK_EQ(size_sub(1, 2), SIZE_MAX);
	CHECK_EQ(size_sub(SIZE_MAX, 2), SIZE_MAX);
	CHECK_EQ(size_mul(3, 5), 15);
}

static void resize_keeps_the_bytes(void)
{
	char *object = krealloc(NULL, 10, GFP_KERNEL), *same;

	CHECK_EQ(ksize(object), 16);
	unit_fill(object, 10, 1);
	same = krealloc(object, 16, GFP_KERNEL);
	CHECK(same == object);
	for (size_t size = 17; size <= KMALLOC_MAX_SIZE; size *= 3) {
		object = krealloc(object, size, GFP_KERNEL);
		CHECK(object && ksize(object) >= size);
		CHECK(unit_is_filled(object, 10, 1));
	}
	CHECK(krealloc(object, KMALLOC_MAX_SIZE + 1, GFP_KERNEL | __GFP_NOWARN) == NULL);
	CHECK(unit_is_filled(object, 10, 1));
	same = krealloc(object, 5, GFP_KERNEL);
	CHECK(same == object);
	CHECK(krealloc(object, 0, GFP_KERNEL) == ZERO_SIZE_PTR);
	CHECK(krealloc(ZERO_SIZE_PTR, 0, GFP_KERNEL) == ZERO_SIZE_PTR);
}

static void resize_with_alignment_moves_where_it_must(void)
{
	for (size_t align = 1; align <= 4096; align *= 2) {
		char *object = kmalloc(48, GFP_KERNEL);

		unit_fill(object, 48, align);
		for (size_t size = 20; size < 9000; size += size / 2) {
			object = krealloc_node_align(object, size, align, GFP_KERNEL, NUMA_NO_NODE);
			CHECK(object != NULL);
			CHECK_EQ((uintptr_t)object % align, 0);
			CHECK(unit_is_filled(object, 20, align));
		}
		kfree(object);
		object = krealloc_node_align(NULL, 100, align, GFP_KERNEL, NUMA_NO_NODE);
		CHECK_EQ((uintptr_t)object % align, 0);
		kfree(object);
	}
}

static void sensitive_free_leaves_zeroes(void)
{
	char *object = kmalloc(200, GFP_KERNEL);

	memset(object, 's', 200);
	kfree_sensitive(object);
	CHECK(unit_is_zero(object, 200));
}

static void bulk_free_takes_objects_of_any_size(void)
{
	void *objects[64];

	for (size_t i = 0; i < 64; i++)
		objects[i] = kmalloc(i * 37, GFP_KERNEL);
	objects[5] = NULL;
	kfree_bulk(64, objects);
}

struct packet {
	unsigned length;
	unsigned short words[];
};

static void objects_by_type_have_its_size(void)
{
	struct packet *packet = kzalloc_flex(*packet, words, 100);
	unsigned long *numbers = kmalloc_objs(*numbers, 10, GFP_ATOMIC);
	struct packet *one = kmalloc_obj(struct packet);
	unsigned long *zeroes = kvzalloc_objs(unsigned long, 100000);
	struct packet *big = kvmalloc_flex(struct packet, words, 1000000, GFP_KERNEL);

	CHECK_EQ(ksize(packet), kmalloc_size_roundup(sizeof(*packet) + 200));
	CHECK(unit_is_zero(packet, ksize(packet)));
	CHECK_EQ(ksize(numbers), 80);
	CHECK_EQ(ksize(one), 16);
	CHECK(unit_is_zero(zeroes, 800000) && is_vmalloc_addr(zeroes));
	CHECK(ksize(big) >= 2000004);
	kfree(packet);
	kfree(numbers);
	kfree(one);
	kvfree(zeroes);
	kvfree(big);
}

static void freed_by_scope(char **where)
{
	char *text __free(kfree) = kstrdup("scope", GFP_KERNEL);

	*where = text;
}

static char *kept_by_scope(void)
{
	char *text __free(kfree) = kstrdup("scope", GFP_KERNEL);

	return_ptr(text);
}

static void variable_frees_what_it_holds_at_the_end_of_its_scope(void)
{
	char *freed, *kept;

	unit_pin(0);
	freed_by_scope(&freed);
	/* the object freed last is allocated first */
	CHECK(kmalloc(6, GFP_KERNEL) == freed);
	kept = kept_by_scope();
	CHECK(!strcmp(kept, "scope"));
	CHECK(kmalloc(6, GFP_KERNEL) != kept);
	kfree(kept);
}

int main(void)
{
	const struct unit_case cases[] = {
		UNIT_TEST_RAW(size_of_zero_gives_the_zero_pointer),
		UNIT_TEST_RAW(every_size_up_to_the_limit_is_an_object_of_its_class),
		UNIT_TEST(powers_of_two_are_aligned_to_themselves),
		UNIT_TEST(zeroed_object_is_zero_to_its_end),
		UNIT_TEST(size_over_the_limit_is_refused_with_one_warning_per_caller),
		UNIT_TEST(array_that_overflows_is_refused),
		UNIT_TEST(resize_keeps_the_bytes),
		UNIT_TEST(resize_with_alignment_moves_where_it_must),
		UNIT_TEST(sensitive_free_leaves_zeroes),
		UNIT_TEST(bulk_free_takes_objects_of_any_size),
		UNIT_TEST(objects_by_type_have_its_size),
		UNIT_TEST(variable_frees_what_it_holds_at_the_end_of_its_scope),
	};

	return UNIT_MAIN(cases);
}
