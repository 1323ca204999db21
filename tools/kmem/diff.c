/* SPDX-License-Identifier: MIT */
/*
 * diff.c - `kmem diff A B`: what changed from one recording to another, by call site.
 *
 * Both programs were loaded at addresses of their own, so sites are the same by what they are called: function, offset in it
 * and file. Where a program was built anew between the two, offsets have moved: --by=function leaves them out. As
 * `perf diff` does for samples. With --stacks what is the same is the whole call stack: where all go through one function that
 * allocates (zmalloc() of Redis), call sites alone tell little. Both have to have stacks then: beside sites of the other none
 * would be the same.
 */
#include "commands.h"
#include "json.h"
#include "say.h"
#include "stacks.h"
#include "view.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_STACKS = 600 };
enum sort { SORT_LIVE, SORT_PEAK, SORT_TOTAL, SORT_ALLOCS };

static const char *const sort_names[] = { "live", "peak", "total", "allocs" };

struct options {
	struct view view[2]; /* before and after; the filters are those of the first */
	enum sort sort;
	size_t lines; /* 0: all */
	bool by_function;
	bool stacks;
};

#define NAME_MAX_BYTES 1024

struct row {
	char *name;
	struct tally sum[2];
};

struct rows {
	struct row *row;
	size_t count, room;
};

static enum sort sort_by;

static double key_of(const struct tally *sum)
{
	switch (sort_by) {
	case SORT_LIVE:
		return sum->live_bytes;
	case SORT_PEAK:
		return sum->peak_bytes;
	case SORT_TOTAL:
		return sum->alloc;
	default:
		return sum->allocs;
	}
}

static double change_of(const struct row *row)
{
	return key_of(&row->sum[1]) - key_of(&row->sum[0]);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->name, ((const struct row *)b)->name);
}

/* What grew most first, what shrank most last. */
static int by_change(const void *a, const void *b)
{
	double x = change_of(a), y = change_of(b);

	return x < y ? 1 : x > y ? -1 : by_name(a, b);
}

static void add_tally(struct tally *to, const struct tally *sum)
{
	to->allocs += sum->allocs;
	to->frees += sum->frees;
	to->req += sum->req;
	to->alloc += sum->alloc;
	to->freed += sum->freed;
	to->live_objects += sum->live_objects;
	to->live_bytes += sum->live_bytes;
	to->peak_objects += sum->peak_objects;
	to->peak_bytes += sum->peak_bytes;
	to->short_lived += sum->short_lived;
	to->cross_cpu += sum->cross_cpu;
}

static const char *address_name(const struct options *options, struct view *view, uint64_t address,
				char text[NAME_MAX_BYTES])
{
	struct frame frames[FRAMES_MAX];
	const struct frame *frame;

	symbols_text(view->symbols, address, text, NAME_MAX_BYTES);
	if (!options->by_function)
		return text;
	frame = &frames[symbols_frames(view->symbols, address, frames) - 1];
	if (frame->function)
		snprintf(text, NAME_MAX_BYTES, "%s [%s]", frame->function,
			 frame->module ? frame->module : "?");
	else if (frame->module)
		snprintf(text, NAME_MAX_BYTES, "%s", frame->module);
	return text;
}

/* What rows are the same by: of stacks a line for each call, the innermost first. */
static char *name_of(const struct options *options, struct view *view, const struct site *site)
{
	uint64_t addresses[STACKS_FRAMES_MAX];
	char text[NAME_MAX_BYTES], *name = NULL;
	size_t count, size;
	FILE *memory;
	bool cut;

	if (!options->stacks)
		return xstrdup(address_name(options, view, site->address, text));
	memory = open_memstream(&name, &size);
	if (!memory)
		give_up("no memory");
	count = stacks_addresses(view->reader, site->stack, site->address, addresses, &cut);
	while (count) {
		fputs(address_name(options, view, addresses[--count], text), memory);
		if (count || cut)
			fputc('\n', memory);
	}
	if (cut)
		fputs("... (the stack goes on)", memory);
	if (fclose(memory) != 0)
		give_up("no memory");
	return name;
}

static void add_sites(struct rows *rows, const struct options *options, struct view *view,
		      int which)
{
	for (size_t i = 0; i < view->model.nr_sites; i++) {
		const struct site *site = &view->model.site[i];
		struct row *row;

		if (!(site->sum.allocs > 0) || !view_wants_site(view, site))
			continue;
		if (rows->count == rows->room) {
			rows->room = rows->room * 2 + 256;
			rows->row = xrealloc(rows->row, rows->room * sizeof(*rows->row));
		}
		row = &rows->row[rows->count++];
		*row = (struct row){ .name = name_of(options, view, site) };
		row->sum[which] = site->sum;
	}
}

