/* SPDX-License-Identifier: MIT */
/*
 * A pointer that malloc never gave out, and one that no object can have.
 * lives: program goes on
 */
#include "misuse.h"

int main(void)
{
	static char memory[64];
	char *object = malloc(64);

	free(hide(memory));
	free(hide(object + 1));
	fputs("program goes on\n", stderr);
	free(object);
	return 0;
}
