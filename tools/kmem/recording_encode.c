/* SPDX-License-Identifier: MIT */
/*
 * recording_encode.c - the events of a chunk, as columns. What the bytes mean is told in recording_format.h.
 *
 * An event is a search in a table of kinds, and a few bytes. Columns have room for a whole chunk, of which only what is used is
 * ever touched.
 */
#include "recording_encode.h"

#include "recording_objects.h"
#include "recording_put.h"

#include <stdlib.h>
#include <string.h>

#define KINDS_ROOM (CHUNK_KINDS_MAX * 2)

/* Of a chunk of events. */
struct encoder {
	uint64_t when; /* of the last event >> time_shift */
	unsigned time_shift;
	uint32_t events, cpu, gfp, nr_kinds;
	uint32_t tid[TRACE_NR_RINGS]; /* the last one of each CPU */
	struct kind kind[CHUNK_KINDS_MAX];
	uint32_t hash[KINDS_ROOM]; /* number, from 1 on; 0: empty */
	struct addresses addresses;
	struct objects objects;
	struct column_data column[NR_COLUMNS];
};

struct encoder *encoder_new(void)
{
	struct encoder *encoder = xcalloc(1, sizeof(*encoder));

	for (unsigned i = 0; i < NR_COLUMNS; i++)
		encoder->column[i] = new_column(column_bytes_max((enum column)i));
	encoder->time_shift = TIME_SHIFT;
	objects_start(&encoder->objects);
	return encoder;
}

void encoder_free(struct encoder *encoder)
{
	for (unsigned i = 0; i < NR_COLUMNS; i++)
		free(encoder->column[i].data);
	free(encoder);
}

void encoder_coarsen(struct encoder *encoder, uint64_t ticks)
{
	while (encoder->time_shift < TIME_SHIFT_MAX && 2UL << encoder->time_shift <= ticks)
		encoder->time_shift++;
}

void encoder_start(struct encoder *encoder)
{
	encoder->when = 0;
	encoder->events = encoder->cpu = encoder->gfp = encoder->nr_kinds = 0;
	memset(encoder->tid, 0, sizeof(encoder->tid));
	memset(encoder->hash, 0, sizeof(encoder->hash));
	for (unsigned i = 0; i < NR_COLUMNS; i++)
		encoder->column[i].size = 0;
	start_addresses(&encoder->addresses);
	objects_start(&encoder->objects);
}

size_t encoder_events(const struct encoder *encoder)
{
	return encoder->events;
}

size_t encoder_pieces(const struct encoder *encoder, struct events_header *header,
		      const void *piece[NR_COLUMNS], size_t size[NR_COLUMNS])
{
	size_t count = 0;

	header->events = encoder->events;
	header->time_shift = encoder->time_shift;
	for (unsigned i = 0; i < NR_COLUMNS; i++) {
		header->bytes[i] = (uint32_t)encoder->column[i].size;
		if (!encoder->column[i].size)
			continue;
		piece[count] = encoder->column[i].data;
		size[count++] = encoder->column[i].size;
	}
	return count;
}

static void put_new(struct encoder *encoder, const struct kind *kind)
{
	struct column_data *column = &encoder->column[COLUMN_NEW];

	put_byte(column, (uint8_t)kind->type);
	put_address(&encoder->addresses, kind->site, column);
	put(column, kind->stack);
	put(column, kind->req);
	put(column, kind->cache);
	put(column, kind->gfp ^ encoder->gfp);
	encoder->gfp = kind->gfp;
}

/*
 * In one condition: of several the compiler makes a comparison of eight bytes, for which it writes b to memory piece by
 * piece, and the processor waits for the pieces.
 */
static bool is_same_kind(const struct kind *a, const struct kind *b)
{
	return !((a->site ^ b->site) | (a->req ^ b->req) | (a->stack ^ b->stack) |
		 (a->gfp ^ b->gfp) | (a->cache ^ b->cache) | (a->type ^ b->type));
}

/* Its number, from 1 on. One that is new becomes known. */
static uint32_t kind_number(struct encoder *encoder, const struct kind *kind)
{
	uint64_t hash = (kind->site ^ (uint64_t)kind->type << 56) * hash_odd;
	uint32_t at;

	hash ^= (kind->req ^ (uint64_t)kind->stack << 32 ^ (uint64_t)kind->cache << 20) *
		hash_odd_too;
	hash = (hash ^ hash >> 32) * hash_odd;
	for (at = (uint32_t)(hash >> 40);; at++) {
		uint32_t *entry = &encoder->hash[at % KINDS_ROOM];

		if (!*entry) {
			encoder->kind[encoder->nr_kinds++] = *kind;
			put_new(encoder, kind);
			return *entry = encoder->nr_kinds;
		}
		if (is_same_kind(&encoder->kind[*entry - 1], kind))
			return *entry;
	}
}

static void put_place(struct encoder *encoder, const struct event *event)
{
	bool is_other = encoder->tid[event->cpu] != event->tid;

	put_byte(&encoder->column[COLUMN_KIND], 0);
	put(&encoder->column[COLUMN_PLACE], event->cpu * 2U + is_other);
	if (is_other)
		put(&encoder->column[COLUMN_PLACE], event->tid);
	encoder->cpu = event->cpu;
	encoder->tid[event->cpu] = event->tid;
}

static void put_object(struct encoder *encoder, const struct event *event, unsigned type)
{
	bool gives = type_gives(type);
	uint64_t more = 0;
	unsigned code = object_code(objects_of(&encoder->objects, type, event->cpu, event->cache),
				    gives, event->ptr, &more);

	put_byte(&encoder->column[gives ? COLUMN_FREE : COLUMN_ALLOC], code);
	if (object_has_more(code))
		put(&encoder->column[COLUMN_FAR], more);
}

bool encoder_add(struct encoder *encoder, const struct event *event)
{
	unsigned type = event->type & 15;
	struct kind kind = {
		.site = event->site,
		.req = type_has_req(type) ? event->req : 0,
		.stack = event->stack,
		.gfp = event->gfp,
		.cache = event->cache,
		.type = type,
	};
	uint64_t when = event->when >> encoder->time_shift;

	if (event->cpu != encoder->cpu || event->tid != encoder->tid[event->cpu])
		put_place(encoder, event);
	put(&encoder->column[COLUMN_KIND], kind_number(encoder, &kind));
	/* a little out of order is possible, and then they are taken as at the same moment */
	if (when < encoder->when)
		when = encoder->when;
	put(&encoder->column[COLUMN_TIME], when - encoder->when);
	encoder->when = when;
	put_object(encoder, event, type);
	return ++encoder->events == CHUNK_EVENTS_MAX || encoder->nr_kinds == CHUNK_KINDS_MAX;
}
