/* SPDX-License-Identifier: MIT */
/*
 * leaks.c - `kmem leaks`: of a process, what nothing in it points to (scan.c); of a recording, what was never freed.
 *
 * A process does not know who allocated a block. A recording does, one that was made or is being made of the same process: with
 * --recording the blocks get their call sites from it.
 */
#include "leaks.h"

#include "commands.h"
#include "say.h"
#include "view.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_RECORDING = 800, KEY_IGNORE, KEY_JSON };

struct options {
	pid_t pid;	     /* 0: a recording */
	const char *path;    /* of the recording */
	const char *sites;   /* --recording */
	struct leaks report; /* ignore, groups_shown, json */
};

static void add_block(struct leaks *leaks, size_t *room, const struct lost_block *block)
{
	leaks->block = xgrow(leaks->block, room, leaks->count, sizeof(*block));
	leaks->block[leaks->count++] = *block;
}

static struct lost_block lost_of(const struct view *view, const struct live *live)
{
	return (struct lost_block){
		.address = live->ptr,
		.size = live->req,
		.site = view->model.site[live->site].address,
		.stack = view->model.site[live->site].stack,
		.weight = model_weight(&view->model, live),
		.ns = recording_ns(view->reader, live_when(live)),
		.tid = live->tid,
	};
}

/* The program's name in a command line. */
static void take_name(char *name, size_t size, const char *command)
{
	size_t length = command ? strcspn(command, " ") : 0;
	const char *word = command;

	/* a process that ran already */
	if (command && *command == '-')
		command = NULL;
	for (size_t i = 0; command && i < length; i++)
		if (command[i] == '/')
			word = command + i + 1;
	snprintf(name, size, "%.*s", command ? (int)(command + length - word) : 1,
		 command ? word : "?");
}

static bool report_recording(struct options *options)
{
	struct view view = { .path = options->path, .filter.by_stack = true, .wants_live = true };
	struct leaks *leaks = &options->report;
	const struct live *live;
	const char *pid;
	bool done;

	if (!view_load(&view))
		return false;
	leaks->what = "never freed object";
	leaks->symbols = view.symbols;
	leaks->reader = view.reader;
	take_name(leaks->comm, sizeof(leaks->comm), recording_info(view.reader, "command"));
	pid = recording_info(view.reader, "pid");
	leaks->pid = pid ? atoi(pid) : 0;
	leaks->block = xmalloc((view.model.live.nr + 1) * sizeof(*leaks->block));
	/* sorting them takes what the table had */
	for (size_t at = 0; (live = live_drain(&view.model.live, &at));)
		leaks->block[leaks->count++] = lost_of(&view, live);
	done = leaks_report(leaks);
	view_notes(&view);
	view_free(&view);
	return done;
}

static int by_address(const void *a, const void *b)
{
	const struct lost_block *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

/* Sites, sizes and threads from a recording of the same process. Both are sorted here. */
static void take_sites(struct leaks *leaks, const struct view *view)
{
	if (!leaks->count)
		return;
	qsort(leaks->block, leaks->count, sizeof(*leaks->block), by_address);
	for (size_t i = 0; i < view->model.live.room; i++) {
		const struct live *live = &view->model.live.entry[i];
		struct lost_block key = { .address = live->ptr }, *block;

		block = live->ptr ?
				bsearch(&key, leaks->block, leaks->count, sizeof(key), by_address) :
				NULL;
		if (block) {
			key = lost_of(view, live);
			key.leak = block->leak;
			key.weight = 1;
			*block = key;
		}
	}
}

static void read_comm(char *name, size_t size, pid_t pid)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "re");
	if (!file || !fgets(name, (int)size, file))
		snprintf(name, size, "?");
	name[strcspn(name, "\n")] = 0;
	clean_text(name);
	if (file)
		fclose(file);
}

