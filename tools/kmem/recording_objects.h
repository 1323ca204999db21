/* SPDX-License-Identifier: MIT */
/*
 * recording_objects.h - addresses of objects in a chunk of events, in as few bytes as may be.
 *
 * An allocator hands out what was freed last, and programs free what they allocated a moment ago. So the writer and the reader keep, for
 * each CPU and cache, the last objects that were freed and the last ones that were allocated, which are live: an allocation is told by its
 * place in the one list, a free by its place in the other. What is in neither is told by its distance from the last one that was so; if that
 * distance is the one of the time before, by that alone: slabs are used from one end to the other.
 *
 * The lists are guesses: where two CPUs share objects, or many caches one list, they are wrong more often, and that is all.
 */
#ifndef KMEM_RECORDING_OBJECTS_H
#define KMEM_RECORDING_OBJECTS_H

#include "recording_format.h"

#define OBJECTS_KEPT 32U /* a power of two */
#define OBJECTS_LISTS 2048U
#define OBJECT_UNIT 8

/* Codes below OBJECTS_KEPT are places in a list, the newest first. */
enum object_code {
	OBJECT_NEXT = OBJECTS_KEPT, /* as far from the last one as that was from the one before */
	OBJECT_FAR,		    /* the distance, in units of 8 */
	OBJECT_ODD,		    /* the address itself */
};

struct object_list {
	uint64_t ptr[OBJECTS_KEPT]; /* a ring */
	uint32_t top, count;
	uint64_t last, step; /* of those that were in no list */
};

/* Of a CPU and a cache. */
struct object_lists {
	uint64_t chunk; /* that the lists are of */
	struct object_list freed, live;
};

struct objects {
	uint64_t chunk;
	struct object_lists lists[OBJECTS_LISTS];
};

/* Forget all. */
static inline void objects_start(struct objects *objects)
{
	objects->chunk++;
}

static inline struct object_lists *objects_of(struct objects *objects, unsigned type, unsigned cpu,
					      unsigned cache)
{
	unsigned key = cpu * 131 + cache + ((type - 1) / 2 & 7) * 509;
	struct object_lists *lists = &objects->lists[key % OBJECTS_LISTS];

	if (lists->chunk != objects->chunk) {
		lists->chunk = objects->chunk;
		lists->freed.count = lists->live.count = 0;
		lists->freed.last = lists->freed.step = 0;
		lists->live.last = lists->live.step = 0;
	}
	return lists;
}

static inline uint64_t *object_at(struct object_list *list, unsigned place)
{
	return &list->ptr[(list->top - 1 - place) % OBJECTS_KEPT];
}

static inline void object_push(struct object_list *list, uint64_t ptr)
{
	list->ptr[list->top++ % OBJECTS_KEPT] = ptr;
	list->count += list->count < OBJECTS_KEPT;
}

static inline void object_take(struct object_list *list, unsigned place)
{
	for (; place; place--)
		*object_at(list, place) = *object_at(list, place - 1);
	list->top--;
	list->count--;
}

/* The code of an object; *more: what stands with it. */
static inline unsigned object_code(struct object_lists *lists, bool gives, uint64_t ptr,
				   uint64_t *more)
{
	struct object_list *from = gives ? &lists->live : &lists->freed;
	uint64_t step = ptr - from->last;
	unsigned code = 0;

	while (code < from->count && *object_at(from, code) != ptr)
		code++;
	if (code < from->count) {
		object_take(from, code);
	} else {
		code = step == from->step	? OBJECT_NEXT :
		       step & (OBJECT_UNIT - 1) ? OBJECT_ODD :
						  OBJECT_FAR;
		*more = code == OBJECT_ODD ? ptr : zigzag((int64_t)step / OBJECT_UNIT);
		from->step = step;
		from->last = ptr;
	}
	object_push(gives ? &lists->freed : &lists->live, ptr);
	return code;
}

static inline bool object_has_more(unsigned code)
{
	return code == OBJECT_FAR || code == OBJECT_ODD;
}

/* The other way round. False: there is no such. */
static inline bool object_of(struct object_lists *lists, bool gives, unsigned code, uint64_t more,
			     uint64_t *ptr)
{
	struct object_list *from = gives ? &lists->live : &lists->freed;

	if (code < from->count) {
		*ptr = *object_at(from, code);
		object_take(from, code);
	} else {
		if (code == OBJECT_NEXT)
			*ptr = from->last + from->step;
		else if (code == OBJECT_FAR)
			*ptr = from->last + (uint64_t)unzigzag(more) * OBJECT_UNIT;
		else if (code == OBJECT_ODD)
			*ptr = more;
		else
			return false;
		from->step = *ptr - from->last;
		from->last = *ptr;
	}
	object_push(gives ? &lists->freed : &lists->live, *ptr);
	return *ptr <= TRACE_ADDRESS_MASK;
}

#endif
