/* SPDX-License-Identifier: MIT */
/*
 * cmdline: foreign_free=panic
 * dies: libkmalloc: BUG free of PTR, which is not from this allocator
 */
#include "misuse.h"

int main(void)
{
	static char memory[64];

	print_pointer(memory);
	free(hide(memory));
	return 0;
}
