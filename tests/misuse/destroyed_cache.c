/* SPDX-License-Identifier: MIT */
/*
 * An allocation from a cache that was destroyed.
 * lives: libkmalloc: kmem_cache_alloc(apples): the cache is destroyed, called from CALLER
 */
#include "misuse.h"

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

int main(void)
{
	struct kmem_cache *apples = kmem_cache_create("apples", 64, NULL, 0);

	print_pointer(apples);
	kmem_cache_free(apples, kmem_cache_alloc(apples, GFP_KERNEL));
	kmem_cache_destroy(apples);
	return kmem_cache_alloc(hide(apples), GFP_KERNEL) != NULL;
}
