/* SPDX-License-Identifier: MIT */
/*
 * record.c - `kmem record`: the events of a program, or of a process that runs already, into a file.
 *
 * A program is started with the library preloaded and told by KMALLOC_CMDLINE to trace from its first allocation on, and to
 * wait when its rings are full. A process that runs is told through its control block, and does not wait unless asked to. What
 * comes then is taken by session.c.
 *
 * A program that replaces itself (exec) has new rings, which are found as the first ones were. What a process had in its rings when
 * it was killed, called _exit() or replaced itself is lost with its memory: a few milliseconds, of samples up to 20, which is said.
 *
 * What the program starts is not recorded. Whether it started any is told by what the kernel has added up for it of children that
 * it waited for; of others nothing is known.
 *
 * Whatever ends this program early, a full disk for instance, the process is let go first: told to trace no more. A recording is
 * whole in its file once it has ended, though a program that runs on is waited for then.
 */
#include "record.h"

#include "commands.h"
#include "recording.h"
#include "remote.h"
#include "say.h"
#include "session.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUSY_US 1000
#define ATTACH_US 200
#define ATTACH_SLOW_US 5000
#define ATTACH_MS 10000

#define PID_ROOM 16
#define STACK_BYTES                                                                                \
	65536UL /* execvp() wants a few pages, and room for the words of a script's line */

static volatile sig_atomic_t interrupted, child_changed;
static volatile pid_t program; /* that was started here; 0: none */
static bool program_had_children;
static struct session *running;

static void on_interrupt(int sig, siginfo_t *info, void *context)
{
	static const char line[] =
		"kmem: the program is recorded until it ends; SIGTERM is passed on to it\n";

	(void)context;
	/* a terminal sends SIGINT to both by itself; somebody else sent it to this one, and waits for something to happen */
	if (sig == SIGTERM && program)
		kill(program, SIGTERM);
	else if (program && info->si_code == SI_USER)
		(void)!write(STDERR_FILENO, line, sizeof(line) - 1);
	interrupted = 1;
}

static void on_child(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	child_changed = 1;
}

/* The library beside this program: in the build folder, or where both were installed. */
static char *find_library(void)
{
	static const char *const places[] = { "libkmalloc.so", "../lib/libkmalloc.so",
					      "../lib/x86_64-linux-gnu/libkmalloc.so" };
	char self[PATH_MAX], path[PATH_MAX + 64], *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return NULL;
	self[n] = 0;
	slash = strrchr(self, '/');
	*slash = 0;
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		snprintf(path, sizeof(path), "%s/%s", self, places[i]);
		if (access(path, R_OK) == 0)
			return realpath(path, NULL);
	}
	return NULL;
}

static const struct {
	int number;
	void (*handler)(int sig, siginfo_t *info, void *context); /* NULL: it is ignored */
} taken_signals[] = {
	{ SIGINT, on_interrupt },  { SIGTERM, on_interrupt }, { SIGHUP, on_interrupt },
	{ SIGQUIT, on_interrupt }, { SIGXFSZ, NULL },	      { SIGPIPE, NULL },
	{ SIGCHLD, on_child },
};

static void take_signals(void)
{
	for (size_t i = 0; i < sizeof(taken_signals) / sizeof(*taken_signals); i++) {
		struct sigaction action = { .sa_flags = SA_RESTART };

		if (taken_signals[i].handler) {
			action.sa_sigaction = taken_signals[i].handler;
			action.sa_flags |= SA_SIGINFO;
		} else {
			action.sa_handler = SIG_IGN;
		}
		sigaction(taken_signals[i].number, &action, NULL);
	}
}

/* As execvp() would look for it: before a recording of that name is replaced. 0, or what is wrong. */
static int why_not_run(const char *name)
{
	const char *at = getenv("PATH");
	char path[PATH_MAX];
	int length, wrong = ENOENT;

	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? 0 : errno;
	for (at = at ? at : "/bin:/usr/bin"; at; at += length, at = *at ? at + 1 : NULL) {
		length = (int)strcspn(at, ":");
		snprintf(path, sizeof(path), "%.*s/%s", length ? length : 1, length ? at : ".",
			 name);
		if (access(path, X_OK) == 0)
			return 0;
		if (errno == EACCES)
			wrong = EACCES;
	}
	return wrong;
}

