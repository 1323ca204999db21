/* SPDX-License-Identifier: MIT */
/*
 * trim.c - `kmem trim`: have a process give back what is free in it.
 *
 * The process does it itself, in its next call to the allocator that may sleep. One that does not call has it done when it does:
 * the wish stays. So that is no failure, and said.
 */
#include "commands.h"
#include "process.h"
#include "say.h"

#include <unistd.h>

#define TRIM_MS 2000

static int raise_wish(struct process *process, uint32_t *wanted)
{
	struct target *target = &process->target;
	uint8_t divert;

	if (target_refresh(target) != 0)
		return -1;
	divert = trace_diversion(target->state.want_mode);
	/* more than one may ask: each asks for a trim that is later than its question */
	*wanted = target->state.want_trim + 1;
	if (TARGET_WRITE_FIELD(target, want_trim, *wanted) != 0 ||
	    target_write(target, target->state.divert, &divert, 1) != 0 ||
	    target_divert(target) != 0)
		return -1;
	return 0;
}

static bool is_done(const struct process *process, uint32_t wanted)
{
	return (int32_t)(process->target.state.trimmed - wanted) >= 0;
}

int command_trim(int argc, char **argv)
{
	static const struct argp_child children[] = { { &process_pid_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		NULL,
		NULL,
		"PID",
		"Have a process give back to the system what is free in it, as malloc_trim(3) "
		"does: it does so in its next call to the allocator.",
		children,
		NULL,
		NULL
	};
	struct process process = { 0 };
	uint32_t wanted;

	argp_parse(&argp, argc, argv, 0, NULL, &process);
	if (!process_open(&process))
		return 1;
	if (raise_wish(&process, &wanted) != 0)
		return process_gone(&process);
	for (int ms = 0; ms < TRIM_MS && !is_done(&process, wanted); ms++) {
		usleep(1000);
		if (target_refresh(&process.target) != 0)
			return process_gone(&process);
	}
	if (!is_done(&process, wanted))
		say("process %d has not called the allocator since: it will trim when it does",
		    process.pid);
	target_close(&process.target);
	return 0;
}
