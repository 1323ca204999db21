/* SPDX-License-Identifier: MIT */
/*
 * The same for two of so many caches that they share an index.
 * lives: libkmalloc: kmem_cache_free(apples, PTR): object belongs to different cache pears, called from CALLER; it is not freed
 */
#include "misuse.h"

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

int main(void)
{
	struct kmem_cache *apples = kmem_cache_create("apples", 64, NULL, SLAB_NO_SHEAVES);
	struct kmem_cache *pears = kmem_cache_create("pears", 64, NULL, SLAB_NO_SHEAVES);
	void *object = hide(kmem_cache_alloc(pears, GFP_KERNEL));

	print_pointer(object);
	kmem_cache_free(apples, object);
	kmem_cache_free(pears, object);
	kmem_cache_destroy(apples);
	kmem_cache_destroy(pears);
	return 0;
}
