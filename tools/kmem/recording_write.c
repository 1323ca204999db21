/* SPDX-License-Identifier: MIT */
/*
 * recording_write.c - write a recording. What the bytes mean is told in recording_format.h.
 *
 * The program that is recorded may wait for this, so an event is a search in a table, a few bytes, and zstd at its fastest
 * level that still looks for entropy. Columns become blocks of their own (ZSTD_e_flush), each with tables that fit it.
 *
 * Memory: a chunk's columns, of which only what is used is ever touched; and of call stacks their tree, and of each 128 bits by which
 * it is known again: two that have the same are taken for the same.
 */
#include "recording.h"

#include "recording_format.h"
#include "recording_objects.h"
#include "say.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define LEVEL 1
#define VARINT_MAX 10U
#define GOLDEN 0x9e3779b97f4a7c15UL
#define KINDS_ROOM (CHUNK_KINDS_MAX * 2)
#define ADDRESSES_ROOM (CHUNK_ADDRESSES_MAX * 2)

struct column_data {
	uint8_t *data;
	size_t size;
};

/* The addresses of a chunk, by number. */
struct addresses {
	uint32_t nr;
	uint64_t last; /* the one that was new last */
	uint64_t address[CHUNK_ADDRESSES_MAX];
	uint32_t hash[ADDRESSES_ROOM]; /* number + 1; 0: empty */
};

/* Of a chunk of events. */
struct coder {
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

struct stacks {
	struct numbers marks, calls;
	struct stack_mark *mark; /* by number - 1 */
	struct call *call;
	size_t mark_room, call_room;
	struct addresses addresses;
	struct column_data data; /* that are not in the file yet */
};

struct writer {
	FILE *file;
	char *path;
	uint64_t bytes, events;
	ZSTD_CCtx *zstd;
	uint8_t *packed;
	size_t packed_room;
	struct coder *coder;
	struct stacks *stacks; /* NULL: none yet */
};

static void put(struct column_data *column, uint64_t value)
{
	uint8_t *at = column->data + column->size;

	for (; value >= 0x80; value >>= 7)
		*at++ = (uint8_t)(value | 0x80);
	*at++ = (uint8_t)value;
	column->size = (size_t)(at - column->data);
}

static void put_byte(struct column_data *column, unsigned value)
{
	column->data[column->size++] = (uint8_t)value;
}

static _Noreturn void failed(const struct writer *writer)
{
	give_up("%s: %s; what was recorded until now is readable", writer->path, strerror(errno));
}

static void write_all(struct writer *writer, const void *data, size_t size)
{
	if (fwrite(data, 1, size, writer->file) != size)
		failed(writer);
	writer->bytes += size;
}

static struct column_data new_column(size_t bytes)
{
	return (struct column_data){ .data = xmalloc(bytes) };
}

static struct coder *new_coder(void)
{
	struct coder *coder = xcalloc(1, sizeof(*coder));
	struct column_data *column = coder->column;

	column[COLUMN_KIND] = new_column(CHUNK_EVENTS_MAX * 4UL);
	column[COLUMN_NEW] = new_column(CHUNK_KINDS_MAX * (1 + 6UL * VARINT_MAX));
	column[COLUMN_PLACE] = new_column(CHUNK_EVENTS_MAX * 8UL);
	column[COLUMN_TIME] = new_column(CHUNK_EVENTS_MAX * (size_t)VARINT_MAX);
	column[COLUMN_ALLOC] = new_column(CHUNK_EVENTS_MAX);
	column[COLUMN_FREE] = new_column(CHUNK_EVENTS_MAX);
	column[COLUMN_FAR] = new_column(CHUNK_EVENTS_MAX * (size_t)VARINT_MAX);
	coder->time_shift = TIME_SHIFT;
	objects_start(&coder->objects);
	return coder;
}

static void free_coder(struct coder *coder)
{
	for (unsigned i = 0; i < NR_COLUMNS; i++)
		free(coder->column[i].data);
	free(coder);
}

struct writer *recording_create(const char *path)
{
	struct file_header header = { .magic = FILE_MAGIC, .version = FILE_VERSION };
	struct writer *writer;
	FILE *file = fopen(path, "we");

	if (!file) {
		say("%s can't be written: %s", path, strerror(errno));
		return NULL;
	}
	writer = xcalloc(1, sizeof(*writer));
	writer->file = file;
	writer->path = xstrdup(path);
	writer->zstd = ZSTD_createCCtx();
	if (!writer->zstd ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, LEVEL)))
		give_up("no memory");
	writer->coder = new_coder();
	write_all(writer, &header, sizeof(header));
	return writer;
}

void recording_coarsen(struct writer *writer, uint64_t ticks)
{
	while (writer->coder->time_shift < TIME_SHIFT_MAX &&
	       2UL << writer->coder->time_shift <= ticks)
		writer->coder->time_shift++;
}

