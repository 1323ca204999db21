/* SPDX-License-Identifier: MIT */
/*
 * The same cache destroyed twice.
 * dies: libkmalloc: BUG kmem_cache_destroy(PTR): cache apples is destroyed already (double destroy)
 */
#include "misuse.h"

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

int main(void)
{
	struct kmem_cache *apples = kmem_cache_create("apples", 64, NULL, 0);

	print_pointer(apples);
	kmem_cache_destroy(apples);
	kmem_cache_destroy(hide(apples));
	return 0;
}
