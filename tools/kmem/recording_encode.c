/* SPDX-License-Identifier: MIT */
/*
 * recording_encode.c - the events of a chunk, as columns. What the bytes mean is told in recording_format.h.
 *
 * An event is a search in a table of kinds, and a few bytes. Programs do the same things again and again: so what was found
 * out about an event is kept, in a small table that forgets, for the next one that differs in time, thread and object only. Columns have room for a whole chunk, of which only what is used is
 * ever touched.
 */
#include "recording_encode.h"

#include "recording_objects.h"
#include "recording_put.h"

#include <stdlib.h>
#include <string.h>

#define KINDS_ROOM (CHUNK_KINDS_MAX * 2)
#define LATELY 4096U
#define LATELY_SHIFT 52
#define LATELY_IS (1UL << 63)
#define KIND_BYTES sizeof(uint32_t)

/* What was found out about an event, for the next ones that are like it in all but time, thread and object. */
struct lately {
	uint64_t site; /* raw_site() */
	uint64_t rest; /* raw_rest() | LATELY_IS; 0: nothing yet */
	struct object_lists *lists;
	uint32_t number; /* of its kind: a varint of so many bytes */
	uint16_t cpu;
	uint8_t length;
};

/* Of a chunk of events. */
struct encoder {
	uint64_t when; /* of the last event >> time_shift */
	unsigned time_shift;
	uint32_t events, cpu, gfp, nr_kinds;
	uint32_t tid[TRACE_NR_RINGS]; /* the last one of each CPU */
	struct kind kind[CHUNK_KINDS_MAX];
	uint32_t hash[KINDS_ROOM]; /* number, from 1 on; 0: empty */
	struct lately lately[LATELY];
	struct addresses addresses;
	struct objects objects;
	struct column_data column[NR_COLUMNS];
};

struct encoder *encoder_new(void)
{
	struct encoder *encoder = xcalloc(1, sizeof(*encoder));

	for (unsigned i = 0; i < NR_COLUMNS; i++)
		encoder->column[i] = new_column(column_bytes_max((enum column)i) + KIND_BYTES);
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
	memset(encoder->lately, 0, sizeof(encoder->lately));
	for (unsigned i = 0; i < NR_COLUMNS; i++)
		encoder->column[i].size = 0;
	start_addresses(&encoder->addresses);
	objects_start(&encoder->objects);
}

size_t encoder_events(const struct encoder *encoder)
{
	return encoder->events;
}

size_t encoder_bytes(const struct encoder *encoder)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < NR_COLUMNS; i++)
		bytes += encoder->column[i].size;
	return bytes;
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
static inline bool is_same_kind(const struct kind *a, const struct kind *b)
{
	return !((a->site ^ b->site) | (a->req ^ b->req) | (a->stack ^ b->stack) |
		 (a->gfp ^ b->gfp) | (a->cache ^ b->cache) | (a->type ^ b->type));
}

static __attribute__((noinline)) uint32_t new_kind(struct encoder *encoder, const struct kind *kind,
						   uint32_t *entry)
{
	encoder->kind[encoder->nr_kinds++] = *kind;
	put_new(encoder, kind);
	return *entry = encoder->nr_kinds;
}

/* Its number, from 1 on. One that is new becomes known. */
static inline uint32_t kind_number(struct encoder *encoder, const struct kind *kind)
{
	uint64_t hash = (kind->site ^ (uint64_t)kind->type << 56) * hash_odd;
	uint32_t at;

	hash ^= (kind->req ^ (uint64_t)kind->stack << 32 ^ (uint64_t)kind->cache << 20) *
		hash_odd_too;
	hash = (hash ^ hash >> 32) * hash_odd;
	for (at = (uint32_t)(hash >> 40);; at++) {
		uint32_t *entry = &encoder->hash[at % KINDS_ROOM];

		if (!*entry)
			return new_kind(encoder,
					&(struct kind){ kind->site, kind->req, kind->stack,
							kind->gfp, kind->cache, kind->type },
					entry);
		if (is_same_kind(&encoder->kind[*entry - 1], kind))
			return *entry;
	}
}

static __attribute__((noinline)) void put_place(struct encoder *encoder, uint32_t cpu, uint32_t tid)
{
	bool is_other = encoder->tid[cpu] != tid;

	put(&encoder->column[COLUMN_PLACE], cpu * 2U + is_other);
	if (is_other)
		put(&encoder->column[COLUMN_PLACE], tid);
	encoder->cpu = cpu;
	encoder->tid[cpu] = tid;
}

static inline struct kind kind_of(const struct event *event, unsigned type)
{
	return (struct kind){
		.site = event->site,
		.req = type_has_req(type) ? event->req : 0,
		.stack = event->stack,
		.gfp = event->gfp,
		.cache = event->cache,
		.type = type,
	};
}

bool encoder_is_full(const struct encoder *encoder)
{
	return encoder->events == CHUNK_EVENTS_MAX || encoder->nr_kinds == CHUNK_KINDS_MAX;
}

/* A kind's number as a varint: its bytes, and how many. */
static inline uint32_t short_varint(uint32_t number, uint8_t *length)
{
	*length = (uint8_t)(1 + (number >= 1U << 7) + (number >= 1U << 14));
	if (number < 1U << 7)
		return number;
	number = (number & 0x7f) | 0x80 | (number >> 7 & 0x7f) << 8 | number >> 14 << 16;
	return number < 1U << 16 ? number : number | 0x8000;
}

