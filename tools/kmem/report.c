/* SPDX-License-Identifier: MIT */
/* report.c - `kmem report`: the call sites of a recording, and what became of their memory. */
#include "commands.h"
#include "json.h"
#include "report_stacks.h"
#include "say.h"
#include "view.h"

#include <stdlib.h>
#include <string.h>

#define TREE_LEAST 0.005 /* of the whole: branches below it are summed up */

enum { KEY_STACKS = 256 };

enum sort { SORT_LIVE, SORT_PEAK, SORT_TOTAL, SORT_ALLOCS, SORT_SHORT };

static const char *const sort_names[] = { "live", "peak", "total", "allocs", "short" };

struct options {
	struct view view;
	enum sort sort;
	size_t lines; /* 0: all */
	enum stacks_form stacks;
};

static enum sort sort_by;

static double key_of(const struct site *site)
{
	switch (sort_by) {
	case SORT_LIVE:
		return site->sum.live_bytes;
	case SORT_PEAK:
		return site->sum.peak_bytes;
	case SORT_TOTAL:
		return site->sum.alloc;
	case SORT_ALLOCS:
		return site->sum.allocs;
	default:
		return site->sum.short_lived;
	}
}

static int compare(const void *a, const void *b)
{
	double x = key_of(*(const struct site *const *)a),
	       y = key_of(*(const struct site *const *)b);

	return x < y ? 1 : x > y ? -1 : 0;
}

static void print_site(struct view *view, const struct site *site)
{
	struct frame frames[FRAMES_MAX];
	size_t count = symbols_frames(view->symbols, site->address, frames);
	const struct tally *sum = &site->sum;
	char live[32], peak[32], total[32], name[512];

	printf("%12s %9.0f %12s %12s %11.0f %5.1f%%  %s", human_bytes(sum->live_bytes, live),
	       sum->live_objects, human_bytes(sum->peak_bytes, peak),
	       human_bytes(sum->alloc, total), sum->allocs,
	       sum->allocs > 0 ? sum->short_lived * 100 / sum->allocs : 0,
	       symbols_text(view->symbols, site->address, name, sizeof(name)));
	for (size_t i = count; i-- > 0;) {
		if (i + 1 < count)
			printf("\n%68s inlined: %s", "",
			       frames[i].function ? frames[i].function : "?");
		if (frames[i].file)
			printf(" %s:%d", frames[i].file, frames[i].line);
	}
	putchar('\n');
}

static void print_text(struct options *options, struct site **sites, size_t count)
{
	struct view *view = &options->view;
	const struct model *model = &view->model;
	size_t lines = options->lines && options->lines < count ? options->lines : count;
	char live[32], peak[32], total[32], when[32], length[32], unknown[256];
	const char *command = recording_info(view->reader, "command");

	printf("# command: %s\n", command ? command : "?");
	printf("# %lu events in %s; never freed: %s in %.0f objects; peak: %s in %.0f objects, at %s\n",
	       model->nr_events, human_ns((double)model->end_ns, length),
	       human_bytes(model->sum.live_bytes, live), model->sum.live_objects,
	       human_bytes(model->sum.peak_bytes, peak), model->sum.peak_objects,
	       human_ns((double)model->peak_ns, when));
	printf("# allocated: %s in %.0f objects, of which %.1f %% lived for less than 1 ms\n",
	       human_bytes(model->sum.alloc, total), model->sum.allocs,
	       model->sum.allocs > 0 ? model->sum.short_lived * 100 / model->sum.allocs : 0);
	if (view_unknown_frees(view, unknown))
		printf("# %s\n", unknown);
	printf("# by call %s, sorted by %s; bytes are those allocated\n#\n",
	       options->stacks ? "stack" : "site", sort_names[options->sort]);
	if (options->stacks == STACKS_TREE) {
		report_stacks_tree(view, sites, count, key_of,
				   options->sort != SORT_ALLOCS && options->sort != SORT_SHORT,
				   TREE_LEAST);
		return;
	}
	printf("%12s %9s %12s %12s %11s %6s  %s\n", "never freed", "objects", "at peak", "total",
	       "allocations", "short", "call site");
	if (options->stacks)
		report_stacks_list(view, sites, lines);
	for (size_t i = 0; i < lines && !options->stacks; i++)
		print_site(view, sites[i]);
	if (lines < count)
		printf("# and %zu more (-n 0 shows all)\n", count - lines);
}

