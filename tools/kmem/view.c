/* SPDX-License-Identifier: MIT */
/* view.c - what the commands that show a recording have in common. */
#include "view.h"

#include "commands.h"
#include "say.h"
#include "stacks.h"

#include <math.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

enum {
	KEY_FROM = 512,
	KEY_TO,
	KEY_MIN,
	KEY_MAX,
	KEY_THREAD,
	KEY_FUNCTION,
	KEY_JSON,
	KEY_NO_DEMANGLE
};

static const struct argp_option input_options[] = {
	{ "input", 'i', "FILE", 0, "the recording (default " RECORDING_DEFAULT ")", 10 },
	{ 0 },
};

static const struct argp_option json_options[] = {
	{ "json", KEY_JSON, NULL, 0, "for a script to read", 12 },
	{ 0 },
};

static const struct argp_option filter_options[] = {
	{ "from", KEY_FROM, "SECONDS", 0, "allocations from then on", 11 },
	{ "to", KEY_TO, "SECONDS", 0, "allocations before", 11 },
	{ "min-size", KEY_MIN, "BYTES", 0, "of at least so many bytes requested", 11 },
	{ "max-size", KEY_MAX, "BYTES", 0, "of at most so many bytes requested", 11 },
	{ "thread", KEY_THREAD, "TID", 0, "of this thread", 11 },
	{ "function", KEY_FUNCTION, "REGEX", 0,
	  "by functions with such a name; of stacks: in any of their calls", 11 },
	{ "no-demangle", KEY_NO_DEMANGLE, NULL, 0, "leave C++ names as the linker has them", 12 },
	{ 0 },
};

static uint64_t seconds_as_ns(struct argp_state *state, const char *name, const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= 0) || value > 1e9)
		argp_error(state, "%s wants seconds, not '%s'", name, text);
	return (uint64_t)(value * 1e9);
}

