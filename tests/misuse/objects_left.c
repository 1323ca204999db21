/* SPDX-License-Identifier: MIT */
/*
 * A cache destroyed while an object is out, which may still be freed.
 * lives: libkmalloc: BUG apples: Objects remaining on __kmem_cache_shutdown(): Object PTR @offset=0
 * lives: libkmalloc: kmem_cache_destroy apples: Slab cache still has objects (1) when called from CALLER
 */
#include "misuse.h"

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

int main(void)
{
	struct kmem_cache *apples = kmem_cache_create("apples", 64, NULL, 0);
	void *object = hide(kmem_cache_alloc(apples, GFP_KERNEL));

	print_pointer(object);
	kmem_cache_free(apples, kmem_cache_alloc(apples, GFP_KERNEL));
	kmem_cache_destroy(apples);
	kfree(object);
	malloc_trim(0);
	return 0;
}
