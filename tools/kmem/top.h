/* SPDX-License-Identifier: MIT */
/* top.h - the numbers that `kmem top` shows, and how they are shown. */
#ifndef KMEM_TOP_H
#define KMEM_TOP_H

#include "caches.h"
#include "event.h"
#include "symbols.h"

#define NR_CACHE_IDS 65536
#define TOP_KEYS "abclnopsudr"

struct top_row {
	char name[KMEM_CACHE_NAME_MAX];
	uint64_t address; /* of the cache; 0: the areas */
	unsigned id;	  /* that events call it by */
	uint64_t objects, active, size, per_slab, pages_per_slab, slabs, bytes;
	double active_rate, slab_rate; /* more each second */
	double alloc_rate, free_rate;  /* each second; below 0: not known */
	uint64_t allocs, frees;	       /* areas: counters so far; caches: events in this interval */
};

struct top_site {
	uint64_t address;
	uint64_t allocs, bytes; /* in this interval */
};

struct top_sample {
	uint64_t ns;
	struct top_row *row; /* the areas last */
	size_t count, room;
	struct remote_counts counts;
};

struct top {
	struct process process;
	struct cache_rows caches;
	struct top_sample now, before;
	bool first; /* there is none before: no rates */
	char sort;
	char comm[64], mode[64];

	/* --events */
	bool events;
	uint64_t allocs[NR_CACHE_IDS], frees[NR_CACHE_IDS]; /* in this interval */
	uint64_t seen, lost; /* events in this interval; lost_before: since the start */
	uint64_t lost_before;
	double scale;	       /* by which what was seen is multiplied, for what was lost */
	struct top_site *site; /* a hash table by address */
	size_t nr_sites, site_room;
	struct symbols *symbols;
};

enum top_style { TOP_PLAIN, TOP_HEAD, TOP_TITLE, TOP_HOT };

/* Read the process. 0; -1: it is gone. */
int top_sample(struct top *top);
/* Count an event. */
void top_event(const struct event *event, void *arg);
/* A new interval begins. */
void top_forget_events(struct top *top);
/* At most so many lines, of any length; where columns are few, those of less interest are left out. */
void top_render(struct top *top, size_t lines, size_t columns,
		void (*line)(enum top_style style, const char *text, void *arg), void *arg);
/* Is this a key to sort by? */
bool top_is_key(int key);

#endif
