/* SPDX-License-Identifier: MIT */
/* unwind.h - from a thread's registers and a copy of its stack to the calls that it was in. */
#ifndef KMEM_UNWIND_H
#define KMEM_UNWIND_H

#include "trace/format.h"

#include <stdbool.h>
#include <sys/types.h>

#define UNWIND_FRAMES_MAX 256U

struct unwinder;

struct unwinder *unwinder_open(pid_t pid);
void unwinder_close(struct unwinder *unwinder);

/*
 * The return addresses, innermost first, from `site` on: what is inside of it is the library. Returns how many; 0:
 * none could be found. *cut: the stack goes on beyond what was copied.
 */
size_t unwinder_frames(struct unwinder *unwinder, const struct trace_stack *stack, uint64_t site,
		       uint64_t frames[UNWIND_FRAMES_MAX], bool *cut);

#endif
