/* SPDX-License-Identifier: MIT */
/*
 * dlopen.c - what dlopen.S asks: where the C library's own dlopen() is, and which flags get there.
 *
 * Who unwinds stacks is told (trace/unwind.c), before a module may come to where another was; and that is not before who records
 * the program has seen that the other one is gone (dlclose.c).
 * No locks of ours; wherever dlopen() may be called.
 */
#include "interpose/dlopen.h"

#include "interpose/next.h"
#include "kmalloc/start.h"
#include "lib/param.h"
#include "trace/trace.h"

int dlopen_mask = ~0;

dlopen_function *dlopen_next(void)
{
	static void *next;

	trace_modules_changed();
	trace_wait_to_load();
	/* the parameters are known once it has started */
	if (!__atomic_load_n(&next, __ATOMIC_RELAXED) && kmalloc_start() && !params.deepbind)
		dlopen_mask = ~RTLD_DEEPBIND;
	return (dlopen_function *)next_function(&next, "dlopen");
}
