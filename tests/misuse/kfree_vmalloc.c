/* SPDX-License-Identifier: MIT */
/*
 * An area of vmalloc() given to kfree(): it is left alone.
 * lives: libkmalloc: kfree(PTR): Not a kmalloc allocation but a vmalloc area, called from CALLER; it is not freed
 */
#include "misuse.h"

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

int main(void)
{
	char *area = hide(vmalloc(300000));

	print_pointer(area);
	kfree(area);
	area[0] = 1;
	vfree(area);
	return 0;
}
