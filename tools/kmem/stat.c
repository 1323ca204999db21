/* SPDX-License-Identifier: MIT */
/*
 * stat.c - `kmem stat`: totals of a recording in the shape of `perf kmem stat`, or of a process for a while.
 *
 * Hit is the number of allocations, Ping-pong that of objects that were freed on another CPU, Frag the share of
 * what was allocated that nobody asked for.
 *
 * A process is recorded, as `kmem record -p` does it, into a file without a name, which is read when that has ended. What the process
 * had allocated before is not known: frees of that are counted, and are in no table.
 */
#include "commands.h"
#include "json.h"
#include "record.h"
#include "say.h"
#include "view.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define WIDTH 34
#define LEAST_BYTES 4096	  /* that there must be room for */
#define PASSING_BYTES (1UL << 30) /* of the file of a process, or half of the room that there is */

enum key { KEY_FRAG, KEY_HIT, KEY_BYTES, KEY_PINGPONG };

static const char *const key_names[] = { "frag", "hit", "bytes", "pingpong" };

struct options {
	struct view view;
	enum key key;
	size_t lines;
	bool raw;
	/* of a process */
	pid_t pid; /* 0: a recording */
	double seconds;
	uint64_t sample_bytes; /* 0: every call */
};

enum { KEY_FOR = 850, KEY_SAMPLE };

static enum key sort_key;

static double frag(const struct tally *sum)
{
	return sum->alloc > 0 ? (sum->alloc - sum->req) * 100 / sum->alloc : 0;
}

static double key_of(const struct tally *sum)
{
	switch (sort_key) {
	case KEY_FRAG:
		return frag(sum);
	case KEY_HIT:
		return sum->allocs;
	case KEY_PINGPONG:
		return sum->cross_cpu;
	default:
		return sum->alloc;
	}
}

static int compare(const void *a, const void *b)
{
	double x = key_of(&(*(const struct site *const *)a)->sum),
	       y = key_of(&(*(const struct site *const *)b)->sum);

	return x < y ? 1 : x > y ? -1 : 0;
}

static void line(int length)
{
	for (int i = 0; i < length; i++)
		putchar('-');
	putchar('\n');
}

static void print_sites(struct options *options, struct site **sites, size_t count)
{
	struct view *view = &options->view;
	char name[512];

	line(105);
	printf(" %-*s | %-15s | %-15s | %-8s | %-9s | %s\n", WIDTH, "Callsite", "Total_alloc/Per",
	       "Total_req/Per", "Hit", "Ping-pong", "Frag");
	line(105);
	for (size_t i = 0; i < count && (!options->lines || i < options->lines); i++) {
		const struct tally *sum = &sites[i]->sum;

		if (options->raw)
			snprintf(name, sizeof(name), "0x%lx", recording_address(sites[i]->address));
		else
			symbols_text(view->symbols, sites[i]->address, name, sizeof(name));
		printf(" %-*.*s | %9.0f/%-5.0f | %9.0f/%-5.0f | %8.0f | %9.0f | %6.3f%%\n", WIDTH,
		       WIDTH, name, sum->alloc, sum->alloc / sum->allocs, sum->req,
		       sum->req / sum->allocs, sum->allocs, sum->cross_cpu, frag(sum));
	}
	if (options->lines && options->lines < count)
		printf(" %-*s | %-15s | %-15s | %-8s | %-9s | %s\n", WIDTH, "...", "...", "...",
		       "...", "...", "...");
	line(105);
}

static void print_sizes(const struct model *model)
{
	char low[32], high[32], bytes[32];

	printf("\nBY SIZE (bytes requested; sums: bytes allocated)\n================================================\n");
	for (unsigned i = 0; i < MODEL_SIZES; i++)
		if (model->by_size[i] > 0)
			printf("%10s .. %-10s %12.0f objects %12s\n",
			       human_bytes(i ? (double)(1UL << i) : 0, low),
			       human_bytes((double)(1UL << (i + 1)) - 1, high), model->by_size[i],
			       human_bytes(model->by_size_bytes[i], bytes));
}

static void print_lifetimes(const struct model *model)
{
	char low[32], high[32];

	printf("\nBY LIFETIME (of what was freed)\n===============================\n");
	for (unsigned i = 0; i < MODEL_LIVES; i++)
		if (model->by_lifetime[i] > 0)
			printf("%10s .. %-10s %12.0f objects\n",
			       human_ns(i > model->least_life ? (double)(1UL << i) : 0, low),
			       human_ns((double)(1UL << (i + 1)), high), model->by_lifetime[i]);
}

