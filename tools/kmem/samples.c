/* SPDX-License-Identifier: MIT */
/*
 * samples.c - the reader's side of src/trace/stack.c.
 *
 * A stack is committed before its event is written, so whoever has an event finds its stack: among those that wait here, or
 * in the process. They belong together by thread and address; of several, the event's is the last one that is older. What is
 * before that lost its event.
 *
 * Stacks are unwound when their event comes: those whose events were lost cost nothing more.
 */
#include "samples.h"

#include "say.h"
#include "unwind.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAITING_MAX 2048U
#define STUCK_MS 1000
#define TID_MASK 0xffffffU /* what an event has of it */

struct samples {
	const struct target *target;
	struct writer *writer;
	struct unwinder *unwinder;
	uint64_t tail, lost, lost_before;
	uint64_t
		stuck_at; /* when the slot at the tail was first found not to be committed; 0: it was */
	struct trace_stack *waiting[WAITING_MAX]; /* oldest first */
	size_t nr_waiting;
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct samples *samples_open(const struct target *target, struct writer *writer, bool from_start)
{
	struct samples *samples = xcalloc(1, sizeof(*samples));
	struct trace_stacks header;

	samples->target = target;
	samples->writer = writer;
	/* what an earlier recording left is nobody's; where there are none yet they begin at 0 */
	if (!from_start && target->state.stacks &&
	    target_read(target, target->state.stacks, &header, sizeof(header)) == 0) {
		samples->tail = header.head;
		samples->lost_before = header.lost;
	}
	samples->unwinder = unwinder_open(target->pid);
	return samples;
}

/* The first n wait no more. */
static void drop(struct samples *samples, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(samples->waiting[i]);
	samples->nr_waiting -= n;
	memmove(samples->waiting, samples->waiting + n,
		samples->nr_waiting * sizeof(struct trace_stack *));
}

void samples_close(struct samples *samples)
{
	if (!samples)
		return;
	drop(samples, samples->nr_waiting);
	unwinder_close(samples->unwinder);
	free(samples);
}

/* False: it is not there yet, or the process is gone. */
static bool take_slot(struct samples *samples, uint64_t address)
{
	const size_t head = offsetof(struct trace_stack, stack);
	struct trace_stack *stack = xmalloc(sizeof(*stack));
	const struct target *target = samples->target;

	if (target_read(target, address, stack, head) != 0 || stack->commit != samples->tail + 1) {
		free(stack);
		return false;
	}
	if (stack->bytes > sizeof(stack->stack))
		stack->bytes = sizeof(stack->stack);
	if (target_read(target, address + head, stack->stack, stack->bytes) != 0) {
		free(stack);
		return false;
	}
	stack = xrealloc(stack, head + stack->bytes);
	if (samples->nr_waiting == WAITING_MAX)
		drop(samples, WAITING_MAX / 2);
	samples->waiting[samples->nr_waiting++] = stack;
	return true;
}

/* Is it to be passed over, since its thread will never commit it? */
static bool is_stuck(struct samples *samples)
{
	uint64_t now = now_ms();

	if (!samples->stuck_at)
		samples->stuck_at = now;
	return now - samples->stuck_at > STUCK_MS;
}

void samples_collect(struct samples *samples)
{
	const struct target *target = samples->target;
	uint64_t address = target->state.stacks;
	struct trace_stacks header;

	if (!address || target_read(target, address, &header, sizeof(header)) != 0)
		return;
	samples->lost = header.lost - samples->lost_before;
	while (samples->tail < header.head) {
		uint64_t slot = address + TRACE_STACKS_HEADER +
				samples->tail % TRACE_STACK_SLOTS * TRACE_STACK_SLOT;

		if (!take_slot(samples, slot) && !is_stuck(samples))
			break;
		samples->stuck_at = 0;
		samples->tail++;
	}
	if (samples->tail != header.tail)
		target_write(target, address + offsetof(struct trace_stacks, tail), &samples->tail,
			     sizeof(samples->tail));
}

/* The last one that is older than the event; SIZE_MAX: none. */
static size_t find(const struct samples *samples, const struct event *event)
{
	size_t found = SIZE_MAX;

	for (size_t i = 0; i < samples->nr_waiting; i++) {
		const struct trace_stack *stack = samples->waiting[i];

		if (stack->ptr == event->ptr &&
		    (stack->tid & TID_MASK) == (event->tid & TID_MASK) && stack->when < event->when)
			found = i;
	}
	return found;
}

uint32_t samples_stack(struct samples *samples, const struct event *event)
{
	uint64_t frames[UNWIND_FRAMES_MAX];
	size_t at = find(samples, event), count;
	uint32_t number = 0;
	bool cut;

	if (at == SIZE_MAX) {
		samples_collect(samples);
		at = find(samples, event);
	}
	if (at == SIZE_MAX)
		return 0;
	count = unwinder_frames(samples->unwinder, samples->waiting[at], event->site, frames, &cut);
	if (count)
		number = recording_stack(samples->writer, frames, count, cut);
	free(samples->waiting[at]);
	samples->nr_waiting--;
	memmove(samples->waiting + at, samples->waiting + at + 1,
		(samples->nr_waiting - at) * sizeof(struct trace_stack *));
	return number;
}

uint64_t samples_lost(const struct samples *samples)
{
	return samples->lost;
}