static __attribute__((noinline)) void look_up(struct encoder *encoder, const struct event *event,
					      struct lately *lately)
{
	/* more do not fit beside the type; there are none, but a test draws them */
	unsigned type = event->type & 15;
	struct kind kind = kind_of(event, type);

	lately->number = short_varint(kind_number(encoder, &kind), &lately->length);
	lately->lists = objects_of(&encoder->objects, type, event->cpu, event->cache);
}

/* What each event has something in, at hand: a byte that is written might be any field of the encoder. */
struct pen {
	uint8_t *kinds, *times;
	uint64_t when;
};

static inline struct pen take_pen(const struct encoder *encoder)
{
	const struct column_data *kinds = &encoder->column[COLUMN_KIND];
	uint8_t *times = encoder->column[COLUMN_TIME].data;

	return (struct pen){ kinds->data + kinds->size, times + encoder->events / 2,
			     encoder->when };
}

static inline void put_pen(struct encoder *encoder, const struct pen *pen)
{
	struct column_data *kinds = &encoder->column[COLUMN_KIND];
	struct column_data *times = &encoder->column[COLUMN_TIME];

	kinds->size = (size_t)(pen->kinds - kinds->data);
	times->size = (size_t)(pen->times - times->data) + encoder->events % 2;
	encoder->when = pen->when;
}

static inline void put_time(struct encoder *encoder, struct pen *pen, uint64_t time)
{
	uint64_t when = time >> encoder->time_shift;
	/* a little out of order is possible, and then they are taken as at the same moment */
	uint64_t since = when > pen->when ? when - pen->when : 0;

	pen->when += since;
	if (since >= TIME_LONG) {
		put(&encoder->column[COLUMN_LONG], since - TIME_LONG);
		since = TIME_LONG;
	}
	if (encoder->events % 2)
		*pen->times++ |= (uint8_t)(since << 4);
	else
		*pen->times = (uint8_t)since;
}

/* A kind's number may be written past its end: there is room (encoder_new()). */
static inline void put_event(struct encoder *encoder, struct pen *pen, const struct lately *lately,
			     uint64_t time, uint32_t cpu, uint32_t tid, uint64_t ptr, bool gives)
{
	uint64_t more = 0;
	unsigned code;

	if (cpu != encoder->cpu || tid != encoder->tid[cpu]) {
		*pen->kinds++ = 0;
		put_place(encoder, cpu, tid);
	}
	memcpy(pen->kinds, &lately->number, sizeof(lately->number));
	pen->kinds += lately->length;
	put_time(encoder, pen, time);
	code = object_code(lately->lists, gives, ptr, &more);
	put_byte(&encoder->column[COLUMN_ALLOC + gives], code);
	if (object_has_more(code))
		put(&encoder->column[COLUMN_FAR], more);
	encoder->events++;
}

size_t encoder_add(struct encoder *encoder, const struct event *event, size_t n)
{
	struct pen pen = take_pen(encoder);
	size_t done = 0;

	for (; done < n && !encoder_is_full(encoder); done++, event++) {
		struct lately found;

		look_up(encoder, event, &found);
		put_event(encoder, &pen, &found, event->when, event->cpu, event->tid, event->ptr,
			  type_gives(event->type));
	}
	put_pen(encoder, &pen);
	return done;
}

/* Where what is like this event would be: that it is likely another for another one is all that matters. */
static inline struct lately *lately_of(struct encoder *encoder, uint64_t site, uint64_t rest,
				       uint32_t cpu)
{
	uint64_t key = site ^ rest << 16 ^ (uint64_t)cpu << 50;

	return &encoder->lately[key * hash_odd >> LATELY_SHIFT];
}

/* False: it is none. */
static __attribute__((noinline)) bool get_to_know(struct encoder *encoder,
						  const struct raw_event *raw, recording_meet *meet,
						  void *arg, struct lately *lately)
{
	struct event event;
	enum meeting meeting = meet(raw, &event, arg);

	/* not before: that may have told to forget all */
	lately->rest = 0;
	if (meeting == MEET_NONE)
		return false;
	look_up(encoder, &event, lately);
	if (meeting == MEET_LIKE) {
		lately->site = raw_site(raw);
		lately->rest = raw_rest(raw) | LATELY_IS;
		lately->cpu = (uint16_t)raw->cpu;
	}
	return true;
}

size_t encoder_add_raw(struct encoder *encoder, const struct raw_event *raw, size_t n,
		       recording_meet *meet, void *arg)
{
	struct pen pen = take_pen(encoder);
	size_t done = 0;

	for (; done < n && !encoder_is_full(encoder); done++, raw++) {
		uint64_t site = raw_site(raw), rest = raw_rest(raw) | LATELY_IS;
		struct lately *lately = lately_of(encoder, site, rest, raw->cpu);

		if (((lately->site ^ site) | (lately->rest ^ rest) | (lately->cpu ^ raw->cpu)) &&
		    !get_to_know(encoder, raw, meet, arg, lately))
			continue;
		put_event(encoder, &pen, lately, raw->words[0], raw->cpu, raw_tid(raw),
			  raw_ptr(raw),
			  type_gives((unsigned)(raw->words[1] >> TRACE_ADDRESS_BITS)));
	}
	put_pen(encoder, &pen);
	return done;
}

void encoder_forget(struct encoder *encoder)
{
	memset(encoder->lately, 0, sizeof(encoder->lately));
}
