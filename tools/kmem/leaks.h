/* SPDX-License-Identifier: MIT */
/* leaks.h - blocks that are lost, and their report. */
#ifndef KMEM_LEAKS_H
#define KMEM_LEAKS_H

#include "model.h"
#include "scan.h"
#include "symbols.h"

struct lost_block {
	uint64_t address;
	uint64_t size;	/* bytes asked for if that is known, else that the block has */
	uint64_t site;	/* return address; 0: not known */
	uint32_t stack; /* its number in the recording; 0: the site alone is known */
	double weight;	/* so many objects it stands for: 1, but of a sampled recording */
	uint64_t ns;	/* when it was allocated, from the recording's start; with a site */
	uint32_t tid;	/* who did; 0: not known */
	const struct leak *leak; /* its bytes; NULL: of a recording alone */
};

struct leaks {
	const char *what; /* what each is called */
	char comm[64];
	int pid;
	struct lost_block *block;
	size_t count;
	struct symbols *symbols;	/* NULL: no recording */
	const struct reader *reader;	/* of the recording, for its stacks */
	const struct scan_result *scan; /* NULL: no process */
	const char *ignore;		/* file of functions; NULL: none */
	size_t groups_shown;		/* at most; 0: all */
	bool json;
	bool is_sampled; /* the recording of a process' call sites */
};

/* Leave out what is to be ignored, and print. False: the file of functions can't be used, which was said. */
bool leaks_report(struct leaks *leaks);

#endif
