/* SPDX-License-Identifier: MIT */
/*
 * A pointer into an object, aligned as objects are.
 * dies: libkmalloc: BUG kmalloc-256: Invalid object pointer PTR: not the start of an object (free of an interior pointer)
 */
#include "misuse.h"

int main(void)
{
	char *object = hide(malloc(256));

	print_pointer(object + 32);
	free(hide(object + 32));
	malloc_trim(0);
	return 0;
}
