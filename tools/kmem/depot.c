/* SPDX-License-Identifier: MIT */
/*
 * depot.c - the reader's side of src/trace/depot.c.
 *
 * A node is in the process before the first event that has it, and does not change. So after each pass over the rings, and before what
 * was read is merged, the nodes are copied, as far as they are new: who has an event has its stack then, should the process be gone
 * when the event's turn comes. A node that was not there yet when its place was copied is read by itself. What is not as it should be (the process
 * is damaged, or let its stacks go) is no stack.
 */
#include "depot.h"

#include "say.h"

#include <stdlib.h>
#include <string.h>

#define NODES_MAX (1UL << 26) /* more stands in a damaged process only */

struct depot {
	const struct target *target;
	struct writer *writer;
	uint64_t address; /* in the process; 0: none seen yet */
	uint64_t nodes;	  /* where they are in the process */
	uint64_t nr_nodes;
	struct trace_node
		*node; /* copies of [first, end); what is before is an earlier recording's */
	uint64_t first, end, room;
	uint32_t *
		numbers; /* in the recording, by the number in the process; 0: not looked for yet */
	uint64_t lost, lost_before;
	uint64_t missing; /* events whose stack could not be had */
};

static int read_header(const struct depot *depot, uint64_t address, struct trace_depot *header)
{
	if (!address || target_read(depot->target, address, header, sizeof(*header)) != 0)
		return -1;
	return header->nr_nodes <= NODES_MAX && header->used <= header->nr_nodes ? 0 : -1;
}

/* The process has one now that was not seen before. */
static void begin(struct depot *depot, uint64_t address, const struct trace_depot *header)
{
	depot->address = address;
	depot->nodes = address + header->nodes;
	depot->nr_nodes = header->nr_nodes;
	depot->lost = depot->lost_before = 0;
	depot->first = depot->end = 0;
	free(depot->numbers);
	depot->numbers = xcalloc(header->nr_nodes + 1, sizeof(*depot->numbers));
	recording_forget(depot->writer);
}

struct depot *depot_open(const struct target *target, struct writer *writer, bool from_start)
{
	struct depot *depot = xcalloc(1, sizeof(*depot));
	struct trace_depot header;

	depot->target = target;
	depot->writer = writer;
	if (!from_start && read_header(depot, target->state.depot, &header) == 0) {
		begin(depot, target->state.depot, &header);
		depot->first = depot->end = header.used;
		depot->lost = depot->lost_before = header.lost;
	}
	return depot;
}

void depot_close(struct depot *depot)
{
	if (!depot)
		return;
	free(depot->node);
	free(depot->numbers);
	free(depot);
}

void depot_collect(struct depot *depot)
{
	uint64_t address = depot->target->state.depot, size;
	struct trace_depot header;

	if (read_header(depot, address, &header) != 0)
		return;
	if (address != depot->address)
		begin(depot, address, &header);
	depot->lost = header.lost;
	size = header.used - depot->first;
	if (header.used <= depot->end || header.nr_nodes != depot->nr_nodes)
		return;
	if (size > depot->room) {
		depot->room = size * 2;
		depot->node = xrealloc(depot->node, depot->room * sizeof(*depot->node));
	}
	if (target_read(depot->target, depot->nodes + depot->end * sizeof(*depot->node),
			depot->node + (depot->end - depot->first),
			(header.used - depot->end) * sizeof(*depot->node)) == 0)
		depot->end = header.used;
}

/* False: there is no such. */
static bool get_node(struct depot *depot, uint32_t number, struct trace_node *node)
{
	if (number >= depot->first && number < depot->end) {
		struct trace_node *copy = &depot->node[number - depot->first];

		if (!copy->ip)
			target_read(depot->target, depot->nodes + number * sizeof(*copy), copy,
				    sizeof(*copy));
		*node = *copy;
	} else if (number >= depot->nr_nodes ||
		   target_read(depot->target, depot->nodes + number * sizeof(*node), node,
			       sizeof(*node)) != 0) {
		return false;
	}
	return node->ip && node->parent < number;
}

/* Its number in the recording; 0: there is none. */
static uint32_t record_stack(struct depot *depot, uint32_t number)
{
	uint64_t frames[TRACE_STACK_FRAMES];
	struct trace_node node;
	size_t count = 0;

	for (; number > TRACE_NODE_CUT && count < TRACE_STACK_FRAMES; number = node.parent) {
		if (!get_node(depot, number, &node))
			return 0;
		frames[count++] = node.ip & TRACE_ADDRESS_MASK;
	}
	return recording_stack(depot->writer, frames, count, number != TRACE_NODE_ROOT);
}

bool depot_resolve(struct depot *depot, struct event *event)
{
	uint32_t number = event->stack;
	struct trace_node node;

	event->stack = 0;
	if (!depot)
		return true;
	if (number >= depot->end)
		depot_collect(depot);
	if (!depot->address || number >= depot->nr_nodes || !get_node(depot, number, &node)) {
		depot->missing++;
		return false;
	}
	if (!depot->numbers[number])
		depot->numbers[number] = record_stack(depot, number);
	depot->missing += !depot->numbers[number];
	event->stack = depot->numbers[number];
	event->site = node.ip & TRACE_ADDRESS_MASK;
	return event->stack != 0;
}

uint64_t depot_missing(const struct depot *depot)
{
	return depot ? depot->missing : 0;
}

uint64_t depot_lost(const struct depot *depot)
{
	return depot ? depot->lost - depot->lost_before : 0;
}
