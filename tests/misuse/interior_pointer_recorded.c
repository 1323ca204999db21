/* SPDX-License-Identifier: MIT */
/*
 * The same while every call is recorded, which it is from the start on: the program begins again, with its own number.
 * dies: libkmalloc: BUG kmalloc-256: Invalid object pointer PTR: not the start of an object (free of an interior pointer)
 */
#include "misuse.h"

#include <unistd.h>

static void begin_again(char *name)
{
	const char *cmdline = getenv("KMALLOC_CMDLINE");
	char line[256];

	snprintf(line, sizeof(line), "%s trace=all trace.full=overwrite trace.pid=%d",
		 cmdline ? cmdline : "", getpid());
	setenv("KMALLOC_CMDLINE", line, 1);
	execl("/proc/self/exe", name, "recorded", (char *)NULL);
	exit(1);
}

int main(int argc, char **argv)
{
	char *object;

	if (argc < 2)
		begin_again(argv[0]);
	/* whatever the first calls of a thread do besides */
	for (int i = 0; i < 3; i++)
		free(hide(malloc(256)));
	object = hide(malloc(256));
	print_pointer(object + 32);
	free(hide(object + 32));
	return 0;
}