/* Rows of one name become one. */
static void join(struct rows *rows)
{
	size_t kept = 0;

	if (!rows->count)
		return;
	qsort(rows->row, rows->count, sizeof(*rows->row), by_name);
	for (size_t i = 1; i < rows->count; i++) {
		if (strcmp(rows->row[kept].name, rows->row[i].name) != 0) {
			rows->row[++kept] = rows->row[i];
			continue;
		}
		for (int which = 0; which < 2; which++)
			add_tally(&rows->row[kept].sum[which], &rows->row[i].sum[which]);
		free(rows->row[i].name);
	}
	rows->count = kept + 1;
	qsort(rows->row, rows->count, sizeof(*rows->row), by_change);
}

/* Those where nothing changed are of no interest. */
static bool is_shown(const struct row *row)
{
	const struct tally *a = &row->sum[0], *b = &row->sum[1];

	return fabs(b->live_bytes - a->live_bytes) >= 0.5 ||
	       fabs(b->peak_bytes - a->peak_bytes) >= 0.5 || fabs(b->alloc - a->alloc) >= 0.5;
}

static const char *signed_bytes(double bytes, char buf[40])
{
	char text[32];

	snprintf(buf, 40, "%s%s", bytes >= 0.5 ? "+" : "", human_bytes(bytes, text));
	return buf;
}

/* The name stands behind the numbers; of a stack its calls below them. */
static void print_row(const struct tally sum[2], const char *name, bool below)
{
	char before[32], after[32], live[40], peak[40], total[40];

	printf("%12s %12s %12s %12s %12s %+11.0f",
	       signed_bytes(sum[1].live_bytes - sum[0].live_bytes, live),
	       human_bytes(sum[0].live_bytes, before), human_bytes(sum[1].live_bytes, after),
	       signed_bytes(sum[1].peak_bytes - sum[0].peak_bytes, peak),
	       signed_bytes(sum[1].alloc - sum[0].alloc, total),
	       sum[1].allocs - sum[0].allocs + 0.0);
	if (!below) {
		printf("  %s\n", name);
		return;
	}
	for (size_t length; *name; name += length + (name[length] == '\n')) {
		length = strcspn(name, "\n");
		printf("\n    %.*s", (int)length, name);
	}
	putchar('\n');
}

static const char *command_of(const struct view *view)
{
	const char *command = recording_info(view->reader, "command");

	return command ? command : "?";
}

/* What a row is. */
static const char *kind_of(const struct options *options)
{
	return options->stacks ? "call stack" : options->by_function ? "function" : "call site";
}

static void print_text(struct options *options, const struct rows *rows)
{
	size_t shown = 0, more = 0;
	struct tally sum[2] = { options->view[0].model.sum, options->view[1].model.sum };

	for (int i = 0; i < 2; i++)
		printf("# %s: %s%s: %s\n", i ? "after" : "before", options->view[i].path,
		       options->view[i].model.sampled ? " (sampled: estimates)" : "",
		       command_of(&options->view[i]));
	printf("# by %s, sorted by the change of %s; bytes are those allocated\n#\n",
	       kind_of(options), sort_names[options->sort]);
	printf("%12s %12s %12s %12s %12s %11s  %s\n", "never freed", "before", "after", "at peak",
	       "total", "allocations", kind_of(options));
	print_row(sum, "(all)", false);
	for (size_t i = 0; i < rows->count; i++) {
		if (!is_shown(&rows->row[i]))
			continue;
		if (options->lines && shown >= options->lines) {
			more++;
			continue;
		}
		print_row(rows->row[i].sum, rows->row[i].name, options->stacks);
		shown++;
	}
	if (more)
		printf("# and %zu more (-n 0 shows all)\n", more);
}

static struct json_object *change_json(const struct tally sum[2])
{
	struct json_object *object = json_object_new_object(), *change = json_object_new_object();

	json_object_object_add(object, "before", json_tally(&sum[0]));
	json_object_object_add(object, "after", json_tally(&sum[1]));
	json_add(change, "live_bytes", sum[1].live_bytes - sum[0].live_bytes);
	json_add(change, "live_objects", sum[1].live_objects - sum[0].live_objects);
	json_add(change, "peak_bytes", sum[1].peak_bytes - sum[0].peak_bytes);
	json_add(change, "bytes_alloc", sum[1].alloc - sum[0].alloc);
	json_add(change, "allocs", sum[1].allocs - sum[0].allocs);
	json_object_object_add(object, "change", change);
	return object;
}

static struct json_object *lines_json(const char *text)
{
	struct json_object *list = json_object_new_array();

	for (size_t length; *text; text += length + (text[length] == '\n')) {
		length = strcspn(text, "\n");
		json_object_array_add(list, json_object_new_string_len(text, (int)length));
	}
	return list;
}

static struct json_object *file_json(const struct view *view)
{
	struct json_object *object = json_object_new_object();

