/* SPDX-License-Identifier: MIT */
/*
 * recording_read.c - read a recording. What the bytes mean is told in recording_format.h.
 *
 * Chunks are read one after the other, and their events taken apart some hundred at a time, so that whoever plays them can
 * ask the processor for the memory of those that come next (recording_ahead()). Memory: one chunk, and the tree of call stacks.
 *
 * Nothing in the file is believed: whatever is out of its range ends the reading, with one line.
 */
#include "recording.h"

#include "recording_format.h"
#include "recording_objects.h"
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define NS_MAX 1e18 /* thirty years; more stands in a damaged file only */
#define BATCH 512U
#define AHEAD RECORDING_AHEAD

struct cursor {
	const uint8_t *at, *end;
};

/* The addresses of a chunk, by number. */
struct addresses {
	uint32_t nr;
	uint64_t last;
	uint64_t address[CHUNK_ADDRESSES_MAX];
};

/* Of the chunk of events at hand. */
struct coder {
	uint64_t when;
	unsigned time_shift;
	uint32_t left, cpu, gfp, nr_kinds; /* left: events */
	uint32_t tid[TRACE_NR_RINGS];
	struct cursor column[NR_COLUMNS];
	struct kind kind[CHUNK_KINDS_MAX];
	struct addresses addresses;
	struct objects objects;
};

/* Call stacks are a tree of calls. */
struct call {
	uint64_t address;
	uint32_t parent; /* number; 0: none */
};

struct stack {
	uint32_t call; /* the innermost one; 0: none */
	bool cut;
};

struct stacks {
	struct call *call; /* by number - 1 */
	struct stack *stack;
	size_t nr_calls, call_room, nr, room;
	struct addresses addresses;
	uint64_t frames[STACK_FRAMES_MAX]; /* of the one that was asked for last */
};

struct reader {
	FILE *file;
	char *path;
	uint64_t file_bytes;
	char *info, *maps;
	struct cache_name *caches[NR_CACHES / 256]; /* NULL: none of these 256 */
	uint64_t lost, first, last, end;
	double ns_per_tick;
	bool whole, tail_missing, over;
	unsigned image;
	ZSTD_DCtx *zstd;
	uint8_t *packed, *data; /* of the chunk at hand */
	size_t packed_room, data_room;
	struct coder *coder;
	struct stacks *stacks;
	struct event batch[BATCH]; /* taken apart: [at, count) */
	size_t at, count;
	bool damaged; /* behind the batch */
};

/* The rest can't be used: said once, however often the file is read. */
static bool stop(struct reader *reader, const char *why)
{
	static char *said;

	if (!reader->over && (!said || strcmp(said, reader->path) != 0)) {
		free(said);
		said = xstrdup(reader->path);
		say("%s: %s at byte %ld: what is before that is shown", reader->path, why,
		    ftell(reader->file));
	}
	reader->over = true;
	return false;
}

static uint8_t *room(uint8_t *buf, size_t *have, size_t need)
{
	if (need <= *have)
		return buf;
	*have = need;
	return xrealloc(buf, need);
}

/* Read the next chunk into reader->packed. False: the end. */
static bool read_packed(struct reader *reader, struct chunk_header *header)
{
	size_t n;

	if (reader->over)
		return false;
	n = fread(header, 1, sizeof(*header), reader->file);
	if (!n && feof(reader->file)) {
		if (!reader->whole)
			stop(reader, "the recording was cut off");
		reader->over = true;
		return false;
	}
	if (n != sizeof(*header))
		return stop(reader, "the recording was cut off");
	if (header->magic != CHUNK_MAGIC || header->bytes > CHUNK_BYTES_MAX ||
	    header->unpacked > CHUNK_BYTES_MAX)
		return stop(reader, "the recording is damaged");
	reader->packed = room(reader->packed, &reader->packed_room, header->bytes + 1UL);
	if (fread(reader->packed, 1, header->bytes, reader->file) != header->bytes)
		return stop(reader, "the recording was cut off");
	if (crc32(0, reader->packed, header->bytes) != header->crc)
		return stop(reader, "the recording is damaged");
	return true;
}

