/* SPDX-License-Identifier: MIT */
/*
 * stack.c - the stacks of samples, copied as they are.
 *
 * The kernel's counterpart is PERF_SAMPLE_STACK_USER with PERF_SAMPLE_REGS_USER: the thread's registers, and its stack from
 * there up. Nothing is unwound here: `kmem` does that afterwards, by the tables of the program's files, so
 * frame pointers are not needed. Differences: a thread copies its own; only registers that a call preserves.
 *
 * Steps: 1. a slot, by compare-and-swap of `head`; none is free: it waits for the reader (TRACE_WAIT), or counts a loss; 2. registers and stack into it; 3. its number
 * into `commit`. A thread that never gets to 3 (a handler that leaves by longjmp) leaves a slot that the reader passes over
 * after a while.
 *
 * How much: up to a slot's room, the end of the first thread's stack, or this thread's control block, which the C
 * library puts at the upper end of its stack. That is not so for a stack that the program switched to by itself
 * (makecontext, sigaltstack): so whether the next page is there at all the system is asked, page by page. Where no
 * system call may be made only the page is copied in which the stack pointer is.
 *
 * Slots are mapped when stacks are first wanted; they stay until the process ends, their pages go back when tracing
 * ends. No locks; any context; not in a vfork child. A sanitizer sees nothing of the copy.
 */
#include "trace/trace.h"

#include "lib/port.h"
#include "os/os.h"

#include <stdatomic.h>

#define PAGE 4096UL /* of the system's smallest kind */

_Static_assert(sizeof(struct trace_stack) == TRACE_STACK_SLOT, "slots follow each other");

static _Atomic uint64_t stalled_at; /* the tail + 1 at which nobody took stacks for long; 0: none */

static struct trace_stacks *stacks(void)
{
	return (struct trace_stacks *)__atomic_load_n(&trace_control.stacks, __ATOMIC_ACQUIRE);
}

static struct trace_stack *slot_at(struct trace_stacks *all, uint64_t number)
{
	return (struct trace_stack *)((char *)all + TRACE_STACKS_HEADER) +
	       number % TRACE_STACK_SLOTS;
}

/* All are full: is there room now? Waits for the reader where that was asked for, unless it was in vain before. */
static bool wait_for_room(const struct trace_stacks *all, gfp_t gfp)
{
	uint64_t tail = __atomic_load_n(&all->tail, __ATOMIC_ACQUIRE);
	_Atomic uint32_t word = 0;

	if (trace_control.want_full != TRACE_WAIT || !gfpflags_allow_blocking(gfp) ||
	    atomic_load_explicit(&stalled_at, memory_order_relaxed) == tail + 1)
		return false;
	for (unsigned ms = 0; ms < TRACE_WAIT_MS && trace_mode() != TRACE_OFF; ms++) {
		port_futex_wait_ms(&word, 0, 1);
		if (__atomic_load_n(&all->tail, __ATOMIC_ACQUIRE) != tail)
			return true;
	}
	atomic_store_explicit(&stalled_at, tail + 1, memory_order_relaxed);
	return false;
}

/* False: all are full. */
static bool take_slot(struct trace_stacks *all, uint64_t *number, gfp_t gfp)
{
	*number = __atomic_load_n(&all->head, __ATOMIC_RELAXED);
	do {
		while (*number - __atomic_load_n(&all->tail, __ATOMIC_ACQUIRE) >=
		       TRACE_STACK_SLOTS) {
			if (!wait_for_room(all, gfp)) {
				__atomic_fetch_add(&all->lost, 1, __ATOMIC_RELAXED);
				return false;
			}
			*number = __atomic_load_n(&all->head, __ATOMIC_RELAXED);
		}
	} while (!__atomic_compare_exchange_n(&all->head, number, *number + 1, false,
					      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return true;
}

/* Where to stop, from sp on. */
static uintptr_t end_of_stack(uintptr_t sp, gfp_t gfp)
{
	uintptr_t end = sp + sizeof(((struct trace_stack *)0)->stack);
	uintptr_t first = (uintptr_t)os_stack_end(), own = (uintptr_t)__builtin_thread_pointer();
	uintptr_t page = (sp | (PAGE - 1)) + 1;

	if (first > sp && first < end)
		end = first;
	if (own > sp && own < end)
		end = own;
	while (page < end) {
		if (!gfpflags_allow_blocking(gfp) || !os_is_readable((const void *)page))
			return page;
		page += PAGE;
	}
	return end;
}

static void copy(void *to, uintptr_t from, size_t words)
{
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

cold_path void trace_stack(const void *ptr, gfp_t gfp)
{
	struct trace_stacks *all = stacks();
	struct trace_stack *slot;
	uint64_t number;

	if (!all || !take_slot(all, &number, gfp))
		return;
	slot = slot_at(all, number);
	slot->when = __builtin_ia32_rdtsc();
	slot->ptr = (uintptr_t)ptr;
	slot->tid = (uint32_t)port_gettid();
	/* all of one moment: what the tables say of this place finds the caller's */
	__asm__ volatile("leaq 1f(%%rip), %%rax\n"
			 "1:\n\t"
			 "movq %%rax, 0(%[to])\n\t"
			 "movq %%rsp, 8(%[to])\n\t"
			 "movq %%rbp, 16(%[to])\n\t"
			 "movq %%rbx, 24(%[to])\n\t"
			 "movq %%r12, 32(%[to])\n\t"
			 "movq %%r13, 40(%[to])\n\t"
			 "movq %%r14, 48(%[to])\n\t"
			 "movq %%r15, 56(%[to])"
			 :
			 : [to] "r"(&slot->rip)
			 : "rax", "memory");
	slot->bytes = (uint32_t)((end_of_stack(slot->rsp, gfp) - slot->rsp) & ~7UL);
	copy(slot->stack, slot->rsp, slot->bytes / 8);
	__atomic_store_n(&slot->commit, number + 1, __ATOMIC_RELEASE);
}

void trace_stacks_create(void)
{
	if (!trace_control.stacks)
		__atomic_store_n(&trace_control.stacks, (uintptr_t)os_map(TRACE_STACKS_BYTES),
				 __ATOMIC_RELEASE);
}

void trace_stacks_discard(void)
{
	if (trace_control.stacks)
		os_discard((char *)trace_control.stacks + TRACE_STACKS_HEADER,
			   TRACE_STACKS_BYTES - TRACE_STACKS_HEADER);
}

uint64_t trace_stacks_left(void)
{
	const struct trace_stacks *all = stacks();

	return all ? __atomic_load_n(&all->head, __ATOMIC_RELAXED) -
			       __atomic_load_n(&all->tail, __ATOMIC_RELAXED) :
		     0;
}

void trace_stacks_fork_child(void)
{
	struct trace_stacks *all = stacks();

	trace_control.want_stacks = 0;
	trace_control.stacks = 0;
	if (all)
		os_discard(all, TRACE_STACKS_BYTES); /* not unmapped, as rings are not */
}
