/* SPDX-License-Identifier: MIT */
/*
 * live.h - the objects of a recording that are live, by address.
 *
 * A hash table, linear probing, at most three quarters full: 43 to 85 bytes for each object. It is what playing a recording needs
 * most memory for, so an entry is 32 bytes and no more; with huge pages where there are any, as nearly every access is to a page
 * of its own.
 */
#ifndef KMEM_LIVE_H
#define KMEM_LIVE_H

#include "event.h"
#include "hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIVE_TICKS_SHIFT 4
#define LIVE_WHEN_MASK ((1UL << 58) - 1)
#define LIVE_CPU_MASK ((1U << 14) - 1)
#define LIVE_TID_MASK ((1U << 24) - 1)

struct live {
	uint64_t ptr : 48;   /* 0: an empty entry */
	uint64_t req : 40;   /* bytes asked for */
	uint64_t bytes : 40; /* that it takes */
	uint32_t site;	     /* number */
	uint32_t tid : 24;
	uint64_t when : 58; /* time stamp >> LIVE_TICKS_SHIFT */
	uint32_t cpu : 14;
} __attribute__((packed));

_Static_assert(sizeof(struct live) == 32, "an entry is half a cache line");

struct live_table {
	struct live *entry;
	size_t room, nr;
	unsigned shift; /* of a hash, to a place */
};

static inline size_t live_home(const struct live_table *table, uint64_t ptr)
{
	return hash_of(ptr) >> table->shift;
}

/* Its entry, or the empty one where it may go. There must be room. */
static inline struct live *live_find(const struct live_table *table, uint64_t ptr)
{
	size_t at = live_home(table, ptr);

	while (table->entry[at].ptr && table->entry[at].ptr != ptr)
		at = (at + 1) & (table->room - 1);
	return &table->entry[at];
}

static inline void live_prefetch(const struct live_table *table, uint64_t ptr)
{
	if (table->room)
		__builtin_prefetch(&table->entry[live_home(table, ptr)], 1);
}

static inline uint64_t live_when(const struct live *live)
{
	return (uint64_t)live->when << LIVE_TICKS_SHIFT;
}

/* Before an object is added: room for one more. */
void live_grow(struct live_table *table);
static inline void live_reserve(struct live_table *table)
{
	if (table->nr >= table->room / 4 * 3)
		live_grow(table);
}

/* Take an entry out; others may move. */
void live_remove(struct live_table *table, struct live *live);
/* One after the other, *at being 0 first, and the table goes meanwhile. NULL: that was the last one. */
const struct live *live_drain(struct live_table *table, size_t *at);
/* Take all out. */
void live_clear(struct live_table *table);
void live_free(struct live_table *table);

#endif
