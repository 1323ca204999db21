/* SPDX-License-Identifier: MIT */
/*
 * scan.h - the blocks of a process that nothing in it points to: a conservative scan, as mm/kmemleak.c does it.
 */
#ifndef KMEM_SCAN_H
#define KMEM_SCAN_H

#include "process.h"

#define LEAK_DUMP 32

struct leak {
	uint64_t address;
	uint64_t size; /* bytes that the block has; of an area without its guard page */
	uint8_t dump[LEAK_DUMP];
	size_t dumped;			 /* bytes of it */
	char cache[KMEM_CACHE_NAME_MAX]; /* "" for an area */
	bool indirect;			 /* another leak points to it */
};

struct scan_result {
	struct leak *leak; /* by address */
	size_t count, room;
	uint64_t blocks, bytes; /* that the process holds */
	uint64_t root_bytes;	/* scanned besides blocks */
	uint64_t stood_ns;	/* for so long the process was stopped */
	size_t threads;
	bool inside; /* a thread was inside the allocator, however often it was tried */
};

/* Stop the process, scan it, let it go on. False: said why not. */
bool scan_process(struct process *process, struct scan_result *result);
void scan_free(struct scan_result *result);

#endif
