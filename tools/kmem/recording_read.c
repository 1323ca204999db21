/* SPDX-License-Identifier: MIT */
/*
 * recording_read.c - read a recording: its chunks. Events: recording_decode.c. Call stacks: recording_untree.c.
 *
 * Chunks are read one after the other, and their events taken apart some hundred at a time, so that whoever plays them can
 * ask the processor for the memory of those that come next (recording_ahead()). Memory: one chunk, and the tree of call stacks.
 *
 * Before that the maps are read, all of them, as what an address means may change (recording_modules.c): the rest is passed over, by the
 * headers. So what can't be read twice is copied first.
 *
 * Nothing in the file is believed: whatever is out of its range ends the reading, with one line. A chunk whose checksum is wrong, that
 * others can do without, and behind which there is another one, is passed over: one line at the end says where, and how much it was.
 */
#include "recording.h"

#include "recording_decode.h"
#include "recording_format.h"
#include "recording_modules.h"
#include "recording_translate.h"
#include "recording_untree.h"
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define NS_MAX 1e18 /* thirty years; more stands in a damaged file only */
#define BATCH 512U
#define AHEAD RECORDING_AHEAD

/* Chunks that were passed over, from the first to the last of them. */
struct gap {
	unsigned chunks, of_events;
	uint64_t from, to;
	uint64_t unpacked; /* bytes of those of events */
};

struct reader {
	FILE *file;
	char *path;
	uint64_t file_bytes;
	char *info;
	struct cache_name *caches[NR_CACHES / 256]; /* NULL: none of these 256 */
	uint64_t lost, first, last, end;
	double ns_per_tick;
	bool whole, tail_missing, over, being_written;
	unsigned image;
	ZSTD_DCtx *zstd;
	uint8_t *packed, *data; /* of the chunk at hand */
	size_t packed_room, data_room;
	struct decoder *decoder;
	struct read_stacks *stacks;
	struct modules *modules;
	struct translator *translator; /* NULL: addresses mean what they say */
	struct event batch[BATCH];     /* taken apart: [at, count) */
	size_t at, count;
	bool damaged; /* behind the batch */
	struct gap gap;
	uint64_t nr_events, events_unpacked; /* of chunks that were not passed over */
};

/* However often a file is read. */
static bool is_first_time(const struct reader *reader, char **said)
{
	if (*said && !strcmp(*said, reader->path))
		return false;
	free(*said);
	*said = xstrdup(reader->path);
	return true;
}

/* It ends in the middle. */
static const char *why_cut(const struct reader *reader)
{
	return reader->being_written ? "it is still being written, and ends now" :
				       "the recording was cut off";
}

/* The rest can't be used: said once, however often the file is read. */
static bool stop(struct reader *reader, const char *why)
{
	static char *said;

	if (!reader->over && is_first_time(reader, &said))
		say("%s: %s at byte %ld: what is before that is shown", reader->path, why,
		    ftell(reader->file));
	reader->over = true;
	return false;
}

/* How many events that were is not known where they are packed: as many as the same bytes have elsewhere. */
static void say_gap(const struct reader *reader)
{
	const struct gap *gap = &reader->gap;
	double most = (double)gap->of_events * CHUNK_EVENTS_MAX, events = most;
	char places[32] = "";

	if (gap->chunks > 1)
		snprintf(places, sizeof(places), " in %u places", gap->chunks);
	if (!gap->of_events) {
		say("%s: the recording is damaged%s from byte %lu to byte %lu: what is there can't be read, the rest is shown",
		    reader->path, places, gap->from, gap->to);
		return;
	}
	if (reader->events_unpacked)
		events = (double)gap->unpacked * (double)reader->nr_events /
			 (double)reader->events_unpacked;
	say("%s: the recording is damaged%s from byte %lu to byte %lu: %s %.0f events there can't be read, the rest is shown: "
	    "numbers are too small, and what seems live may have been freed",
	    reader->path, places, gap->from, gap->to, reader->events_unpacked ? "about" : "up to",
	    events < most ? events : most);
}

/* All of it was read. */
static void tell_gap(struct reader *reader)
{
	static char *said;

	if (reader->gap.chunks && is_first_time(reader, &said))
		say_gap(reader);
	reader->gap.chunks = 0;
}

static uint8_t *room(uint8_t *buf, size_t *have, size_t need)
{
	if (need <= *have)
		return buf;
	*have = need;
	return xrealloc(buf, need);
}

/* Bytes of a chunk, unpacked: a few packed ones can say that they are very many. */
static uint32_t bytes_max(uint32_t kind)
{
	return kind == CHUNK_EVENTS ? EVENTS_BYTES_MAX :
	       kind == CHUNK_STACKS ? STACKS_BYTES_MAX :
				      CHUNK_BYTES_MAX;
}

