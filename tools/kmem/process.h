/* SPDX-License-Identifier: MIT */
/* process.h - what the commands that look at a process have in common: PID, --json, and finding the library there. */
#ifndef KMEM_PROCESS_H
#define KMEM_PROCESS_H

#include "json.h"
#include "remote.h"

#include <argp.h>
#include <json-c/json.h>

struct process {
	/* from the command line */
	pid_t pid;
	bool json;
	/* from process_open() */
	struct target target;
	struct trace_places places;
};

/* PID and --json; its input is a struct process. */
extern const struct argp process_argp;
/* The same without --json. */
extern const struct argp process_pid_argp;

/* Find the library in the process. False: said why not. */
bool process_open(struct process *process);
/* Says that the process is gone, or damaged; returns the exit status. */
int process_gone(const struct process *process);

void json_add_number(struct json_object *object, const char *name, uint64_t value);
void json_add_string(struct json_object *object, const char *name, const char *value);
/* An address, as text in hex. */
void json_add_address(struct json_object *object, const char *name, uint64_t value);

#endif
