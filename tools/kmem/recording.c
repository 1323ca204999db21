/* SPDX-License-Identifier: MIT */
/*
 * recording.c - write and read a recording.
 *
 * Events of a chunk are packed one after the other, each relative to what came before it in the chunk (struct coder), so
 * that most of their numbers are small, and take one to three bytes; then zlib finds the repetitions. An event:
 *
 *	u8	type | FLAG_* of what follows
 *	varint	time since the last event, in units of 1 << TIME_SHIFT
 *	varint	address, less the last one of the same type, in units of 16, sign in bit 0. FLAG_ODD: as it is
 *	varint	number of the call site in the chunk; one that is new is followed by its 8 bytes
 *	varint	bytes, of allocations and counts; and the cache's id
 *	varint	thread, FLAG_THREAD: another one; CPU, FLAG_CPU; gfp, FLAG_GFP
 *
 * One that has a call stack comes behind
 *
 *	u8	TYPE_STACK
 *	varint	number of the stack
 *
 * A chunk of call stacks: of each
 *
 *	varint	number of its frames * 2, + 1 if the stack goes on
 *	u64	return address; each of them, innermost first
 */
#include "recording.h"

#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define FILE_MAGIC "kmem.data"
#define FILE_VERSION 1
#define CHUNK_MAGIC 0x6b6d6368U
#define CHUNK_BYTES_MAX (64U << 20)
#define EVENTS_BYTES (1U << 20) /* of a chunk, unpacked */
#define EVENT_BYTES_MAX 96U
#define TIME_SHIFT 4
#define NR_SITES 65536U /* of a chunk */
#define NS_MAX 1e18	/* thirty years; more stands in a damaged file only */
#define TYPE_STACK 15
#define STACKS_BYTES (1U << 20) /* of a chunk, unpacked */
#define STACK_FRAMES_MAX 65536U

#define FLAG_ODD 0x10
#define FLAG_THREAD 0x20
#define FLAG_CPU 0x40
#define FLAG_GFP 0x80

struct file_header {
	char magic[10];
	uint16_t version;
	uint32_t reserved;
};

struct chunk_header {
	uint32_t magic, kind, bytes, unpacked, crc, reserved;
};

_Static_assert(sizeof(struct file_header) == 16 && sizeof(struct chunk_header) == 24,
	       "as they stand in the file");

/* What the events of a chunk are relative to. */
struct coder {
	uint64_t when;
	uint64_t ptr[16];
	uint32_t tid, gfp;
	uint16_t cpu;
	uint32_t nr_sites;
	uint64_t site[NR_SITES];
};

/* Call stacks, by number - 1; their frames stand one behind the other. */
struct stacks {
	struct stack {
		size_t first;
		uint32_t count, cut;
	} * stack;
	uint64_t *frame;
	size_t nr, room, nr_frames, frames_room;
};

struct writer {
	FILE *file;
	char *path;
	uint64_t bytes, events;
	struct coder coder;
	uint32_t hash[NR_SITES * 2]; /* of sites: number + 1 */
	uint8_t *data, *packed;
	size_t size, packed_room;
	struct stacks stacks;
	uint32_t *stack_hash; /* number; 0: empty */
	size_t stack_hash_room, stacks_written;
};

static size_t put_varint(uint8_t *at, uint64_t value)
{
	size_t n = 0;

	for (; value >= 0x80; value >>= 7)
		at[n++] = (uint8_t)(value | 0x80);
	at[n++] = (uint8_t)value;
	return n;
}