/* The chunk at hand ended where it says. */
static bool is_followed(const struct reader *reader)
{
	uint32_t magic;
	size_t n = fread(&magic, 1, sizeof(magic), reader->file);

	if (!n && feof(reader->file))
		return true;
	return n == sizeof(magic) && magic == CHUNK_MAGIC &&
	       fseek(reader->file, -(long)sizeof(magic), SEEK_CUR) == 0;
}

/*
 * Calls are numbered through all chunks of them; after an exec addresses mean other things; and what nobody says to be samples would
 * be taken for all.
 */
static bool is_dispensable(const struct reader *reader, uint32_t kind)
{
	return kind == CHUNK_MAPS || kind == CHUNK_CACHES || kind == CHUNK_EVENTS ||
	       kind == CHUNK_LOST || (kind == CHUNK_INFO && reader->info);
}

/* Is the chunk at hand damaged, and to be passed over? Where it is damaged and can't be, that is the end. */
static bool pass_over(struct reader *reader, const struct chunk_header *header)
{
	struct gap *gap = &reader->gap;
	uint64_t end = (uint64_t)ftell(reader->file);

	if (crc32(0, reader->packed, header->bytes) == header->crc)
		return false;
	if (!is_dispensable(reader, header->kind) || !is_followed(reader))
		return stop(reader, "the recording is damaged");
	if (!gap->chunks++)
		gap->from = end - header->bytes - sizeof(*header);
	gap->to = end;
	if (header->kind == CHUNK_EVENTS) {
		gap->of_events++;
		gap->unpacked += header->unpacked;
	}
	return true;
}

static bool read_chunk(struct reader *reader, struct chunk_header *header)
{
	size_t n;

	if (reader->over)
		return false;
	n = fread(header, 1, sizeof(*header), reader->file);
	if (!n && feof(reader->file)) {
		if (!reader->whole)
			stop(reader, why_cut(reader));
		reader->over = true;
		return false;
	}
	if (n != sizeof(*header))
		return stop(reader, why_cut(reader));
	if (header->magic != CHUNK_MAGIC || header->header_crc != chunk_header_crc(header) ||
	    header->bytes > CHUNK_BYTES_MAX || header->unpacked > bytes_max(header->kind))
		return stop(reader, "the recording is damaged");
	reader->packed = room(reader->packed, &reader->packed_room, header->bytes + 1UL);
	if (fread(reader->packed, 1, header->bytes, reader->file) != header->bytes)
		return stop(reader, why_cut(reader));
	return true;
}

/* Read the next chunk that is not damaged into reader->packed. False: the end. */
static bool read_packed(struct reader *reader, struct chunk_header *header)
{
	do
		if (!read_chunk(reader, header))
			return false;
	while (pass_over(reader, header));
	return !reader->over;
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
			memcpy(cache->name, clean_text(name), sizeof(name));
		}
		text = strchr(text, '\n');
		if (!text++)
			break;
	}
}

/* False: it is damaged. */
static bool take_chunk(struct reader *reader, const struct chunk_header *header)
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
	case CHUNK_CACHES:
		add_caches(reader, (char *)reader->data);
		break;
	case CHUNK_STACKS:
		return read_stacks_add(reader->stacks, reader->data, header->unpacked);
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
	case CHUNK_MAPS: /* are known */
	default:	 /* of a later version */
		break;
	}
	return true;
}

/* Read on until there are events. False: the end. */
static bool next_events(struct reader *reader)
{
	struct chunk_header header;

	decoder_stop(reader->decoder);
	while (read_packed(reader, &header) && unpack(reader, &header)) {
		if (header.kind == CHUNK_EVENTS ?
			    !decoder_start(reader->decoder, reader->data, header.unpacked,
					   recording_nr_stacks(reader)) :
			    !take_chunk(reader, &header))
			return stop(reader, "the recording is damaged");
		if (decoder_left(reader->decoder)) {
			reader->nr_events += decoder_left(reader->decoder);
			reader->events_unpacked += header.unpacked;
			return true;
		}
	}
	return false;
}

/* One that can't be read at any place, a pipe, becomes one that can. False: errno. */
static bool make_seekable(struct reader *reader)
{
	char bytes[1 << 16];
	size_t n;
	FILE *copy;

	if (lseek(fileno(reader->file), 0, SEEK_CUR) >= 0)
		return true;
	copy = tmpfile();
	while (copy && (n = fread(bytes, 1, sizeof(bytes), reader->file)) > 0)
		if (fwrite(bytes, 1, n, copy) != n)
			break;
	if (!copy || ferror(reader->file) || ferror(copy) || fflush(copy) != 0 ||
	    fseek(copy, 0, SEEK_SET) != 0) {
		if (copy)
			fclose(copy);
		return false;
	}
	fclose(reader->file);
	reader->file = copy;
	return true;
}

