/* SPDX-License-Identifier: MIT */
/* calls.c - every call of the public headers, from C. */
#include "calls.h"

#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	int status;

	call_everything();
	fflush(stdout);
	/* a child of fork goes on with the same heap */
	if (fork() == 0) {
		call_everything();
		exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
	return 0;
}
