/* SPDX-License-Identifier: MIT */
/*
 * export.c - `kmem export`: a recording in the formats that other people's viewers read.
 *
 * Output that was begun and could not be finished is removed: what is there under the name is
 * whole.
 */
#include "export.h"

#include "commands.h"
#include "say.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct format {
	const char *name;
	bool (*write)(struct export *export);
	bool binary; /* not for a terminal */
	const char *help;
} formats[] = {
	{ "pprof", export_pprof, true,
	  "gzipped profile.proto, for pprof and what reads its files" },
	{ "collapsed", export_collapsed, false,
	  "a line per stack and its number, for flame graphs and speedscope" },
	{ "perfetto", export_perfetto, true, "Perfetto's own trace: heap profile and curves" },
	{ "chrome", export_chrome, false,
	  "Chrome's trace events, JSON: the curves of bytes and objects" },
	{ "dhat", export_dhat, false, "valgrind's DHAT, JSON, for dh_view.html" },
	{ "html", export_html, false, "one page that needs nothing else" },
};

#define NR_FORMATS (sizeof(formats) / sizeof(*formats))

enum { KEY_FORMAT = 768, KEY_VALUE = KEY_FORMAT + NR_FORMATS, KEY_UNIT };

static const char *const value_names[] = { "inuse", "alloc", "peak" };
static const char *const unit_names[] = { "bytes", "objects" };

struct options {
	struct export export;
	const struct format *format;
	const char *output; /* NULL: standard output */
	bool has_value;
};

size_t export_stack(const struct export *export, const struct site *site,
		    const uint64_t **addresses)
{
	size_t count = 0;
	bool cut;

	if (site->stack)
		*addresses = recording_stack_frames(export->view.reader, site->stack, &count, &cut);
	if (count)
		return count;
	*addresses = &site->address;
	return 1;
}

const char *export_frame_name(const struct frame *frame, char *buf, size_t size)
{
	if (frame->function)
		snprintf(buf, size, "%s", frame->function);
	else if (frame->module)
		snprintf(buf, size, "%s+0x%lx", frame->module, frame->offset);
	else
		snprintf(buf, size, "0x%lx", frame->offset);
	return buf;
}

size_t export_points(const struct export *export, struct point points[MODEL_POINTS + 1])
{
	const struct model *model = &export->view.model;
	struct point peak = { model->peak_ns, model->sum.peak_bytes, model->sum.peak_objects };
	size_t count = 0;
	bool done = !(peak.bytes > 0);

	for (size_t i = 0; i < model->nr_points; i++) {
		if (!done && model->point[i].ns >= peak.ns) {
			points[count++] = peak;
			done = true;
			if (model->point[i].ns == peak.ns)
				continue;
		}
		points[count++] = model->point[i];
	}
	if (!done)
		points[count++] = peak;
	return count;
}

int64_t export_mean(const struct export *export)
{
	const char *text = recording_info(export->view.reader, "sample_bytes");

	return text ? strtoll(text, NULL, 10) : 0;
}

int export_pid(const struct export *export)
{
	const char *text = recording_info(export->view.reader, "pid");

	return text ? atoi(text) : 0;
}

int64_t export_time(const struct export *export)
{
	const char *text = recording_info(export->view.reader, "time");

	return text ? strtoll(text, NULL, 10) : 0;
}

const char *export_command(const struct export *export)
{
	const char *text = recording_info(export->view.reader, "command");

	return text && *text ? text : "?";
}

struct json_object *export_json_text(const char *text)
{
	char *copy = utf8_copy(text);
	struct json_object *object = json_object_new_string(copy);

	free(copy);
	return object;
}

void export_json_add(struct json_object *object, const char *name, double value)
{
	json_object_object_add(object, name, json_object_new_int64(export_round(value)));
}

void *export_grow(void *array, size_t count, size_t size)
{
	return count & (count - 1) ? array : xrealloc(array, (count ? count * 2 : 1) * size);
}

static bool export_load(struct export *export)
{
	struct view *view = &export->view;

	view->filter.by_stack = true; /* where there are any */
	if (!view_load(view))
		return false;
	export->site = xmalloc(view->model.nr_sites * sizeof(struct site *));
	for (size_t i = 0; i < view->model.nr_sites; i++)
		if (view->model.site[i].sum.allocs > 0 &&
		    view_wants_site(view, &view->model.site[i]))
			export->site[export->nr_sites++] = &view->model.site[i];
	return true;
}