static uint64_t zigzag(int64_t value)
{
	return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

static int64_t unzigzag(uint64_t value)
{
	return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

static bool has_count(unsigned type)
{
	return type == TRACE_KMALLOC || type == TRACE_KMEM_CACHE_ALLOC || type == TRACE_VMALLOC ||
	       type >= TRACE_MM_PAGE_ALLOC;
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
	writer->data = xmalloc(EVENTS_BYTES + EVENT_BYTES_MAX);
	write_all(writer, &header, sizeof(header));
	return writer;
}

void recording_chunk(struct writer *writer, enum chunk_kind kind, const void *data, size_t size)
{
	uLongf packed = compressBound(size);
	struct chunk_header header = { .magic = CHUNK_MAGIC,
				       .kind = kind,
				       .unpacked = (uint32_t)size };

	if (packed > writer->packed_room) {
		writer->packed_room = packed;
		writer->packed = xrealloc(writer->packed, packed);
	}
	if (compress2(writer->packed, &packed, data, size, 1) != Z_OK)
		give_up("no memory");
	header.bytes = (uint32_t)packed;
	header.crc = (uint32_t)crc32(0, writer->packed, (uInt)packed);
	write_all(writer, &header, sizeof(header));
	write_all(writer, writer->packed, packed);
	if (fflush(writer->file) != 0)
		failed(writer);
}

static void add_stack(struct stacks *stacks, const uint64_t *frames, size_t count, bool cut)
{
	if (stacks->nr == stacks->room) {
		stacks->room = stacks->room * 2 + 256;
		stacks->stack = xrealloc(stacks->stack, stacks->room * sizeof(*stacks->stack));
	}
	if (stacks->nr_frames + count > stacks->frames_room) {
		stacks->frames_room = (stacks->nr_frames + count) * 2;
		stacks->frame =
			xrealloc(stacks->frame, stacks->frames_room * sizeof(*stacks->frame));
	}
	memcpy(stacks->frame + stacks->nr_frames, frames, count * sizeof(*frames));
	stacks->stack[stacks->nr++] =
		(struct stack){ stacks->nr_frames, (uint32_t)count, (uint32_t)cut };
	stacks->nr_frames += count;
}

static void free_stacks(struct stacks *stacks)
{
	free(stacks->stack);
	free(stacks->frame);
}

static bool is_stack(const struct stacks *stacks, uint32_t number, const uint64_t *frames,
		     size_t count, bool cut)
{
	const struct stack *stack = &stacks->stack[number - 1];

	return stack->count == count && stack->cut == cut &&
	       !memcmp(stacks->frame + stack->first, frames, count * sizeof(*frames));
}

static uint64_t hash_of_frames(const uint64_t *frames, size_t count)
{
	uint64_t hash = count;

	for (size_t i = 0; i < count; i++) {
		hash = (hash ^ frames[i]) * 0x9e3779b97f4a7c15UL;
		hash ^= hash >> 32;
	}
	return hash;
}

static void grow_stack_hash(struct writer *writer)
{
	const struct stacks *stacks = &writer->stacks;

	free(writer->stack_hash);
	writer->stack_hash_room = writer->stack_hash_room ? writer->stack_hash_room * 2 : 1024;
	writer->stack_hash = xcalloc(writer->stack_hash_room, sizeof(*writer->stack_hash));
	for (size_t i = 0; i < stacks->nr; i++) {
		const struct stack *stack = &stacks->stack[i];
		size_t at = hash_of_frames(stacks->frame + stack->first, stack->count);

		while (writer->stack_hash[at % writer->stack_hash_room])
			at++;
		writer->stack_hash[at % writer->stack_hash_room] = (uint32_t)i + 1;
	}
}

uint32_t recording_stack(struct writer *writer, const uint64_t *frames, size_t count, bool cut)
{
	uint32_t *entry;
	size_t at;

	if (count > STACK_FRAMES_MAX)
		count = STACK_FRAMES_MAX;
	at = hash_of_frames(frames, count);
	if (writer->stacks.nr * 2 >= writer->stack_hash_room)
		grow_stack_hash(writer);
	for (;; at++) {
		entry = &writer->stack_hash[at % writer->stack_hash_room];
		if (!*entry)
			break;
		if (is_stack(&writer->stacks, *entry, frames, count, cut))
			return *entry;
	}
	add_stack(&writer->stacks, frames, count, cut);
	return *entry = (uint32_t)writer->stacks.nr;
}

/* Those that are not in the file yet. */
static void write_stacks(struct writer *writer)
{
	uint8_t *data = xmalloc(STACKS_BYTES + 10 + STACK_FRAMES_MAX * sizeof(uint64_t));
	size_t size = 0;

	while (writer->stacks_written < writer->stacks.nr) {
		const struct stack *stack = &writer->stacks.stack[writer->stacks_written++];
		size_t bytes = stack->count * sizeof(uint64_t);

		size += put_varint(data + size, stack->count * 2 + stack->cut);
		memcpy(data + size, writer->stacks.frame + stack->first, bytes);
		size += bytes;
		if (size >= STACKS_BYTES || writer->stacks_written == writer->stacks.nr) {
			recording_chunk(writer, CHUNK_STACKS, data, size);
			size = 0;
		}
	}
	free(data);
}

void recording_flush(struct writer *writer)
{
	if (writer->stacks_written < writer->stacks.nr)
		write_stacks(writer);
	if (writer->size)
		recording_chunk(writer, CHUNK_EVENTS, writer->data, writer->size);
	writer->size = 0;
	memset(&writer->coder, 0, offsetof(struct coder, site));
	memset(writer->hash, 0, sizeof(writer->hash));
}

/* The site's number in the chunk; *is_new: it is the first time here. */
static uint32_t site_number(struct writer *writer, uint64_t site, bool *is_new)
{
	uint32_t slot = (uint32_t)(site * 0x9e3779b97f4a7c15UL >> 47);

	for (;; slot++) {
		uint32_t *entry = &writer->hash[slot % (NR_SITES * 2)];

		if (!*entry) {
			*entry = writer->coder.nr_sites + 1;
			writer->coder.site[writer->coder.nr_sites] = site;
			*is_new = true;
			return writer->coder.nr_sites++;
		}
		if (writer->coder.site[*entry - 1] == site) {
			*is_new = false;
			return *entry - 1;
		}
	}
}

void recording_event(struct writer *writer, const struct event *event)
{
	struct coder *coder = &writer->coder;
	uint8_t *start = writer->data + writer->size, *at = start + 1;
	unsigned type = event->type & 15;
	uint64_t when = event->when >> TIME_SHIFT;
	bool is_new;

	if (event->stack) {
		*start = TYPE_STACK;
		start = at + put_varint(at, event->stack);
		at = start + 1;
	}
	*start = (uint8_t)type;
	/* a little out of order is possible, and then they are taken as at the same moment */
	if (when < coder->when)
		when = coder->when;
	at += put_varint(at, when - coder->when);
	coder->when = when;
	if (event->ptr & 15) {
		*start |= FLAG_ODD;
		at += put_varint(at, event->ptr);
	} else {
		at += put_varint(at, zigzag((int64_t)(event->ptr - coder->ptr[type]) / 16));
		coder->ptr[type] = event->ptr;
	}
	at += put_varint(at, site_number(writer, event->site, &is_new));
	if (is_new) {
		memcpy(at, &event->site, 8);
		at += 8;
	}
	if (has_count(type))
		at += put_varint(at, event->req);
	at += put_varint(at, event->cache);
	if (event->tid != coder->tid) {
		*start |= FLAG_THREAD;
		at += put_varint(at, coder->tid = event->tid);
	}
	if (event->cpu != coder->cpu) {
		*start |= FLAG_CPU;
		at += put_varint(at, coder->cpu = event->cpu);
	}
	if (event->gfp != coder->gfp) {
		*start |= FLAG_GFP;
		at += put_varint(at, coder->gfp = event->gfp);
	}
	writer->size = (size_t)(at - writer->data);
	writer->events++;
	if (writer->size >= EVENTS_BYTES || coder->nr_sites == NR_SITES)
		recording_flush(writer);
}

void recording_close(struct writer *writer)
{
	recording_flush(writer);
	if (fclose(writer->file) != 0)
		say("%s: %s", writer->path, strerror(errno));
	free(writer->path);
	free(writer->data);
	free(writer->packed);
	free_stacks(&writer->stacks);
	free(writer->stack_hash);
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
	struct stacks stacks;
	struct coder coder;
	uint8_t *packed, *data; /* of the chunk of events at hand */
	size_t packed_room, data_room, size, at;
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

/* Read the next chunk into reader->data. False: the end. */
static bool read_chunk(struct reader *reader, struct chunk_header *header)
{
	uLongf unpacked;
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
	reader->data = room(reader->data, &reader->data_room, header->unpacked + 1UL);
	unpacked = header->unpacked;
	if (uncompress(reader->data, &unpacked, reader->packed, header->bytes) != Z_OK ||
	    unpacked != header->unpacked)
		return stop(reader, "the recording is damaged");
	reader->data[unpacked] = 0;
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

/* False: the chunk ends in it, or it is too long. */
static bool get_varint(struct reader *reader, uint64_t *value)
{
	*value = 0;
	for (unsigned shift = 0; shift < 64 && reader->at < reader->size; shift += 7) {
		uint8_t byte = reader->data[reader->at++];

		*value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

/* One that is damaged ends it: events that have later ones are refused. */
static void add_stacks(struct reader *reader, size_t size)
{
	static uint64_t frames[STACK_FRAMES_MAX];
	uint64_t head;

	reader->size = size;
	for (reader->at = 0; reader->at < size;) {
		if (!get_varint(reader, &head) || head / 2 > STACK_FRAMES_MAX ||
		    size - reader->at < head / 2 * sizeof(*frames))
			break;
		memcpy(frames, reader->data + reader->at, head / 2 * sizeof(*frames));
		reader->at += head / 2 * sizeof(*frames);
		add_stack(&reader->stacks, frames, head / 2, head & 1);
	}
	reader->size = reader->at = 0;
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

/* Read on until there are events. False: the end. */
static bool next_events(struct reader *reader)
{
	struct chunk_header header;

	reader->size = reader->at = 0;
	while (read_chunk(reader, &header)) {
		if (header.kind == CHUNK_EVENTS && header.unpacked) {
			memset(&reader->coder, 0, offsetof(struct coder, site));
			reader->size = header.unpacked;
			return true;
		}
		take_chunk(reader, &header);
	}
	return false;
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
	free_stacks(&reader->stacks);
	free(reader);
}

static bool get_site(struct reader *reader, uint64_t *site)
{
	struct coder *coder = &reader->coder;
	uint64_t number;

	if (!get_varint(reader, &number) || number > coder->nr_sites || number >= NR_SITES)
		return false;
	if (number == coder->nr_sites) {
		if (reader->size - reader->at < 8)
			return false;
		memcpy(&coder->site[coder->nr_sites++], reader->data + reader->at, 8);
		reader->at += 8;
	}
	*site = coder->site[number];
	return true;
}

static bool get_changed(struct reader *reader, bool changed, uint64_t *value, uint64_t now)
{
	*value = now;
	return !changed || get_varint(reader, value);
}

static bool get_event(struct reader *reader, struct event *event)
{
	struct coder *coder = &reader->coder;
	uint8_t head = reader->data[reader->at++];
	uint64_t time, ptr, cache, tid, cpu, gfp, stack = 0;
	unsigned type;

	if (head == TYPE_STACK) {
		if (!get_varint(reader, &stack) || !stack || stack > reader->stacks.nr ||
		    reader->at >= reader->size)
			return false;
		head = reader->data[reader->at++];
	}
	type = head & 15;
	*event = (struct event){ .type = (uint8_t)type, .stack = (uint32_t)stack };
	if (!get_varint(reader, &time) || !get_varint(reader, &ptr) ||
	    !get_site(reader, &event->site) ||
	    (has_count(type) && !get_varint(reader, &event->req)) || !get_varint(reader, &cache) ||
	    !get_changed(reader, head & FLAG_THREAD, &tid, coder->tid) ||
	    !get_changed(reader, head & FLAG_CPU, &cpu, coder->cpu) ||
	    !get_changed(reader, head & FLAG_GFP, &gfp, coder->gfp))
		return false;
	coder->when += time;
	coder->tid = (uint32_t)tid;
	coder->cpu = (uint16_t)cpu;
	coder->gfp = (uint32_t)gfp;
	if (head & FLAG_ODD)
		event->ptr = ptr;
	else
		event->ptr = coder->ptr[type] += (uint64_t)unzigzag(ptr) * 16;
	event->when = coder->when << TIME_SHIFT;
	event->cache = (uint16_t)cache;
	event->tid = coder->tid;
	event->cpu = coder->cpu;
	event->gfp = coder->gfp;
	return true;
}

bool recording_next(struct reader *reader, struct event *event)
{
	while (reader->at >= reader->size)
		if (!next_events(reader))
			return false;
	if (!get_event(reader, event)) {
		reader->at = reader->size;
		return stop(reader, "the recording is damaged");
	}
	reader->last = event->when;
	return true;
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
	const struct stack *entry;

	if (!stack || stack > reader->stacks.nr)
		return NULL;
	entry = &reader->stacks.stack[stack - 1];
	*count = entry->count;
	*cut = entry->cut;
	return reader->stacks.frame + entry->first;
}

uint32_t recording_nr_stacks(const struct reader *reader)
{
	return (uint32_t)reader->stacks.nr;
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
