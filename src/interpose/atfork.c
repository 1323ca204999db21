/* SPDX-License-Identifier: MIT */
/*
 * atfork.c - __register_atfork(), which pthread_atfork(3) calls.
 *
 * The C library's list of fork handlers grows under its lock, by malloc. fork() waits for that lock once more behind our handler,
 * which took all of ours: so what allocates there must not wait for those. It does not, as it is counted as a handler that
 * interrupted the allocator: a request that finds a lock busy gets memory elsewhere.
 *
 * No locks of ours; wherever pthread_atfork() may be called.
 */
#include "interpose/next.h"
#include "lib/lock.h"

typedef int register_function(void (*prepare)(void), void (*parent)(void), void (*child)(void),
			      void *dso_handle);

register_function __register_atfork;

exported int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
			       void *dso_handle)
{
	static void *found;
	register_function *next = (register_function *)next_function(&found, "__register_atfork");
	int err;

	lock_atomic_enter();
	err = next(prepare, parent, child, dso_handle);
	lock_atomic_exit();
	return err;
}
