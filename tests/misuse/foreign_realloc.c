/* SPDX-License-Identifier: MIT */
/*
 * realloc() of a pointer whose size nobody knows fails, and says so when asked to.
 * cmdline: foreign_free=warn
 * lives: libkmalloc: free of PTR, which is not from this allocator, is ignored
 */
#include "misuse.h"

#include <errno.h>

int main(void)
{
	static char memory[64];

	print_pointer(memory);
	return realloc(hide(memory), 128) != NULL || errno != ENOMEM;
}