static void read_modules(struct reader *reader)
{
	reader->modules = modules_read(fileno(reader->file));
	if (modules_differ(reader->modules))
		reader->translator = translator_new(reader->modules, reader->stacks);
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
	reader->decoder = decoder_new();
	reader->stacks = read_stacks_new();
	reader->zstd = ZSTD_createDCtx();
	if (!reader->zstd)
		give_up("no memory");
	reader->file = fopen(path, "re");
	if (!reader->file || fstat(fileno(reader->file), &stat) != 0 ||
	    (!S_ISDIR(stat.st_mode) && !make_seekable(reader))) {
		say("%s can't be read: %s", path, strerror(errno));
		recording_reader_close(reader);
		return NULL;
	}
	if (S_ISDIR(stat.st_mode))
		return refuse(reader, "a directory, not a recording of kmem");
	reader->file_bytes = (uint64_t)stat.st_size;
	reader->being_written = flock(fileno(reader->file), LOCK_SH | LOCK_NB) != 0 &&
				errno == EWOULDBLOCK;
	flock(fileno(reader->file), LOCK_UN);
	if (fread(&header, sizeof(header), 1, reader->file) != 1 ||
	    memcmp(header.magic, FILE_MAGIC, sizeof(header.magic)) != 0)
		return refuse(reader, "no recording of kmem");
	if (header.version != FILE_VERSION)
		return refuse(reader, "a recording of another version of kmem");
	read_modules(reader);
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
	free(reader->packed);
	free(reader->data);
	decoder_free(reader->decoder);
	translator_free(reader->translator);
	modules_free(reader->modules);
	read_stacks_free(reader->stacks);
	ZSTD_freeDCtx(reader->zstd);
	free(reader);
}

/* Take more events apart: those that are there already stay, in front of them. */
static void fill_batch(struct reader *reader)
{
	memmove(reader->batch, reader->batch + reader->at,
		(reader->count - reader->at) * sizeof(*reader->batch));
	reader->count -= reader->at;
	reader->at = 0;
	while (reader->count < BATCH && decoder_left(reader->decoder)) {
		if (!decoder_next(reader->decoder, &reader->batch[reader->count])) {
			reader->damaged = true;
			decoder_stop(reader->decoder);
			return;
		}
		if (reader->translator)
			translator_event(reader->translator, reader->image,
					 &reader->batch[reader->count]);
		reader->count++;
	}
}

bool recording_next(struct reader *reader, struct event *event)
{
	if (reader->count - reader->at <= AHEAD && decoder_left(reader->decoder))
		fill_batch(reader);
	while (reader->at == reader->count) {
		if (reader->damaged)
			stop(reader, "the recording is damaged");
		if (reader->damaged || !next_events(reader)) {
			tell_gap(reader);
			return false;
		}
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
			return clean_text(value);
		}
		line = *end ? end + 1 : NULL;
	}
	return NULL;
}

const char *recording_maps(const struct reader *reader)
{
	return modules_text(reader->modules);
}

const struct cache_name *recording_cache(const struct reader *reader, unsigned id)
{
	const struct cache_name *page = reader->caches[id / 256 % (NR_CACHES / 256)];

	return page && page[id % 256].size ? &page[id % 256] : NULL;
}

const uint64_t *recording_stack_frames(const struct reader *reader, uint32_t stack, size_t *count,
				       bool *cut)
{
	return reader->translator ? translator_frames(reader->translator, stack, count, cut) :
				    read_stacks_frames(reader->stacks, stack, count, cut);
}

uint32_t recording_nr_stacks(const struct reader *reader)
{
	return read_stacks_nr(reader->stacks);
}

uint64_t recording_unseen(const struct reader *reader)
{
	return reader->translator ? translator_unseen(reader->translator) : 0;
}

uint64_t recording_lost(const struct reader *reader)
{
	return reader->lost;
}

bool recording_is_whole(const struct reader *reader)
{
	return reader->whole && !reader->gap.to;
}

bool recording_is_being_written(const struct reader *reader)
{
	return reader->being_written && !reader->whole;
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

uint64_t recording_resolution_ns(const struct reader *reader)
{
	double ns = reader->ns_per_tick * (double)(1UL << decoder_shift(reader->decoder));

	return ns > 1 ? (uint64_t)ns : 1;
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
