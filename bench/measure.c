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

static const char help[] =
	"usage: measure RESULT-FILE TIMEOUT-SECONDS SAMPLE-MS PROGRAM [ARGUMENT...]\n"
	"SAMPLE-MS > 0 also samples the memory of all processes together that often and\n"
	"writes `sample SECONDS KIB` lines; 0 does not.\n";

/* A number from LEAST up, or exit. */
static double number(const char *text, const char *what, double least)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= least && value <= 1e6)) {
		fprintf(stderr, "measure: %s '%s' is not a number from %g to 1000000\n", what, text,
			least);
		exit(2);
	}
	return value;
}

static int write_result(FILE *out, const struct child_result *r)
{
	fprintf(out, "wall %.6f\nuser %.6f\nsys %.6f\n", r->wall, r->user, r->sys);
	fprintf(out, "maxrss_kib %ld\nminflt %ld\nmajflt %ld\ntree_kib %ld\n", r->maxrss_kib,
		r->minflt, r->majflt, r->tree_kib);
	fprintf(out, "timed_out %d\nexit %d\nsignal %d\n", r->timed_out,
		WIFEXITED(r->status) ? WEXITSTATUS(r->status) : -1,
		WIFSIGNALED(r->status) ? WTERMSIG(r->status) : 0);
	for (int i = 0; i < r->sample_count; i++)
		fprintf(out, "sample %.4f %ld\n", r->samples[i].seconds, r->samples[i].kib);
	return ferror(out);
}

int main(int argc, char **argv)
{
	struct child_result r;
	double timeout;
	int sample_ms, failed;
	FILE *out;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		fputs(help, stdout);
		return 0;
	}
	if (argc < 5) {
		fprintf(stderr, "measure: too few arguments (try --help)\n");
		return 2;
	}
	timeout = number(argv[2], "TIMEOUT-SECONDS", 0.001);
	sample_ms = (int)number(argv[3], "SAMPLE-MS", 0);
	out = fopen(argv[1], "we");
	if (!out) {
		fprintf(stderr, "measure: %s: %s\n", argv[1], strerror(errno));
		return 2;
	}
	child_init();
	if (child_run(argv + 4, environ, timeout, sample_ms, &r) < 0) {
		fprintf(stderr, "measure: %s: %s\n", argv[4], strerror(errno));
		fclose(out);
		return 2;
	}
	failed = write_result(out, &r);
	free(r.samples);
	if (fclose(out) || failed) {
		fprintf(stderr, "measure: %s: cannot be written\n", argv[1]);
		return 2;
	}
	return 0;
}