	json_add_text(object, "file", view->path);
	json_add_text(object, "command", command_of(view));
	json_object_object_add(object, "sampled", json_object_new_boolean(view->model.sampled));
	json_add(object, "lost", (double)recording_lost(view->reader));
	return object;
}

static void print_json(struct options *options, const struct rows *rows)
{
	struct json_object *root, *list = json_object_new_array();
	struct tally sum[2] = { options->view[0].model.sum, options->view[1].model.sum };
	size_t shown = 0;

	root = json_object_new_object();
	json_object_object_add(root, "before", file_json(&options->view[0]));
	json_object_object_add(root, "after", file_json(&options->view[1]));
	json_object_object_add(root, "total", change_json(sum));
	for (size_t i = 0; i < rows->count; i++) {
		struct json_object *object;

		if (!is_shown(&rows->row[i]) || (options->lines && shown++ >= options->lines))
			continue;
		object = change_json(rows->row[i].sum);
		if (options->stacks)
			json_object_object_add(object, "stack", lines_json(rows->row[i].name));
		else
			json_add_text(object, options->by_function ? "function" : "call_site",
				      rows->row[i].name);
		json_object_array_add(list, object);
	}
	json_object_object_add(root, "sites", list);
	json_print(root);
}

static error_t parse_sort(struct options *options, const char *arg, struct argp_state *state)
{
	int choice = option_choice(arg, sort_names, sizeof(sort_names) / sizeof(*sort_names));

	if (choice < 0) {
		argp_error(state, "-s is live, peak, total or allocs, not '%s'", arg);
		return EINVAL;
	}
	options->sort = (enum sort)choice;
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &options->view[0];
		break;
	case 's':
		return parse_sort(options, arg, state);
	case 'n':
		options->lines = option_number(state, "-n", arg, 0, SIZE_MAX);
		break;
	case 'b':
		if (strcmp(arg, "site") != 0 && strcmp(arg, "function") != 0)
			argp_error(state, "--by is site or function, not '%s'", arg);
		options->by_function = !strcmp(arg, "function");
		break;
	case KEY_STACKS:
		options->stacks = options->view[0].filter.by_stack = true;
		break;
	case ARGP_KEY_ARG:
		if (state->arg_num > 1)
			argp_error(state, "two recordings are enough");
		options->view[state->arg_num].path = arg;
		break;
	case ARGP_KEY_END:
		if (state->arg_num != 2)
			argp_error(state, "say which two recordings");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* False: said why not. */
static bool load_one(const struct options *options, struct view *view)
{
	if (!view_load(view))
		return false;
	if (!options->stacks || view_has_stacks(view))
		return true;
	say("%s has no call stacks to compare: record it with --stacks, or leave out --stacks here, which compares by "
	    "call site",
	    view->path);
	view_free(view);
	return false;
}

static bool load(struct options *options)
{
	const char *path = options->view[1].path;

	options->view[0].is_one_of_two = true;
	options->view[1] = options->view[0];
	options->view[1].path = path;
	if (!load_one(options, &options->view[0]))
		return false;
	if (load_one(options, &options->view[1]))
		return true;
	view_free(&options->view[0]);
	return false;
}

static void compare(struct options *options)
{
	struct rows rows = { 0 };

	sort_by = options->sort;
	for (int i = 0; i < 2; i++)
		add_sites(&rows, options, &options->view[i], i);
	join(&rows);
	if (options->view[0].json)
		print_json(options, &rows);
	else
		print_text(options, &rows);
	for (size_t i = 0; i < rows.count; i++)
		free(rows.row[i].name);
	free(rows.row);
}

int command_diff(int argc, char **argv)
{
	static const struct argp_option argp_options[] = {
		{ "sort", 's', "KEY", 0,
		  "by the change of live: what was never freed (default), peak: what was live at the "
		  "peak, total, allocs",
		  1 },
		{ "lines", 'n', "N", 0, "so many call sites or stacks (default 40, 0: all)", 1 },
		{ "stacks", KEY_STACKS, NULL, 0,
		  "by whole call stacks, of recordings that both have them (kmem record --stacks)",
		  1 },
		{ "by", 'b', "WHAT", 0,
		  "site (default), or function: for programs that were built anew in between", 1 },
		{ 0 },
	};
	static const struct argp_child children[] = { { &view_json_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		argp_options,
		parse,
		"BEFORE AFTER",
		"Show what changed from one recording to another, by call site.",
		children,
		NULL,
		NULL
	};
	struct options options = { .lines = 40 };

	argp_parse(&argp, argc, argv, 0, NULL, &options);
	if (!load(&options))
		return 1;
	compare(&options);
	for (int i = 0; i < 2; i++) {
		view_notes(&options.view[i]);
		view_free(&options.view[i]);
	}
	return 0;
}
