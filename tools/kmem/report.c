/* SPDX-License-Identifier: MIT */
/* report.c - `kmem report`: the call sites of a recording, and what became of their memory. */
#include "commands.h"
#include "report_stacks.h"
#include "say.h"
#include "view.h"

#include <json-c/json.h>
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

/* The sites that are wanted, sorted. */
static struct site **choose(struct view *view, size_t *count)
{
	struct site **sites = xmalloc(view->model.nr_sites * sizeof(*sites));

	*count = 0;
	for (size_t i = 0; i < view->model.nr_sites; i++)
		if (view->model.site[i].sum.allocs > 0 &&
		    view_wants_site(view, &view->model.site[i]))
			sites[(*count)++] = &view->model.site[i];
	qsort(sites, *count, sizeof(*sites), compare);
	return sites;
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
	if (frames[0].file)
		printf(" %s:%d", frames[0].file, frames[0].line);
	putchar('\n');
	for (size_t i = 1; i < count; i++) {
		printf("%68s inlined into %s", "", frames[i].function ? frames[i].function : "?");
		if (frames[i].file)
			printf(" %s:%d", frames[i].file, frames[i].line);
		putchar('\n');
	}
}

static void print_text(struct options *options, struct site **sites, size_t count)
{
	struct view *view = &options->view;
	const struct model *model = &view->model;
	size_t lines = options->lines && options->lines < count ? options->lines : count;
	char live[32], peak[32], total[32], when[32], length[32];
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
	printf("# by call %s, sorted by %s\n#\n", options->stacks ? "stack" : "site",
	       sort_names[options->sort]);
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

static void add(struct json_object *object, const char *name, double value)
{
	json_object_object_add(object, name, json_object_new_int64((int64_t)(value + 0.5)));
}

static struct json_object *tally_json(const struct tally *sum)
{
	struct json_object *object = json_object_new_object();

	add(object, "allocs", sum->allocs);
	add(object, "frees", sum->frees);
	add(object, "bytes_req", sum->req);
	add(object, "bytes_alloc", sum->alloc);
	add(object, "live_objects", sum->live_objects);
	add(object, "live_bytes", sum->live_bytes);
	add(object, "peak_objects", sum->peak_objects);
	add(object, "peak_bytes", sum->peak_bytes);
	add(object, "short_lived", sum->short_lived);
	add(object, "cross_cpu_frees", sum->cross_cpu);
	return object;
}

static struct json_object *site_json(struct view *view, const struct site *site)
{
	struct json_object *object = tally_json(&site->sum), *list = json_object_new_array();
	struct frame frames[FRAMES_MAX];
	size_t count = symbols_frames(view->symbols, site->address, frames);
	char address[32];

	snprintf(address, sizeof(address), "0x%lx", site->address);
	json_object_object_add(object, "address", json_object_new_string(address));
	for (size_t i = 0; i < count; i++) {
		struct json_object *frame = json_object_new_object();

		if (frames[i].function)
			json_object_object_add(frame, "function",
					       json_object_new_string(frames[i].function));
		if (frames[i].module)
			json_object_object_add(frame, "module",
					       json_object_new_string(frames[i].module));
		if (frames[i].file) {
			json_object_object_add(frame, "file",
					       json_object_new_string(frames[i].file));
			add(frame, "line", frames[i].line);
		}
		json_object_array_add(list, frame);
	}
	json_object_object_add(object, "frames", list);
	if (view->model.by_stack)
		json_object_object_add(object, "stack", report_stacks_json(view, site));
	return object;
}

static void print_json(struct options *options, struct site **sites, size_t count)
{
	struct json_object *root = json_object_new_object(), *list = json_object_new_array();
	const char *command = recording_info(options->view.reader, "command");

	json_object_object_add(root, "command", json_object_new_string(command ? command : ""));
	add(root, "events", (double)options->view.model.nr_events);
	add(root, "lost", (double)recording_lost(options->view.reader));
	add(root, "duration_ns", (double)options->view.model.end_ns);
	add(root, "peak_ns", (double)options->view.model.peak_ns);
	json_object_object_add(root, "sampled",
			       json_object_new_boolean(options->view.model.sampled));
	json_object_object_add(root, "total", tally_json(&options->view.model.sum));
	for (size_t i = 0; i < count && (!options->lines || i < options->lines); i++)
		json_object_array_add(list, site_json(&options->view, sites[i]));
	json_object_object_add(root, "sites", list);
	puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY));
	json_object_put(root);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &options->view;
		break;
	case 's':
		for (size_t i = 0; i < sizeof(sort_names) / sizeof(*sort_names); i++)
			if (!strcmp(arg, sort_names[i])) {
				options->sort = (enum sort)i;
				return 0;
			}
		argp_error(state, "-s is live, peak, total, allocs or short, not '%s'", arg);
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
	sites = choose(&options.view, &count);
	if (options.view.json)
		print_json(&options, sites, count);
	else
		print_text(&options, sites, count);
	view_notes(&options.view);
	free(sites);
	view_free(&options.view);
	return 0;
}
