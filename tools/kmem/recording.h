/* SPDX-License-Identifier: MIT */
/*
 * recording.h - a recording's file.
 *
 * It is a row of chunks, each with its length and checksum, after 16 bytes that say what it is. So one that was cut off, by
 * whatever, reads up to the last whole chunk. All numbers are little-endian.
 *
 *	file:  "kmem.data" 0, u16 version, u32 reserved
 *	chunk: u32 CHUNK_MAGIC, u32 kind, u32 bytes in the file, u32 bytes unpacked, u32 CRC-32 of what is in the file, u32 CRC-32 of
 *	the 20 bytes before it
 *
 * Payloads are zstd's (RFC 8878). What is in them: recording_format.h, and enum chunk_kind.
 */
#ifndef KMEM_RECORDING_H
#define KMEM_RECORDING_H

#include "event.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORDING_DEFAULT "kmem.data"
#define RECORDING_AHEAD 24U

enum chunk_kind {
	CHUNK_INFO, /* lines "name value": what was recorded, and how */
	/*
	 * u64 time stamp, then the text of /proc/PID/maps; "": modules that came and went between the one before and the next one may not
	 * have been seen
	 */
	CHUNK_MAPS,
	CHUNK_CACHES, /* lines "id size object_size name"; later ones add to earlier ones */
	CHUNK_EVENTS,
	CHUNK_LOST, /* u64: events lost so far */
	CHUNK_END, /* u64 time stamp: recorded to its end; u64: 1: but for what came last, see recording_tail_is_missing() */
	CHUNK_IMAGE, /* another program took the process' place (execve(2)): its addresses mean other things from here on */
	CHUNK_STACKS, /* call stacks, numbered from 1 on in the order of the file; before the events that have them */
};

struct writer;

/* A new file, which must not be a directory, with room for some bytes. NULL: said why. */
struct writer *recording_create(const char *path);
/* Before the first event: time stamps need be no finer than so many of the counter's ticks. It makes the file smaller. */
void recording_coarsen(struct writer *writer, uint64_t ticks);
/* Call this before the first events go to the file: a chunk may be written there that belongs in front of them. */
void recording_before_events(struct writer *writer, void (*before)(void *arg), void *arg);
/* From now on a disk that is full, or the like, does not end the program: the file ends before what could not be written. */
void recording_endure(struct writer *writer);
/* errno of that; 0: all was written. */
int recording_error(const struct writer *writer);
/* These end the program, with a line, when the disk is full or the like: what is there by then is readable. */
void recording_add(struct writer *writer, const struct event *events, size_t n);
/*
 * Events as they stand in rings. What one says is asked only if it is not known: of those that are like it (raw_site(), raw_rest(),
 * CPU) the answer is taken for the same, until the next chunk or recording_forget(). `meet` may write chunks.
 */
enum meeting {
	MEET_NONE, /* it is no event */
	MEET_ONCE, /* it is, and the answer is for it alone */
	MEET_LIKE, /* and for all that are like it */
};
typedef enum meeting recording_meet(const struct raw_event *raw, struct event *event, void *arg);
void recording_add_raw(struct writer *writer, const struct raw_event *events, size_t n,
		       recording_meet *meet, void *arg);
/* What was known may be wrong: caches or call stacks have other numbers. */
void recording_forget(struct writer *writer);
void recording_chunk(struct writer *writer, enum chunk_kind kind, const void *data, size_t size);
/*
 * The number of a call stack, the same for the same: return addresses, innermost first. cut: it goes on
 * beyond that. 0: the file has as many as it may have (CALLS_MAX).
 */
uint32_t recording_stack(struct writer *writer, const uint64_t *frames, size_t count, bool cut);
/* Events that are held back go to the file. */
void recording_flush(struct writer *writer);
void recording_close(struct writer *writer);
uint64_t recording_bytes(const struct writer *writer);
/* What is held back, before it is packed: hardly more than it will be in the file. */
uint64_t recording_waiting(const struct writer *writer);
uint64_t recording_events(const struct writer *writer);

struct cache_name {
	uint32_t size;
	uint32_t object_size;
	char name[40];
};

#define NR_CACHES 65536

struct reader;

/* NULL: said why: not there, no recording, another version. */
struct reader *recording_open(const char *path);
void recording_reader_close(struct reader *reader);
/* The next event. False: the end; a file that was cut or damaged has had that said, once. */
bool recording_next(struct reader *reader, struct event *event);
/* The event RECORDING_AHEAD behind the one that came last, so that its memory can be fetched; NULL: not known yet. */
const struct event *recording_ahead(const struct reader *reader);
/* From CHUNK_INFO; NULL: not there. Valid after recording_open(). */
const char *recording_info(const struct reader *reader, const char *name);
/*
 * All modules that there were at any time, as /proc/PID/maps has them; NULL: none. Addresses of events and stacks are in it as they are:
 * where a module was at the place of another one both have more bits than the processor's, which recording_address() takes off.
 */
const char *recording_maps(const struct reader *reader);
/* The address itself, for people. */
static inline uint64_t recording_address(uint64_t address)
{
	return address & TRACE_ADDRESS_MASK;
}
/* NULL: not known (yet). */
const struct cache_name *recording_cache(const struct reader *reader, unsigned id);
/* A call stack that events have had so far, innermost first; until the next one is asked for. NULL: there is no such. */
const uint64_t *recording_stack_frames(const struct reader *reader, uint32_t stack, size_t *count,
				       bool *cut);
/* How many there are in the file so far. */
uint32_t recording_nr_stacks(const struct reader *reader);
/* Allocations so far that have an address and no name, as their module came and went and nobody looked. */
uint64_t recording_unseen(const struct reader *reader);
uint64_t recording_lost(const struct reader *reader);
/* To its end, and without a chunk that was passed over. */
bool recording_is_whole(const struct reader *reader);
/* Another kmem has it open, and may not be done with it. Valid after recording_open(). */
bool recording_is_being_written(const struct reader *reader);
/* The process ended, or replaced itself, before its last events were taken: by a signal, _exit() or execve(). */
bool recording_tail_is_missing(const struct reader *reader);
/* How many programs the process was, one after the other, up to the last event: 0 for the first. */
unsigned recording_image(const struct reader *reader);
/* Nanoseconds from the recording's start to a time stamp. */
uint64_t recording_ns(const struct reader *reader, uint64_t when);
/* Time stamps that are nearer to each other may be the same. Valid after the first event. */
uint64_t recording_resolution_ns(const struct reader *reader);
/* The time stamp of its end, or of the last event. Valid after the last event. */
uint64_t recording_end(const struct reader *reader);
/* Share of the file that was read, 0 to 1, for progress. */
double recording_progress(const struct reader *reader);

#endif