/* And into reader->data. */
static bool unpack(struct reader *reader, const struct chunk_header *header)
{
	reader->data = room(reader->data, &reader->data_room, header->unpacked + 1UL);
	/* an error is a number that is no size either */
	if (ZSTD_decompressDCtx(reader->zstd, reader->data, header->unpacked, reader->packed,
				header->bytes) != header->unpacked)
		return stop(reader, "the recording is damaged");
	reader->data[header->unpacked] = 0;
	return true;
}

static void add_caches(struct reader *reader, const char *text)
{
	while (*text) {
		unsigned id, size, object_size;
		struct cache_name *cache;
		char name[sizeof(cache->name)] = "";

		if (sscanf(text, "%u %u %u %39[^\n]", &id, &size, &object_size, name) == 4 &&
		    id < NR_CACHES) {
			if (!reader->caches[id / 256])
				reader->caches[id / 256] = xcalloc(256, sizeof(*cache));
			cache = &reader->caches[id / 256][id % 256];
			cache->size = size;
			cache->object_size = object_size;
			memcpy(cache->name, name, sizeof(name));
		}
		text = strchr(text, '\n');
		if (!text++)
			break;
	}
}

/* False: the column ends in it, or it is too long. */
static inline bool get_varint(struct cursor *cursor, uint64_t *value)
{
	const uint8_t *at = cursor->at;

	if (at < cursor->end && *at < 0x80) {
		*value = *at;
		cursor->at++;
		return true;
	}
	*value = 0;
	for (unsigned shift = 0; shift < 64 && at < cursor->end; shift += 7) {
		uint8_t byte = *at++;

		*value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			cursor->at = at;
			return true;
		}
	}
	return false;
}

/* The same, up to a greatest one. */
static inline bool get_number(struct cursor *cursor, uint64_t max, uint64_t *value)
{
	return get_varint(cursor, value) && *value <= max;
}

static inline bool get_byte(struct cursor *cursor, unsigned *value)
{
	if (cursor->at >= cursor->end)
		return false;
	*value = *cursor->at++;
	return true;
}

static bool get_address(struct addresses *addresses, struct cursor *cursor, uint64_t *address)
{
	uint64_t number, step;

	if (!get_number(cursor, addresses->nr, &number) || number >= CHUNK_ADDRESSES_MAX)
		return false;
	if (number == addresses->nr) {
		if (!get_varint(cursor, &step))
			return false;
		addresses->last += (uint64_t)unzigzag(step);
		addresses->address[addresses->nr++] = addresses->last;
	}
	*address = addresses->address[number];
	return true;
}

static void add_call(struct stacks *stacks, uint32_t parent, uint64_t address)
{
	if (stacks->nr_calls == stacks->call_room) {
		stacks->call_room = stacks->call_room * 2 + 1024;
		stacks->call = xrealloc(stacks->call, stacks->call_room * sizeof(*stacks->call));
	}
	stacks->call[stacks->nr_calls++] = (struct call){ address, parent };
}

static bool get_stack(struct stacks *stacks, struct cursor *cursor)
{
	uint64_t head, back, address, nr_new;
	uint32_t call = 0;

	if (!get_varint(cursor, &head) || head / 2 > STACK_FRAMES_MAX ||
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
		stacks->room = stacks->room * 2 + 256;
		stacks->stack = xrealloc(stacks->stack, stacks->room * sizeof(*stacks->stack));
	}
	stacks->stack[stacks->nr++] = (struct stack){ call, head & 1 };
	return true;
}

/* One that is damaged ends it: events that have later ones are refused. */
static void add_stacks(struct reader *reader, size_t size)
{
	struct cursor cursor = { reader->data, reader->data + size };

	if (!reader->stacks)
		reader->stacks = xcalloc(1, sizeof(*reader->stacks));
	reader->stacks->addresses.nr = 0;
	reader->stacks->addresses.last = 0;
	while (cursor.at < cursor.end)
		if (!get_stack(reader->stacks, &cursor))
			break;
}

