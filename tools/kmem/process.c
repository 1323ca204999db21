/* SPDX-License-Identifier: MIT */
/* process.c - what the commands that look at a process have in common. */
#include "process.h"

#include "commands.h"
#include "say.h"

#include <limits.h>
#include <stdio.h>

#define KEY_JSON 600

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct process *process = state->input;

	switch (key) {
	case KEY_JSON:
		process->json = true;
		break;
	case ARGP_KEY_ARG:
		if (process->pid)
			argp_error(state, "one PID is enough");
		process->pid = (pid_t)option_number(state, "PID", arg, 1, INT_MAX);
		break;
	case ARGP_KEY_END:
		if (!process->pid)
			argp_error(state, "say which PID");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp_option options[] = {
	{ "json", KEY_JSON, NULL, 0, "for a script to read", 12 },
	{ 0 },
};

const struct argp process_argp = { options, parse, NULL, NULL, NULL, NULL, NULL };
const struct argp process_pid_argp = { NULL, parse, NULL, NULL, NULL, NULL, NULL };

bool process_open(struct process *process)
{
	if (target_open(&process->target, process->pid, false) != 0)
		return false;
	if (!remote_layout_fits(&process->target))
		return false;
	if (remote_places(&process->target, &process->places) != 0) {
		process_gone(process);
		return false;
	}
	return true;
}

int process_gone(const struct process *process)
{
	struct target target = process->target;

	/* its memory goes before its number does */
	if (target_refresh(&target) == 0)
		say("process %d: what the library notes there makes no sense: it is damaged, or another one",
		    process->pid);
	else
		say("process %d is gone", process->pid);
	return 1;
}

void json_add_number(struct json_object *object, const char *name, uint64_t value)
{
	json_object_object_add(object, name, json_object_new_int64((int64_t)value));
}

void json_add_string(struct json_object *object, const char *name, const char *value)
{
	json_object_object_add(object, name, json_object_new_string(value));
}

void json_add_address(struct json_object *object, const char *name, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%lx", value);
	json_add_string(object, name, text);
}
