/* SPDX-License-Identifier: MIT */
/*
 * param_table.c - every parameter, its default and its help, in one place.
 */
#include "lib/param.h"

struct params params = {
	.vmalloc_lazy_max = SIZE_MAX,
	.page_dirty_max = 32UL << 20,
	.reclaim_age_ms = 10000,
	.min_free_kbytes = SIZE_MAX,
	.valid_shift = 10,
	.trace_ring = 1UL << 16,
	.trace_sample = 512UL << 10,
};

static const char *const rseq_choices[] = { "auto", "mm_cid", "cpu_id", "off", NULL };
static const char *const foreign_choices[] = { "ignore", "warn", "panic", NULL };
static const char *const thp_choices[] = { "adaptive", "never", "madvise", "always", NULL };

/* in the order of enum trace_mode and enum trace_full */
static const char *const trace_choices[] = { "off", "sample", "all", NULL };
static const char *const full_choices[] = { "drop", "overwrite", "wait", NULL };

#ifdef DEBUG_CHECKS
/* in the order of enum fault_call */
static const char *const fail_syscall_choices[] = { "mmap",    "mprotect", "munmap", "mremap",
						    "madvise", "guard",	   "futex",  "membarrier",
						    "write",   "fcntl",	   "other",  NULL };
#endif

const struct param param_table[] = {
	{ "help", PARAM_BOOL, &params.help, NULL, "print this list at start-up" },
	{ "stat", PARAM_BOOL, &params.stat, NULL,
	  "count every allocation and print statistics to stderr at exit" },
	{ "rseq", PARAM_CHOICE, &params.rseq, rseq_choices,
	  "index of the per-CPU caches: auto, mm_cid, cpu_id; off: locks instead of rseq" },
	{ "foreign_free", PARAM_CHOICE, &params.foreign_free, foreign_choices,
	  "free() of a pointer that is not ours: ignore, warn (one line each), panic" },
	{ "transparent_hugepage", PARAM_CHOICE, &params.thp, thp_choices,
	  "huge pages: adaptive (large heaps and areas), never, madvise, always" },
	{ "vmalloc.lazy_max", PARAM_SIZE, &params.vmalloc_lazy_max, NULL,
	  "bytes of freed areas that wait for reuse (default by the number of CPUs, at least 128M)" },
	{ "page.dirty_max", PARAM_SIZE, &params.page_dirty_max, NULL,
	  "bytes of free slab pages that stay resident" },
	{ "reclaim.age_ms", PARAM_SIZE, &params.reclaim_age_ms, NULL,
	  "free memory older than this is returned to the system" },
	{ "min_free_kbytes", PARAM_SIZE, &params.min_free_kbytes, NULL,
	  "KiB kept ready for GFP_ATOMIC (1024, from the first kernel call on; given: from the start)" },
	{ "deepbind", PARAM_BOOL, &params.deepbind, NULL,
	  "leave RTLD_DEEPBIND to dlopen(): such libraries have the C library's malloc" },
	{ "kswapd", PARAM_BOOL, &params.kswapd, NULL,
	  "run a thread that returns memory while the program is idle" },
	{ "valid_shift", PARAM_SIZE, &params.valid_shift, NULL,
	  "debug build: validate every structure at each 2^n-th miss" },
	{ "trace", PARAM_CHOICE, &params.trace, trace_choices,
	  "events from the start, for kmem: off, sample, all" },
	{ "trace.pid", PARAM_SIZE, &params.trace_pid, NULL,
	  "the process that trace= is meant for: none that it starts" },
	{ "trace.full", PARAM_CHOICE, &params.trace_full, full_choices,
	  "when nobody takes the events: drop, overwrite, wait" },
	{ "trace.ring", PARAM_SIZE, &params.trace_ring, NULL,
	  "events that a CPU keeps until they are taken, a power of two" },
	{ "trace.sample", PARAM_SIZE, &params.trace_sample, NULL,
	  "bytes between two samples, on average" },
	{ "trace.stacks", PARAM_BOOL, &params.trace_stacks, NULL,
	  "the call stack of each allocation that is told of" },
#ifdef DEBUG_CHECKS
	{ "fail_page_alloc", PARAM_FAULT, &params.fail_page_alloc, NULL,
	  "interval,probability,space,times of requests for pages that fail" },
	{ "fail_meta_alloc", PARAM_FAULT, &params.fail_meta_alloc, NULL,
	  "the same of requests for metadata" },
	{ "fail_syscall", PARAM_FAULT_OF, &params.fail_syscall, fail_syscall_choices,
	  "the same of one kind of system calls: kind:interval,probability,space,times" },
	{ "fail_seed", PARAM_SIZE, &params.fail_seed, NULL,
	  "where the chance of these, and the turn of errors, start" },
#endif
	{ NULL, PARAM_BOOL, NULL, NULL, NULL },
};
