/* SPDX-License-Identifier: MIT */
/*
 * main.c - kmem: see what programs allocate that run on libkmalloc. One program, subcommands as perf has them.
 */
#include "commands.h"
#include "say.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *argp_program_version = "kmem 0.1.0";

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "record", command_record,
	  "record the allocations of a program, or of a process that runs" },
	{ "report", command_report, "where the memory of a recording went, by call site" },
	{ "stat", command_stat,
	  "totals of a recording or a process, by call site and by size, as perf kmem stat" },
	{ "diff", command_diff, "what changed from one recording to another, by call site" },
	{ "export", command_export,
	  "a recording in the formats of pprof, Perfetto, Chrome, DHAT, flame graphs, or as a page" },
	{ "replay", command_replay, "a recording's allocations once more, on any malloc" },
	{ "script", command_script, "a recording's events, a line each, as perf script" },
	{ "leaks", command_leaks, "what a process has lost, or a recording's program never freed" },
	{ "slabinfo", command_slabinfo, "the caches of a process, as /proc/slabinfo" },
	{ "status", command_status, "what the library does in a process, and how much it holds" },
	{ "top", command_top, "the caches of a process, live, as slabtop" },
	{ "vmallocinfo", command_vmallocinfo,
	  "the large areas of a process, as /proc/vmallocinfo" },
	{ "trim", command_trim, "have a process give back what is free" },
};

#define NR_COMMANDS (sizeof(commands) / sizeof(*commands))

static void usage(FILE *out)
{
	fprintf(out, "usage: kmem COMMAND [OPTIONS...]\n\n");
	for (size_t i = 0; i < NR_COMMANDS; i++)
		fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].help);
	fprintf(out, "\n`kmem COMMAND --help` tells a command's options.\n");
}

uint64_t option_number(struct argp_state *state, const char *name, const char *text, uint64_t min,
		       uint64_t max)
{
	static const char units[] = "KMGT";
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (end == text || errno || *text == '-')
		argp_error(state, "%s wants a number, not '%s'", name, text);
	if (*end) {
		const char *unit = strchr(units, *end & ~0x20);
		unsigned shift = unit ? ((unsigned)(unit - units) + 1) * 10 : 0;

		if (!unit || end[1] || value > UINT64_MAX >> shift)
			argp_error(state, "%s wants a number, not '%s'", name, text);
		value <<= shift;
	}
	if (value < min && max >= UINT64_MAX / 2)
		argp_error(state, "%s is %" PRIu64 " or more, not %s", name, min, text);
	if (value < min || value > max)
		argp_error(state, "%s is from %" PRIu64 " to %" PRIu64 ", not %s", name, min, max,
			   text);
	return value;
}

int option_choice(const char *text, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(text, names[i]))
			return (int)i;
	return -1;
}

/* What was printed must have got there. A reader that went away is no failure. */
static int end_output(int status)
{
	struct pollfd reader = { .fd = STDOUT_FILENO, .events = POLLOUT };
	int error = say_output_error();

	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	if (!error)
		error = errno;
	if (error == EPIPE || (poll(&reader, 1, 0) == 1 && reader.revents & POLLERR))
		return status;
	say("standard output: %s", error ? strerror(error) : "it could not be written");
	return 1;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "--help";
	char *full;

	/* a file that is as large as it may be is an error like others */
	signal(SIGXFSZ, SIG_IGN);
	/* the output of `kmem script | head` ends without a word */
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		usage(argc > 1 ? stdout : stderr);
		return argc > 1 ? 0 : 2;
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		puts(argp_program_version);
		return 0;
	}
	for (size_t i = 0; i < NR_COMMANDS; i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		if (asprintf(&full, "kmem %s", name) < 0)
			return 1;
		argv[1] = full;
		argp_err_exit_status = 2;
		return end_output(commands[i].run(argc - 1, argv + 1));
	}
	say("there is no command '%s'; `kmem --help` lists them", name);
	return 2;
}
