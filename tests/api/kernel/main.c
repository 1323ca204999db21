/* SPDX-License-Identifier: MIT */
/* main.c - runs the kernel-style code of this folder and checks what it does. */
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "kernel.h"

#define CHECK(condition) BUG_ON(!(condition))

static void list_of_requests(void)
{
	char payload[100], expected[40];

	CHECK(request_init(sizeof(payload)) == 0);
	for (u32 i = 0; i < 1000; i++) {
		char name[20];

		snprintf(name, sizeof(name), "r%u", i);
		memset(payload, (int)i, sizeof(payload));
		/* names in read-only data and names on the stack */
		CHECK(request_add(i % 2 ? name : "constant", i * 7 % 1000, payload) == 0);
	}
	for (u32 left = 1000; left-- > 100;) {
		char *text = request_take(payload);
		u32 i = left * 143 % 1000; /* 7 * 143 is 1 modulo 1000 */

		if (i % 2)
			snprintf(expected, sizeof(expected), "r%u:%u", i, left);
		else
			snprintf(expected, sizeof(expected), "constant:%u", left);
		CHECK(!IS_ERR(text) && !strcmp(text, expected));
		CHECK(payload[0] == (char)i && payload[99] == (char)i);
		kfree(text);
	}
	request_exit();
}

static void tree_of_indexes(void)
{
	static long items[3000];

	CHECK(tree_init() == 0);
	for (unsigned long i = 0; i < 3000; i++)
		CHECK(tree_insert(i * i * 31, &items[i]) == 0);
	CHECK(tree_insert(31, &items[0]) == -EEXIST);
	for (unsigned long i = 0; i < 3000; i++)
		CHECK(tree_lookup(i * i * 31) == &items[i]);
	CHECK(tree_lookup(5) == NULL);
	for (unsigned long i = 0; i < 3000; i += 2)
		CHECK(tree_erase(i * i * 31) == &items[i]);
	for (unsigned long i = 0; i < 3000; i++)
		CHECK(tree_lookup(i * i * 31) == (i % 2 ? &items[i] : NULL));
	for (unsigned long i = 1; i < 3000; i += 2)
		CHECK(tree_erase(i * i * 31) == &items[i]);
	CHECK(tree_erase(31) == NULL);
	tree_exit();
}

static void ring_of_bytes(void)
{
	char text[200];

	CHECK(ring_init(1000) == 0);
	CHECK(ring_write("first ") == 0);
	CHECK(ring_grow(300000) == 0);
	CHECK(ring_write("second") == 0);
	CHECK(ring_read(text, sizeof(text)) == 12 && !memcmp(text, "first second", 12));
	for (int i = 0; i < 30000; i++)
		CHECK(ring_write("twelve bytes") == 0 && ring_read(text, 200) == 12);
	CHECK(ring_write("wrapped") == 0);
	CHECK(ring_grow(1000000) == 0);
	CHECK(ring_read(text, sizeof(text)) == 7 && !memcmp(text, "wrapped", 7));
	CHECK(ring_grow(10) == -EINVAL);
	ring_exit();
}

int main(void)
{
	list_of_requests();
	tree_of_indexes();
	ring_of_bytes();
	puts("kernel-style code ran");
	return 0;
}