/* The status of a shell that can't run it; 0: it seems that it can be run. */
static int refuse_program(const char *name)
{
	int wrong = why_not_run(name);

	if (!wrong)
		return 0;
	say("%s can't be run: %s", name, strerror(wrong));
	return wrong == ENOENT ? 127 : 126;
}

static void prepend_env(const char *name, const char *text)
{
	const char *old = getenv(name);
	char *value;

	if (asprintf(&value, "%s%s%s", text, old && *old ? ":" : "", old ? old : "") < 0)
		give_up("no memory");
	setenv(name, value, 1);
	free(value);
}

/* The environment of the program, which is this one's from now on. Returns where its number is to be written. */
static char *tell_library(const struct record_options *options, const char *library)
{
	static const char *const modes[] = { "off", "sample", "all" };
	static const char *const fulls[] = { "drop", "overwrite", "wait" };
	const char *old = getenv("KMALLOC_CMDLINE");
	char *words;

	prepend_env("LD_PRELOAD", library);
	if (asprintf(
		    &words,
		    "KMALLOC_CMDLINE=%s trace=%s trace.full=%s trace.ring=%lu trace.sample=%lu%s trace.pid=%*s",
		    old ? old : "", modes[options->mode], fulls[options->full],
		    options->ring_events, options->sample_bytes,
		    options->stacks ? " trace.stacks" : "", PID_ROOM, "") < 0)
		give_up("no memory");
	putenv(words);
	return words + strlen(words) - PID_ROOM;
}

struct start {
	char **program;
	char *number;	      /* where it goes */
	const sigset_t *mask; /* of signals, before */
};

/* In the child, which has this one's memory until it is the program: it leaves that alone, but for the number. */
static int run_program(void *arg)
{
	const struct start *start = arg;

	snprintf(start->number, PID_ROOM, "%d", getpid());
	for (size_t i = 0; i < sizeof(taken_signals) / sizeof(*taken_signals); i++)
		signal(taken_signals[i].number, SIG_DFL);
	sigprocmask(SIG_SETMASK, start->mask, NULL);
	execvp(start->program[0], start->program);
	fprintf(stderr, "kmem: %s can't be run: %s\n", start->program[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/*
 * As posix_spawn(3) does it, but the program is told its own number: the child has this one's memory, and this one stands until
 * that is the program. So nothing is copied, and whoever looks for the library there does not find this program instead.
 */
static void start_program(const struct record_options *options)
{
	size_t size = STACK_BYTES;
	char *library = find_library(), *stack;
	sigset_t all, mask;
	struct start start = { .program = options->program, .mask = &mask };

	if (!library)
		give_up("libkmalloc.so is not beside kmem: build or install both");
	start.number = tell_library(options, library);
	free(library);
	for (char **word = options->program; *word; word++)
		size += 2 * sizeof(*word);
	size &= ~15UL;
	stack = xmalloc(size);
	/* none is lost: its handler runs when the number of the program is known, or the program has it */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &mask);
	program = clone(run_program, stack + size, CLONE_VM | CLONE_VFORK | SIGCHLD, &start);
	if (program < 0) {
		program = 0;
		give_up("no process could be started: %s", strerror(errno));
	}
	sigprocmask(SIG_SETMASK, &mask, NULL);
	free(stack);
}

/*
 * Of a process that has ended and was not waited for: did it wait for children? Their page faults are added to those of its own then
 * (cminflt of proc_pid_stat(5)), and none ends without one.
 */
static bool had_children(pid_t pid)
{
	char path[64], text[1024] = "", *at;
	unsigned long faults = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	text[fread(text, 1, sizeof(text) - 1, file)] = 0;
	fclose(file);
	/* behind its name, which may be anything: state, ppid, pgrp, session, tty_nr, tpgid, flags, minflt, cminflt */
	at = strrchr(text, ')');
	return at && sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %lu", &faults) == 1 &&
	       faults > 0;
}

/* Wait for the program, or, with WNOHANG, look whether it has ended. *status is how, then. */
static bool reap(pid_t pid, int *status, int flags)
{
	siginfo_t info = { 0 };

	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | flags) < 0)
		if (errno != EINTR)
			return false;
	if (!info.si_pid)
		return false;
	program_had_children = had_children(pid);
	return waitpid(pid, status, 0) == pid;
}

/* Has the program that was started ended? */
static bool has_ended(const struct record_options *options, pid_t pid, int *status)
{
	if (options->program)
		return reap(pid, status, WNOHANG);
	return kill(pid, 0) != 0 && errno == ESRCH;
}

