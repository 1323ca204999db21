/* SPDX-License-Identifier: MIT */
/* recording_translate.h - events and call stacks as modules_address() tells their addresses. */
#ifndef KMEM_RECORDING_TRANSLATE_H
#define KMEM_RECORDING_TRANSLATE_H

#include "event.h"
#include "recording_modules.h"
#include "recording_untree.h"

struct translator;

/* [modules_differ()] What it is given has to stay. */
struct translator *translator_new(const struct modules *modules, struct read_stacks *stacks);
void translator_free(struct translator *translator);
/* In the order of the recording: the event as it stands in the file becomes what it means. */
void translator_event(struct translator *translator, unsigned image, struct event *event);
/* Allocations so far whose module was not seen. */
uint64_t translator_unseen(const struct translator *translator);
/* A stack's frames, by the number that an event has now: see recording_stack_frames(). */
const uint64_t *translator_frames(struct translator *translator, uint32_t number, size_t *count,
				  bool *cut);

#endif
