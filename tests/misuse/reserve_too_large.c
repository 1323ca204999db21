/* SPDX-License-Identifier: MIT */
/*
 * A reserve that no machine has, in each spelling: the last word wins, and is looked at when the reserve is made.
 * cmdline: min_free_kbytes=18446744073709551615 min_free_kbytes=20000000000000000000 min_free_kbytes=99999999999G min_free_kbytes=64T
 * lives: libkmalloc: parameter min_free_kbytes: bad value '18446744073709551615' in KMALLOC_CMDLINE is ignored; KMALLOC_CMDLINE=help lists the parameters
 * lives: libkmalloc: parameter min_free_kbytes: bad value '20000000000000000000' in KMALLOC_CMDLINE is ignored; KMALLOC_CMDLINE=help lists the parameters
 * lives: libkmalloc: parameter min_free_kbytes: bad value '99999999999G' in KMALLOC_CMDLINE is ignored; KMALLOC_CMDLINE=help lists the parameters
 * lives: libkmalloc: parameter min_free_kbytes: bad value '70368744177664' in KMALLOC_CMDLINE is ignored; at most half of the memory, and 524288
 */
#include "misuse.h"

int main(void)
{
	free(malloc(10));
	return 0;
}
