/* SPDX-License-Identifier: MIT */
/* record.h - record a program, or a process that runs already. */
#ifndef KMEM_RECORD_H
#define KMEM_RECORD_H

#include "trace/format.h"

#include <stdbool.h>
#include <sys/types.h>

#define RECORD_SAMPLE_BYTES (512UL << 10)
#define RECORD_RING_EVENTS (1UL << 16)

struct record_options {
	const char *output;
	enum trace_mode mode;
	enum trace_full full;
	bool full_given, stacks;
	const char *
		held_in; /* a folder: it is read here, and then goes: what must be known of it is said then; NULL: it stays */
	uint64_t sample_bytes, ring_events;
	uint64_t max_bytes; /* 0: no limit */
	uint64_t clock_ns;  /* that time stamps may be off by; 0: as fine as they are */
	double seconds;	    /* 0: no end */
	pid_t pid;
	char **program; /* NULL: attach to pid */
};

/* Until it has ended, by whatever. Returns the exit status; after a failure it has said why. */
int record_run(const struct record_options *options);

#endif