static struct json_object *site_json(struct view *view, const struct site *site)
{
	struct json_object *object = json_tally(&site->sum);
	char address[32];

	snprintf(address, sizeof(address), "0x%lx", recording_address(site->address));
	json_add_text(object, "address", address);
	json_object_object_add(object, "frames", json_frames(view, site->address));
	if (view->model.by_stack)
		json_object_object_add(object, "stack", report_stacks_json(view, site));
	return object;
}

static void print_json(struct options *options, struct site **sites, size_t count)
{
	struct json_object *root = json_object_new_object(), *list = json_object_new_array();
	struct view *view = &options->view;
	const char *command = recording_info(view->reader, "command");

	json_add_text(root, "command", command ? command : "");
	json_add(root, "events", (double)view->model.nr_events);
	json_add(root, "lost", (double)recording_lost(view->reader));
	json_add_unknown_frees(root, &view->model);
	json_add(root, "duration_ns", (double)view->model.end_ns);
	json_add(root, "peak_ns", (double)view->model.peak_ns);
	json_object_object_add(root, "sampled", json_object_new_boolean(view->model.sampled));
	json_object_object_add(root, "whole",
			       json_object_new_boolean(recording_is_whole(view->reader)));
	json_object_object_add(root, "total", json_tally(&view->model.sum));
	for (size_t i = 0; i < count && (!options->lines || i < options->lines); i++)
		json_object_array_add(list, site_json(view, sites[i]));
	json_object_object_add(root, "sites", list);
	json_print(root);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;
	int choice;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &options->view;
		break;
	case 's':
		choice = option_choice(arg, sort_names, sizeof(sort_names) / sizeof(*sort_names));
		if (choice < 0)
			argp_error(state, "-s is live, peak, total, allocs or short, not '%s'",
				   arg);
		options->sort = (enum sort)choice;
		break;
	case KEY_STACKS:
		if (arg && strcmp(arg, "list") != 0 && strcmp(arg, "tree") != 0)
			argp_error(state, "--stacks is list or tree, not '%s'", arg);
		options->stacks = arg && !strcmp(arg, "tree") ? STACKS_TREE : STACKS_LIST;
		options->view.filter.by_stack = true;
		break;
	case 'n':
		options->lines = option_number(state, "-n", arg, 0, SIZE_MAX);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int command_report(int argc, char **argv)
{
	static const struct argp_option argp_options[] = {
		{ "sort", 's', "KEY", 0,
		  "live: what was never freed (default), peak: what was live at the peak, total, "
		  "allocs, short: freed within 1 ms",
		  1 },
		{ "lines", 'n', "N", 0, "so many call sites (default 40, 0: all)", 1 },
		{ "stacks", KEY_STACKS, "FORM", OPTION_ARG_OPTIONAL,
		  "by whole call stacks, of a recording that has them (kmem record --stacks): list "
		  "(default), or tree: from the outermost call on",
		  1 },
		{ 0 },
	};
	static const struct argp_child children[] = { { &view_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		argp_options, parse,
		"[FILE]",     "Show where the memory of a recording went, by call site.",
		children,     NULL,
		NULL
	};
	struct options options = { .lines = 40 };
	struct site **sites;
	size_t count;

	argp_parse(&argp, argc, argv, 0, NULL, &options);
	if (!view_load(&options.view))
		return 1;
	sort_by = options.sort;
	sites = view_sites(&options.view, compare, &count);
	if (options.view.json)
		print_json(&options, sites, count);
	else
		print_text(&options, sites, count);
	if (options.view.filter.by_stack)
		view_note_stacks(&options.view);
	view_note_nothing(&options.view, count);
	view_notes(&options.view);
	free(sites);
	view_free(&options.view);
	return 0;
}
