/* SPDX-License-Identifier: MIT */
/*
 * recording_tree.c - call stacks that are written to a recording, each of them once, as a tree of calls. What the bytes mean is told in
 * recording_format.h.
 *
 * A stack is known again by 128 bits that its addresses make: two that have the same are taken for the same. So a stack that was
 * there before, as nearly all were, costs a pass over its addresses; and kept are the calls of the tree, not the stacks.
 */
#include "recording_tree.h"

#include "recording_put.h"

#include <stdlib.h>
#include <string.h>

/* Grows; `hash` has numbers from 1 on, and is at most half full. */
struct numbers {
	uint32_t *hash;
	size_t room, nr;
};

struct call {
	uint64_t address;
	uint32_t parent;
};

struct stack_mark {
	uint64_t half[2];
};

struct call_tree {
	struct numbers marks, calls;
	struct stack_mark *mark; /* by number - 1 */
	struct call *call;
	size_t mark_room, call_room;
	struct addresses addresses;
	struct column_data data; /* that are not in the file yet */
};

/* Twice as many places; place_of says where each number belongs. */
static void grow_numbers(struct numbers *numbers,
			 uint64_t (*place_of)(const struct call_tree *, size_t),
			 const struct call_tree *tree)
{
	free(numbers->hash);
	numbers->room = numbers->room ? numbers->room * 2 : 1024;
	numbers->hash = xcalloc(numbers->room, sizeof(*numbers->hash));
	for (size_t number = 1; number <= numbers->nr; number++) {
		size_t at = place_of(tree, number);

		while (numbers->hash[at & (numbers->room - 1)])
			at++;
		numbers->hash[at & (numbers->room - 1)] = (uint32_t)number;
	}
}

static uint64_t hash_of_mark(const struct call_tree *tree, size_t number)
{
	return tree->mark[number - 1].half[0];
}

static uint64_t call_hash(uint32_t parent, uint64_t address)
{
	uint64_t hash = hash_of_both(address, parent);

	return hash ^ hash >> 32;
}

static uint64_t hash_of_call(const struct call_tree *tree, size_t number)
{
	return call_hash(tree->call[number - 1].parent, tree->call[number - 1].address);
}

static struct stack_mark mark_of(const uint64_t *frames, size_t count, bool cut)
{
	struct stack_mark mark = { { count * 2 + cut, ~count } };

	for (size_t i = 0; i < count; i++) {
		mark.half[0] = (mark.half[0] ^ frames[i]) * hash_odd;
		mark.half[0] ^= mark.half[0] >> 32;
		mark.half[1] = (mark.half[1] + frames[i]) * 0xd1342543de82ef95UL;
		mark.half[1] ^= mark.half[1] >> 29;
	}
	return mark;
}

/* The number of a call; 0: there is none yet. */
static uint32_t find_call(const struct call_tree *tree, uint32_t parent, uint64_t address)
{
	size_t mask = tree->calls.room - 1;

	if (!tree->calls.nr)
		return 0;
	for (size_t at = call_hash(parent, address);; at++) {
		uint32_t number = tree->calls.hash[at & mask];

		if (!number || (tree->call[number - 1].address == address &&
				tree->call[number - 1].parent == parent))
			return number;
	}
}

static void add_call(struct call_tree *tree, uint32_t parent, uint64_t address)
{
	size_t at;

	if (tree->calls.nr * 2 >= tree->calls.room)
		grow_numbers(&tree->calls, hash_of_call, tree);
	if (tree->calls.nr == tree->call_room) {
		tree->call_room = tree->call_room * 2 + 1024;
		tree->call = xrealloc(tree->call, tree->call_room * sizeof(*tree->call));
	}
	tree->call[tree->calls.nr++] = (struct call){ address, parent };
	at = hash_of_call(tree, tree->calls.nr);
	while (tree->calls.hash[at & (tree->calls.room - 1)])
		at++;
	tree->calls.hash[at & (tree->calls.room - 1)] = (uint32_t)tree->calls.nr;
}

/* A stack that is new: the calls that are in the tree, then the others. */
static void put_stack(struct call_tree *tree, const uint64_t *frames, size_t count, bool cut)
{
	struct column_data *data = &tree->data;
	uint32_t parent = 0, call;

	while (count && (call = find_call(tree, parent, frames[count - 1]))) {
		parent = call;
		count--;
	}
	put(data, count * 2 + cut);
	put(data, parent ? tree->calls.nr - parent + 1 : 0);
	while (count--) {
		put_address(&tree->addresses, frames[count], data);
		add_call(tree, parent, frames[count]);
		parent = (uint32_t)tree->calls.nr;
	}
}

struct call_tree *call_tree_new(void)
{
	struct call_tree *tree = xcalloc(1, sizeof(*tree));

	tree->data = new_column(STACKS_BYTES_MAX);
	return tree;
}

void call_tree_free(struct call_tree *tree)
{
	if (!tree)
		return;
	free(tree->marks.hash);
	free(tree->calls.hash);
	free(tree->mark);
	free(tree->call);
	free(tree->data.data);
	free(tree);
}

uint32_t call_tree_add(struct call_tree *tree, const uint64_t *frames, size_t count, bool cut)
{
	struct stack_mark mark;
	uint32_t *entry;

	if (count > STACK_FRAMES_MAX) {
		count = STACK_FRAMES_MAX;
		cut = true;
	}
	if (tree->marks.nr * 2 >= tree->marks.room)
		grow_numbers(&tree->marks, hash_of_mark, tree);
	mark = mark_of(frames, count, cut);
	for (size_t at = mark.half[0];; at++) {
		entry = &tree->marks.hash[at & (tree->marks.room - 1)];
		if (!*entry)
			break;
		if (!memcmp(&tree->mark[*entry - 1], &mark, sizeof(mark)))
			return *entry;
	}
	if (tree->marks.nr == STACKS_MAX || tree->calls.nr + count > CALLS_MAX)
		return 0;
	if (tree->marks.nr == tree->mark_room) {
		tree->mark_room = tree->mark_room * 2 + 256;
		tree->mark = xrealloc(tree->mark, tree->mark_room * sizeof(mark));
	}
	tree->mark[tree->marks.nr] = mark;
	*entry = (uint32_t)++tree->marks.nr;
	put_stack(tree, frames, count, cut);
	return (uint32_t)tree->marks.nr;
}

const void *call_tree_piece(const struct call_tree *tree, size_t *size)
{
	*size = tree->data.size;
	return tree->data.data;
}

bool call_tree_is_full(const struct call_tree *tree)
{
	return tree->data.size >= STACKS_BYTES ||
	       tree->addresses.nr > CHUNK_ADDRESSES_MAX - STACK_FRAMES_MAX;
}

void call_tree_start(struct call_tree *tree)
{
	tree->data.size = 0;
	start_addresses(&tree->addresses);
}
