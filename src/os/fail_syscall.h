/* SPDX-License-Identifier: MIT */
/*
 * fail_syscall.h - the seam where system calls are made to fail; a constant in release builds.
 */
#ifndef OS_FAIL_SYSCALL_H
#define OS_FAIL_SYSCALL_H

#include "lib/compiler.h"

#ifdef DEBUG_CHECKS
/* 0: make the call; else it was counted as failed, and this is its -errno. */
long fail_syscall(long nr, const long args[5]);
#else
static inline long fail_syscall(long nr, const long args[5])
{
	(void)nr;
	(void)args;
	return 0;
}
#endif

#endif
