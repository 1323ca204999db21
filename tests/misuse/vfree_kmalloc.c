/* SPDX-License-Identifier: MIT */
/*
 * An object of kmalloc(), aligned to a page as its size is, given to vfree().
 * lives: libkmalloc: Trying to vfree() nonexistent vm area (PTR), called from CALLER
 */
#include "misuse.h"

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

int main(void)
{
	char *object = hide(kmalloc(8192, GFP_KERNEL));

	print_pointer(object);
	vfree(object);
	kfree(object);
	return 0;
}
