/* SPDX-License-Identifier: MIT
 *
 * measure: run a program once and write what it took to a file, as `NAME VALUE`
 * lines. The program inherits everything, LD_PRELOAD included; measure itself
 * is linked statically and stays out of it.
 */
#include "child.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

static void usage(FILE *out)
{
	fprintf(out,
		"usage: measure RESULT-FILE TIMEOUT-SECONDS SAMPLE-MS PROGRAM [ARGUMENT...]\n"
		"SAMPLE-MS > 0 also samples the memory of all processes together; 0 does not.\n");
}

int main(int argc, char **argv)
{
	struct child_result r;
	FILE *out;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		usage(stdout);
		return 0;
	}
	if (argc < 5) {
		usage(stderr);
		return 2;
	}
	out = fopen(argv[1], "we");
	if (!out) {
		fprintf(stderr, "measure: %s: %s\n", argv[1], strerror(errno));
		return 2;
	}
	child_init();
	if (child_run(argv + 4, environ, atof(argv[2]), atoi(argv[3]), &r) < 0) {
		fprintf(stderr, "measure: %s: %s\n", argv[4], strerror(errno));
		return 2;
	}
	fprintf(out, "wall %.6f\nuser %.6f\nsys %.6f\n", r.wall, r.user, r.sys);
	fprintf(out, "maxrss_kib %ld\nminflt %ld\nmajflt %ld\ntree_kib %ld\n", r.maxrss_kib,
		r.minflt, r.majflt, r.tree_kib);
	fprintf(out, "timed_out %d\nexit %d\nsignal %d\n", r.timed_out,
		WIFEXITED(r.status) ? WEXITSTATUS(r.status) : -1,
		WIFSIGNALED(r.status) ? WTERMSIG(r.status) : 0);
	return fclose(out) ? 2 : 0;
}
