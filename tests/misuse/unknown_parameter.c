/* SPDX-License-Identifier: MIT */
/*
 * cmdline: slab_merge stat=maybe reclaim.age_ms=10x rseq=fast
 * lives: libkmalloc: unknown parameter 'slab_merge' in KMALLOC_CMDLINE is ignored; KMALLOC_CMDLINE=help lists the parameters
 * lives: libkmalloc: parameter stat: bad value 'maybe' in KMALLOC_CMDLINE is ignored; KMALLOC_CMDLINE=help lists the parameters
 * lives: libkmalloc: parameter reclaim.age_ms: bad value '10x' in KMALLOC_CMDLINE is ignored; KMALLOC_CMDLINE=help lists the parameters
 * lives: libkmalloc: parameter rseq: bad value 'fast' in KMALLOC_CMDLINE is ignored; KMALLOC_CMDLINE=help lists the parameters
 */
#include "misuse.h"

int main(void)
{
	free(malloc(10));
	return 0;
}
