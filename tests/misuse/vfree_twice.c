/* SPDX-License-Identifier: MIT */
/*
 * The same area given to vfree() twice.
 * dies: libkmalloc: BUG vmalloc: Area already free: PTR (double free)
 */
#include "misuse.h"

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

int main(void)
{
	void *area = hide(vmalloc(300000));

	print_pointer(area);
	vfree(area);
	vfree(hide(area));
	return 0;
}
