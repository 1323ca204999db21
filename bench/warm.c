/* SPDX-License-Identifier: MIT
 *
 * warm: touch some memory and give it back.
 *
 * In a virtual machine the first touch of a page may cost ten times more than
 * the later ones, as the host has to find the page. After this the pages of the
 * guest are there, whichever allocator gets them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STEP (64ul << 20)

int main(int argc, char **argv)
{
	unsigned long mib = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
	size_t size = (size_t)mib << 20;
	char *p;

	if (!mib) {
		fprintf(stderr,
			"usage: warm MIB\nTouch MIB mebibytes of memory and give them back.\n");
		return 2;
	}
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	if (p == MAP_FAILED) {
		fprintf(stderr, "warm: %s\n", strerror(errno));
		return 1;
	}
	for (size_t at = 0; at < size; at += STEP) {
		size_t step = size - at < STEP ? size - at : STEP;

		if (madvise(p + at, step, MADV_POPULATE_WRITE))
			for (size_t i = 0; i < step; i += 4096)
				p[at + i] = 1;
	}
	return 0;
}
