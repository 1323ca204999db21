/* SPDX-License-Identifier: MIT */
/*
 * The address space is used up, small and large: NULL and ENOMEM, and what was there stays.
 * lives: no memory for 100000, no memory for 1000000, all is well
 */
#include "misuse.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

static int fill(size_t size)
{
	void *last = NULL;
	int rounds = 0;

	for (;;) {
		void **block = malloc(size);

		if (!block)
			break;
		*block = last;
		last = block;
		rounds++;
	}
	if (errno != ENOMEM)
		return 1;
	fprintf(stderr, "no memory for %zu, ", size);
	while (last) {
		void *next = *(void **)last;

		free(last);
		last = next;
		rounds--;
	}
	return rounds;
}

int main(void)
{
	struct rlimit limit = { 200 << 20, 200 << 20 };
	char *kept = malloc(5000);

	memset(kept, 'k', 5000);
	if (setrlimit(RLIMIT_AS, &limit) || fill(100000) || fill(1000000))
		return 1;
	for (int i = 0; i < 5000; i++)
		if (kept[i] != 'k')
			return 2;
	free(kept);
	fputs("all is well\n", stderr);
	return 0;
}
