/* SPDX-License-Identifier: MIT */
/*
 * roundtrip.c - roundtrip FILE SEED: events and call stacks are written and read again, and must be what they were, but for the
 * time, which is rounded down to its unit. They are drawn so that every way to code them comes up: sequences of allocations
 * and frees, addresses of all kinds and the greatest ones, more kinds than a chunk has room for, CPUs and threads that change,
 * times that run backwards, call stacks with common ends, empty, cut and too deep ones.
 * Half of the events are added as they stand in rings, where an event that is like an earlier one is not asked for again.
 */
#include "recording.h"
#include "recording_format.h"
#include "say.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS 700000U
#define STACKS 3000U
#define DEEP (STACK_FRAMES_MAX + 10)
#define LIVE 1000U
#define BATCH 200U
#define TYPE_NONE 255UL

static uint64_t state;
static struct event written[EVENTS];
static uint64_t live[LIVE];
static size_t nr_live;
static uint32_t gfps[TRACE_GFPS];

struct stack {
	uint64_t frames[60];
	size_t count;
	bool cut;
	uint32_t number;
};

static struct stack stacks[STACKS];

static uint64_t draw(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static uint64_t draw_address(void)
{
	static uint64_t last = 0x7f0000001000;

	switch (draw(6)) {
	case 0:
		return draw(1UL << TRACE_ADDRESS_BITS);
	case 1:
		return draw(2) ? TRACE_ADDRESS_MASK : 0;
	case 2:
		return last += 8 * draw(100);
	default:
		return last += 64;
	}
}

static void draw_stacks(struct writer *writer)
{
	uint64_t deep[DEEP];

	for (size_t i = 0; i < STACKS; i++) {
		struct stack *stack = &stacks[i];

		stack->count = draw(61);
		stack->cut = !draw(5);
		/* its outer end is another one's */
		for (size_t k = 0; k < stack->count; k++)
			stack->frames[k] = k + draw(8) < 20 || !i ? draw_address() :
								    stacks[draw(i)].frames[k];
		stack->number = recording_stack(writer, stack->frames, stack->count, stack->cut);
	}
	for (size_t i = 0; i < DEEP; i++)
		deep[i] = i * 16;
	recording_stack(writer, deep, DEEP, false);
	for (size_t i = 0; i < STACKS; i++)
		if (recording_stack(writer, stacks[i].frames, stacks[i].count, stacks[i].cut) !=
		    stacks[i].number)
			give_up("stack %zu has two numbers", i);
}

static void draw_object(struct event *event)
{
	bool gives = type_gives(event->type);

	if (gives && nr_live && draw(8)) {
		size_t young = nr_live < 40 ? nr_live : 40;
		size_t which = draw(3) ? nr_live - 1 - draw(young) : draw(nr_live);

		event->ptr = live[which];
		live[which] = live[--nr_live];
		return;
	}
	event->ptr = draw_address();
	if (!gives)
		live[nr_live < LIVE ? nr_live++ : draw(LIVE)] = event->ptr;
}

static void draw_event(struct event *event, unsigned phase)
{
	static uint64_t when = 1000;
	static uint32_t tid, cpu;

	when += draw(20) ? draw(1000) : draw(1UL << 40);
	if (!draw(30)) {
		tid = (uint32_t)draw(draw(2) ? 20 : TID_MAX + 1UL);
		cpu = (uint32_t)draw(draw(2) ? 4 : TRACE_NR_RINGS);
	}
	*event = (struct event){
		.when = draw(50) ? when : when - draw(500),
		.site = draw(phase ? 1000 : 20) * 4096,
		.tid = tid,
		.gfp = gfps[draw(9) ? 0 : draw(TRACE_GFPS)],
		.cache = (uint16_t)draw(draw(20) ? 12 : 65536),
		.cpu = (uint16_t)cpu,
		.type = (uint8_t)(draw(20) ? 1 + draw(2) : draw(16)),
	};
	if (!type_gives(event->type))
		event->stack = draw(2) ? stacks[draw(STACKS)].number : 0;
	/* a ring has one in place of the other */
	if (event->stack)
		event->site = event->stack * 16UL;
	/* nearly each is new: a chunk is full of kinds before it is of events */
	if (type_has_req(event->type))
		event->req = draw(phase == 1 ? 1UL << TRACE_REQ_BITS : 300);
	draw_object(event);
}

static void check_event(const struct event *event, size_t i, uint64_t *when)
{
	struct event want = written[i];
	uint64_t unit = 1UL << TIME_SHIFT;

	/* out of order: as at the moment of the one before, unless a chunk begins between them */
	if (event->when != want.when / unit * unit && event->when != *when)
		give_up("event %zu: time %lu, not %lu", i, event->when, want.when);
	*when = event->when;
	want.when = event->when;
	if (event->when != want.when || event->ptr != want.ptr || event->site != want.site ||
	    event->req != want.req || event->tid != want.tid || event->gfp != want.gfp ||
	    event->stack != want.stack || event->cache != want.cache || event->cpu != want.cpu ||
	    event->type != want.type)
		give_up("event %zu is another one", i);
}

static void check_stacks(const struct reader *reader)
{
	size_t count;
	bool cut;

	for (size_t i = 0; i < STACKS; i++) {
		const uint64_t *frames =
			recording_stack_frames(reader, stacks[i].number, &count, &cut);

		if (!frames || count != stacks[i].count || cut != stacks[i].cut ||
		    memcmp(frames, stacks[i].frames, count * sizeof(*frames)) != 0)
			give_up("stack %zu is another one", i);
	}
	for (uint32_t number = recording_nr_stacks(reader); number; number--)
		if (recording_stack_frames(reader, number, &count, &cut) &&
		    count == STACK_FRAMES_MAX && cut)
			return;
	give_up("the deepest stack is missing");
}

static uint64_t raw_words[BATCH * 2][TRACE_WORDS];
static const struct event *raw_means[BATCH * 2]; /* NULL: it is none */

static void make_raw(size_t i, const struct event *event)
{
	uint64_t *words = raw_words[i], gfp = 0, type = event ? event->type : TYPE_NONE;

	raw_means[i] = event;
	event = event ? event : &written[0];
	while (gfps[gfp] != event->gfp)
		gfp++;
	words[0] = event->when;
	words[1] = event->ptr | type << TRACE_ADDRESS_BITS | gfp << (TRACE_ADDRESS_BITS + 8);
	words[2] = (event->stack ? TRACE_SITE_IS_STACK | event->stack : event->site) |
		   (uint64_t)event->cache << TRACE_ADDRESS_BITS;
	words[3] = event->req | (uint64_t)event->tid << TRACE_REQ_BITS;
}

static enum meeting meet(const struct raw_event *raw, struct event *event, void *arg)
{
	const struct event *meant = raw_means[(size_t)(raw->words - raw_words[0]) / TRACE_WORDS];

	if (!meant)
		return MEET_NONE;
	*event = *meant;
	if (!draw(100))
		recording_forget(arg);
	return draw(8) ? MEET_LIKE : MEET_ONCE;
}

/* As they stand in rings, with some between them that are none. */
static void add_raw(struct writer *writer, const struct event *events, size_t n)
{
	struct raw_event raw[BATCH * 2];
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		if (!draw(50)) {
			make_raw(count, NULL);
			raw[count] = (struct raw_event){ raw_words[count], events[i].cpu };
			count++;
		}
		make_raw(count, &events[i]);
		raw[count] = (struct raw_event){ raw_words[count], events[i].cpu };
		count++;
	}
	recording_add_raw(writer, raw, count, meet, writer);
}

