/* SPDX-License-Identifier: MIT */
/*
 * export.h - what the formats of `kmem export` have in common: one recording goes in, one file
 * comes out.
 *
 * Each format is one function in one file, export_FORMAT.c. Numbers of sampled recordings are the
 * model's estimates, rounded.
 */
#ifndef KMEM_EXPORT_H
#define KMEM_EXPORT_H

#include "model.h"
#include "symbols.h"
#include "texts.h"
#include "view.h"

#include <json-c/json.h>
#include <stdint.h>
#include <stdio.h>

enum export_value { EXPORT_INUSE, EXPORT_ALLOC, EXPORT_PEAK };

struct export
{
	struct view view;
	/* of --collapsed */
	enum export_value value;
	bool objects; /* not bytes */
	/* from export_load() */
	struct site **site; /* those that the filters let through */
	size_t nr_sites;
	FILE *out;
};

/*
 * Write the format to export->out. False: said why. That all was written is looked at by the
 * caller.
 */
bool export_pprof(struct export *export);
bool export_collapsed(struct export *export);
bool export_perfetto(struct export *export);
bool export_chrome(struct export *export);
bool export_dhat(struct export *export);
bool export_html(struct export *export);

/* The return addresses that a site is of, the innermost first: of samples with stacks more than one. */
size_t export_stack(const struct export *export, const struct site *site,
		    const uint64_t **addresses);

/* What a frame is called: its function, else where it is. In buf, which is returned. */
const char *export_frame_name(const struct frame *frame, char *buf, size_t size);

/* The curve, with the peak as a point of its own. Returns how many points there are. */
size_t export_points(const struct export *export, struct point points[MODEL_POINTS + 1]);

/* Mean of bytes from sample to sample; 0: all was recorded. */
int64_t export_mean(const struct export *export);
/* The recording's process id; 0: not known. */
int export_pid(const struct export *export);
/* When it began, seconds since 1970; 0: not known. */
int64_t export_time(const struct export *export);
/* The command that was recorded, "?" without. Valid until the next call of recording_info(). */
const char *export_command(const struct export *export);

static inline int64_t export_round(double value)
{
	return value > 0 ? (int64_t)(value + 0.5) : 0;
}

struct json_object *export_json_text(const char *text);
void export_json_add(struct json_object *object, const char *name, double value);

/* Room for one more in an array that grows by doubling. */
void *export_grow(void *array, size_t count, size_t size);

#define EXPORT_PUSH(array, count, item)                                                            \
	do {                                                                                       \
		__typeof__(*(array)) item_ = (item);                                               \
		(array) = export_grow(array, count, sizeof(__typeof__(item_)));                    \
		(array)[(count)++] = item_;                                                        \
	} while (0)

/* A message of protobuf-c on the heap, so that its own freeing of messages frees all. */
#define EXPORT_NEW(type, init)                                                                     \
	({                                                                                         \
		type *message_ = xmalloc(sizeof(type));                                            \
		init(message_);                                                                    \
		message_;                                                                          \
	})

#endif
