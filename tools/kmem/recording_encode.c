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
#define LATELY 1024U
#define LATELY_SHIFT 54
#define KIND_BYTES sizeof(uint32_t)

/* What was found out about an event, for the next ones that are like it in all but time, thread and object. */
struct lately {
	uint64_t site, req;
	uint64_t gfp_stack;	    /* as they stand in struct event, side by side */
	uint32_t cache_cpu;	    /* the same */
	struct object_lists *lists; /* NULL: nothing yet */
	uint32_t number;	    /* of its kind: a varint of so many bytes */
	uint8_t length;
	uint8_t type;
	bool gives;
};

_Static_assert(offsetof(struct event, stack) == offsetof(struct event, gfp) + 4 &&
		       offsetof(struct event, cpu) == offsetof(struct event, cache) + 2,
	       "compared as two words");

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

static __attribute__((noinline)) void put_place(struct encoder *encoder, const struct event *event)
{
	bool is_other = encoder->tid[event->cpu] != event->tid;

	put(&encoder->column[COLUMN_PLACE], event->cpu * 2U + is_other);
	if (is_other)
		put(&encoder->column[COLUMN_PLACE], event->tid);
	encoder->cpu = event->cpu;
	encoder->tid[event->cpu] = event->tid;
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

static inline uint64_t word_at(const void *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

static inline uint32_t half_at(const void *at)
{
	uint32_t half;

	memcpy(&half, at, sizeof(half));
	return half;
}

/* Where what is like this event would be: that it is likely another for another one is all that matters. */
static inline struct lately *lately_of(struct encoder *encoder, const struct event *event)
{
	uint64_t key = event->site ^ word_at(&event->gfp) ^ (event->req << 16) ^ event->type;

	return &encoder->lately[key * hash_odd >> LATELY_SHIFT];
}

static inline bool is_like(const struct lately *lately, const struct event *event)
{
	return !((lately->site ^ event->site) | (lately->req ^ event->req) |
		 (lately->gfp_stack ^ word_at(&event->gfp)) |
		 (lately->cache_cpu ^ half_at(&event->cache)) |
		 (uint64_t)(lately->type ^ event->type)) &&
	       lately->lists;
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
	unsigned type = event->type & 15;
	struct kind kind = kind_of(event, type);

	lately->number = short_varint(kind_number(encoder, &kind), &lately->length);
	lately->site = event->site;
	lately->req = event->req;
	lately->gfp_stack = word_at(&event->gfp);
	lately->cache_cpu = half_at(&event->cache);
	lately->lists = objects_of(&encoder->objects, type, event->cpu, event->cache);
	lately->type = event->type;
	lately->gives = type_gives(type);
}

/*
 * What each event has something in is at hand meanwhile, not in the encoder: a byte that is written might be any of its
 * fields. A kind's number may be written past its end: there is room (encoder_new()).
 */
size_t encoder_add(struct encoder *encoder, const struct event *event, size_t n)
{
	struct column_data kinds = encoder->column[COLUMN_KIND];
	struct column_data times = encoder->column[COLUMN_TIME];
	uint64_t last = encoder->when;
	size_t done = 0;

	for (; done < n && !encoder_is_full(encoder); done++, event++) {
		struct lately *lately = lately_of(encoder, event);
		uint64_t when = event->when >> encoder->time_shift, more = 0;
		unsigned code;

		if (event->cpu != encoder->cpu || event->tid != encoder->tid[event->cpu]) {
			put_byte(&kinds, 0);
			put_place(encoder, event);
		}
		if (!is_like(lately, event))
			look_up(encoder, event, lately);
		memcpy(kinds.data + kinds.size, &lately->number, sizeof(lately->number));
		kinds.size += lately->length;
		/* a little out of order is possible, and then they are taken as at the same moment */
		if (when < last)
			when = last;
		put(&times, when - last);
		last = when;
		code = object_code(lately->lists, lately->gives, event->ptr, &more);
		put_byte(&encoder->column[lately->gives ? COLUMN_FREE : COLUMN_ALLOC], code);
		if (object_has_more(code))
			put(&encoder->column[COLUMN_FAR], more);
		encoder->events++;
	}
	encoder->column[COLUMN_KIND] = kinds;
	encoder->column[COLUMN_TIME] = times;
	encoder->when = last;
	return done;
}
