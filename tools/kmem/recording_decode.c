/* SPDX-License-Identifier: MIT */
/* recording_decode.c - the events of a chunk, from its columns: recording_encode.c the other way round. */
#include "recording_decode.h"

#include "recording_get.h"
#include "recording_objects.h"
#include "say.h"

#include <stdlib.h>
#include <string.h>

/* Of the chunk of events at hand. */
struct decoder {
	uint64_t when;
	unsigned time_shift;
	bool times_half; /* taken: the low four bits of the byte at hand */
	uint32_t left, cpu, gfp, nr_kinds, nr_stacks; /* left: events */
	uint32_t tid[TRACE_NR_RINGS];
	struct cursor column[NR_COLUMNS];
	struct kind kind[CHUNK_KINDS_MAX];
	struct addresses addresses;
	struct objects objects;
};

struct decoder *decoder_new(void)
{
	return xcalloc(1, sizeof(struct decoder));
}

void decoder_free(struct decoder *decoder)
{
	free(decoder);
}

bool decoder_start(struct decoder *decoder, const uint8_t *data, size_t size, uint32_t nr_stacks)
{
	const uint8_t *at = data + sizeof(struct events_header);
	struct events_header header;

	if (size < sizeof(header))
		return false;
	memcpy(&header, data, sizeof(header));
	size -= sizeof(header);
	for (unsigned i = 0; i < NR_COLUMNS; i++) {
		if (header.bytes[i] > size || header.bytes[i] > column_bytes_max((enum column)i))
			return false;
		decoder->column[i] = (struct cursor){ at, at + header.bytes[i] };
		at += header.bytes[i];
		size -= header.bytes[i];
	}
	if (header.events > CHUNK_EVENTS_MAX || header.time_shift > TIME_SHIFT_MAX)
		return false;
	decoder->when = 0;
	decoder->time_shift = header.time_shift;
	decoder->times_half = false;
	decoder->left = header.events;
	decoder->nr_stacks = nr_stacks;
	decoder->cpu = decoder->gfp = decoder->nr_kinds = 0;
	memset(decoder->tid, 0, sizeof(decoder->tid));
	decoder->addresses.nr = 0;
	decoder->addresses.last = 0;
	objects_start(&decoder->objects);
	return true;
}

uint32_t decoder_left(const struct decoder *decoder)
{
	return decoder->left;
}

unsigned decoder_shift(const struct decoder *decoder)
{
	return decoder->time_shift;
}

void decoder_stop(struct decoder *decoder)
{
	decoder->left = 0;
}

/* A kind that is new. */
static bool get_new(struct decoder *decoder)
{
	struct cursor *column = &decoder->column[COLUMN_NEW];
	struct kind *kind = &decoder->kind[decoder->nr_kinds];
	uint64_t stack, cache, gfp;
	unsigned type;

	if (decoder->nr_kinds == CHUNK_KINDS_MAX || !get_byte(column, &type) ||
	    !get_address(&decoder->addresses, column, &kind->site) ||
	    !get_number(column, decoder->nr_stacks, &stack) ||
	    !get_number(column, TRACE_REQ_MASK, &kind->req) ||
	    !get_number(column, UINT16_MAX, &cache) || !get_number(column, UINT32_MAX, &gfp))
		return false;
	decoder->gfp ^= (uint32_t)gfp;
	kind->stack = (uint32_t)stack;
	kind->gfp = decoder->gfp;
	kind->cache = (uint16_t)cache;
	kind->type = type & 15;
	decoder->nr_kinds++;
	return true;
}

static bool get_place(struct decoder *decoder)
{
	struct cursor *column = &decoder->column[COLUMN_PLACE];
	uint64_t cpu, tid;

	if (!get_number(column, TRACE_NR_RINGS * 2 - 1, &cpu))
		return false;
	decoder->cpu = (uint32_t)(cpu / 2);
	if (!(cpu & 1))
		return true;
	if (!get_number(column, TID_MAX, &tid))
		return false;
	decoder->tid[decoder->cpu] = (uint32_t)tid;
	return true;
}

static const struct kind *get_kind(struct decoder *decoder)
{
	struct cursor *column = &decoder->column[COLUMN_KIND];
	uint64_t number;

	if (!get_varint(column, &number))
		return NULL;
	if (!number && (!get_place(decoder) || !get_varint(column, &number) || !number))
		return NULL;
	if (number > decoder->nr_kinds && (number > decoder->nr_kinds + 1 || !get_new(decoder)))
		return NULL;
	return &decoder->kind[number - 1];
}

static bool get_object(struct decoder *decoder, const struct kind *kind, uint64_t *ptr)
{
	bool gives = type_gives(kind->type);
	uint64_t more = 0;
	unsigned code;

	return get_byte(&decoder->column[gives ? COLUMN_FREE : COLUMN_ALLOC], &code) &&
	       (!object_has_more(code) || get_varint(&decoder->column[COLUMN_FAR], &more)) &&
	       object_of(objects_of(&decoder->objects, kind->type, decoder->cpu, kind->cache),
			 gives, code, more, ptr);
}

/* Since the last event, in units of time. */
static bool get_time(struct decoder *decoder, uint64_t *time)
{
	struct cursor *column = &decoder->column[COLUMN_TIME];

	if (column->at >= column->end)
		return false;
	*time = decoder->times_half ? *column->at >> 4 : *column->at & 15;
	column->at += decoder->times_half;
	decoder->times_half = !decoder->times_half;
	if (*time < TIME_LONG)
		return true;
	if (!get_varint(&decoder->column[COLUMN_LONG], time))
		return false;
	*time += TIME_LONG;
	return true;
}

bool decoder_next(struct decoder *decoder, struct event *event)
{
	const struct kind *kind;
	uint64_t time;

	decoder->left--;
	kind = get_kind(decoder);
	if (!kind || !get_time(decoder, &time) || !get_object(decoder, kind, &event->ptr))
		return false;
	decoder->when += time;
	event->when = decoder->when << decoder->time_shift;
	event->site = kind->site;
	event->req = kind->req;
	event->tid = decoder->tid[decoder->cpu];
	event->gfp = kind->gfp;
	event->stack = kind->stack;
	event->cache = (uint16_t)kind->cache;
	event->cpu = (uint16_t)decoder->cpu;
	event->type = (uint8_t)kind->type;
	return true;
}
