/* SPDX-License-Identifier: MIT */
/*
 * fuzz_ops.c - libFuzzer: sequences of allocator operations, by the model's interpreter.
 *
 * The caches start empty with the process and live on from input to input; what is live at the end of an
 * input is freed, and now and then trimmed. Parameters: KMALLOC_CMDLINE.
 */
#include "model.h"

#include <stdlib.h>

#define MAX_OPS 4096

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	/* what is freed goes back to the system, one way or the other, as soon as may be */
	setenv("KMALLOC_CMDLINE", "page.dirty_max=256K vmalloc.lazy_max=4M reclaim.age_ms=1", 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct op ops[MAX_OPS];
	struct model model = { .entries = &library_entries, .ops = ops };

	model.count = ops_decode(ops, MAX_OPS, bytes, size);
	model_run(&model);
	if (size % 8 == 0)
		library_entries.trim(0);
	return 0;
}
