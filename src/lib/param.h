/* SPDX-License-Identifier: MIT */
/*
 * param.h - parameters from the one variable KMALLOC_CMDLINE, in the kernel's
 * spelling: words separated by blanks, each `name`, `name=value`.
 *
 * There is one table (param_table.c); parsing, the help text and the pages in
 * docs/ come from it. Values are written once, at start-up, by one thread.
 */
#ifndef LIB_PARAM_H
#define LIB_PARAM_H

#include "lib/compiler.h"
#include "lib/fault_inject.h"

enum param_rseq { PARAM_RSEQ_AUTO, PARAM_RSEQ_MM_CID, PARAM_RSEQ_CPU_ID, PARAM_RSEQ_OFF };
enum param_foreign { PARAM_FOREIGN_IGNORE, PARAM_FOREIGN_WARN, PARAM_FOREIGN_PANIC };
enum param_thp { PARAM_THP_ADAPTIVE, PARAM_THP_NEVER, PARAM_THP_MADVISE, PARAM_THP_ALWAYS };

struct params {
	int rseq;		 /* enum param_rseq */
	int foreign_free;	 /* enum param_foreign */
	int thp;		 /* enum param_thp */
	bool stat;		 /* print statistics at exit */
	bool help;		 /* print the table at start-up */
	bool deepbind;		 /* dlopen() keeps RTLD_DEEPBIND */
	bool kswapd;		 /* run a reclaim thread */
	size_t vmalloc_lazy_max; /* bytes of freed areas kept; SIZE_MAX: by the number of CPUs */
	size_t page_dirty_max;	 /* bytes of free dirty blocks kept */
	size_t min_free_kbytes;	 /* of the atomic reserve; SIZE_MAX: not given */
	size_t reclaim_age_ms;	 /* free memory older than this goes back */
	size_t valid_shift;	 /* debug build: rooms are validated every 2^n-th miss */
	int trace;		 /* enum trace_mode; of process trace_pid alone */
	int trace_full;		 /* enum trace_full */
	size_t trace_pid;
	size_t trace_ring;   /* events of a CPU's ring */
	bool trace_stacks;   /* of each allocation that is told of */
	size_t trace_sample; /* mean bytes from sample to sample */
#ifdef DEBUG_CHECKS
	size_t fail_seed;		   /* where chance, and the turn of errors, start */
	struct fault_attr fail_page_alloc; /* size: 1, as of the others */
	struct fault_attr fail_meta_alloc;
	struct fault_attr fail_syscall[NR_FAULT_CALLS]; /* by enum fault_call */
#endif
};

extern struct params params;

enum param_type {
	PARAM_BOOL,
	PARAM_SIZE,
	PARAM_CHOICE,
	PARAM_FAULT,	/* debug builds: which calls fail */
	PARAM_FAULT_OF, /* the same of one kind: "choice:..." */
};

struct param {
	const char *name;
	enum param_type type;
	void *target;		    /* bool, size_t, int, or fault_attr (of each kind), by type */
	const char *const *choices; /* NULL-ended; of PARAM_CHOICE the index is stored */
	const char *help;
};

extern const struct param param_table[]; /* ends with a NULL name */

/*
 * Parse one command line. Each unknown or malformed word is named in one line
 * on stderr and skipped; the program runs on.
 */
void param_parse(const char *cmdline);
/* Print the table to stderr. */
void param_print_help(void);

#endif