static void write_file(const char *path)
{
	struct writer *writer = recording_create(path);
	uint64_t words[2] = { 0 };

	if (!writer)
		exit(1);
	draw_stacks(writer);
	for (size_t i = 0; i < TRACE_GFPS; i++)
		gfps[i] = i ? (uint32_t)draw(UINT32_MAX + 1UL) : 0xcc0;
	for (size_t i = 0, n; i < EVENTS; i += n) {
		size_t batch = 1 + draw(BATCH);

		for (n = 0; n < batch && i + n < EVENTS; n++)
			draw_event(&written[i + n], (unsigned)((i + n) / (EVENTS / 3)));
		if (draw(2))
			add_raw(writer, &written[i], n);
		else
			recording_add(writer, &written[i], n);
		if (!draw(1000))
			recording_flush(writer);
	}
	if (recording_events(writer) != EVENTS)
		give_up("%lu events were counted", recording_events(writer));
	recording_flush(writer);
	recording_chunk(writer, CHUNK_END, words, sizeof(words));
	recording_close(writer);
}

int main(int argc, char **argv)
{
	struct reader *reader;
	struct event event;
	uint64_t when = 0;
	size_t count = 0;

	if (argc != 3)
		return 2;
	state = strtoul(argv[2], NULL, 10) * 2 + 1;
	write_file(argv[1]);
	reader = recording_open(argv[1]);
	if (!reader)
		return 1;
	while (recording_next(reader, &event)) {
		if (count == EVENTS)
			give_up("there are more events than were written");
		check_event(&event, count++, &when);
	}
	if (count != EVENTS || !recording_is_whole(reader))
		give_up("%zu of %u events", count, EVENTS);
	check_stacks(reader);
	recording_reader_close(reader);
	printf("%zu\n", count);
	return 0;
}
