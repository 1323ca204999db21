/* SPDX-License-Identifier: MIT */
/* dlopen.h - what dlopen.S calls and reads. */
#ifndef INTERPOSE_DLOPEN_H
#define INTERPOSE_DLOPEN_H

#include "lib/compiler.h"

typedef void *dlopen_function(const char *file, int mode);

/* The bits of `mode` that are kept; written by dlopen_next(). */
extern int dlopen_mask hidden;
/* The next dlopen() in the process. */
dlopen_function *dlopen_next(void);

#endif
