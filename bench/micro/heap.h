/* SPDX-License-Identifier: MIT
 *
 * heap: a set of live objects and what they take of memory, see heap.c.
 */
#ifndef BENCH_HEAP_H
#define BENCH_HEAP_H

#include "gbench.h"

#include <stddef.h>
#include <stdint.h>

/* How long objects live decides in which set they are. */
enum lifetime { BULK, LONG, BRIEF, NR_LIFETIMES };

struct heap_object {
	void *p;
	size_t size;
};

struct heap_set {
	struct heap_object *object; /* the live ones are the first `count` */
	size_t count, capacity;
	size_t live; /* bytes that were asked for */
};

struct heap {
	struct heap_set set[NR_LIFETIMES];
	size_t live, peak_live; /* of all the sets together */
	size_t allocations;	/* so far */
	size_t resident_before; /* bytes of the process before the first object */
};

/* An empty heap for up to `capacity` objects in BULK; measuring starts. */
void heap_open(struct heap *heap, size_t capacity);
/* A new object of `size` bytes, all of which are written. There must be room. */
void heap_add(struct heap *heap, enum lifetime lifetime, size_t size);
/* Frees object number `index` of a set; its last one takes the place. */
void heap_drop(struct heap *heap, enum lifetime lifetime, size_t index);
/* Sets the counters live_bytes, peak_live_bytes, resident_bytes and peak_resident_bytes,
   then frees everything. */
void heap_report(struct heap *heap, struct gb_state *state);

#endif
