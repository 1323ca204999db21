/* SPDX-License-Identifier: MIT
 *
 * child: run one program and account for it, see child.c.
 */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#define CHILD_SAMPLES 2000

struct child_sample {
	double seconds; /* since the start */
	long kib;	/* of all processes together */
};

struct child_result {
	int status;    /* as from wait4 */
	int timed_out; /* killed because its time was over */
	double wall;   /* seconds */
	double user;   /* seconds, with its waited-for children, as the next four */
	double sys;
	long maxrss_kib; /* of the largest process */
	long minflt;
	long majflt;
	long tree_kib; /* largest total seen over all its processes; 0: not asked for */
	/*
	 * Memory over time, fewer than CHILD_SAMPLES points. Of a long run each one is the largest
	 * of as many samples. NULL: not asked for. To be freed.
	 */
	struct child_sample *samples;
	int sample_count;
};

/* Once, before child_run: SIGCHLD, SIGINT and SIGTERM are waited for from here on. */
void child_init(void);

/*
 * Run ARGV with the environment ENVP for TIMEOUT seconds at most. SAMPLE_MS > 0:
 * add up the memory of all its processes that often. Returns -1, with errno set,
 * if it could not be started. A SIGINT or SIGTERM that arrives meanwhile kills it and ends
 * this process.
 */
int child_run(char **argv, char **envp, double timeout, int sample_ms, struct child_result *result);

#endif
