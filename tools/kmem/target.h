/* SPDX-License-Identifier: MIT */
/*
 * target.h - another process that runs the library: its memory, and the control block in it.
 *
 * All goes through /proc/PID/mem, and much at once by process_vm_readv(2) where that is allowed, for which the system asks for
 * the right to trace the process (ptrace(2)); the process itself notices nothing. Calls that fail have said why, in one line on standard error.
 */
#ifndef KMEM_TARGET_H
#define KMEM_TARGET_H

#include "trace/format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct target {
	pid_t pid;
	int mem;	 /* /proc/PID/mem */
	bool no_vm_read; /* process_vm_readv(2) is refused */
	int error; /* errno, where this program itself can open no more files: what it looks for may be there; else 0 */
	uint64_t control;	    /* address of its control block */
	struct trace_control state; /* as it was read last */
};

/* Find the library in the process. `quiet`: say nothing if there is none yet. 0; -1. */
int target_open(struct target *target, pid_t pid, bool quiet);
void target_close(struct target *target);
/* All of it, or -1 with errno; silent. _much: the same, cheaper for many pages; what changes meanwhile makes it slower. */
int target_read_much(struct target *target, uint64_t address, void *buf, size_t size);
int target_read(const struct target *target, uint64_t address, void *buf, size_t size);
int target_write(const struct target *target, uint64_t address, const void *buf, size_t size);
/* Read the control block again. 0; -1: the process is gone. Silent. */
int target_refresh(struct target *target);
bool target_is_alive(const struct target *target);
/* Open the file that is mapped at an address, to read; *offset: of the address in it. -1: no file, or it can't be; silent. */
int target_open_file(const struct target *target, uint64_t address, uint64_t *offset);

#define TARGET_WRITE_FIELD(target, field, value)                                                   \
	target_write(target, (target)->control + offsetof(struct trace_control, field),            \
		     &(__typeof__(((struct trace_control *)0)->field)){ value },                   \
		     sizeof(((struct trace_control *)0)->field))

/*
 * What it is to trace. All its CPUs are sent to the slow path at once, so that the wish is seen; as long as it is
 * not TRACE_OFF call target_divert_again() now and then, as a thread may have turned one back. 0; -1.
 */
struct target_wish {
	enum trace_mode mode;
	enum trace_full full;
	uint64_t sample_bytes;
	uint64_t ring_events;
	bool stacks;
};

int target_trace(struct target *target, const struct target_wish *wish);
/* A sign of life, for as long as it is to trace: at least once in TRACE_SILENT_MS / 2. 0; -1. */
int target_beat(struct target *target);
/* Send all its CPUs to the slow path; those that are not as they have to be. 0; -1. */
int target_divert(struct target *target);
int target_divert_again(struct target *target);
/* No more events from now on; what is in the rings stays there until it wants TRACE_OFF. 0; -1. */
int target_pause(struct target *target);

#endif
