/* SPDX-License-Identifier: MIT */
/* depot.h - call stacks of a process that is recorded. */
#ifndef KMEM_DEPOT_H
#define KMEM_DEPOT_H

#include "event.h"
#include "recording.h"
#include "target.h"

struct depot;

/*
 * Stacks go to the writer, numbered as it does. `from_start`: with those that the process has already. Else before it is told to
 * trace.
 */
struct depot *depot_open(const struct target *target, struct writer *writer, bool from_start);
void depot_close(struct depot *depot);
/* Copy what is new, after each pass over the rings and before the events of that are resolved. */
void depot_collect(struct depot *depot);
/*
 * The event has the number of a stack in the process: it gets that in the recording, and its call site.
 * What can't be had it has not. False: it is missing, and was counted; so another event that has it is to come here too.
 */
bool depot_resolve(struct depot *depot, struct event *event);
/* Events whose stack could not be had. */
uint64_t depot_missing(const struct depot *depot);
/* Stacks for which the process found no room, since depot_open(). */
uint64_t depot_lost(const struct depot *depot);

#endif
