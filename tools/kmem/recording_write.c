/* SPDX-License-Identifier: MIT */
/*
 * recording_write.c - write a recording: its chunks. Events: recording_encode.c. Call stacks: recording_tree.c.
 *
 * The program that is recorded may wait for this: so it is zstd at its fastest level that still looks for entropy. The pieces
 * of a chunk become blocks of their own (ZSTD_e_flush), each with tables that fit it.
 */
#include "recording.h"

#include "recording_encode.h"
#include "recording_format.h"
#include "recording_tree.h"
#include "say.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <zlib.h>
#include <zstd.h>

#define LEVEL 1
/* Shorter matches are hardly shorter than the entropy of what they stand for, and a small table stays in the processor's cache. */
#define MATCH_BYTES 6
#define HASH_LOG 12

struct writer {
	FILE *file;
	char *path;
	uint64_t bytes, events;
	uint64_t whole;	       /* bytes of whole chunks */
	uint64_t whole_events; /* in these */
	bool endures;
	int error; /* with that: what was written last is not there, and only an end is written still */
	ZSTD_CCtx *zstd;
	uint8_t *packed;
	size_t packed_room;
	struct encoder *encoder;
	struct call_tree *stacks;	  /* NULL: none yet */
	void (*before_events)(void *arg); /* NULL: was called, or nobody wants it */
	void *before_events_arg;
};

static void failed(struct writer *writer)
{
	writer->error = errno;
	/* there is room for an end again */
	if (writer->endures && ftruncate(fileno(writer->file), (off_t)writer->whole) == 0 &&
	    fseeko(writer->file, (off_t)writer->whole, SEEK_SET) == 0) {
		writer->bytes = writer->whole;
		return;
	}
	if (!writer->whole_events)
		give_up("%s: %s; no event is in it", writer->path, strerror(writer->error));
	give_up("%s: %s; the first %lu events are in it", writer->path, strerror(writer->error),
		writer->whole_events);
}

/* False: it could not be. */
static bool write_all(struct writer *writer, const void *data, size_t size)
{
	if (fwrite(data, 1, size, writer->file) != size) {
		failed(writer);
		return false;
	}
	writer->bytes += size;
	return true;
}

struct writer *recording_create(const char *path)
{
	struct file_header header = { .magic = FILE_MAGIC, .version = FILE_VERSION };
	struct writer *writer;
	FILE *file = fopen(path, "we");

	/* chunks are written whole; what could not be is not left behind to be tried again */
	if (file)
		setvbuf(file, NULL, _IONBF, 0);
	if (!file || fwrite(&header, sizeof(header), 1, file) != 1) {
		say("%s can't be written: %s", path, strerror(errno));
		if (file)
			fclose(file);
		return NULL;
	}
	/* until it is closed, or this program is gone: see recording_is_being_written() */
	flock(fileno(file), LOCK_EX | LOCK_NB);
	writer = xcalloc(1, sizeof(*writer));
	writer->file = file;
	writer->path = xstrdup(path);
	writer->zstd = ZSTD_createCCtx();
	if (!writer->zstd ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, LEVEL)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_minMatch, MATCH_BYTES)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_hashLog, HASH_LOG)))
		give_up("no memory");
	writer->encoder = encoder_new();
	writer->bytes = writer->whole = sizeof(header);
	return writer;
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

/* False: it is not there. */
static bool write_pieces(struct writer *writer, enum chunk_kind kind, const ZSTD_inBuffer *piece,
			 size_t count)
{
	struct chunk_header header = { .magic = CHUNK_MAGIC, .kind = kind };
	size_t total = 0, packed;

	if (writer->error && kind != CHUNK_END)
		return false;
	for (size_t i = 0; i < count; i++)
		total += piece[i].size;
	packed = pack(writer, piece, count, total);
	header.bytes = (uint32_t)packed;
	header.unpacked = (uint32_t)total;
	header.crc = (uint32_t)crc32(0, writer->packed, (uInt)packed);
	header.header_crc = chunk_header_crc(&header);
	if (!write_all(writer, &header, sizeof(header)) ||
	    !write_all(writer, writer->packed, packed))
		return false;
	writer->whole = writer->bytes;
	return true;
}