/* Wait for the library to be there. False: the process ended before. */
static bool attach(struct session *session, pid_t pid, int *status)
{
	const struct record_options *options = session->options;
	uint64_t give_up_at = session_now_ms() + ATTACH_MS;
	unsigned us = ATTACH_US;

	while (target_open(&session->target, pid, true) != 0) {
		if (session->target.error == EMFILE)
			give_up("process %d can't be recorded: %s", pid, strerror(EMFILE));
		if (has_ended(options, pid, status))
			return false;
		if (session_now_ms() > give_up_at) {
			/* says why */
			if (target_open(&session->target, pid, false) != 0)
				return false;
			break;
		}
		session_wait(session, us);
		us = us < ATTACH_SLOW_US ? us + us / 8 : us;
	}
	return true;
}

static void record_program(struct session *session, pid_t pid, int *status)
{
	for (unsigned images = 0; attach(session, pid, status); images++) {
		enum outcome outcome;

		if (!remote_layout_fits(&session->target)) {
			if (images)
				session_finish(session);
			exit(1);
		}
		if (images)
			recording_chunk(session->writer, CHUNK_IMAGE, "", 1);
		session_begin(session);
		outcome = session_collect(session);
		if (outcome == STOPPED)
			session_switch_off(session);
		session_end(session, outcome);
		/* else it has ended, or is another program now */
		if (outcome != GONE) {
			say("recording ended; the program runs on");
			break;
		}
	}
	running = NULL;
	session_finish(session);
	/* it may run on, without the library or without being recorded */
	reap(pid, status, 0);
	if (program_had_children)
		say("the program started others, which are not recorded: record one of them itself, have it take the program's "
		    "place (exec), or use -p PID while it runs");
}

static void record_process(struct session *session, pid_t pid)
{
	const struct record_options *options = session->options;
	struct target_wish wish = { options->mode, options->full, options->sample_bytes,
				    options->ring_events, options->stacks };
	enum outcome outcome;

	if (session->target.state.mode != TRACE_OFF)
		say("process %d was being recorded, by a kmem that runs or was killed: from now on here",
		    pid);
	session_begin(session);
	TARGET_WRITE_FIELD(&session->target, looker, session->generation + 1);
	if (target_trace(&session->target, &wish) != 0)
		give_up("process %d: its memory can't be written: %s", pid, strerror(errno));
	session->generation = session->target.state.generation + 1; /* as it was raised just now */
	outcome = session_collect(session);
	if (outcome == STOPPED)
		session_switch_off(session);
	session_end(session, outcome);
	running = NULL;
	session_finish(session);
}

static void switch_off(void)
{
	struct target_wish off = { .mode = TRACE_OFF };

	for (int i = 0; running->target.mem < 0 && i < 100; i++)
		if (target_open(&running->target, running->target.pid, true) != 0)
			usleep(BUSY_US);
	if (running->target.mem >= 0)
		target_trace(&running->target, &off);
}

/* At exit, if that comes early. */
static void let_go(void)
{
	if (running)
		switch_off();
	if (program)
		while (waitpid(program, NULL, 0) < 0 && errno == EINTR)
			;
}