static error_t parse_filter(int key, char *arg, struct argp_state *state)
{
	struct view *view = state->input;

	switch (key) {
	case KEY_FROM:
		view->filter.from_ns = seconds_as_ns(state, "--from", arg);
		break;
	case KEY_TO:
		view->filter.to_ns = seconds_as_ns(state, "--to", arg);
		break;
	case KEY_MIN:
		view->filter.min_bytes = option_number(state, "--min-size", arg, 0, UINT64_MAX / 2);
		break;
	case KEY_MAX:
		view->filter.max_bytes = option_number(state, "--max-size", arg, 1, UINT64_MAX / 2);
		break;
	case KEY_THREAD:
		view->filter.tid = (uint32_t)option_number(state, "--thread", arg, 1, UINT32_MAX);
		break;
	case KEY_FUNCTION:
		view->function = arg;
		break;
	case KEY_NO_DEMANGLE:
		view->mangled = true;
		break;
	case ARGP_KEY_END:
		if (view->filter.to_ns && view->filter.from_ns > view->filter.to_ns)
			argp_error(state, "--from is behind --to: nothing is in between");
		if (view->filter.max_bytes && view->filter.min_bytes > view->filter.max_bytes)
			argp_error(state,
				   "--min-size is more than --max-size: nothing is in between");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static error_t parse_json(int key, char *arg, struct argp_state *state)
{
	struct view *view = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = view;
		break;
	case KEY_JSON:
		view->json = true;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static error_t parse_input(int key, char *arg, struct argp_state *state)
{
	struct view *view = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = view;
		break;
	case 'i':
		view->path = arg;
		break;
	case ARGP_KEY_ARG:
		if (state->arg_num)
			return ARGP_ERR_UNKNOWN;
		view->path = arg;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp filter_argp = { .options = filter_options, .parser = parse_filter };
static const struct argp_child filters[] = { { &filter_argp, 0, NULL, 0 }, { 0 } };

const struct argp view_input_argp = { input_options, parse_input, .children = filters };
const struct argp view_json_argp = { json_options, parse_json, .children = filters };

static const struct argp_child json_and_filters[] = { { &view_json_argp, 0, NULL, 0 }, { 0 } };

const struct argp view_argp = { input_options, parse_input, .children = json_and_filters };

static void open_symbols(struct view *view)
{
	view->symbols = symbols_open(recording_maps(view->reader));
	if (view->mangled)
		symbols_keep_mangled(view->symbols);
}

bool view_load(struct view *view)
{
	view->reader = recording_open(view->path ? view->path : RECORDING_DEFAULT);
	if (!view->reader)
		return false;
	model_play(&view->model, view->reader, &view->filter);
	if (!view->wants_live)
		live_free(&view->model.live);
	open_symbols(view);
	return true;
}

bool view_open(struct view *view)
{
	view->reader = recording_open(view->path ? view->path : RECORDING_DEFAULT);
	if (!view->reader)
		return false;
	open_symbols(view);
	return true;
}

void view_free(struct view *view)
{
	model_free(&view->model);
	symbols_close(view->symbols);
	recording_reader_close(view->reader);
}

static bool is_in(struct view *view, uint64_t address, const regex_t *regex)
{
	struct frame frames[FRAMES_MAX];
	size_t count = symbols_frames(view->symbols, address, frames);

	for (size_t i = 0; i < count; i++)
		if (frames[i].function && regexec(regex, frames[i].function, 0, NULL, 0) == 0)
			return true;
	return false;
}

bool view_wants_site(struct view *view, const struct site *site)
{
	static regex_t regex;
	static const char *compiled;
	uint64_t addresses[STACKS_FRAMES_MAX];
	size_t count;
	bool cut;

	if (!view->function)
		return true;
	if (compiled != view->function) {
		if (regcomp(&regex, view->function, REG_EXTENDED | REG_NOSUB) != 0)
			give_up("--function: '%s' is no regular expression", view->function);
		compiled = view->function;
	}
	count = stacks_addresses(view->reader, site->stack, site->address, addresses, &cut);
	for (size_t i = 0; i < count; i++)
		if (is_in(view, addresses[i], &regex))
			return true;
	return false;
}

struct site **view_sites(struct view *view, int (*compare)(const void *, const void *),
			 size_t *count)
{
	struct site **sites = xmalloc(view->model.nr_sites * sizeof(void *));

	*count = 0;
	for (size_t i = 0; i < view->model.nr_sites; i++)
		if (view->model.site[i].sum.allocs > 0 &&
		    view_wants_site(view, &view->model.site[i]))
			sites[(*count)++] = &view->model.site[i];
	qsort(sites, *count, sizeof(void *), compare);
	return sites;
}

bool view_has_stacks(const struct view *view)
{
	return !view->model.nr_sites || recording_nr_stacks(view->reader) > 0;
}

void view_note_stacks(const struct view *view)
{
	if (!view_has_stacks(view))
		say("%s has no call stacks, only call sites: kmem record --stacks takes stacks",
		    view->path ? view->path : RECORDING_DEFAULT);
}

void view_note_nothing(const struct view *view, size_t count)
{
	if (!count && (view->model.filtered || view->function))
		say("no allocation in %s matches the filters",
		    view->path ? view->path : RECORDING_DEFAULT);
}

const char *view_unknown_frees(const struct view *view, char buf[256])
{
	if (!view->model.unknown_frees || view->model.filtered)
		return NULL;
	snprintf(
		buf, 256,
		"%lu %s were freed that had been allocated before, or whose allocation was lost: no table counts them",
		view->model.unknown_frees, view->model.sampled ? "samples" : "objects");
	return buf;
}

void view_notes(const struct view *view)
{
	const char *name = view->is_one_of_two ? view->path : "", *colon = *name ? ": " : "";
	uint64_t lost = recording_lost(view->reader), unseen = recording_unseen(view->reader);

	if (lost)
		say("%s%s%lu events were lost while recording: numbers are too small, and what seems live may "
		    "have been freed",
		    name, colon, lost);
	if (unseen)
		say("%s%s%lu allocations are of modules that came and went faster than was looked: they have addresses, not names",
		    name, colon, unseen);
	if (recording_tail_is_missing(view->reader))
		say("%s%sthe program was killed, called _exit() or replaced itself: its last milliseconds "
		    "before are not recorded",
		    name, colon);
	if (view->model.sampled)
		say("%s%sa sampled recording: numbers are estimates, from %lu samples", name, colon,
		    view->model.sum.events);
}

const char *human_bytes(double bytes, char buf[32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	unsigned unit = 0;

	if (fabs(bytes) < 0.5)
		bytes = 0; /* not -0 */
	while (fabs(bytes) >= 1024 && unit < 4) {
		bytes /= 1024;
		unit++;
	}
	snprintf(buf, 32, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
	return buf;
}

const char *human_ns(double ns, char buf[32])
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	unsigned unit = 0;

	while (ns >= 1000 && unit < 3) {
		ns /= 1000;
		unit++;
	}
	snprintf(buf, 32, unit ? "%.1f %s" : "%.0f %s", ns, units[unit]);
	return buf;
}
