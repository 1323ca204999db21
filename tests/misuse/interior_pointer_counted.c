/* SPDX-License-Identifier: MIT */
/*
 * A pointer into an object that would stay in a sheaf until the program ends: while calls are counted or traced, each
 * free is looked at.
 * cmdline: stat
 * dies: libkmalloc: BUG kmalloc-256: Invalid object pointer PTR: not the start of an object (free of an interior pointer)
 */
#include "misuse.h"

int main(void)
{
	char *object = hide(malloc(256));

	print_pointer(object + 32);
	free(hide(object + 32));
	return 0;
}