static void print_summary(const struct tally *sum)
{
	printf("\nSUMMARY (SLAB allocator)\n========================\n");
	printf("Total bytes requested: %'.0f\n", sum->req);
	printf("Total bytes allocated: %'.0f\n", sum->alloc);
	printf("Total bytes freed:     %'.0f\n", sum->freed);
	if (sum->alloc > sum->freed)
		printf("Net total bytes allocated: %'.0f\n", sum->alloc - sum->freed);
	printf("Total bytes wasted on internal fragmentation: %'.0f\n", sum->alloc - sum->req);
	printf("Internal fragmentation: %f%%\n", frag(sum));
	printf("Cross CPU allocations: %'.0f/%'.0f\n", sum->cross_cpu, sum->allocs);
}

static struct json_object *row_json(struct view *view, const struct site *site)
{
	struct json_object *object = json_object_new_object();
	char name[512];

	json_add_text(object, "call_site",
		      symbols_text(view->symbols, site->address, name, sizeof(name)));
	json_add(object, "bytes_alloc", site->sum.alloc);
	json_add(object, "bytes_req", site->sum.req);
	json_add(object, "hit", site->sum.allocs);
	json_add(object, "ping_pong", site->sum.cross_cpu);
	return object;
}

/* Shares of powers of two, those that there are: "from" is the least of each; `first` has all below, too. */
static struct json_object *shares_json(const double *objects, const double *bytes, unsigned first,
				       unsigned count)
{
	struct json_object *list = json_object_new_array();

	for (unsigned i = first; i < count; i++) {
		struct json_object *share;

		if (!(objects[i] > 0))
			continue;
		share = json_object_new_object();
		json_add(share, "from", i > first ? (double)(1UL << i) : 0);
		json_add(share, "objects", objects[i]);
		if (bytes)
			json_add(share, "bytes", bytes[i]);
		json_object_array_add(list, share);
	}
	return list;
}

static void print_json(struct options *options, struct site **sites, size_t count)
{
	struct json_object *root = json_object_new_object(), *list = json_object_new_array();
	const struct model *model = &options->view.model;

	json_object_object_add(root, "total", json_tally(&model->sum));
	json_add_unknown_frees(root, model);
	json_add(root, "lost", (double)recording_lost(options->view.reader));
	for (size_t i = 0; i < count && (!options->lines || i < options->lines); i++)
		json_object_array_add(list, row_json(&options->view, sites[i]));
	json_object_object_add(root, "sites", list);
	json_object_object_add(root, "by_size",
			       shares_json(model->by_size, model->by_size_bytes, 0, MODEL_SIZES));
	json_object_object_add(root, "by_lifetime_ns",
			       shares_json(model->by_lifetime, NULL, model->least_life,
					   MODEL_LIVES));
	json_print(root);
}

static void print_text(struct options *options, struct site **sites, size_t count)
{
	print_sites(options, sites, count);
	print_sizes(&options->view.model);
	print_lifetimes(&options->view.model);
	print_summary(&options->view.model.sum);
}

static const char *folder(void)
{
	const char *name = getenv("TMPDIR");

	return name && *name ? name : "/tmp";
}

/* False: errno is why not. The file is empty as before. */
static bool has_room(int fd)
{
	static const char some[LEAST_BYTES];
	ssize_t n;

	for (size_t done = 0; done < sizeof(some); done += (size_t)n) {
		n = pwrite(fd, some + done, sizeof(some) - done, (off_t)done);
		if (n <= 0)
			return false;
	}
	return ftruncate(fd, 0) == 0;
}

/* A file without a name, to be opened by what is written to `path`. -1: said why there is none, or no room in it. */
static int open_unnamed(char path[PATH_MAX])
{
	int fd;

	snprintf(path, PATH_MAX, "%s/kmem-XXXXXX", folder());
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return say("%s can't be written: %s (TMPDIR chooses another folder)", path,
			   strerror(errno));
	unlink(path);
	if (!has_room(fd)) {
		say("the events can't be held in %s: %s (TMPDIR chooses another folder)", folder(),
		    strerror(errno));
		close(fd);
		return -1;
	}
	snprintf(path, PATH_MAX, "/proc/self/fd/%d", fd);
	return fd;
}

static uint64_t passing_bytes(int fd)
{
	struct statvfs room;
	uint64_t half;

	if (fstatvfs(fd, &room) != 0)
		return PASSING_BYTES;
	half = (uint64_t)room.f_bavail * room.f_bsize / 2;
	return half < PASSING_BYTES ? half + 1 : PASSING_BYTES;
}

