/* SPDX-License-Identifier: MIT */
/* recording_untree.c - the call stacks of a recording: recording_tree.c the other way round. A call is kept once, in 16 bytes. */
#include "recording_untree.h"

#include "recording_get.h"
#include "say.h"

#include <stdlib.h>

/* Call stacks are a tree of calls. */
struct call {
	uint64_t address;
	uint32_t parent; /* number; 0: none */
};

struct stack {
	uint32_t call; /* the innermost one; 0: none */
	bool cut;
};

struct read_stacks {
	struct call *call; /* by number - 1 */
	struct stack *stack;
	size_t nr_calls, call_room, nr, room;
	struct addresses addresses;
	uint64_t frames[STACK_FRAMES_MAX]; /* of the one that was asked for last */
};

struct read_stacks *read_stacks_new(void)
{
	return xcalloc(1, sizeof(struct read_stacks));
}

void read_stacks_free(struct read_stacks *stacks)
{
	free(stacks->call);
	free(stacks->stack);
	free(stacks);
}

/* How many there is room for, when it was for so many. */
static size_t more_room(size_t room, size_t max)
{
	room = room * 2 + 1024;
	return room < max ? room : max;
}

static void add_call(struct read_stacks *stacks, uint32_t parent, uint64_t address)
{
	if (stacks->nr_calls == stacks->call_room) {
		stacks->call_room = more_room(stacks->call_room, CALLS_MAX);
		stacks->call = xrealloc(stacks->call, stacks->call_room * sizeof(*stacks->call));
	}
	stacks->call[stacks->nr_calls++] = (struct call){ address, parent };
}

static bool get_stack(struct read_stacks *stacks, struct cursor *cursor)
{
	uint64_t head, back, address, nr_new;
	uint32_t call = 0;

	if (!get_varint(cursor, &head) || head / 2 > STACK_FRAMES_MAX ||
	    stacks->nr_calls + head / 2 > CALLS_MAX || stacks->nr == STACKS_MAX ||
	    !get_number(cursor, stacks->nr_calls, &back))
		return false;
	if (back)
		call = (uint32_t)(stacks->nr_calls + 1 - back);
	for (nr_new = head / 2; nr_new; nr_new--) {
		if (!get_address(&stacks->addresses, cursor, &address))
			return false;
		add_call(stacks, call, address);
		call = (uint32_t)stacks->nr_calls;
	}
	if (stacks->nr == stacks->room) {
		stacks->room = more_room(stacks->room, STACKS_MAX);
		stacks->stack = xrealloc(stacks->stack, stacks->room * sizeof(*stacks->stack));
	}
	stacks->stack[stacks->nr++] = (struct stack){ call, head & 1 };
	return true;
}

bool read_stacks_add(struct read_stacks *stacks, const uint8_t *data, size_t size)
{
	struct cursor cursor = { data, data + size };

	stacks->addresses.nr = 0;
	stacks->addresses.last = 0;
	while (cursor.at < cursor.end)
		if (!get_stack(stacks, &cursor))
			return false;
	return true;
}

uint32_t read_stacks_nr(const struct read_stacks *stacks)
{
	return (uint32_t)stacks->nr;
}

const uint64_t *read_stacks_frames(struct read_stacks *stacks, uint32_t number, size_t *count,
				   bool *cut)
{
	uint32_t call;
	size_t n = 0;

	if (!number || number > stacks->nr)
		return NULL;
	/* more than fit are in a damaged file only */
	for (call = stacks->stack[number - 1].call; call && n < STACK_FRAMES_MAX;
	     call = stacks->call[call - 1].parent)
		stacks->frames[n++] = stacks->call[call - 1].address;
	*count = n;
	*cut = stacks->stack[number - 1].cut;
	return stacks->frames;
}
