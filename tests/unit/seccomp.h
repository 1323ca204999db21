/* SPDX-License-Identifier: MIT */
/*
 * seccomp.h - "no system call": from a call of seccomp_strict() on, any system call of the calling
 * thread kills the process with SIGSYS, but for those on the list it was given.
 */
#ifndef TESTS_SECCOMP_H
#define TESTS_SECCOMP_H

#include "unit.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define SECCOMP_ALLOWED_MAX 8

/* Allow the system calls in the list, which ends with -1, and no others. */
static inline void seccomp_strict(const int *allowed)
{
	struct sock_filter code[2 + 2 * SECCOMP_ALLOWED_MAX] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	unsigned short len = 1;

	for (; *allowed >= 0; allowed++) {
		code[len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							   (unsigned)*allowed, 0, 1);
		code[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	code[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);

	struct sock_fprog program = { len, code };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static inline void seccomp_no_calls(void)
{
	static const int none[] = { -1 };

	seccomp_strict(none);
}

#endif
