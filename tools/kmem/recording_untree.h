/* SPDX-License-Identifier: MIT */
/* recording_untree.h - the call stacks of a recording. */
#ifndef KMEM_RECORDING_UNTREE_H
#define KMEM_RECORDING_UNTREE_H

#include "recording_format.h"

struct read_stacks;

struct read_stacks *read_stacks_new(void);
void read_stacks_free(struct read_stacks *stacks);
/* A chunk of them. False: it is damaged; those before the damage are there. */
bool read_stacks_add(struct read_stacks *stacks, const uint8_t *data, size_t size);
uint32_t read_stacks_nr(const struct read_stacks *stacks);
/* See recording_stack_frames(). */
const uint64_t *read_stacks_frames(struct read_stacks *stacks, uint32_t number, size_t *count,
				   bool *cut);

#endif
