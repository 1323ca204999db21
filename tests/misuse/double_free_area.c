/* SPDX-License-Identifier: MIT */
/*
 * The same area freed twice.
 * dies: libkmalloc: BUG vmalloc: Area already free: PTR (double free)
 */
#include "misuse.h"

int main(void)
{
	void *area = hide(malloc(300000));

	print_pointer(area);
	free(area);
	free(hide(area));
	return 0;
}
