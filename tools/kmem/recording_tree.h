/* SPDX-License-Identifier: MIT */
/* recording_tree.h - call stacks that are written to a recording, each of them once. */
#ifndef KMEM_RECORDING_TREE_H
#define KMEM_RECORDING_TREE_H

#include "recording_format.h"

struct call_tree;

struct call_tree *call_tree_new(void);
void call_tree_free(struct call_tree *tree);
/* See recording_stack(). */
uint32_t call_tree_add(struct call_tree *tree, const uint64_t *frames, size_t count, bool cut);
/* What is to be written, and whether it must be before there are more. */
const void *call_tree_piece(const struct call_tree *tree, size_t *size);
bool call_tree_is_full(const struct call_tree *tree);
/* It was. */
void call_tree_start(struct call_tree *tree);

#endif
