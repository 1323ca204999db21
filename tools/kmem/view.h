/* SPDX-License-Identifier: MIT */
/* view.h - what the commands that show a recording have in common: its file, filters, and names. */
#ifndef KMEM_VIEW_H
#define KMEM_VIEW_H

#include "model.h"
#include "recording.h"
#include "symbols.h"

#include <argp.h>
#include <stdbool.h>
#include <stdio.h>

struct view {
	/* from the command line */
	const char *path;
	struct model_filter filter;
	const char *function; /* a regular expression; NULL: all */
	bool json;
	bool mangled;	    /* C++ names */
	bool is_one_of_two; /* so notes say of which file they are */
	bool wants_live;    /* model.live, which takes much memory, after view_load() */
	/* from view_load() */
	struct reader *reader;
	struct model model;
	struct symbols *symbols;
};

/* The options that they have in common; the input is a struct view. */
extern const struct argp view_argp;
/* For those that write no JSON. */
extern const struct argp view_input_argp;
/* For those that take their files by themselves. */
extern const struct argp view_json_argp;

/* Read all of it. False: said why. */
bool view_load(struct view *view);
/* Find out where its symbols are: events are to be read from view->reader. */
bool view_open(struct view *view);
void view_free(struct view *view);
/* Does the filter for functions let this site through? A stack does with any of its calls. */
bool view_wants_site(struct view *view, const struct site *site);
/* Those that it lets through and that allocated, sorted; to be freed. */
struct site **view_sites(struct view *view, int (*compare)(const void *, const void *),
			 size_t *count);
/* That the filters leave nothing, where `count`, of the sites that they let through, is 0. */
void view_note_nothing(const struct view *view, size_t count);
/* A line about frees of objects that are not known, in buf; NULL: there are none, or that can't be told. */
const char *view_unknown_frees(const struct view *view, char buf[256]);
/* What has to be known about the numbers: lost events, a cut file. To standard error. */
void view_notes(const struct view *view);
/* Was it recorded with --stacks? True where there is nothing that could have one. */
bool view_has_stacks(const struct view *view);
/* That there are no call stacks, where they were wanted and there are none. */
void view_note_stacks(const struct view *view);

/* "1.2 MiB", in buf. */
const char *human_bytes(double bytes, char buf[32]);
/* "1.2 ms", in buf. */
const char *human_ns(double ns, char buf[32]);

#endif
