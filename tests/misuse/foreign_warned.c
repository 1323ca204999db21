/* SPDX-License-Identifier: MIT */
/*
 * cmdline: foreign_free=warn
 * lives: libkmalloc: free of PTR, which is not from this allocator, is ignored
 */
#include "misuse.h"

int main(void)
{
	static char memory[64];

	print_pointer(memory);
	free(hide(memory));
	return 0;
}
