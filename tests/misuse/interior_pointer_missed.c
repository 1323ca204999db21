/* SPDX-License-Identifier: MIT */
/*
 * A pointer into an object whose free misses: it is looked at before a sheaf takes it. The first free of such a size finds
 * no sheaf.
 * dies: libkmalloc: BUG kmalloc-112k: Invalid object pointer PTR: not the start of an object (free of an interior pointer)
 */
#include "misuse.h"

int main(void)
{
	char *object = hide(malloc(100000));

	print_pointer(object + 4096);
	free(hide(object + 4096));
	return 0;
}
