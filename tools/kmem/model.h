/* SPDX-License-Identifier: MIT */
/*
 * model.h - what was live when: the events of a recording, played through.
 *
 * Kept are the objects that are live (live.h) and sums per call site, not the events: so memory does not grow with a recording's length.
 * A sampled recording's numbers are estimates: each sample counts for the bytes and objects that it stands for.
 */
#ifndef KMEM_MODEL_H
#define KMEM_MODEL_H

#include "event.h"
#include "live.h"
#include "recording.h"

#define MODEL_SHORT_NS 1000000UL /* an object that lives for less is short-lived */

struct model_filter {
	uint64_t from_ns, to_ns;       /* allocations within; to_ns 0: no end */
	uint64_t min_bytes, max_bytes; /* asked for; max_bytes 0: no limit */
	uint32_t tid;		       /* 0: any */
	bool by_stack;		       /* sums per call stack, where an event has one */
};

/* Sums of a call site, or of all. Counts are double because samples weigh. */
struct tally {
	double allocs, frees; /* objects */
	double req, alloc;    /* bytes asked for; bytes that the objects take */
	double freed;	      /* of the latter */
	double live_objects, live_bytes;
	double peak_objects,
		peak_bytes; /* what was live when the whole program's live bytes were at their highest */
	double max_bytes, max_objects; /* when its own live bytes were at their highest */
	double short_lived;	       /* objects freed within MODEL_SHORT_NS */
	double cross_cpu;	       /* objects freed on another CPU */
	double lifetime_ns;	       /* sum, of those that were freed */
	double live_ns;		       /* sum of the ages of those that are live at the end */
	uint64_t events; /* allocations seen; of a sampled recording fewer than allocs */
};

struct site {
	uint64_t address;
	uint32_t stack; /* by_stack: number; 0: these have none */
	uint8_t type;	/* of its first allocation */
	struct tally sum;
	uint64_t peak_seen; /* number of the peak that peak_* is of */
};

#define MODEL_SIZES 48 /* by the logarithm of the bytes */
#define MODEL_LIVES 40 /* by the logarithm of the nanoseconds */
#define MODEL_POINTS 512

/* An event that came before one that it may belong behind, see model.c. */
struct hasty {
	struct event event;
	uint64_t ns;
};

#define MODEL_HASTY 256 /* by a hash of the address */

/* Live bytes over time. */
struct point {
	uint64_t ns;
	double bytes, objects;
};

struct model {
	struct site *site;
	size_t nr_sites;
	struct tally sum;
	double by_size[MODEL_SIZES]; /* allocations of [2^i, 2^(i+1)) bytes */
	double by_size_bytes[MODEL_SIZES];
	double by_lifetime[MODEL_LIVES]; /* frees after [2^i, 2^(i+1)) ns */
	unsigned least_life; /* the first of these, which has all below: time stamps tell no more */
	struct point point[MODEL_POINTS];
	size_t nr_points;
	uint64_t peak_ns, end_ns;
	uint64_t nr_events,
		unknown_frees; /* frees of what was allocated before, or whose event was lost, or is filtered */
	bool sampled, by_stack;
	bool filtered; /* some allocations are left out: unknown_frees tells nothing, then */
	struct live_table live; /* at the end: what was never freed */
	/* private */
	struct hasty hasty[MODEL_HASTY];
	uint64_t hasty_ns; /* when there was the last one */
	uint32_t *site_hash;
	size_t site_room, site_hash_room;
	uint64_t peak_number;
	uint64_t point_ns,
		points_every; /* when the next point is due, and how far apart they are */
	double mean;	      /* bytes from sample to sample */
	bool by_req;	      /* chosen by the bytes asked for, not by those taken */
};

/* Play all of a recording. Shows progress on a terminal. */
void model_play(struct model *model, struct reader *reader, const struct model_filter *filter);
void model_free(struct model *model);
bool model_is_sampled(const struct reader *reader);
/* How many objects a live one stands for: 1, but where it is a sample. */
double model_weight(const struct model *model, const struct live *live);

/* The bytes that an allocation takes: of its cache, or whole pages. */
uint64_t model_alloc_bytes(const struct reader *reader, const struct event *event);

#endif
