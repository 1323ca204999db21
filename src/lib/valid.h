/* SPDX-License-Identifier: MIT */
/*
 * valid.h - reports of the validators, and when a debug build runs them.
 *
 * Each room has functions `<object>_is_valid` (its valid.h) that compare all that is redundant
 * about an object and change nothing. The first thing that does not fit is
 * reported in one line, "BUG " + the object + what is wrong, and the answer is
 * false; a debug build dies of the report.
 *
 * They are part of debug builds, and of the unit tests of any build. A release library
 * has none: it finds damage where it costs nothing, when an object comes back
 * (slab/slab.c); walks it could only make when asked, and what is asked of a live process is the
 * account (kmalloc/account.h), whose sums do not fit either when something is wrong.
 */
#ifndef LIB_VALID_H
#define LIB_VALID_H

#include "lib/compiler.h"

/* Report; false, so that a validator ends with it. */
bool invalid(const char *format, ...) printf_like(1, 2);

/* A validator's call on a slow path: debug builds alone make it. */
#ifdef DEBUG_CHECKS
#define debug_valid(call) ((void)(call))
#else
#define debug_valid(call) ((void)0)
#endif

/* All locks: in rank order, free or held. */
bool locks_are_valid(void);
/* Each value is one that the table of parameters allows. */
bool params_are_valid(void);

#endif
