/* SPDX-License-Identifier: MIT */
/*
 * rseq_step.h - between the tracer (rseq_step.c) and the process it interrupts
 * (rseq_step_victim.c).
 *
 * The victim process has two threads. The victim proper is traced: it parks at a trap
 * of its own, takes a command from the shared page, carries it out and parks again.
 * The helper is not traced: it takes requests from a socket and answers them. Only one of
 * them is ever at work, but where an injection has the helper work while the victim
 * stands still.
 */
#ifndef TORTURE_RSEQ_STEP_H
#define TORTURE_RSEQ_STEP_H

#include "step.h"

#include <stdatomic.h>
#include <sys/types.h>

#define VICTIM_PAGE_FD 198
#define VICTIM_SOCKET_FD 199
#define VICTIM_ARGUMENT "--victim"

/* What the victim is told to do. */
enum victim_command {
	VICTIM_PREPARE, /* for `op`: objects to free, and a sheaf with objects and room */
	VICTIM_RUN,	/* `op` */
};

/* What the helper is asked for; the answer to each is a number. */
enum helper_request {
	HELPER_SPAWN,  /* make a victim; its thread's id */
	HELPER_JOIN,   /* wait for one that was killed */
	HELPER_MEDDLE, /* use the same cache on the victim's CPU; 1: had the same area */
	HELPER_DRAIN,  /* malloc_trim from elsewhere */
	HELPER_SETTLE, /* check and free all, drain; bytes in use more than at HELPER_BASELINE. 1: a thread was killed */
	HELPER_BASELINE, /* what is in use now is what has to be */
	HELPER_SIZE,	 /* bytes that an object of `size`, as the operation aligns it, takes up */
};

struct helper_message {
	enum helper_request request;
	unsigned argument;
};

struct victim_page {
	/* by the tracer, while the victim is parked */
	enum victim_command command;
	unsigned op;
	size_t size;
	_Atomic bool traced; /* the victim may run into its trap */
	int cpu;	     /* where the victim works */
	int other_cpu;	     /* -1: there is only one */
	bool cpu_id;	     /* areas are indexed by cpu_id, not mm_cid */
	/* by the victim's process */
	uint64_t base;		  /* where the library is loaded */
	uint64_t park_ip;	  /* of a parked victim */
	uint64_t exit_ip;	  /* code that ends the thread at once */
	unsigned index;		  /* of the victim's area, as it was before `op` */
	_Atomic unsigned handled; /* injected handlers and children that are done */
};

enum op_kind { OP_OTHER, OP_ONE_ALLOC, OP_ONE_FREE };

extern const unsigned victim_nr_ops;
const char *victim_op_name(unsigned op);
enum op_kind victim_op_kind(unsigned op);

/* The process of the victim; ends with the socket. */
int victim_main(void);

#endif
