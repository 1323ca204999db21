/* SPDX-License-Identifier: MIT */
/*
 * sheaf.h - a sheaf: an array of object pointers between two sentinels.
 *
 *	slots[0]                 sentinel: the sheaf's own address | 1
 *	slots[1 .. capacity]     objects, packed from the bottom
 *	slots[capacity + 1]      sentinel: the same
 *
 * `top` points to the first slot above the objects. A sheaf is owned by one
 * place at a time: a CPU (as main or spare), a barn, or the thread that is moving
 * it. While it is a CPU's main sheaf its top is the area's word, and the field
 * here is stale. Slots above the top hold old pointers: never a bit 0.
 */
#ifndef SLAB_SHEAF_H
#define SLAB_SHEAF_H

#include "lib/compiler.h"

struct slab_sheaf {
	struct slab_sheaf *next; /* on a barn's or a private list; NULL ends it */
	void **top;		 /* valid while no CPU's main */
	void *slots[];		 /* capacity + 2 */
};

#define SHEAF_SENTINEL 1UL
#define SHEAF_CAPACITY_MAX 124U

static inline size_t sheaf_bytes(unsigned capacity)
{
	return sizeof(struct slab_sheaf) + (capacity + 2UL) * sizeof(void *);
}

static inline unsigned sheaf_count(const struct slab_sheaf *sheaf)
{
	return (unsigned)(sheaf->top - &sheaf->slots[1]);
}

static inline bool sheaf_is_sentinel(const void *slot)
{
	return (uintptr_t)slot & SHEAF_SENTINEL;
}

static inline void sheaf_init(struct slab_sheaf *sheaf, unsigned capacity)
{
	void *sentinel = (void *)((uintptr_t)sheaf | SHEAF_SENTINEL);

	sheaf->next = NULL;
	sheaf->slots[0] = sentinel;
	sheaf->slots[capacity + 1] = sentinel;
	sheaf->top = &sheaf->slots[1];
}

static inline bool sheaf_full(const struct slab_sheaf *sheaf)
{
	return sheaf_is_sentinel(*sheaf->top);
}

static inline bool sheaf_empty(const struct slab_sheaf *sheaf)
{
	return sheaf->top == &sheaf->slots[1];
}

#endif
