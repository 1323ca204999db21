/* SPDX-License-Identifier: MIT */
/* recording_encode.h - the events of a chunk, as columns. */
#ifndef KMEM_RECORDING_ENCODE_H
#define KMEM_RECORDING_ENCODE_H

#include "recording.h"
#include "recording_format.h"

struct encoder;

struct encoder *encoder_new(void);
void encoder_free(struct encoder *encoder);
/* See recording_coarsen(). */
void encoder_coarsen(struct encoder *encoder, uint64_t ticks);
/* How many of them: some, but where the chunk is full. */
size_t encoder_add(struct encoder *encoder, const struct event *event, size_t n);
/* The same, of events as they stand in rings: see recording_add_raw(). */
size_t encoder_add_raw(struct encoder *encoder, const struct raw_event *raw, size_t n,
		       recording_meet *meet, void *arg);
void encoder_forget(struct encoder *encoder);
bool encoder_is_full(const struct encoder *encoder);
size_t encoder_events(const struct encoder *encoder);
/* Of all columns, before they are packed. */
size_t encoder_bytes(const struct encoder *encoder);
/* The chunk: its header, and the columns that are not empty. Returns how many these are. */
size_t encoder_pieces(const struct encoder *encoder, struct events_header *header,
		      const void *piece[NR_COLUMNS], size_t size[NR_COLUMNS]);
/* A new chunk. */
void encoder_start(struct encoder *encoder);

#endif