/* Pack the pieces, each as blocks of its own. Returns the bytes, of writer->packed. */
static size_t pack(struct writer *writer, const ZSTD_inBuffer *piece, size_t count, size_t total)
{
	size_t room = ZSTD_compressBound(total) + count * 64;
	ZSTD_outBuffer out;

	if (room > writer->packed_room) {
		free(writer->packed);
		writer->packed = xmalloc(room);
		writer->packed_room = room;
	}
	out = (ZSTD_outBuffer){ writer->packed, writer->packed_room, 0 };
	ZSTD_CCtx_reset(writer->zstd, ZSTD_reset_session_only);
	ZSTD_CCtx_setPledgedSrcSize(writer->zstd, total);
	for (size_t i = 0; i < count; i++) {
		ZSTD_inBuffer in = piece[i];
		ZSTD_EndDirective end = i + 1 < count ? ZSTD_e_flush : ZSTD_e_end;

		if (ZSTD_compressStream2(writer->zstd, &out, &in, end) != 0)
			give_up("no memory");
	}
	return out.pos;
}

static void write_pieces(struct writer *writer, enum chunk_kind kind, const ZSTD_inBuffer *piece,
			 size_t count)
{
	struct chunk_header header = { .magic = CHUNK_MAGIC, .kind = kind };
	size_t total = 0, packed;

	for (size_t i = 0; i < count; i++)
		total += piece[i].size;
	packed = pack(writer, piece, count, total);
	header.bytes = (uint32_t)packed;
	header.unpacked = (uint32_t)total;
	header.crc = (uint32_t)crc32(0, writer->packed, (uInt)packed);
	write_all(writer, &header, sizeof(header));
	write_all(writer, writer->packed, packed);
	if (fflush(writer->file) != 0)
		failed(writer);
}

void recording_chunk(struct writer *writer, enum chunk_kind kind, const void *data, size_t size)
{
	write_pieces(writer, kind, &(ZSTD_inBuffer){ data, size, 0 }, 1);
}

static void start_addresses(struct addresses *addresses)
{
	if (addresses->nr)
		memset(addresses->hash, 0, sizeof(addresses->hash));
	addresses->nr = 0;
	addresses->last = 0;
}

static void put_address(struct addresses *addresses, uint64_t address, struct column_data *to)
{
	uint32_t at = (uint32_t)(address * GOLDEN >> 40);
	uint32_t *entry;

	for (;; at++) {
		entry = &addresses->hash[at % ADDRESSES_ROOM];
		if (!*entry)
			break;
		if (addresses->address[*entry - 1] == address) {
			put(to, *entry - 1);
			return;
		}
	}
	put(to, addresses->nr);
	put(to, zigzag((int64_t)(address - addresses->last)));
	addresses->last = address;
	addresses->address[addresses->nr] = address;
	*entry = ++addresses->nr;
}

/* Twice as many places; hash_of says where each number belongs. */
static void grow_numbers(struct numbers *numbers,
			 uint64_t (*hash_of)(const struct stacks *, size_t),
			 const struct stacks *stacks)
{
	free(numbers->hash);
	numbers->room = numbers->room ? numbers->room * 2 : 1024;
	numbers->hash = xcalloc(numbers->room, sizeof(*numbers->hash));
	for (size_t number = 1; number <= numbers->nr; number++) {
		size_t at = hash_of(stacks, number);

		while (numbers->hash[at & (numbers->room - 1)])
			at++;
		numbers->hash[at & (numbers->room - 1)] = (uint32_t)number;
	}
}

static uint64_t hash_of_mark(const struct stacks *stacks, size_t number)
{
	return stacks->mark[number - 1].half[0];
}

static uint64_t call_hash(uint32_t parent, uint64_t address)
{
	uint64_t hash = (address ^ (uint64_t)parent << 40 ^ parent) * GOLDEN;

	return hash ^ hash >> 32;
}

static uint64_t hash_of_call(const struct stacks *stacks, size_t number)
{
	return call_hash(stacks->call[number - 1].parent, stacks->call[number - 1].address);
}

static struct stack_mark mark_of(const uint64_t *frames, size_t count, bool cut)
{
	struct stack_mark mark = { { count * 2 + cut, ~count } };

	for (size_t i = 0; i < count; i++) {
		mark.half[0] = (mark.half[0] ^ frames[i]) * GOLDEN;
		mark.half[0] ^= mark.half[0] >> 32;
		mark.half[1] = (mark.half[1] + frames[i]) * 0xd1342543de82ef95UL;
		mark.half[1] ^= mark.half[1] >> 29;
	}
	return mark;
}

