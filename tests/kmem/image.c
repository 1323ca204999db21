/* SPDX-License-Identifier: MIT */
/* image.c - image [PROGRAM...]: allocate, and become that program. NUMBER says which one this is. All of them are at the same place. */
#include <stdlib.h>
#include <unistd.h>

#define PASTE(a, b) a##b
#define NAME(a, b) PASTE(a, b)

void *volatile last;
void NAME(image_work, NUMBER)(void);

__attribute__((noinline)) void NAME(image_work, NUMBER)(void)
{
	last = malloc(NUMBER * 100);
	last = NULL;
}

int main(int argc, char **argv)
{
	for (int i = 0; i < 10 * NUMBER; i++)
		NAME(image_work, NUMBER)();
	if (argc < 2)
		return 0;
	/* what is not taken by then is lost */
	usleep(200000);
	execv(argv[1], argv + 1);
	return 127;
}
