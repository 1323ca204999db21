/* SPDX-License-Identifier: MIT */
/* test_util.c - copies of strings and memory. */
#include "unit.h"

#include "kmalloc/slab.h"
#include "slab/kmem_cache.h"

#include <errno.h>

static const char constant[] = "a string in read-only data";
static char writable[] = "a string that may change";

static void copies_equal_what_they_copy(void)
{
	char *text = kstrdup(constant, GFP_KERNEL), *part = kstrndup(constant, 8, GFP_KERNEL);
	char *all = kstrndup("short", 100, GFP_KERNEL),
	     *closed = kmemdup_nul("abcdef", 3, GFP_KERNEL);
	int *numbers = kmemdup((int[]){ 1, 2, 3 }, 12, GFP_KERNEL);
	volatile size_t many = SIZE_MAX / 2; /* the compiler sees it by itself where it can */
	int *array = kmemdup_array((int[]){ 4, 5 }, 2, sizeof(int), GFP_KERNEL);

	CHECK(text != constant && !strcmp(text, constant));
	CHECK(!strcmp(part, "a string"));
	CHECK(!strcmp(all, "short"));
	CHECK(!strcmp(closed, "abc"));
	CHECK(numbers[0] == 1 && numbers[2] == 3);
	CHECK(array[0] == 4 && array[1] == 5);
	CHECK(kstrdup(NULL, GFP_KERNEL) == NULL);
	CHECK(kstrndup(NULL, 3, GFP_KERNEL) == NULL);
	CHECK(kmemdup_nul(NULL, 3, GFP_KERNEL) == NULL);
	CHECK(kmemdup_array(numbers, many, 4, GFP_KERNEL | __GFP_NOWARN) == NULL);
	kfree(text);
	kfree(part);
	kfree(all);
	kfree(closed);
	kfree(numbers);
	kfree(array);
}

static void constant_string_is_kept_and_any_other_copied(void)
{
	char local[] = "on the stack";
	const char *kept = kstrdup_const(constant, GFP_KERNEL);
	const char *copied = kstrdup_const(writable, GFP_KERNEL);
	const char *stacked = kstrdup_const(local, GFP_KERNEL);
	/* read-only data of a library */
	const char *foreign = strerror(ENOENT);

	CHECK(kept == constant);
	CHECK(copied != writable && !strcmp(copied, writable));
	CHECK(stacked != local && !strcmp(stacked, local));
	CHECK(kstrdup_const(foreign, GFP_KERNEL) == foreign);
	CHECK(virt_to_cache(copied) != NULL);
	kfree_const(kept);
	kfree_const(copied);
	kfree_const(stacked);
	kfree_const(NULL);
	CHECK(kstrdup_const(NULL, GFP_KERNEL) == NULL);
}

static void formatted_text_is_an_object_of_its_length(void)
{
	char *text = kasprintf(GFP_KERNEL, "%s-%d", "kmalloc", 64), *long_text;

	errno = 77;
	CHECK(!strcmp(text, "kmalloc-64"));
	CHECK_EQ(ksize(text), 16);
	long_text = kasprintf(GFP_KERNEL, "%0500d", 1);
	CHECK_EQ(strlen(long_text), 500);
	CHECK(kasprintf(GFP_KERNEL | __GFP_NOWARN, "%0200000d", 1) == NULL);
	CHECK_EQ(errno, 77);
	kfree(text);
	kfree(long_text);
}

int main(void)
{
	const struct unit_case cases[] = {
		UNIT_TEST(copies_equal_what_they_copy),
		UNIT_TEST(constant_string_is_kept_and_any_other_copied),
		UNIT_TEST(formatted_text_is_an_object_of_its_length),
	};

	return UNIT_MAIN(cases);
}
