/* SPDX-License-Identifier: MIT
 *
 * startup: start a program again and again under each of several preloaded
 * libraries in turn. Output: one line per start, `INDEX MICROSECONDS MAXRSS-KIB
 * MINOR-FAULTS`, or `INDEX failed`, after which that library is left out.
 * INDEX counts the settings from 0.
 */
#include "child.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

#define SETTINGS 32
#define SECONDS 10.0

static void usage(FILE *out)
{
	fprintf(out,
		"usage: startup COUNT PROGRAM SETTING...\n"
		"Start PROGRAM COUNT times under each SETTING in turn. A setting is environment\n"
		"variables, `NAME=VALUE`, one per line; an empty one changes nothing.\n");
}

/* The environment with the lines of SETTING put before it. */
static char **with_setting(char *setting)
{
	size_t own = 0, lines = 1, n = 0;
	char **envp;

	while (environ[own])
		own++;
	for (const char *c = setting; *c; c++)
		lines += *c == '\n';
	envp = calloc(own + lines + 1, sizeof(*envp));
	if (!envp) {
		fprintf(stderr, "startup: out of memory\n");
		exit(1);
	}
	for (char *line = strtok(setting, "\n"); line; line = strtok(NULL, "\n"))
		envp[n++] = line;
	memcpy(envp + n, environ, own * sizeof(*envp));
	return envp;
}

int main(int argc, char **argv)
{
	char **envp[SETTINGS];
	int settings = argc - 3;
	long count;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		usage(stdout);
		return 0;
	}
	if (settings < 1 || settings > SETTINGS || (count = atol(argv[1])) < 1) {
		usage(stderr);
		return 2;
	}
	for (int i = 0; i < settings; i++)
		envp[i] = with_setting(argv[3 + i]);
	child_init();
	for (long n = 0; n < count; n++) {
		for (int i = 0; i < settings; i++) {
			char *args[] = { argv[2], NULL };
			struct child_result r;

			if (!envp[i])
				continue;
			if (child_run(args, envp[i], SECONDS, 0, &r) < 0 || r.status) {
				printf("%d failed\n", i);
				free(envp[i]);
				envp[i] = NULL;
				continue;
			}
			printf("%d %.1f %ld %ld\n", i, r.wall * 1e6, r.maxrss_kib, r.minflt);
		}
	}
	for (int i = 0; i < settings; i++)
		free(envp[i]);
	return 0;
}
