/* SPDX-License-Identifier: MIT */
/*
 * An object given back to another cache than its own: it stays allocated.
 * lives: libkmalloc: kmem_cache_free(apples, PTR): object belongs to different cache pears, called from CALLER; it is not freed
 */
#include "misuse.h"

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

int main(void)
{
	struct kmem_cache *apples = kmem_cache_create("apples", 64, NULL, 0);
	struct kmem_cache *pears = kmem_cache_create("pears", 64, NULL, 0);
	void *object = hide(kmem_cache_alloc(pears, GFP_KERNEL));

	print_pointer(object);
	kmem_cache_free(apples, object);
	kmem_cache_free(pears, object);
	kmem_cache_destroy(apples);
	kmem_cache_destroy(pears);
	return 0;
}