/* The number of a call; 0: there is none yet. */
static uint32_t find_call(const struct stacks *stacks, uint32_t parent, uint64_t address)
{
	size_t mask = stacks->calls.room - 1;

	if (!stacks->calls.nr)
		return 0;
	for (size_t at = call_hash(parent, address);; at++) {
		uint32_t number = stacks->calls.hash[at & mask];

		if (!number || (stacks->call[number - 1].address == address &&
				stacks->call[number - 1].parent == parent))
			return number;
	}
}

static void add_call(struct stacks *stacks, uint32_t parent, uint64_t address)
{
	size_t at;

	if (stacks->calls.nr * 2 >= stacks->calls.room)
		grow_numbers(&stacks->calls, hash_of_call, stacks);
	if (stacks->calls.nr == stacks->call_room) {
		stacks->call_room = stacks->call_room * 2 + 1024;
		stacks->call = xrealloc(stacks->call, stacks->call_room * sizeof(*stacks->call));
	}
	stacks->call[stacks->calls.nr++] = (struct call){ address, parent };
	at = hash_of_call(stacks, stacks->calls.nr);
	while (stacks->calls.hash[at & (stacks->calls.room - 1)])
		at++;
	stacks->calls.hash[at & (stacks->calls.room - 1)] = (uint32_t)stacks->calls.nr;
}

static void write_stacks(struct writer *writer)
{
	struct stacks *stacks = writer->stacks;

	if (!stacks || !stacks->data.size)
		return;
	recording_chunk(writer, CHUNK_STACKS, stacks->data.data, stacks->data.size);
	stacks->data.size = 0;
	start_addresses(&stacks->addresses);
}

/* A stack that is new: the calls that are in the tree, then the others. */
static void put_stack(struct writer *writer, const uint64_t *frames, size_t count, bool cut)
{
	struct stacks *stacks = writer->stacks;
	struct column_data *data = &stacks->data;
	uint32_t parent = 0, call;

	while (count && (call = find_call(stacks, parent, frames[count - 1]))) {
		parent = call;
		count--;
	}
	put(data, count * 2 + cut);
	put(data, parent ? stacks->calls.nr - parent + 1 : 0);
	while (count--) {
		put_address(&stacks->addresses, frames[count], data);
		add_call(stacks, parent, frames[count]);
		parent = (uint32_t)stacks->calls.nr;
	}
	if (data->size >= STACKS_BYTES ||
	    stacks->addresses.nr > CHUNK_ADDRESSES_MAX - STACK_FRAMES_MAX)
		write_stacks(writer);
}

static struct stacks *new_stacks(void)
{
	struct stacks *stacks = xcalloc(1, sizeof(*stacks));

	stacks->data = new_column(STACKS_BYTES + (2UL * STACK_FRAMES_MAX + 2) * VARINT_MAX);
	return stacks;
}

static void free_stacks(struct stacks *stacks)
{
	if (!stacks)
		return;
	free(stacks->marks.hash);
	free(stacks->calls.hash);
	free(stacks->mark);
	free(stacks->call);
	free(stacks->data.data);
	free(stacks);
}

uint32_t recording_stack(struct writer *writer, const uint64_t *frames, size_t count, bool cut)
{
	struct stacks *stacks = writer->stacks;
	struct stack_mark mark;
	uint32_t *entry;

	if (!stacks)
		stacks = writer->stacks = new_stacks();
	if (count > STACK_FRAMES_MAX) {
		count = STACK_FRAMES_MAX;
		cut = true;
	}
	if (stacks->marks.nr * 2 >= stacks->marks.room)
		grow_numbers(&stacks->marks, hash_of_mark, stacks);
	mark = mark_of(frames, count, cut);
	for (size_t at = mark.half[0];; at++) {
		entry = &stacks->marks.hash[at & (stacks->marks.room - 1)];
		if (!*entry)
			break;
		if (!memcmp(&stacks->mark[*entry - 1], &mark, sizeof(mark)))
			return *entry;
	}
	if (stacks->marks.nr == stacks->mark_room) {
		stacks->mark_room = stacks->mark_room * 2 + 256;
		stacks->mark = xrealloc(stacks->mark, stacks->mark_room * sizeof(mark));
	}
	stacks->mark[stacks->marks.nr] = mark;
	*entry = (uint32_t)++stacks->marks.nr;
	put_stack(writer, frames, count, cut);
	return (uint32_t)stacks->marks.nr;
}

static void write_events(struct writer *writer)
{
	struct coder *coder = writer->coder;
	struct events_header header = { .events = coder->events, .time_shift = coder->time_shift };
	ZSTD_inBuffer piece[NR_COLUMNS + 1] = { { &header, sizeof(header), 0 } };
	size_t count = 1;

	for (unsigned i = 0; i < NR_COLUMNS; i++) {
		header.bytes[i] = (uint32_t)coder->column[i].size;
		if (coder->column[i].size)
			piece[count++] =
				(ZSTD_inBuffer){ coder->column[i].data, coder->column[i].size, 0 };
		coder->column[i].size = 0;
	}
	write_pieces(writer, CHUNK_EVENTS, piece, count);
}

