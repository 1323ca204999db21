/* SPDX-License-Identifier: MIT */
/* samples.h - the stacks of a process' samples, put together with their events while it is recorded. */
#ifndef KMEM_SAMPLES_H
#define KMEM_SAMPLES_H

#include "event.h"
#include "recording.h"
#include "target.h"

struct samples;

/* `from_start`: as rings_open(). */
struct samples *samples_open(const struct target *target, struct writer *writer, bool from_start);
void samples_close(struct samples *samples);
/* Take what is there. Now and then, so that there is room for more. */
void samples_collect(struct samples *samples);
/* The number of the stack of an allocation, in the recording; 0: it has none. */
uint32_t samples_stack(struct samples *samples, const struct event *event);
/* Stacks that the process had no room for since samples_open(). */
uint64_t samples_lost(const struct samples *samples);

#endif
