/* SPDX-License-Identifier: MIT */
/*
 * A pointer into an object given to kfree().
 * dies: libkmalloc: BUG kmalloc-256: Invalid object pointer PTR: not the start of an object (free of an interior pointer)
 */
#include "misuse.h"

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

int main(void)
{
	char *object = hide(kmalloc(256, GFP_KERNEL));

	print_pointer(object + 48);
	kfree(hide(object + 48));
	malloc_trim(0);
	return 0;
}