static void take_chunk(struct reader *reader, const struct chunk_header *header)
{
	uint64_t number = 0, more = 0;

	if (header->unpacked >= sizeof(number))
		memcpy(&number, reader->data, sizeof(number));
	if (header->unpacked >= 2 * sizeof(number))
		memcpy(&more, reader->data + sizeof(number), sizeof(more));
	switch (header->kind) {
	case CHUNK_INFO:
		free(reader->info);
		reader->info = xstrdup((char *)reader->data);
		break;
	case CHUNK_MAPS:
		if (header->unpacked < sizeof(number))
			break;
		free(reader->maps);
		reader->maps = xstrdup((char *)reader->data + sizeof(number));
		break;
	case CHUNK_CACHES:
		add_caches(reader, (char *)reader->data);
		break;
	case CHUNK_STACKS:
		add_stacks(reader, header->unpacked);
		break;
	case CHUNK_LOST:
		reader->lost = number;
		break;
	case CHUNK_END:
		reader->end = number;
		reader->whole = true;
		reader->tail_missing = more & 1;
		break;
	case CHUNK_IMAGE:
		reader->image++;
		break;
	default: /* of a later version */
		break;
	}
}

static bool start_events(struct reader *reader, size_t size)
{
	struct coder *coder = reader->coder;
	const uint8_t *at = reader->data + sizeof(struct events_header);
	struct events_header header;

	if (size < sizeof(header))
		return false;
	memcpy(&header, reader->data, sizeof(header));
	size -= sizeof(header);
	for (unsigned i = 0; i < NR_COLUMNS; i++) {
		if (header.bytes[i] > size)
			return false;
		coder->column[i] = (struct cursor){ at, at + header.bytes[i] };
		at += header.bytes[i];
		size -= header.bytes[i];
	}
	if (header.time_shift > TIME_SHIFT_MAX)
		return false;
	coder->when = 0;
	coder->time_shift = header.time_shift;
	coder->left = header.events;
	coder->cpu = coder->gfp = coder->nr_kinds = 0;
	memset(coder->tid, 0, sizeof(coder->tid));
	coder->addresses.nr = 0;
	coder->addresses.last = 0;
	objects_start(&coder->objects);
	return true;
}

/* Read on until there are events. False: the end. */
static bool next_events(struct reader *reader)
{
	struct chunk_header header;

	reader->coder->left = 0;
	while (read_packed(reader, &header) && unpack(reader, &header)) {
		if (header.kind != CHUNK_EVENTS)
			take_chunk(reader, &header);
		else if (!start_events(reader, header.unpacked))
			return stop(reader, "the recording is damaged");
		else if (reader->coder->left)
			return true;
	}
	return false;
}

void recording_skim(struct reader *reader)
{
	struct chunk_header header;

	reader->at = reader->count = reader->coder->left = 0;
	while (read_packed(reader, &header)) {
		if (header.kind == CHUNK_EVENTS)
			continue;
		if (!unpack(reader, &header))
			break;
		take_chunk(reader, &header);
	}
}

static struct reader *refuse(struct reader *reader, const char *why)
{
	say("%s is %s", reader->path, why);
	recording_reader_close(reader);
	return NULL;
}

struct reader *recording_open(const char *path)
{
	struct reader *reader = xcalloc(1, sizeof(*reader));
	struct file_header header;
	struct stat stat;
	const char *ticks;

	reader->path = xstrdup(path);
	reader->coder = xcalloc(1, sizeof(*reader->coder));
	reader->zstd = ZSTD_createDCtx();
	if (!reader->zstd)
		give_up("no memory");
	reader->file = fopen(path, "re");
	if (!reader->file || fstat(fileno(reader->file), &stat) != 0) {
		say("%s can't be read: %s", path, strerror(errno));
		recording_reader_close(reader);
		return NULL;
	}
	if (S_ISDIR(stat.st_mode))
		return refuse(reader, "a directory, not a recording of kmem");
	reader->file_bytes = (uint64_t)stat.st_size;
	if (fread(&header, sizeof(header), 1, reader->file) != 1 ||
	    memcmp(header.magic, FILE_MAGIC, sizeof(header.magic)) != 0)
		return refuse(reader, "no recording of kmem");
	if (header.version != FILE_VERSION)
		return refuse(reader, "a recording of another version of kmem");
	next_events(reader);
	ticks = recording_info(reader, "ns_per_tick");
	reader->ns_per_tick = ticks ? strtod(ticks, NULL) : 0;
	if (!(reader->ns_per_tick > 0 && reader->ns_per_tick < 1000))
		reader->ns_per_tick = 1;
	ticks = recording_info(reader, "start");
	reader->first = ticks ? strtoull(ticks, NULL, 10) : 0;
	return reader;
}

