/* SPDX-License-Identifier: MIT */
/*
 * recording_objects.h - addresses of objects in a chunk of events, in as few bytes as may be.
 *
 * An allocator hands out what was freed last, and programs free what they allocated a moment ago. So the writer and the reader keep, for
 * each CPU and cache, the last objects that were freed and the last ones that were allocated, which are live: an allocation is told by its
 * place in the one list, a free by its place in the other. What is in neither is told by its distance from the last one that was so; if that
 * distance is the one of the time before, by that alone: slabs are used from one end to the other.
 *
 * A list is a ring of places. Who leaves it leaves a hole, as to move the others up would take long; holes above all that are there
 * are given up. So what is freed in the order opposite to that in which it was allocated is always at place 0, and what is freed in
 * the same order is always at the same place.
 *
 * The lists are guesses: where two CPUs share objects, or many caches one list, they are wrong more often, and that is all.
 */
#ifndef KMEM_RECORDING_OBJECTS_H
#define KMEM_RECORDING_OBJECTS_H

#include "recording_format.h"

#include <emmintrin.h>

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
	uint32_t there;		    /* a bit for each: it is no hole */
	uint32_t top;		    /* where the next one goes */
	uint64_t last, step;	    /* of those that were in no list */
	uint16_t key[OBJECTS_KEPT]; /* the writer's: see object_find() */
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
		lists->freed.there = lists->live.there = 0;
		lists->freed.last = lists->freed.step = 0;
		lists->live.last = lists->live.step = 0;
	}
	return lists;
}

/* Bits of a list as they stand from its top: the newest one is the highest. */
static inline uint32_t objects_by_age(const struct object_list *list, uint32_t bits)
{
	return bits >> list->top | bits << (-list->top % OBJECTS_KEPT);
}

static inline unsigned object_slot(const struct object_list *list, unsigned place)
{
	return (list->top - 1 - place) % OBJECTS_KEPT;
}

static inline void object_push(struct object_list *list, uint64_t ptr)
{
	list->ptr[list->top] = ptr;
	list->there |= 1U << list->top;
	list->top = (list->top + 1) % OBJECTS_KEPT;
}

static inline void object_take(struct object_list *list, unsigned slot)
{
	uint64_t left;

	list->there &= ~(1U << slot);
	/* holes at the top: if there is nothing else, all 32 */
	left = (uint64_t)objects_by_age(list, list->there) << 32 | 1U << 31;
	list->top = (list->top - (unsigned)__builtin_clzl(left)) % OBJECTS_KEPT;
}

static inline uint16_t object_key(uint64_t ptr)
{
	return (uint16_t)(ptr / OBJECT_UNIT ^ ptr >> 19);
}

static inline void object_set_key(struct object_list *list, uint16_t key)
{
	static const uint16_t lane[16] = { [8] = UINT16_MAX };
	__m128i *at = (__m128i *)(void *)&list->key[list->top & ~7U];
	__m128i mask = _mm_loadu_si128((const void *)&lane[8 - list->top % 8]),
		old = _mm_loadu_si128(at);
	_mm_storeu_si128(at, _mm_or_si128(_mm_andnot_si128(mask, old),
					  _mm_and_si128(mask, _mm_set1_epi16((short)key))));
}

/* Those that have this key, a bit for each. */
static inline uint32_t objects_with_key(const struct object_list *list, uint16_t key)
{
	const __m128i *at = (const __m128i *)(const void *)list->key;
	__m128i wanted = _mm_set1_epi16((short)key), equal[4];

	for (int i = 0; i < 4; i++)
		equal[i] = _mm_cmpeq_epi16(_mm_loadu_si128(at + i), wanted);
	return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(equal[0], equal[1])) |
	       (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(equal[2], equal[3])) << 16;
}

/*
 * The place of an object; OBJECTS_KEPT: there is none. All keys are compared at once: a loop over the places would end at another one
 * each time, which the processor can't foresee.
 */
static inline unsigned object_find(const struct object_list *list, uint64_t ptr)
{
	if (list->ptr[object_slot(list, 0)] == ptr && list->there >> object_slot(list, 0) & 1)
		return 0;
	uint32_t found =
		objects_by_age(list, objects_with_key(list, object_key(ptr)) & list->there);

	while (found) {
		unsigned place = (unsigned)__builtin_clz(found);

		if (list->ptr[object_slot(list, place)] == ptr)
			return place;
		found &= ~(1U << 31 >> place);
	}
	return OBJECTS_KEPT;
}

/* The code of an object; *more: what stands with it. */
static inline unsigned object_code(struct object_lists *lists, bool gives, uint64_t ptr,
				   uint64_t *more)
{
	struct object_list *from = gives ? &lists->live : &lists->freed;
	struct object_list *to = gives ? &lists->freed : &lists->live;
	uint64_t step = ptr - from->last;
	unsigned code = OBJECT_NEXT;

	if (step == from->step) {
		from->last = ptr;
	} else if ((code = object_find(from, ptr)) < OBJECTS_KEPT) {
		object_take(from, object_slot(from, code));
	} else {
		code = step & (OBJECT_UNIT - 1) ? OBJECT_ODD : OBJECT_FAR;
		*more = code == OBJECT_ODD ? ptr : zigzag((int64_t)step / OBJECT_UNIT);
		from->step = step;
		from->last = ptr;
	}
	object_set_key(to, object_key(ptr));
	object_push(to, ptr);
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
	unsigned slot = object_slot(from, code);

	if (code < OBJECTS_KEPT) {
		if (!(from->there >> slot & 1))
			return false;
		*ptr = from->ptr[slot];
		object_take(from, slot);
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
