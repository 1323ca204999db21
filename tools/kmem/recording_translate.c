/* SPDX-License-Identifier: MIT */
/*
 * recording_translate.c - events and call stacks as modules_address() tells their addresses.
 *
 * A call stack of the file is addresses: at another time they may be of other modules, and it is another stack. So one that has an
 * address which may mean several things gets numbers of its own, beyond those of the file: one for each meaning that events have
 * had. What a stack is called is kept until the epoch changes, as events come by their time.
 *
 * Memory: 8 bytes for each stack of the file, if there are any that mean several things, and 8 for each meaning.
 */
#include "recording_translate.h"

#include "hash.h"
#include "say.h"

#include <stdlib.h>
#include <string.h>

#define EPOCH_ALWAYS UINT32_MAX /* whenever it is */
#define MEMOS 256U
#define OWN_MAX (1U << 22) /* stacks beyond the file's: more stay without their calls */

/* What a stack of the file is called. */
struct called {
	uint32_t epoch; /* when, + 1; 0: not known */
	uint32_t number;
};

/* A stack beyond those of the file: one of it, as it was in an epoch. */
struct own {
	uint32_t stack, epoch;
};

struct memo {
	uint64_t address; /* 0: none */
	uint64_t called;
	uint32_t epoch;
};

struct translator {
	const struct modules *modules;
	struct read_stacks *stacks;
	bool has_epoch;
	unsigned image;
	uint32_t epoch;
	uint64_t from, to; /* of the epoch */
	uint64_t unseen;
	struct memo memo[MEMOS];
	struct called *called; /* by number - 1 */
	size_t called_room;
	struct own *own; /* by number - STACKS_MAX - 1 */
	size_t nr_own, own_room;
	uint32_t *hash; /* numbers of those + 1 */
	size_t hash_room;
	uint64_t frames[STACK_FRAMES_MAX]; /* of the one that was asked for last */
};

struct translator *translator_new(const struct modules *modules, struct read_stacks *stacks)
{
	struct translator *translator = xcalloc(1, sizeof(*translator));

	translator->modules = modules;
	translator->stacks = stacks;
	return translator;
}

void translator_free(struct translator *translator)
{
	if (!translator)
		return;
	free(translator->called);
	free(translator->own);
	free(translator->hash);
	free(translator);
}

static void set_epoch(struct translator *translator, unsigned image, uint64_t when)
{
	if (translator->has_epoch && image == translator->image && when >= translator->from &&
	    when < translator->to)
		return;
	translator->image = image;
	translator->epoch =
		modules_epoch(translator->modules, image, when, &translator->from, &translator->to);
	translator->has_epoch = true;
}

static uint64_t address_now(struct translator *translator, uint64_t address)
{
	struct memo *memo = &translator->memo[(hash_of(address) >> 32) % MEMOS];

	if (memo->address != address || memo->epoch != translator->epoch)
		*memo = (struct memo){
			address, modules_address(translator->modules, translator->epoch, address),
			translator->epoch
		};
	return memo->called;
}

/* The frames of a stack of the file in that epoch, into translator->frames. Are they never others? */
static bool translate(struct translator *translator, uint32_t stack, uint32_t epoch, size_t *count)
{
	bool cut, is_fixed = true;
	const uint64_t *frames = read_stacks_frames(translator->stacks, stack, count, &cut);

	for (size_t i = 0; i < *count; i++) {
		translator->frames[i] = frames[i];
		if (!modules_is_contested(translator->modules, frames[i]))
			continue;
		is_fixed = false;
		translator->frames[i] = modules_address(translator->modules, epoch, frames[i]);
	}
	return is_fixed;
}

static uint64_t hash_of_frames(uint32_t stack, const uint64_t *frames, size_t count)
{
	uint64_t hash = stack;

	for (size_t i = 0; i < count; i++)
		hash = hash_of_both(frames[i], hash);
	return hash_of(hash) >> 32;
}

static bool is_same(struct translator *translator, const struct own *own, uint32_t stack,
		    const uint64_t *frames, size_t count)
{
	size_t n;

	if (own->stack != stack)
		return false;
	translate(translator, stack, own->epoch, &n);
	return n == count && !memcmp(translator->frames, frames, n * sizeof(*frames));
}