static void start_events(struct coder *coder)
{
	coder->when = 0;
	coder->events = coder->cpu = coder->gfp = coder->nr_kinds = 0;
	memset(coder->tid, 0, sizeof(coder->tid));
	memset(coder->hash, 0, sizeof(coder->hash));
	start_addresses(&coder->addresses);
	objects_start(&coder->objects);
}

void recording_flush(struct writer *writer)
{
	write_stacks(writer);
	if (!writer->coder->events)
		return;
	write_events(writer);
	start_events(writer->coder);
}

static void put_new(struct coder *coder, const struct kind *kind)
{
	struct column_data *column = &coder->column[COLUMN_NEW];

	put_byte(column, kind->type);
	put_address(&coder->addresses, kind->site, column);
	put(column, kind->stack);
	put(column, kind->req);
	put(column, kind->cache);
	put(column, kind->gfp ^ coder->gfp);
	coder->gfp = kind->gfp;
}

static bool is_same_kind(const struct kind *a, const struct kind *b)
{
	return a->site == b->site && a->req == b->req && a->stack == b->stack && a->gfp == b->gfp &&
	       a->cache == b->cache && a->type == b->type;
}

/* Its number, from 1 on. One that is new becomes known. */
static uint32_t kind_number(struct coder *coder, const struct kind *kind)
{
	uint64_t hash = (kind->site ^ (uint64_t)kind->type << 56) * GOLDEN;
	uint32_t at;

	hash ^= (kind->req ^ (uint64_t)kind->stack << 32 ^ (uint64_t)kind->cache << 20) *
		0xd1342543de82ef95UL;
	hash = (hash ^ hash >> 32) * GOLDEN;
	for (at = (uint32_t)(hash >> 40);; at++) {
		uint32_t *entry = &coder->hash[at % KINDS_ROOM];

		if (!*entry) {
			coder->kind[coder->nr_kinds++] = *kind;
			put_new(coder, kind);
			return *entry = coder->nr_kinds;
		}
		if (is_same_kind(&coder->kind[*entry - 1], kind))
			return *entry;
	}
}

static void put_place(struct coder *coder, const struct event *event)
{
	bool is_other = coder->tid[event->cpu] != event->tid;

	put_byte(&coder->column[COLUMN_KIND], 0);
	put(&coder->column[COLUMN_PLACE], event->cpu * 2U + is_other);
	if (is_other)
		put(&coder->column[COLUMN_PLACE], event->tid);
	coder->cpu = event->cpu;
	coder->tid[event->cpu] = event->tid;
}

static void put_object(struct coder *coder, const struct event *event, unsigned type)
{
	bool gives = type_gives(type);
	uint64_t more = 0;
	unsigned code = object_code(objects_of(&coder->objects, type, event->cpu, event->cache),
				    gives, event->ptr, &more);

	put_byte(&coder->column[gives ? COLUMN_FREE : COLUMN_ALLOC], code);
	if (object_has_more(code))
		put(&coder->column[COLUMN_FAR], more);
}

void recording_event(struct writer *writer, const struct event *event)
{
	struct coder *coder = writer->coder;
	unsigned type = event->type & 15;
	struct kind kind = {
		.site = event->site,
		.req = type_has_req(type) ? event->req : 0,
		.stack = event->stack,
		.gfp = event->gfp,
		.cache = event->cache,
		.type = (uint8_t)type,
	};
	uint64_t when = event->when >> coder->time_shift;

	if (event->cpu != coder->cpu || event->tid != coder->tid[event->cpu])
		put_place(coder, event);
	put(&coder->column[COLUMN_KIND], kind_number(coder, &kind));
	/* a little out of order is possible, and then they are taken as at the same moment */
	if (when < coder->when)
		when = coder->when;
	put(&coder->column[COLUMN_TIME], when - coder->when);
	coder->when = when;
	put_object(coder, event, type);
	writer->events++;
	if (++coder->events == CHUNK_EVENTS_MAX || coder->nr_kinds == CHUNK_KINDS_MAX)
		recording_flush(writer);
}

void recording_close(struct writer *writer)
{
	recording_flush(writer);
	if (fclose(writer->file) != 0)
		say("%s: %s", writer->path, strerror(errno));
	ZSTD_freeCCtx(writer->zstd);
	free_coder(writer->coder);
	free_stacks(writer->stacks);
	free(writer->path);
	free(writer->packed);
	free(writer);
}

uint64_t recording_bytes(const struct writer *writer)
{
	return writer->bytes;
}

uint64_t recording_events(const struct writer *writer)
{
	return writer->events;
}
