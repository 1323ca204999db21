/* SPDX-License-Identifier: MIT */
/*
 * unwind.c - unwinding by elfutils' libdwfl, of stacks that src/trace/stack.c copied.
 *
 * perf's counterpart is tools/perf/util/unwind-libdw.c. The frames' sizes and saved registers come from .eh_frame of the
 * program's files (or .debug_frame), so that code without frame pointers is unwound; where a module has no tables for an
 * address, libdwfl follows the frame pointer. What a frame needs of memory is in the copied stack.
 *
 * The process' maps are read again when an address is in no module, at most every MAPS_MS: a library came meanwhile.
 */
#include "unwind.h"

#include "say.h"

#include <elfutils/libdwfl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAPS_MS 50

/* By their numbers in DWARF. */
enum { REG_RBX = 3, REG_RBP = 6, REG_R12 = 12 };

struct unwinder {
	Dwfl *dwfl;
	pid_t pid;
	bool attached;
	uint64_t maps_at;
	/* of the stack at hand */
	const struct trace_stack *stack;
	uint64_t *frames;
	size_t count;
	bool cut, unknown; /* unknown: an address was in no module */
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static pid_t next_thread(Dwfl *dwfl, void *arg, void **thread_arg)
{
	const struct unwinder *unwinder = arg;

	(void)dwfl;
	if (*thread_arg)
		return 0;
	*thread_arg = arg;
	return unwinder->pid;
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *arg, void **thread_arg)
{
	(void)dwfl;
	(void)tid;
	*thread_arg = arg;
	return true;
}

static bool read_memory(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *value, void *arg)
{
	struct unwinder *unwinder = arg;
	const struct trace_stack *stack = unwinder->stack;

	(void)dwfl;
	if (address >= stack->rsp && address - stack->rsp <= stack->bytes &&
	    stack->bytes - (address - stack->rsp) >= sizeof(*value)) {
		memcpy(value, stack->stack + (address - stack->rsp), sizeof(*value));
		return true;
	}
	unwinder->cut |= address >= stack->rsp;
	return false;
}

static bool set_registers(Dwfl_Thread *thread, void *arg)
{
	const struct trace_stack *stack = ((struct unwinder *)arg)->stack;
	const Dwarf_Word frame[] = { stack->rbp, stack->rsp };
	const Dwarf_Word rest[] = { stack->r12, stack->r13, stack->r14, stack->r15, stack->rip };

	return dwfl_thread_state_registers(thread, REG_RBX, 1, &stack->rbx) &&
	       dwfl_thread_state_registers(thread, REG_RBP, 2, frame) &&
	       dwfl_thread_state_registers(thread, REG_R12, 5, rest);
}

static const Dwfl_Thread_Callbacks thread_callbacks = {
	.next_thread = next_thread,
	.get_thread = get_thread,
	.memory_read = read_memory,
	.set_initial_registers = set_registers,
};

/* Only what the program's own files hold is needed, and may take no time. */
static int find_no_debuginfo(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base,
			     const char *file, const char *link, GElf_Word crc, char **found)
{
	(void)module, (void)data, (void)name, (void)base, (void)file, (void)link, (void)crc;
	(void)found;
	return -1;
}

static void read_maps(struct unwinder *unwinder)
{
	char path[64];
	FILE *file;

	unwinder->maps_at = now_ms();
	snprintf(path, sizeof(path), "/proc/%d/maps", unwinder->pid);
	file = fopen(path, "re");
	if (!file)
		return;
	/* modules that are still there stay, with what was read of them */
	dwfl_report_begin(unwinder->dwfl);
	dwfl_linux_proc_maps_report(unwinder->dwfl, file);
	dwfl_report_end(unwinder->dwfl, NULL, NULL);
	fclose(file);
}

struct unwinder *unwinder_open(pid_t pid)
{
	static char *debuginfo_path;
	static const Dwfl_Callbacks callbacks = {
		.find_elf = dwfl_linux_proc_find_elf,
		.find_debuginfo = find_no_debuginfo,
		.debuginfo_path = &debuginfo_path,
	};
	struct unwinder *unwinder = xcalloc(1, sizeof(*unwinder));

	unwinder->pid = pid;
	unwinder->dwfl = dwfl_begin(&callbacks);
	if (!unwinder->dwfl)
		give_up("no memory");
	read_maps(unwinder);
	return unwinder;
}

void unwinder_close(struct unwinder *unwinder)
{
	if (!unwinder)
		return;
	dwfl_end(unwinder->dwfl);
	free(unwinder);
}

static int take_frame(Dwfl_Frame *state, void *arg)
{
	struct unwinder *unwinder = arg;
	Dwarf_Addr pc;
	bool exact;

	if (!dwfl_frame_pc(state, &pc, &exact) || !pc || unwinder->count == UNWIND_FRAMES_MAX)
		return DWARF_CB_ABORT;
	/* a return address is behind its call, which may be the last instruction of its module */
	if (!dwfl_addrmodule(unwinder->dwfl, exact ? pc : pc - 1))
		unwinder->unknown = true;
	unwinder->frames[unwinder->count++] = pc;
	return DWARF_CB_OK;
}

static void unwind(struct unwinder *unwinder)
{
	unwinder->count = 0;
	unwinder->cut = unwinder->unknown = false;
	/* needs a module, whose machine is that of the process */
	if (!unwinder->attached)
		unwinder->attached = dwfl_attach_state(unwinder->dwfl, NULL, unwinder->pid,
						       &thread_callbacks, unwinder);
	/* says -1 at the end of nearly every stack */
	if (unwinder->attached)
		dwfl_getthread_frames(unwinder->dwfl, unwinder->pid, take_frame, unwinder);
}

/* Frames of the library, which is where the stack was copied: how many. */
static size_t nr_inside(const struct unwinder *unwinder, uint64_t site)
{
	const Dwfl_Module *library;
	size_t n = 0;

	for (size_t i = 0; i < unwinder->count; i++)
		if (unwinder->frames[i] == site)
			return i;
	library = unwinder->count ? dwfl_addrmodule(unwinder->dwfl, unwinder->frames[0]) : NULL;
	while (library && n < unwinder->count &&
	       dwfl_addrmodule(unwinder->dwfl, unwinder->frames[n] - 1) == library)
		n++;
	return n;
}

size_t unwinder_frames(struct unwinder *unwinder, const struct trace_stack *stack, uint64_t site,
		       uint64_t frames[UNWIND_FRAMES_MAX], bool *cut)
{
	size_t inside;

	unwinder->stack = stack;
	unwinder->frames = frames;
	unwind(unwinder);
	if ((unwinder->unknown || !unwinder->attached) && now_ms() - unwinder->maps_at >= MAPS_MS) {
		read_maps(unwinder);
		unwind(unwinder);
	}
	inside = nr_inside(unwinder, site);
	memmove(frames, frames + inside, (unwinder->count - inside) * sizeof(*frames));
	*cut = unwinder->cut;
	return unwinder->count - inside;
}
