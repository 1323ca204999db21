/* SPDX-License-Identifier: MIT */
/*
 * An address within an area given to vfree().
 * lives: libkmalloc: Trying to vfree() bad address (PTR), called from CALLER
 */
#include "misuse.h"

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

int main(void)
{
	char *area = hide(vmalloc(300000));

	print_pointer(area + 100);
	vfree(hide(area + 100));
	vfree(area);
	return 0;
}