/* Record the process for a while; view->path is where, then. False: said why not. */
static bool record_process(struct options *options)
{
	static char path[PATH_MAX];
	struct record_options record = {
		.pid = options->pid,
		.mode = options->sample_bytes ? TRACE_SAMPLE : TRACE_ALL,
		.full = TRACE_DROP,
		.sample_bytes = options->sample_bytes ? options->sample_bytes : RECORD_SAMPLE_BYTES,
		.ring_events = RECORD_RING_EVENTS,
		.seconds = options->seconds,
		.held_in = folder(),
	};
	static const int taken[] = { SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGPIPE, SIGXFSZ };
	char size[32];
	struct stat stat;
	int fd = open_unnamed(path);

	if (fd < 0)
		return false;
	record.output = options->view.path = path;
	record.max_bytes = passing_bytes(fd);
	if (!options->seconds && isatty(STDERR_FILENO))
		say("taking the events of process %d: Ctrl-C ends that", options->pid);
	if (record_run(&record) != 0)
		return false;
	/* tables are printed as those of a recording are */
	for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
		signal(taken[i], SIG_DFL);
	if (fstat(fd, &stat) == 0 && (uint64_t)stat.st_size > record.max_bytes)
		say("the events filled %s in %s: what came after that is not counted (--sample takes fewer, TMPDIR chooses "
		    "another folder)",
		    human_bytes((double)record.max_bytes, size), folder());
	return true;
}

static void note_unknown(const struct view *view)
{
	char text[256];

	if (view_unknown_frees(view, text))
		say("%s", text);
}

static error_t parse_process(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case KEY_FOR:
		options->seconds = strtod(arg, &arg);
		if (*arg || !(options->seconds > 0 && options->seconds <= 1e9))
			argp_error(state, "--for wants seconds");
		break;
	case KEY_SAMPLE:
		options->sample_bytes = RECORD_SAMPLE_BYTES;
		if (arg)
			options->sample_bytes = option_number(state, "--sample", arg, 1, 1UL << 40);
		break;
	case ARGP_KEY_ARG:
		if (state->arg_num || arg[strspn(arg, "0123456789")])
			return ARGP_ERR_UNKNOWN;
		options->pid = (pid_t)option_number(state, "PID", arg, 1, INT_MAX);
		break;
	case ARGP_KEY_END:
		if (options->pid && options->view.path)
			argp_error(state, "a PID or a FILE, not both");
		if (!options->pid && (options->seconds > 0 || options->sample_bytes))
			argp_error(state, "--for and --sample go with a PID");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
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
		choice = option_choice(arg, key_names, sizeof(key_names) / sizeof(*key_names));
		if (choice < 0)
			argp_error(state, "-s is frag, hit, bytes or pingpong, not '%s'", arg);
		options->key = (enum key)choice;
		break;
	case 'l':
		options->lines = option_number(state, "-l", arg, 0, SIZE_MAX);
		break;
	case 'r':
		options->raw = true;
		break;
	default:
		return parse_process(key, arg, state);
	}
	return 0;
}

int command_stat(int argc, char **argv)
{
	static const struct argp_option argp_options[] = {
		{ "sort", 's', "KEY", 0, "bytes (default), frag, hit or pingpong", 1 },
		{ "line", 'l', "N", 0, "so many call sites (default 40, 0: all)", 1 },
		{ "raw-ip", 'r', NULL, 0, "addresses instead of names", 1 },
		{ "for", KEY_FOR, "SECONDS", 0,
		  "of a process: so long; else until Ctrl-C, or until it ends", 2 },
		{ "sample", KEY_SAMPLE, "BYTES", OPTION_ARG_OPTIONAL,
		  "of a process: one allocation in so many bytes on average (default 512K)", 2 },
		{ 0 },
	};
	static const struct argp_child children[] = { { &view_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		argp_options,
		parse,
		"[FILE]\nPID",
		"Show the totals of a recording, or of a process for a while, by call site, size and "
		"lifetime, as perf kmem stat does.",
		children,
		NULL,
		NULL
	};
	struct options options = { .lines = 40, .key = KEY_BYTES };
	struct site **sites;
	size_t count;

	argp_parse(&argp, argc, argv, 0, NULL, &options);
	setlocale(LC_NUMERIC, "");
	if (options.pid && !record_process(&options))
		return 1;
	if (!view_load(&options.view))
		return 1;
	sort_key = options.key;
	sites = view_sites(&options.view, compare, &count);
	if (options.view.json)
		print_json(&options, sites, count);
	else
		print_text(&options, sites, count);
	free(sites);
	view_note_nothing(&options.view, count);
	view_notes(&options.view);
	if (options.pid)
		note_unknown(&options.view);
	view_free(&options.view);
	return 0;
}
