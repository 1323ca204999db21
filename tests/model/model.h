/* SPDX-License-Identifier: MIT */
/*
 * model.h - run a sequence of operations and hold each result against a plain model.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "entries.h"
#include "ops.h"

struct model {
	const struct entries *entries;
	const struct op *ops;
	size_t count;
	bool may_fail; /* memory is limited: NULL with ENOMEM is an answer to any request */
};

/* What was done so far, over all runs of this process. */
struct model_stat {
	unsigned long ops;
	unsigned long allocs;  /* objects handed out */
	unsigned long refused; /* requests that were answered by NULL and ENOMEM */
	unsigned long forks;
	unsigned long switches; /* to another thread */
};

extern struct model_stat model_stat;

/*
 * Run all operations, then free what is left. Returns if all was as the model says; else
 * writes one line about the operation to standard error and aborts.
 */
void model_run(const struct model *model);

/* End this process at once; where coverage is measured, its counters are written first. */
_Noreturn void model_exit(int status);

#endif
