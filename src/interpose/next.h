/* SPDX-License-Identifier: MIT */
/*
 * next.h - the function of that name that comes after this library's: the C library's own, or another preloaded library's.
 *
 * Found at the first call and not at the start, since the dynamic linker is asked. Several threads may find it at once: it is the
 * same each time. No locks of ours.
 */
#ifndef INTERPOSE_NEXT_H
#define INTERPOSE_NEXT_H

#include "lib/die.h"

#include <dlfcn.h>

/* next: where it is kept, NULL at first. */
static inline void *next_function(void **next, const char *name)
{
	void *found = __atomic_load_n(next, __ATOMIC_RELAXED);

	if (found)
		return found;
	found = dlsym(RTLD_NEXT, name);
	if (!found)
		die("%s: the C library has none", name);
	__atomic_store_n(next, found, __ATOMIC_RELAXED);
	return found;
}

#endif
