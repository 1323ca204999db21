/* SPDX-License-Identifier: MIT */
/* library.h - the file in which the library is that a process runs. */
#ifndef KMEM_LIBRARY_H
#define KMEM_LIBRARY_H

#include "target.h"

#define BUILD_ID_MAX 20

struct library {
	char path[4096];		     /* as the process' maps say; "" if it is in none */
	uint64_t text, text_end;	     /* its code; both 0: not found */
	char build_id[2 * BUILD_ID_MAX + 1]; /* hex; "": it has none */
	bool shared; /* it is libkmalloc.so, or renamed, and not the program itself */
};

/* False: not found; what could be is there. */
bool library_find(const struct target *target, struct library *library);

#endif
