/* SPDX-License-Identifier: MIT */
/* stat.h - exact counts of every call, for KMALLOC_CMDLINE=stat. */
#ifndef KMALLOC_STAT_H
#define KMALLOC_STAT_H

#include "lib/compiler.h"

/* [start] Count from now on: every call takes the slow path. */
void stat_start(void);
/* Called on the slow paths. An index that is no kmalloc class counts nothing. */
void stat_count_alloc(unsigned index, size_t size);
void stat_count_free(unsigned index);
/* Print everything to the standard error that was there at the start. */
void stat_print(void);

#endif
