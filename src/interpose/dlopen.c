/* SPDX-License-Identifier: MIT */
/*
 * dlopen.c - what dlopen.S asks: where the C library's own dlopen() is, and which flags get there.
 *
 * Who unwinds stacks is told (trace/unwind.c), before a module may come to where another was; and that is not before who records
 * the program has seen that the other one is gone (dlclose.c).
 *
 * Found at the first call and not at the start, since the dynamic linker is asked. Several threads may find it at once: it is the
 * same each time. No locks of ours; wherever dlopen() may be called.
 */
#include "interpose/dlopen.h"

#include "kmalloc/start.h"
#include "lib/die.h"
#include "lib/param.h"
#include "trace/trace.h"

#include <dlfcn.h>

int dlopen_mask = ~0;

dlopen_function *dlopen_next(void)
{
	static dlopen_function *next;
	dlopen_function *found = __atomic_load_n(&next, __ATOMIC_RELAXED);

	trace_modules_changed();
	trace_wait_to_load();
	if (found)
		return found;
	/* the parameters are known from here on */
	if (kmalloc_start() && !params.deepbind)
		dlopen_mask = ~RTLD_DEEPBIND;
	found = (dlopen_function *)dlsym(RTLD_NEXT, "dlopen");
	if (!found)
		die("dlopen: the C library has none");
	__atomic_store_n(&next, found, __ATOMIC_RELAXED);
	return found;
}
