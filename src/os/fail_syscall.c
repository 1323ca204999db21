/* SPDX-License-Identifier: MIT */
/*
 * fail_syscall.c - system calls that fail as the kernel lets them fail.
 *
 * Each call of os.c asks here first, in a debug build. params.fail_syscall[] says, per
 * kind of call, which occurrence fails (lib/fault_inject.c); the table here says with
 * what: the failures of a kind take the errors of its row in turn, params.fail_seed
 * being the place to start.
 *
 * Why in the build and not at link time: a preloaded program has to reach it too, and the
 * debug build is there already. A release build has neither the question nor this file.
 *
 * mremap onto given addresses fails in two ways, in turn: before the kernel has
 * done anything, and after it has unmapped what was at those addresses.
 *
 * Not made to fail: FUTEX_WAKE on a word that is mapped, and the calls that tell who
 * the process is or end it. They have no way to fail.
 *
 * No state of its own; any context.
 */
#include "os/fail_syscall.h"

#ifdef DEBUG_CHECKS
#include "arch/x86_64/syscall.h"
#include "lib/fault_inject.h"
#include "lib/param.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_COLD
#define MADV_COLD 20
#endif
#define GUARD_FIRST 102 /* MADV_GUARD_INSTALL, MADV_GUARD_REMOVE */
#define NR_ERRORS 4
#define NOT_A_KIND (-1)

static const short errors[NR_FAULT_CALLS][NR_ERRORS] = {
	/* address space, a limit, the VMA count, overcommit; locked pages over their limit; taken */
	[FAULT_MMAP] = { ENOMEM, EAGAIN, EEXIST },
	[FAULT_MPROTECT] = { ENOMEM },
	/* a mapping would have to be split, and there are too many */
	[FAULT_MUNMAP] = { ENOMEM },
	/* as mmap; more than one mapping */
	[FAULT_MREMAP] = { ENOMEM, EAGAIN, EFAULT },
	/* locked pages, or not known; a mapping to be split; no page table */
	[FAULT_MADVISE] = { EINVAL, ENOMEM, EAGAIN },
	/* the same; interrupted */
	[FAULT_GUARD] = { EINVAL, ENOMEM, EINTR },
	[FAULT_FUTEX] = { EAGAIN, EINTR },
	/* not registered, and registering is refused; not known; no memory for the mask */
	[FAULT_MEMBARRIER] = { EPERM, ENOSYS, ENOMEM },
	[FAULT_WRITE] = { EINTR, EAGAIN, ENOSPC, EPIPE },
	[FAULT_FCNTL] = { EMFILE, EINVAL },
	/* a filter of system calls refuses it */
	[FAULT_OTHER] = { EPERM, ENOSYS },
};

static int kind_of(long nr, const long args[5])
{
	switch (nr) {
	case SYS_mmap:
		return FAULT_MMAP;
	case SYS_mprotect:
		return FAULT_MPROTECT;
	case SYS_munmap:
		return FAULT_MUNMAP;
	case SYS_mremap:
		return FAULT_MREMAP;
	case SYS_madvise:
		return args[2] >= GUARD_FIRST ? FAULT_GUARD : FAULT_MADVISE;
	case SYS_futex:
		return (args[1] & FUTEX_CMD_MASK) == FUTEX_WAIT ? FAULT_FUTEX : NOT_A_KIND;
	case SYS_membarrier:
		return FAULT_MEMBARRIER;
	case SYS_write:
		return FAULT_WRITE;
	case SYS_fcntl:
		return FAULT_FCNTL;
	case SYS_prlimit64:
	case SYS_sysinfo:
	case SYS_sched_getaffinity:
	case SYS_getrusage:
	case SYS_clock_nanosleep:
		return FAULT_OTHER;
	default:
		return NOT_A_KIND;
	}
}

static unsigned nr_errors(int kind)
{
	unsigned n = 0;

	while (n < NR_ERRORS && errors[kind][n])
		n++;
	return n;
}

/* Locked pages can't be discarded; pages that are not there are told by another error. */
static long discard_error(const long args[5])
{
	/* an advice that changes nothing, and walks the same way */
	long ret = arch_syscall(SYS_madvise, args[0], args[1], MADV_COLD, 0, 0, 0);

	return ret == -ENOMEM ? ENOMEM : EINVAL;
}

long fail_syscall(long nr, const long args[5])
{
	int kind = kind_of(nr, args);
	struct fault_attr *attr;
	size_t turn;
	long error;

	if (kind == NOT_A_KIND)
		return 0;
	attr = &params.fail_syscall[kind];
	if (!should_fail(attr, 1))
		return 0;
	turn = params.fail_seed + attr->nr_failed - 1;
	error = errors[kind][turn % nr_errors(kind)];
	if (error == EEXIST && !(args[3] & MAP_FIXED_NOREPLACE))
		error = ENOMEM;
	if (kind == FAULT_MADVISE && args[2] == MADV_DONTNEED)
		error = discard_error(args);
	if (nr == SYS_mremap && args[3] & MREMAP_FIXED && turn / nr_errors(kind) % 2)
		arch_syscall(SYS_munmap, args[4], args[2], 0, 0, 0, 0);
	return -error;
}
#endif
