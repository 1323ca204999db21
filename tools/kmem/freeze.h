/* SPDX-License-Identifier: MIT */
/*
 * freeze.h - stop all threads of a process for a while, and look at their registers.
 *
 * By ptrace(2), without a signal that the program could see. Whatever becomes of this program, the system lets the
 * threads go on when it ends.
 */
#ifndef KMEM_FREEZE_H
#define KMEM_FREEZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#define FREEZE_XSTATE 16384 /* bytes of a thread's vector registers that are looked at, at most */

struct frozen {
	pid_t tid;
	int signal; /* that was about to be delivered: it is when the thread goes on; 0: none */
	struct user_regs_struct regs;
	uint64_t xstate[FREEZE_XSTATE / sizeof(uint64_t)];
	size_t xstate_words;
};

struct freeze {
	pid_t pid;
	struct frozen *thread;
	size_t count, room;
	uint64_t since_ns, stood_ns; /* stood_ns: how long the last one took, set by thaw() */
};

/* Stop all of them, and read their registers. False: said why; nothing is stopped. */
bool freeze(struct freeze *freeze, pid_t pid);
/* Let them go on; no-op if they are not stopped. */
void thaw(struct freeze *freeze);
void freeze_free(struct freeze *freeze);

#endif
