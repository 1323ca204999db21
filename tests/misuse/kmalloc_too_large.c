/* SPDX-License-Identifier: MIT */
/*
 * More than kmalloc() gives.
 * lives: libkmalloc: kmalloc: 131057 bytes are over the limit of 131056, called from CALLER
 */
#include "misuse.h"

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

int main(void)
{
	volatile size_t size = KMALLOC_MAX_SIZE + 1;

	for (int i = 0; i < 3; i++)
		if (kmalloc(size, GFP_KERNEL))
			return 1;
	return kmalloc(size, GFP_KERNEL | __GFP_NOWARN) != NULL;
}