void recording_chunk(struct writer *writer, enum chunk_kind kind, const void *data, size_t size)
{
	write_pieces(writer, kind, &(ZSTD_inBuffer){ data, size, 0 }, 1);
}

static void write_stacks(struct writer *writer)
{
	size_t size;
	const void *data = call_tree_piece(writer->stacks, &size);

	if (size)
		recording_chunk(writer, CHUNK_STACKS, data, size);
	call_tree_start(writer->stacks);
}

uint32_t recording_stack(struct writer *writer, const uint64_t *frames, size_t count, bool cut)
{
	uint32_t number;

	if (!writer->stacks)
		writer->stacks = call_tree_new();
	number = call_tree_add(writer->stacks, frames, count, cut);
	if (call_tree_is_full(writer->stacks))
		write_stacks(writer);
	return number;
}

static void write_events(struct writer *writer)
{
	const void *data[NR_COLUMNS];
	size_t size[NR_COLUMNS], count;
	struct events_header header;
	ZSTD_inBuffer piece[NR_COLUMNS + 1] = { { &header, sizeof(header), 0 } };
	void (*before)(void *arg) = writer->before_events;

	writer->before_events = NULL;
	if (before)
		before(writer->before_events_arg);
	count = encoder_pieces(writer->encoder, &header, data, size);
	for (size_t i = 0; i < count; i++)
		piece[i + 1] = (ZSTD_inBuffer){ data[i], size[i], 0 };
	if (write_pieces(writer, CHUNK_EVENTS, piece, count + 1))
		writer->whole_events += header.events;
	encoder_start(writer->encoder);
}

void recording_flush(struct writer *writer)
{
	if (writer->stacks)
		write_stacks(writer);
	if (encoder_events(writer->encoder))
		write_events(writer);
}

void recording_add(struct writer *writer, const struct event *events, size_t n)
{
	writer->events += n;
	while (n) {
		size_t taken = encoder_add(writer->encoder, events, n);

		events += taken;
		n -= taken;
		if (encoder_is_full(writer->encoder))
			recording_flush(writer);
	}
}

void recording_add_raw(struct writer *writer, const struct raw_event *events, size_t n,
		       recording_meet *meet, void *arg)
{
	while (n) {
		size_t before = encoder_events(writer->encoder);
		size_t taken = encoder_add_raw(writer->encoder, events, n, meet, arg);

		events += taken;
		n -= taken;
		writer->events += encoder_events(writer->encoder) - before;
		if (encoder_is_full(writer->encoder))
			recording_flush(writer);
	}
}

void recording_forget(struct writer *writer)
{
	encoder_forget(writer->encoder);
}

void recording_before_events(struct writer *writer, void (*before)(void *arg), void *arg)
{
	writer->before_events = before;
	writer->before_events_arg = arg;
}

void recording_coarsen(struct writer *writer, uint64_t ticks)
{
	encoder_coarsen(writer->encoder, ticks);
}

void recording_close(struct writer *writer)
{
	recording_flush(writer);
	if (fclose(writer->file) != 0)
		say("%s: %s", writer->path, strerror(errno));
	ZSTD_freeCCtx(writer->zstd);
	encoder_free(writer->encoder);
	call_tree_free(writer->stacks);
	free(writer->path);
	free(writer->packed);
	free(writer);
}

void recording_endure(struct writer *writer)
{
	writer->endures = true;
}

int recording_error(const struct writer *writer)
{
	return writer->error;
}

uint64_t recording_bytes(const struct writer *writer)
{
	return writer->bytes;
}

uint64_t recording_waiting(const struct writer *writer)
{
	size_t size = 0;

	if (writer->stacks)
		call_tree_piece(writer->stacks, &size);
	return size + encoder_bytes(writer->encoder);
}

uint64_t recording_events(const struct writer *writer)
{
	return writer->events;
}
