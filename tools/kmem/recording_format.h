/* SPDX-License-Identifier: MIT */
/*
 * recording_format.h - how a recording's file is made up, for recording_write.c and recording_read.c. Its chunks: recording.h.
 *
 * A chunk of events: u32 how many, u32 unit of time, u32 bytes of each column, then the columns one behind the other (enum column).
 * So like stands beside like, which packs best. An event has
 *
 *	KIND	varint	its kind in this chunk, from 1 on: what of an event often is as it was: type, call site, call stack,
 *			bytes, cache, gfp. The next number there is: a new one. 0: the CPU or the thread changes; then the kind
 *	NEW	of a new kind: u8 type; address; varint call stack, bytes, cache, gfp ^ that of the new kind before
 *	PLACE	of a change: varint CPU * 2, + 1 if its thread is not the one that it had last; then varint that
 *	TIME	four bits: time since the last event, in units of 1 << the unit of time; two events are a byte, the first one low.
 *		TIME_LONG: it is so much or more
 *	LONG	varint	of such an event, how much more
 *	ALLOC, FREE	u8	which object, see recording_objects.h
 *	FAR	varint, of some objects
 *
 * address: varint, its number in this chunk. The next number there is: a new one, then varint the difference to the new one before.
 *
 * A chunk of call stacks, which are a tree: a call has the call that made it as its parent. Calls and stacks are numbered
 * from 1 on, through all of the file. Of each stack
 *
 *	varint	calls that are new * 2, + 1 if the stack goes on
 *	varint	the last call that is not new: how far it is from the last one that there is; 0 is the root
 *	address	of each new call, outermost first
 *
 * Nothing but calls and stacks is carried over from one chunk to another.
 */
#ifndef KMEM_RECORDING_FORMAT_H
#define KMEM_RECORDING_FORMAT_H

#include "trace/format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

#define FILE_MAGIC "kmem.data"
#define FILE_VERSION 4
#define CHUNK_MAGIC 0x6b6d6368U
#define CHUNK_BYTES_MAX (64U << 20)
#define CHUNK_EVENTS_MAX (1U << 18)
#define CHUNK_KINDS_MAX 65536U
#define CHUNK_ADDRESSES_MAX 131072U
#define STACKS_BYTES (1U << 20) /* of a chunk, about */
#define STACK_FRAMES_MAX 4096U
/*
 * Of all of a file. A reader keeps 16 bytes of each call and 8 of each stack, and the file may have far less: so there is an
 * end to them. It is four times what the library has room for in one process; stacks beyond that are not written.
 */
#define CALLS_MAX (1U << 25)
#define STACKS_MAX CALLS_MAX
/* As fine as the time stamp counter tells it, which takes as long to read: about 25 ns. */
#define TIME_SHIFT 6U
#define TIME_SHIFT_MAX 40U
#define TIME_LONG 15U
#define TID_MAX ((1U << (64 - TRACE_REQ_BITS)) - 1)
#define VARINT_MAX 10U /* bytes */

struct file_header {
	char magic[10];
	uint16_t version;
	uint32_t reserved;
};

struct chunk_header {
	uint32_t magic, kind, bytes, unpacked, crc;
	uint32_t header_crc; /* of what is before it here */
};

/* What header->header_crc is to be. */
static inline uint32_t chunk_header_crc(const struct chunk_header *header)
{
	return (uint32_t)crc32(0, (const Bytef *)header, offsetof(struct chunk_header, header_crc));
}

_Static_assert(sizeof(struct file_header) == 16 && sizeof(struct chunk_header) == 24,
	       "as they stand in the file");

enum column {
	COLUMN_KIND,
	COLUMN_NEW,
	COLUMN_PLACE,
	COLUMN_TIME,
	COLUMN_LONG,
	COLUMN_ALLOC,
	COLUMN_FREE,
	COLUMN_FAR,
	NR_COLUMNS,
};

struct events_header {
	uint32_t events;
	uint32_t time_shift;
	uint32_t bytes[NR_COLUMNS];
};

/* Unpacked bytes, the most that a writer makes, and that a reader takes. */
#define STACKS_BYTES_MAX (STACKS_BYTES + (2U * STACK_FRAMES_MAX + 2) * VARINT_MAX)
#define EVENTS_BYTES_MAX                                                                           \
	((uint32_t)sizeof(struct events_header) +                                                  \
	 CHUNK_EVENTS_MAX * (4U + 8U + 1U + VARINT_MAX * 2U + 1U + 1U) +                           \
	 CHUNK_KINDS_MAX * (1U + 6U * VARINT_MAX))

static inline uint32_t column_bytes_max(enum column column)
{
	switch (column) {
	case COLUMN_KIND:
		return CHUNK_EVENTS_MAX * 4U;
	case COLUMN_NEW:
		return CHUNK_KINDS_MAX * (1U + 6U * VARINT_MAX);
	case COLUMN_PLACE:
		return CHUNK_EVENTS_MAX * 8U;
	case COLUMN_TIME:
		return CHUNK_EVENTS_MAX / 2U;
	case COLUMN_LONG:
	case COLUMN_FAR:
		return CHUNK_EVENTS_MAX * VARINT_MAX;
	default:
		return CHUNK_EVENTS_MAX;
	}
}

struct kind {
	uint64_t site;
	uint64_t req;
	uint32_t stack;
	uint32_t gfp;
	uint32_t cache, type;
};

/* Types come in pairs, what takes an object and what gives it back. */
static inline bool type_gives(unsigned type)
{
	return !(type & 1);
}

static inline bool type_has_req(unsigned type)
{
	return type == TRACE_KMALLOC || type == TRACE_KMEM_CACHE_ALLOC || type == TRACE_VMALLOC ||
	       type >= TRACE_MM_PAGE_ALLOC;
}

static inline uint64_t zigzag(int64_t value)
{
	return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

static inline int64_t unzigzag(uint64_t value)
{
	return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

#endif
