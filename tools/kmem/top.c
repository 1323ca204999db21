/* SPDX-License-Identifier: MIT */
/*
 * top.c - `kmem top`: a process' caches and areas, again and again, in the manner of slabtop.
 *
 * What is live is read from outside and costs the process nothing. Allocations and frees are not counted by it: --events switches
 * tracing on for as long as this runs, dropping what comes too fast, and off again however this ends: by a key, a signal, an
 * error, or the end of its output. (If it is killed outright, the process ends the tracing by itself, when it has heard nothing of it
 * for half a minute.)
 */
#include "top.h"

#include "commands.h"
#include "images.h"
#include "maps.h"
#include "rings.h"
#include "say.h"

#include <curses.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RING_EVENTS (1UL << 16)
#define COLLECT_MS 5
#define SETTLE_US 5000
#define KEY_EVENTS_OPTION 900
#define KEY_BATCH_OPTION 901

struct options {
	struct process process;
	double seconds;
	unsigned long rounds; /* 0: until the end */
	char sort;
	bool batch, events;
};

static struct top *top;
static struct rings *rings;
static bool tracing, on_screen;
static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void take_events(const struct raw_event *events, size_t n, void *arg)
{
	struct event event;

	(void)arg;
	for (size_t i = 0; i < n; i++)
		if (rings_decode(rings, &events[i], &event))
			top_event(&event, top);
}

static void stop_tracing(void)
{
	struct target_wish off = { .mode = TRACE_OFF };

	if (!tracing)
		return;
	tracing = false;
	target_pause(&top->process.target);
	usleep(SETTLE_US);
	rings_collect(rings, true, take_events, NULL);
	target_trace(&top->process.target, &off);
}

/* However the program ends. */
static void restore(void)
{
	stop_tracing();
	if (on_screen)
		endwin();
	on_screen = false;
}

static bool start_tracing(void)
{
	struct target *target = &top->process.target;
	struct target_wish wish = { TRACE_ALL, TRACE_DROP, 0, RING_EVENTS };

	if (target->state.mode != TRACE_OFF || target->state.want_mode != TRACE_OFF) {
		say("process %d is being recorded: --events would take its events away",
		    target->pid);
		return false;
	}
	wish.sample_bytes = target->state.want_sample_bytes;
	rings = rings_open(target, false);
	tracing = true;
	if (target_trace(target, &wish) != 0) {
		say("process %d: its memory can't be written: %s", target->pid, strerror(errno));
		return false;
	}
	return true;
}

static void read_names(void)
{
	char path[64];
	char *maps = maps_read(top->process.pid, true);
	FILE *file;

	images_keep(top->process.pid, maps);
	top->symbols = symbols_open(maps);
	free(maps);
	remote_string(&top->process.target, top->process.places.mode_name, top->mode,
		      sizeof(top->mode));
	snprintf(path, sizeof(path), "/proc/%d/comm", top->process.pid);
	file = fopen(path, "re");
	if (!file || !fgets(top->comm, sizeof(top->comm), file))
		strcpy(top->comm, "?");
	top->comm[strcspn(top->comm, "\n")] = 0;
	remote_clean(top->comm);
	if (file)
		fclose(file);
}

static void put_line(enum top_style style, const char *text, void *arg)
{
	(void)style;
	(void)arg;
	puts(text);
}

static void draw_line(enum top_style style, const char *text, void *arg)
{
	static const attr_t styles[] = { A_NORMAL, A_BOLD, A_REVERSE, A_NORMAL };
	attr_t attributes = styles[style];
	int *y = arg;

	if (style == TOP_HOT && has_colors())
		attributes |= (attr_t)COLOR_PAIR(1);
	else if (style == TOP_HEAD && has_colors())
		attributes |= (attr_t)COLOR_PAIR(2);
	attrset((int)attributes);
	mvaddnstr((*y)++, 0, text, COLS);
	if (style == TOP_TITLE)
		for (int x = (int)strlen(text); x < COLS; x++)
			addch(' ');
	attrset(A_NORMAL);
}

static void show(void)
{
	int y = 0;

	if (!on_screen) {
		top_render(top, SIZE_MAX, SIZE_MAX, put_line, NULL);
		putchar('\n');
		fflush(stdout);
		return;
	}
	erase();
	top_render(top, (size_t)LINES, (size_t)COLS, draw_line, &y);
	refresh();
}

static void start_screen(void)
{
	initscr();
	on_screen = true;
	noecho();
	curs_set(0);
	keypad(stdscr, TRUE);
	if (has_colors()) {
		start_color();
		use_default_colors();
		init_pair(1, COLOR_YELLOW, -1);
		init_pair(2, COLOR_CYAN, -1);
	}
}

