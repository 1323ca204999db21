/* SPDX-License-Identifier: MIT */
/* rings.h - take the events out of a process' rings, in the order in which they happened. */
#ifndef KMEM_RINGS_H
#define KMEM_RINGS_H

#include "event.h"
#include "target.h"

struct rings;

/* `from_start`: with all that its rings hold already, as it was told to trace before it was looked at. */
struct rings *rings_open(struct target *target, bool from_start);
void rings_close(struct rings *rings);

/* Some events, one after the other. Their words are there until it returns. */
typedef void rings_take(const struct raw_event *events, size_t n, void *arg);
/* What it says. False: it is no event, and is counted among those that were lost. The stack is numbered as in the process. */
bool rings_decode(struct rings *rings, const struct raw_event *raw, struct event *event);

/*
 * Take what is there and pass on what is certain to be in order: all that is older than this call, less a moment. `last`: all that
 * there is. Returns how many events were taken; -1: the process is gone, or damaged, and what it had left is lost.
 */
long rings_collect(struct rings *rings, bool last, rings_take *take, void *arg);
/*
 * Call this in each pass, when the rings were read and before any of that is passed on, which takes a while: for what must be read
 * of the process too. The control block is that of after the events.
 */
void rings_after_read(struct rings *rings, void (*after_read)(void *arg), void *arg);
/* Did they make no sense? Then that was said. */
bool rings_are_damaged(const struct rings *rings);
/* Events that the process could not write since rings_open(), and those that were none. */
uint64_t rings_lost(const struct rings *rings);

#endif
