/* SPDX-License-Identifier: MIT */
/* commands.h - the subcommands, each with its own options; argv[0] is "kmem NAME". They return the exit status. */
#ifndef KMEM_COMMANDS_H
#define KMEM_COMMANDS_H

#include <stddef.h>
#include <stdint.h>

struct argp_state;

/* A number with K, M, G or T behind it; anything else ends the program with the usage. */
uint64_t option_number(struct argp_state *state, const char *name, const char *text, uint64_t min,
		       uint64_t max);

/* Which of these names it is; -1: none. */
int option_choice(const char *text, const char *const *names, size_t count);

int command_record(int argc, char **argv);
int command_report(int argc, char **argv);
int command_stat(int argc, char **argv);
int command_diff(int argc, char **argv);
int command_export(int argc, char **argv);
int command_replay(int argc, char **argv);
int command_script(int argc, char **argv);
int command_slabinfo(int argc, char **argv);
int command_leaks(int argc, char **argv);
int command_status(int argc, char **argv);
int command_top(int argc, char **argv);
int command_trim(int argc, char **argv);
int command_vmallocinfo(int argc, char **argv);

#endif