void recording_reader_close(struct reader *reader)
{
	if (reader->file)
		fclose(reader->file);
	for (size_t i = 0; i < NR_CACHES / 256; i++)
		free(reader->caches[i]);
	free(reader->path);
	free(reader->info);
	free(reader->maps);
	free(reader->packed);
	free(reader->data);
	free(reader->coder);
	if (reader->stacks) {
		free(reader->stacks->call);
		free(reader->stacks->stack);
		free(reader->stacks);
	}
	ZSTD_freeDCtx(reader->zstd);
	free(reader);
}

/* A kind that is new. */
static bool get_new(struct reader *reader)
{
	struct coder *coder = reader->coder;
	struct cursor *column = &coder->column[COLUMN_NEW];
	struct kind *kind = &coder->kind[coder->nr_kinds];
	uint64_t stack, cache, gfp;
	unsigned type;

	if (coder->nr_kinds == CHUNK_KINDS_MAX || !get_byte(column, &type) ||
	    !get_address(&coder->addresses, column, &kind->site) ||
	    !get_number(column, recording_nr_stacks(reader), &stack) ||
	    !get_number(column, TRACE_REQ_MASK, &kind->req) ||
	    !get_number(column, UINT16_MAX, &cache) || !get_number(column, UINT32_MAX, &gfp))
		return false;
	coder->gfp ^= (uint32_t)gfp;
	kind->stack = (uint32_t)stack;
	kind->gfp = coder->gfp;
	kind->cache = (uint16_t)cache;
	kind->type = type & 15;
	coder->nr_kinds++;
	return true;
}

static bool get_place(struct coder *coder)
{
	struct cursor *column = &coder->column[COLUMN_PLACE];
	uint64_t cpu, tid;

	if (!get_number(column, TRACE_NR_RINGS * 2 - 1, &cpu))
		return false;
	coder->cpu = (uint32_t)(cpu / 2);
	if (!(cpu & 1))
		return true;
	if (!get_number(column, TID_MAX, &tid))
		return false;
	coder->tid[coder->cpu] = (uint32_t)tid;
	return true;
}

static const struct kind *get_kind(struct reader *reader)
{
	struct coder *coder = reader->coder;
	struct cursor *column = &coder->column[COLUMN_KIND];
	uint64_t number;

	if (!get_varint(column, &number))
		return NULL;
	if (!number && (!get_place(coder) || !get_varint(column, &number) || !number))
		return NULL;
	if (number > coder->nr_kinds && (number > coder->nr_kinds + 1 || !get_new(reader)))
		return NULL;
	return &coder->kind[number - 1];
}

static bool get_object(struct coder *coder, const struct kind *kind, uint64_t *ptr)
{
	bool gives = type_gives(kind->type);
	uint64_t more = 0;
	unsigned code;

	return get_byte(&coder->column[gives ? COLUMN_FREE : COLUMN_ALLOC], &code) &&
	       (!object_has_more(code) || get_varint(&coder->column[COLUMN_FAR], &more)) &&
	       object_of(objects_of(&coder->objects, kind->type, coder->cpu, kind->cache), gives,
			 code, more, ptr);
}

static bool get_event(struct reader *reader, struct event *event)
{
	struct coder *coder = reader->coder;
	const struct kind *kind = get_kind(reader);
	uint64_t time;

	if (!kind || !get_varint(&coder->column[COLUMN_TIME], &time) ||
	    !get_object(coder, kind, &event->ptr))
		return false;
	coder->when += time;
	event->when = coder->when << coder->time_shift;
	event->site = kind->site;
	event->req = kind->req;
	event->tid = coder->tid[coder->cpu];
	event->gfp = kind->gfp;
	event->stack = kind->stack;
	event->cache = kind->cache;
	event->cpu = (uint16_t)coder->cpu;
	event->type = kind->type;
	return true;
}

