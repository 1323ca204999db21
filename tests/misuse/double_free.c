/* SPDX-License-Identifier: MIT */
/*
 * The same object freed twice: seen when the objects that the CPU keeps go back to their slab.
 * dies: libkmalloc: BUG kmalloc-112: Object already free: PTR (double free)
 */
#include "misuse.h"

int main(void)
{
	void *object = hide(malloc(100));

	print_pointer(object);
	free(object);
	free(hide(object));
	malloc_trim(0);
	return 0;
}