static size_t choice_of(const struct argp_state *state, const char *option, const char *text,
			const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(text, names[i]))
			return i;
	argp_error(state, "%s: there is no '%s'; try --help", option, text);
	return 0;
}

static void check(const struct argp_state *state, const struct options *options)
{
	if (!options->format) {
		argp_error(state, "which format? --html or another; try --help");
		return;
	}
	if (options->has_value && options->format->write != export_collapsed)
		argp_error(state, "--value and --unit are for --collapsed; --%s has all of them",
			   options->format->name);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &options->export.view;
		break;
	case 'o':
		options->output = strcmp(arg, "-") != 0 ? arg : NULL;
		break;
	case KEY_VALUE:
		options->export.value =
			(enum export_value)choice_of(state, "--value", arg, value_names, 3);
		options->has_value = true;
		break;
	case KEY_UNIT:
		options->export.objects = choice_of(state, "--unit", arg, unit_names, 2) == 1;
		options->has_value = true;
		break;
	case ARGP_KEY_END:
		check(state, options);
		break;
	default:
		if (key < KEY_FORMAT || key >= KEY_VALUE)
			return ARGP_ERR_UNKNOWN;
		if (options->format && options->format != &formats[key - KEY_FORMAT])
			argp_error(state, "one format at a time");
		options->format = &formats[key - KEY_FORMAT];
	}
	return 0;
}

/* The recording that is being read must not be written over. */
static bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static FILE *open_output(const struct options *options)
{
	const char *input = options->export.view.path ? options->export.view.path :
							RECORDING_DEFAULT;
	FILE *file;

	if (!options->output) {
		if (options->format->binary && isatty(STDOUT_FILENO)) {
			say("--%s is not for a terminal: use -o FILE, or a pipe",
			    options->format->name);
			return NULL;
		}
		return stdout;
	}
	if (is_same_file(options->output, input)) {
		say("%s is the recording itself", options->output);
		return NULL;
	}
	file = fopen(options->output, "we");
	if (!file)
		say("%s can't be written: %s", options->output, strerror(errno));
	return file;
}

/* A file that was begun, and that is no device or the like, goes. */
static void remove_output(const char *path)
{
	struct stat stat;

	if (path && lstat(path, &stat) == 0 && S_ISREG(stat.st_mode))
		unlink(path);
}

static int run(struct options *options)
{
	struct export *export = &options->export;
	const char *name = options->output ? options->output : "standard output";
	bool done;

	export->out = open_output(options);
	if (!export->out)
		return 1;
	errno = 0;
	done = options->format->write(export);
	if (fflush(export->out) != 0 || ferror(export->out)) {
		say("%s can't be written: %s", name, strerror(errno));
		done = false;
	}
	if (options->output && fclose(export->out) != 0 && done) {
		say("%s can't be written: %s", name, strerror(errno));
		done = false;
	}
	if (!done)
		remove_output(options->output);
	return done ? 0 : 1;
}

int command_export(int argc, char **argv)
{
	static const struct argp_option own[] = {
		{ "output", 'o', "OUT", 0, "the file to write (default: standard output)", 2 },
		{ "value", KEY_VALUE, "VALUE", 0,
		  "of --collapsed: inuse, what was never freed (default), alloc, all that was "
		  "allocated, or peak, what was live at the peak",
		  3 },
		{ "unit", KEY_UNIT, "UNIT", 0, "of --collapsed: bytes (default) or objects", 3 },
		{ 0 },
	};
	struct argp_option list[NR_FORMATS + sizeof(own) / sizeof(*own)];
	static const struct argp_child children[] = { { &view_input_argp, 0, NULL, 0 }, { 0 } };
	const struct argp argp = {
		list,	  parse, "[FILE]", "Write a recording in a format that other viewers read.",
		children, NULL,	 NULL
	};
	struct options options = { 0 };
	int status;

	for (size_t i = 0; i < NR_FORMATS; i++)
		list[i] = (struct argp_option){
			formats[i].name, (int)(KEY_FORMAT + i), NULL, 0, formats[i].help, 1
		};
	memcpy(list + NR_FORMATS, own, sizeof(own));
	argp_parse(&argp, argc, argv, 0, NULL, &options);
	if (!export_load(&options.export))
		return 1;
	status = run(&options);
	if (!status)
		view_notes(&options.export.view);
	free(options.export.site);
	view_free(&options.export.view);
	return status;
}
