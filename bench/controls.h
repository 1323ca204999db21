/* SPDX-License-Identifier: MIT
 *
 * controls: what a malloc is held against, see controls.c.
 */
#ifndef BENCH_CONTROLS_H
#define BENCH_CONTROLS_H

#include <stddef.h>

/* Largest size the controls serve. */
#define CONTROL_SIZE_MAX (128ul << 10)

/* Called from outside the library, whatever the build hides by default. */
#pragma GCC visibility push(default)

void *list_alloc(size_t size);
void list_free(void *object);
void *empty_alloc(size_t size);
void empty_free(void *object);

/* Once per process, before any other call. */
void controls_init(void);
/* Once per run, while no thread uses a control: all memory is free again. */
void controls_reset(void);
/* In each thread, before its first use in a run. */
void controls_start(void);

#pragma GCC visibility pop

#endif