/* What a recording can't tell of a process' blocks. */
static void note_sites(struct options *options, const struct view *view)
{
	const char *pid = recording_info(view->reader, "pid");

	if (pid && atoi(pid) != options->pid)
		say("%s is of process %s, not of %d: its call sites are those of other blocks",
		    options->sites, pid, options->pid);
	options->report.is_sampled = view->model.sampled;
	if (view->model.sampled)
		say("%s is of samples: most blocks are not in it", options->sites);
}

static bool report_scan(struct options *options, const struct scan_result *result)
{
	struct leaks *leaks = &options->report;
	struct view view = { .path = options->sites, .filter.by_stack = true, .wants_live = true };
	size_t room = 0;
	bool done;

	leaks->what = "unreferenced object";
	leaks->scan = result;
	leaks->pid = options->pid;
	for (size_t i = 0; i < result->count; i++)
		add_block(leaks, &room,
			  &(struct lost_block){ .address = result->leak[i].address,
						.size = result->leak[i].size,
						.weight = 1,
						.leak = &result->leak[i] });
	if (options->sites) {
		if (!view_load(&view))
			return false;
		leaks->symbols = view.symbols;
		leaks->reader = view.reader;
		note_sites(options, &view);
		take_sites(leaks, &view);
	}
	done = leaks_report(leaks);
	if (result->inside)
		say("a thread was, or may have been, inside the allocator all the time: what it had in its "
		    "hands counts as referenced");
	if (options->sites)
		view_free(&view);
	return done;
}

static bool report_process(struct options *options)
{
	struct process process = { .pid = options->pid };
	struct scan_result result;
	bool done;

	if (!process_open(&process))
		return false;
	read_comm(options->report.comm, sizeof(options->report.comm), options->pid);
	done = scan_process(&process, &result);
	target_close(&process.target);
	if (done)
		done = report_scan(options, &result);
	options->report.scan = NULL;
	scan_free(&result);
	return done;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case 'n':
		options->report.groups_shown = option_number(state, "-n", arg, 0, SIZE_MAX);
		break;
	case KEY_RECORDING:
		options->sites = arg;
		break;
	case KEY_IGNORE:
		options->report.ignore = arg;
		break;
	case KEY_JSON:
		options->report.json = true;
		break;
	case ARGP_KEY_ARG:
		if (state->arg_num)
			argp_error(state, "one PID or FILE is enough");
		if (arg[strspn(arg, "0123456789")])
			options->path = arg;
		else
			options->pid = (pid_t)option_number(state, "PID", arg, 1, INT_MAX);
		break;
	case ARGP_KEY_END:
		if (!options->pid && !options->path)
			argp_error(state, "say which PID or FILE");
		if (options->path && options->sites)
			argp_error(state, "--recording goes with a PID");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int command_leaks(int argc, char **argv)
{
	static const struct argp_option argp_options[] = {
		{ "recording", KEY_RECORDING, "FILE", 0,
		  "take call sites, or stacks, from this recording of the process; it may still be written",
		  1 },
		{ "ignore", KEY_IGNORE, "FILE", 0,
		  "leave out what was allocated in these functions, or in calls of them where stacks are "
		  "known: regular expressions, one a line, # begins a comment",
		  1 },
		{ "lines", 'n', "N", 0, "so many call sites or stacks (default 100, 0: all)", 1 },
		{ "json", KEY_JSON, NULL, 0, "for a script to read; all of them", 2 },
		{ 0 },
	};
	static const struct argp argp = {
		argp_options,
		parse,
		"PID|FILE",
		"Show what a process has lost: the blocks that nothing in it points to any more. It is "
		"stopped for that, for some milliseconds for each 100 MB that it has. Or what a "
		"recording saw allocated and never freed.\v"
		"A block counts as referenced when any aligned word that the program can reach "
		"looks like an address in it: so what is shown is lost, but not all that is lost is shown.",
		NULL,
		NULL,
		NULL
	};
	struct options options = { .report.groups_shown = 100 };
	bool done;

	argp_parse(&argp, argc, argv, 0, NULL, &options);
	done = options.pid ? report_process(&options) : report_recording(&options);
	free(options.report.block);
	return done ? 0 : 1;
}
