/* SPDX-License-Identifier: MIT */
/*
 * The same object given to kfree() twice.
 * dies: libkmalloc: BUG kmalloc-112: Object already free: PTR (double free)
 */
#include "misuse.h"

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

int main(void)
{
	void *object = hide(kmalloc(100, GFP_KERNEL));

	print_pointer(object);
	kfree(object);
	kfree(hide(object));
	malloc_trim(0);
	return 0;
}
