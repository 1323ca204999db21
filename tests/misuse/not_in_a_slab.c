/* SPDX-License-Identifier: MIT */
/*
 * Something that is no object given to a cache.
 * lives: libkmalloc: kmem_cache_free(apples, PTR): object is not in a slab page, called from CALLER
 */
#include "misuse.h"

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

int main(void)
{
	struct kmem_cache *apples = kmem_cache_create("apples", 64, NULL, 0);
	static char memory[64] __attribute__((aligned(16)));

	print_pointer(memory);
	kmem_cache_free(apples, hide(memory));
	kmem_cache_destroy(apples);
	return 0;
}