static void grow_hash(struct translator *translator)
{
	size_t room = translator->hash_room ? translator->hash_room * 2 : 256, count;

	free(translator->hash);
	translator->hash = xcalloc(room, sizeof(*translator->hash));
	translator->hash_room = room;
	for (size_t i = 0; i < translator->nr_own; i++) {
		const struct own *own = &translator->own[i];
		size_t at;

		translate(translator, own->stack, own->epoch, &count);
		at = hash_of_frames(own->stack, translator->frames, count) & (room - 1);
		while (translator->hash[at])
			at = (at + 1) & (room - 1);
		translator->hash[at] = (uint32_t)i + 1;
	}
}

static uint32_t add_own(struct translator *translator, uint32_t stack, size_t at)
{
	if (translator->nr_own == OWN_MAX)
		return 0;
	if (translator->nr_own == translator->own_room) {
		translator->own_room = translator->own_room * 2 + 64;
		translator->own =
			xrealloc(translator->own, translator->own_room * sizeof(*translator->own));
	}
	translator->own[translator->nr_own++] = (struct own){ stack, translator->epoch };
	translator->hash[at] = (uint32_t)translator->nr_own;
	return STACKS_MAX + (uint32_t)translator->nr_own;
}

/* What a stack is called that has these frames now, and had others or will have. */
static uint32_t own_number(struct translator *translator, uint32_t stack, const uint64_t *frames,
			   size_t count)
{
	size_t at;

	if (translator->nr_own * 2 >= translator->hash_room)
		grow_hash(translator);
	at = hash_of_frames(stack, frames, count) & (translator->hash_room - 1);
	for (; translator->hash[at]; at = (at + 1) & (translator->hash_room - 1))
		if (is_same(translator, &translator->own[translator->hash[at] - 1], stack, frames,
			    count))
			return STACKS_MAX + translator->hash[at];
	return add_own(translator, stack, at);
}

static struct called *called_of(struct translator *translator, uint32_t stack)
{
	size_t room = translator->called_room;

	if (stack > room) {
		translator->called_room = stack + stack / 2 + 256;
		translator->called =
			xrealloc(translator->called,
				 translator->called_room * sizeof(*translator->called));
		memset(translator->called + room, 0,
		       (translator->called_room - room) * sizeof(*translator->called));
	}
	return &translator->called[stack - 1];
}

static uint32_t stack_now(struct translator *translator, uint32_t stack)
{
	struct called *called = called_of(translator, stack);
	uint64_t frames[STACK_FRAMES_MAX];
	size_t count;

	if (called->epoch == EPOCH_ALWAYS || called->epoch == translator->epoch + 1)
		return called->number;
	if (translate(translator, stack, translator->epoch, &count)) {
		*called = (struct called){ EPOCH_ALWAYS, stack };
		return stack;
	}
	memcpy(frames, translator->frames, count * sizeof(*frames));
	*called = (struct called){ translator->epoch + 1,
				   own_number(translator, stack, frames, count) };
	return called->number;
}

void translator_event(struct translator *translator, unsigned image, struct event *event)
{
	set_epoch(translator, image, event->when);
	event->site = address_now(translator, event->site);
	translator->unseen += event_is_alloc(event) && modules_is_nobodys(event->site);
	if (event->stack)
		event->stack = stack_now(translator, event->stack);
}

uint64_t translator_unseen(const struct translator *translator)
{
	return translator->unseen;
}

const uint64_t *translator_frames(struct translator *translator, uint32_t number, size_t *count,
				  bool *cut)
{
	const struct own *own;

	if (number <= STACKS_MAX)
		return read_stacks_frames(translator->stacks, number, count, cut);
	if (number - STACKS_MAX > translator->nr_own)
		return NULL;
	own = &translator->own[number - STACKS_MAX - 1];
	if (!read_stacks_frames(translator->stacks, own->stack, count, cut))
		return NULL;
	translate(translator, own->stack, own->epoch, count);
	return translator->frames;
}
