/* SPDX-License-Identifier: MIT */
/*
 * die.h - the end of a process whose heap is damaged: one exact report, then
 * SIGABRT. The first thread to get here reports; others wait for the end.
 */
#ifndef LIB_DIE_H
#define LIB_DIE_H

#include "lib/compiler.h"

/* Report "libkmalloc: " + text in one line on stderr and abort. Any context. */
_Noreturn void die(const char *format, ...) printf_like(1, 2);

/* A check of debug builds alone. */
#ifdef DEBUG_CHECKS
#define debug_check(cond)                                                                          \
	do {                                                                                       \
		if (unlikely(!(cond)))                                                             \
			die("BUG %s:%d: %s", __FILE__, __LINE__, #cond);                           \
	} while (0)
#else
#define debug_check(cond) ((void)0)
#endif

#endif