/* Wait for a key so long. False: enough. */
static bool wait_ms(uint64_t ms)
{
	int key;

	if (!on_screen) {
		usleep((useconds_t)ms * 1000);
		return !interrupted;
	}
	timeout((int)ms);
	key = getch();
	if (interrupted || key == 'q' || key == 'Q')
		return false;
	if (top_is_key(key))
		top->sort = (char)key;
	if (key != ERR)
		show();
	return true;
}

/* What came too fast in this interval is taken to be like what was seen. */
static void note_lost(void)
{
	uint64_t lost = tracing ? rings_lost(rings) : 0;

	top->lost = lost - top->lost_before;
	top->lost_before = lost;
	top->scale = top->seen ? (double)(top->seen + top->lost) / (double)top->seen : 1;
}

enum outcome { AGAIN, ENOUGH, GONE };

/* Until it is time for the next sample. */
static enum outcome pass(uint64_t until)
{
	uint64_t now;

	while ((now = now_ms()) < until) {
		uint64_t left = until - now;

		if (tracing) {
			if (rings_collect(rings, false, take_events, NULL) < 0)
				return GONE;
			target_divert(&top->process.target);
			left = left < COLLECT_MS ? left : COLLECT_MS;
		}
		if (!wait_ms(left < 250 ? left : 250))
			return ENOUGH;
		if (!target_is_alive(&top->process.target))
			return GONE;
	}
	return AGAIN;
}

static enum outcome loop(const struct options *options)
{
	uint64_t period = (uint64_t)(options->seconds * 1000), due = now_ms();

	if (top_sample(top) != 0)
		return GONE;
	/* the first look says nothing of rates */
	for (unsigned long round = 1;; round++) {
		enum outcome outcome;

		show();
		top_forget_events(top);
		if ((options->rounds && round >= options->rounds) || ferror(stdout))
			return ENOUGH;
		due += period;
		outcome = pass(due);
		if (outcome != AGAIN)
			return outcome;
		note_lost();
		if (target_refresh(&top->process.target) != 0 || top_sample(top) != 0)
			return GONE;
	}
}

/* Or it is damaged. Returns the exit status. */
static int top_ended(void)
{
	if (target_refresh(&top->process.target) == 0)
		return process_gone(&top->process);
	say("process %d has ended", top->process.pid);
	return 0;
}

static int run(const struct options *options)
{
	enum outcome outcome;

	top = xcalloc(1, sizeof(*top));
	top->process = options->process;
	top->sort = options->sort;
	if (!process_open(&top->process))
		return 1;
	read_names();
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGHUP, on_signal);
	signal(SIGQUIT, on_signal);
	signal(SIGPIPE, SIG_IGN);
	atexit(restore);
	if (options->events && !start_tracing())
		return 1;
	top->events = options->events;
	if (!options->batch)
		start_screen();
	outcome = loop(options);
	restore();
	if (outcome == GONE)
		return top_ended();
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &options->process;
		break;
	case 'd':
		options->seconds = strtod(arg, &arg);
		if (*arg || !(options->seconds >= 0.05) || options->seconds > 86400)
			argp_error(state, "-d wants seconds, from 0.05 on");
		break;
	case 's':
		if (!top_is_key(*arg) || arg[1])
			argp_error(state, "-s is one of the letters " TOP_KEYS ", not '%s'", arg);
		options->sort = *arg;
		break;
	case 'n':
		options->rounds = option_number(state, "-n", arg, 0, ULONG_MAX);
		break;
	case KEY_BATCH_OPTION:
		options->batch = true;
		break;
	case KEY_EVENTS_OPTION:
		options->events = true;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int command_top(int argc, char **argv)
{
	static const struct argp_option argp_options[] = {
		{ "delay", 'd', "SECONDS", 0, "from one look to the next (default 2)", 1 },
		{ "sort", 's', "KEY", 0,
		  "c: cache size (default), o: objects, a: active ones, u: use, s: object size, l: slabs, "
		  "b: objects per slab, p: pages per slab, n: name, d: change of active objects, r: allocations",
		  1 },
		{ "rounds", 'n', "N", 0,
		  "so many looks, then end (default 0: until it is told to end)", 1 },
		{ "batch", KEY_BATCH_OPTION, NULL, 0,
		  "plain text, one look after the other; so it is where output is no terminal", 1 },
		{ "events", KEY_EVENTS_OPTION, NULL, 0,
		  "trace all allocations meanwhile: their rates, and the call sites with most", 1 },
		{ 0 },
	};
	static const struct argp_child children[] = { { &process_pid_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		argp_options,
		parse,
		"PID",
		"Show the caches and areas of a process, again and again, as slabtop does. The letters of -s "
		"are keys, too; q ends it.",
		children,
		NULL,
		NULL
	};
	struct options options = { .seconds = 2, .sort = 'c' };

	argp_parse(&argp, argc, argv, 0, NULL, &options);
	if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
		options.batch = true;
	return run(&options);
}
