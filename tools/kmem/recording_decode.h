/* SPDX-License-Identifier: MIT */
/* recording_decode.h - the events of a chunk, from its columns. */
#ifndef KMEM_RECORDING_DECODE_H
#define KMEM_RECORDING_DECODE_H

#include "event.h"
#include "recording_format.h"

struct decoder;

struct decoder *decoder_new(void);
void decoder_free(struct decoder *decoder);
/* A chunk, whose bytes stay where they are until the next one; nr_stacks: call stacks that there are. False: it is damaged. */
bool decoder_start(struct decoder *decoder, const uint8_t *data, size_t size, uint32_t nr_stacks);
/* Events that it has still. */
uint32_t decoder_left(const struct decoder *decoder);
/* [decoder_left()] The next one. False: it is damaged. */
bool decoder_next(struct decoder *decoder, struct event *event);
/* Time stamps of the chunk are multiples of 2 to that. */
unsigned decoder_shift(const struct decoder *decoder);
/* There is no chunk any more. */
void decoder_stop(struct decoder *decoder);

#endif
