/* SPDX-License-Identifier: MIT */
/* fork.h - fork and vfork around the allocator. Internal to the room. */
#ifndef INTERPOSE_FORK_H
#define INTERPOSE_FORK_H

#include "lib/compiler.h"

/* [start] Have fork() call us. */
void fork_register(void);

/* The steps of vfork.S: block signals, and what the child and the parent do first. */
uint64_t vfork_prepare(void) hidden;
void vfork_child(uint64_t mask) hidden;
/* Returns what vfork() returns; sets errno. */
int vfork_parent(uint64_t mask, long ret) hidden;

#endif