int record_run(const struct record_options *options)
{
	struct session session = { .options = options,
				   .interrupted = &interrupted,
				   .child_changed = &child_changed,
				   .target.mem = -1 };
	pid_t pid = options->pid;
	int status = 0;

	if (options->program) {
		status = refuse_program(options->program[0]);
		if (status)
			return status;
	} else {
		if (target_open(&session.target, pid, false) != 0 ||
		    !remote_layout_fits(&session.target))
			return 1;
	}
	session.writer = recording_create(options->output);
	if (!session.writer)
		return 1;
	if (options->held_in)
		recording_endure(session.writer);
	take_signals();
	session_start(&session);
	if (options->program) {
		start_program(options);
		session.target.pid = pid = program;
	}
	running = &session;
	atexit(let_go);
	if (options->program)
		record_program(&session, pid, &status);
	else
		record_process(&session, pid);
	if (WIFSIGNALED(status)) {
		say("the program was killed by signal %d (%s)", WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
		return 128 + WTERMSIG(status);
	}
	return WEXITSTATUS(status);
}

enum { KEY_SAMPLE = 256, KEY_ALL, KEY_FULL, KEY_RING, KEY_MAX, KEY_FOR, KEY_STACKS, KEY_CLOCK };

static const struct argp_option argp_options[] = {
	{ "output", 'o', "FILE", 0, "where the recording goes (default " RECORDING_DEFAULT ")", 0 },
	{ "pid", 'p', "PID", 0, "record a process that runs already; Ctrl-C ends it", 0 },
	{ "all", KEY_ALL, NULL, 0, "every call (the default)", 1 },
	{ "sample", KEY_SAMPLE, "BYTES", OPTION_ARG_OPTIONAL,
	  "one allocation in so many bytes on average, and its free (default 512K)", 1 },
	{ "stacks", KEY_STACKS, NULL, 0,
	  "the whole call stack of each allocation, not its call site alone", 1 },
	{ "full", KEY_FULL, "HOW", 0,
	  "what the program does when events come faster than they can be taken: drop them "
	  "(default with -p), overwrite the oldest, wait (default without)",
	  2 },
	{ "ring", KEY_RING, "EVENTS", 0,
	  "events that a CPU keeps until they are taken (default 64K)", 2 },
	{ "max-size", KEY_MAX, "BYTES", 0,
	  "stop when the file is so large, or up to 64K larger; the program runs on", 3 },
	{ "clock", KEY_CLOCK, "NS", 0,
	  "time stamps to so many nanoseconds (default, and least, about 25; at most 100000): coarser ones make the file smaller",
	  3 },
	{ "for", KEY_FOR, "SECONDS", 0, "stop after so long; the program runs on", 3 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct record_options *options = state->input;

	switch (key) {
	case 'o':
		if (!strcmp(arg, "-"))
			argp_error(
				state,
				"-o wants a file, and can't be standard output: ./- is one of that name");
		options->output = arg;
		break;
	case 'p':
		options->pid = (pid_t)option_number(state, "-p", arg, 1, INT_MAX);
		break;
	case KEY_ALL:
		options->mode = TRACE_ALL;
		break;
	case KEY_SAMPLE:
		options->mode = TRACE_SAMPLE;
		if (arg)
			options->sample_bytes = option_number(state, "--sample", arg, 1, 1UL << 40);
		break;
	case KEY_STACKS:
		options->stacks = true;
		break;
	case KEY_FULL:
		options->full_given = true;
		if (!strcmp(arg, "drop"))
			options->full = TRACE_DROP;
		else if (!strcmp(arg, "overwrite"))
			options->full = TRACE_OVERWRITE;
		else if (!strcmp(arg, "wait"))
			options->full = TRACE_WAIT;
		else
			argp_error(state, "--full is drop, overwrite or wait, not '%s'", arg);
		break;
	case KEY_RING:
		options->ring_events = option_number(state, "--ring", arg, 128, 1UL << 24);
		while (options->ring_events & (options->ring_events - 1))
			options->ring_events += options->ring_events & -options->ring_events;
		break;
	case KEY_MAX:
		options->max_bytes = option_number(state, "--max-size", arg, 1, UINT64_MAX / 2);
		break;
	case KEY_CLOCK:
		options->clock_ns = option_number(state, "--clock", arg, 1, 100000);
		break;
	case KEY_FOR:
		options->seconds = strtod(arg, &arg);
		if (*arg || !(options->seconds > 0 && options->seconds <= 1e9))
			argp_error(state, "--for wants seconds");
		break;
	case ARGP_KEY_ARGS:
		options->program = state->argv + state->next;
		break;
	case ARGP_KEY_END:
		if (!options->program && !options->pid)
			argp_error(state, "say which PROGRAM to run, or -p PID");
		if (options->program && options->pid)
			argp_error(state, "a PROGRAM to run or -p PID, not both");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int command_record(int argc, char **argv)
{
	static const struct argp argp = {
		argp_options,
		parse,
		"[--] PROGRAM [ARGS...]\n-p PID",
		"Record the allocations of a program to a file, for `kmem report`, `kmem stat` and so on.\v"
		"What the program starts is not recorded, but for what takes its place: sh -c 'exec PROGRAM'. "
		"-p records one that runs on the library, as children of the program do, until it ends or "
		"another one takes its place.",
		NULL,
		NULL,
		NULL
	};
	struct record_options options = {
		.output = RECORDING_DEFAULT,
		.mode = TRACE_ALL,
		.sample_bytes = RECORD_SAMPLE_BYTES,
		.ring_events = RECORD_RING_EVENTS,
	};

	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &options);
	if (!options.full_given)
		options.full = options.program ? TRACE_WAIT : TRACE_DROP;
	return record_run(&options);
}
