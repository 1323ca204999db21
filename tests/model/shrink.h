/* SPDX-License-Identifier: MIT */
/*
 * shrink.h - make a failing sequence shorter.
 */
#ifndef MODEL_SHRINK_H
#define MODEL_SHRINK_H

#include "ops.h"

/* Does this sequence fail? */
typedef bool (*shrink_fails)(const struct op *ops, size_t count, void *arg);

/*
 * Leave operations out of a sequence that fails, as long as what is left fails, for at most
 * so many seconds. Returns how many are left, in ops[].
 */
size_t shrink(struct op *ops, size_t count, shrink_fails fails, void *arg, unsigned seconds);

#endif
