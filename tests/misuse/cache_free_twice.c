/* SPDX-License-Identifier: MIT */
/*
 * The same object of a cache freed twice, seen at the latest when the cache is destroyed.
 * dies: libkmalloc: BUG apples: Object already free: PTR (double free)
 */
#include "misuse.h"

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

int main(void)
{
	struct kmem_cache *apples = kmem_cache_create("apples", 64, NULL, 0);
	void *object = hide(kmem_cache_alloc(apples, GFP_KERNEL));

	print_pointer(object);
	kmem_cache_free(apples, object);
	kmem_cache_free(apples, hide(object));
	kmem_cache_destroy(apples);
	return 0;
}