/* Take more events apart: those that are there already stay, in front of them. */
static void fill_batch(struct reader *reader)
{
	struct coder *coder = reader->coder;

	memmove(reader->batch, reader->batch + reader->at,
		(reader->count - reader->at) * sizeof(*reader->batch));
	reader->count -= reader->at;
	reader->at = 0;
	for (; reader->count < BATCH && coder->left; coder->left--) {
		if (!get_event(reader, &reader->batch[reader->count])) {
			reader->damaged = true;
			coder->left = 0;
			return;
		}
		reader->count++;
	}
}

bool recording_next(struct reader *reader, struct event *event)
{
	if (reader->count - reader->at <= AHEAD && reader->coder->left)
		fill_batch(reader);
	while (reader->at == reader->count) {
		if (reader->damaged)
			return stop(reader, "the recording is damaged");
		if (!next_events(reader))
			return false;
		fill_batch(reader);
	}
	*event = reader->batch[reader->at++];
	reader->last = event->when;
	return true;
}

const struct event *recording_ahead(const struct reader *reader)
{
	size_t at = reader->at + AHEAD - 1;

	return at < reader->count ? &reader->batch[at] : NULL;
}

const char *recording_info(const struct reader *reader, const char *name)
{
	static char value[4096];
	size_t length = strlen(name);

	for (const char *line = reader->info; line && *line;) {
		const char *end = strchrnul(line, '\n');

		if (!strncmp(line, name, length) && line[length] == ' ') {
			size_t n = (size_t)(end - line) - length - 1;

			n = n < sizeof(value) - 1 ? n : sizeof(value) - 1;
			memcpy(value, line + length + 1, n);
			value[n] = 0;
			return value;
		}
		line = *end ? end + 1 : NULL;
	}
	return NULL;
}

const char *recording_maps(const struct reader *reader)
{
	return reader->maps;
}

const struct cache_name *recording_cache(const struct reader *reader, unsigned id)
{
	const struct cache_name *page = reader->caches[id / 256 % (NR_CACHES / 256)];

	return page && page[id % 256].size ? &page[id % 256] : NULL;
}

const uint64_t *recording_stack_frames(const struct reader *reader, uint32_t stack, size_t *count,
				       bool *cut)
{
	struct stacks *stacks = reader->stacks;
	size_t n = 0;

	if (!stack || stack > recording_nr_stacks(reader))
		return NULL;
	for (uint32_t call = stacks->stack[stack - 1].call; call;
	     call = stacks->call[call - 1].parent) {
		if (n == STACK_FRAMES_MAX)
			break; /* of a damaged file only */
		stacks->frames[n++] = stacks->call[call - 1].address;
	}
	*count = n;
	*cut = stacks->stack[stack - 1].cut;
	return stacks->frames;
}

uint32_t recording_nr_stacks(const struct reader *reader)
{
	return reader->stacks ? (uint32_t)reader->stacks->nr : 0;
}

uint64_t recording_lost(const struct reader *reader)
{
	return reader->lost;
}

bool recording_is_whole(const struct reader *reader)
{
	return reader->whole;
}

bool recording_tail_is_missing(const struct reader *reader)
{
	return reader->tail_missing;
}

unsigned recording_image(const struct reader *reader)
{
	return reader->image;
}

uint64_t recording_ns(const struct reader *reader, uint64_t when)
{
	double ns = when > reader->first ? (double)(when - reader->first) * reader->ns_per_tick : 0;

	return ns < NS_MAX ? (uint64_t)ns : (uint64_t)NS_MAX;
}

uint64_t recording_end(const struct reader *reader)
{
	return reader->end > reader->last ? reader->end : reader->last;
}

double recording_progress(const struct reader *reader)
{
	long at = ftell(reader->file);

	return reader->file_bytes && at > 0 ? (double)at / (double)reader->file_bytes : 1;
}
