/* SPDX-License-Identifier: MIT
 *
 * child: run one program and account for it.
 *
 * The kernel starts the peak of a new program's memory (ru_maxrss) from the memory
 * of the process that became it. A large parent would hide a small child, so the
 * programs that use this file are small and linked statically; this keeps
 * LD_PRELOAD, which is meant for the child, out of them too.
 *
 * ru_maxrss is that of the largest single process. The total over processes that live at the same
 * time, and memory over time, can only be sampled:
 *
 *  1. Who belongs to the program: its process group and their children, found by a pass over
 *     /proc/PID/stat (not every kernel has /proc/PID/task/TID/children). One that moves to a group
 *     of its own and whose parent has gone is not counted any more.
 *  2. One process of few threads: its resident memory from /proc/PID/statm, which takes 20 us
 *     however large it is, and takes no lock of the program's. Some kernels count there only what
 *     each thread has reported of late, up to 64 pages less: of many threads the sum is wrong.
 *  3. One process of many threads: Rss of smaps_rollup, which walks the page tables (10 ms per GiB).
 *  4. Several processes: Pss of each (pages that several share count once), from when the second
 *     one was seen until the end, so that the series does not jump between two measures.
 *
 * No step may take more than a quarter of the time: after one that took long the next comes later
 * than asked for. That still costs time, so a run that samples is not one to take times from.
 */
#include "child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WATCHED 1024   /* processes at a time, more are not counted */
#define FEW_THREADS 16 /* up to here statm is right enough: 4 MiB at worst */
#define COST_LIMIT 3.0 /* pause after a step, in times of what it took */

/* What is sampled, and how densely. */
struct watch {
	pid_t pids[WATCHED]; /* the program itself is the first one */
	int count;
	bool several;		     /* there has been more than one */
	double begin;		     /* times are since then */
	double next_find;	     /* no look for new processes before */
	int stride;		     /* samples that one kept point stands for */
	int pending;		     /* of them taken by now */
	struct child_sample largest; /* of the pending ones */
};

static sigset_t waited_for; /* signals that child_run collects */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Read PATH into TEXT; an empty string when the process is gone. */
static void read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);

	text[n > 0 ? n : 0] = 0;
	if (fd >= 0)
		close(fd);
}

/* The value in KiB of the line that begins with NAME, which ends in a colon. */
static long rollup_kib(pid_t pid, const char *name)
{
	char path[64], text[2048];
	const char *found;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	read_text(path, text, sizeof(text));
	found = strstr(text, name);
	return found ? strtol(found + strlen(name), NULL, 10) : 0;
}

static long statm_kib(pid_t pid)
{
	char path[64], text[256], *resident;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	read_text(path, text, sizeof(text));
	resident = strchr(text, ' ');
	return resident ? strtol(resident, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024) : 0;
}

static long threads_of(pid_t pid)
{
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	return stat(path, &st) ? 0 : (long)st.st_nlink - 2;
}

static bool is_watched(const struct watch *watch, pid_t pid)
{
	for (int i = 0; i < watch->count; i++)
		if (watch->pids[i] == pid)
			return true;
	return false;
}

/* Find the processes below the first one. /proc lists them by number: parents mostly come first. */
static void find_processes(struct watch *watch)
{
	char path[320], text[512];
	struct dirent *entry;
	DIR *proc = opendir("/proc");

	watch->count = 1;
	while (proc && watch->count < WATCHED && (entry = readdir(proc))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		const char *name_end;
		int parent, group;

		/* stat of the first one adds up all its threads, and nothing new is learnt. */
		if (pid <= 0 || pid == watch->pids[0])
			continue;
		snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
		read_text(path, text, sizeof(text));
		name_end = strrchr(text, ')');
		if (!name_end || sscanf(name_end, ") %*c %d %d", &parent, &group) != 2)
			continue;
		if (group == watch->pids[0] || is_watched(watch, parent))
			watch->pids[watch->count++] = pid;
	}
	if (proc)
		closedir(proc);
	if (watch->count > 1)
		watch->several = true;
}

static long total_kib(const struct watch *watch)
{
	long total = 0;

	if (!watch->several) {
		if (threads_of(watch->pids[0]) <= FEW_THREADS)
			return statm_kib(watch->pids[0]);
		return rollup_kib(watch->pids[0], "\nRss:");
	}
	for (int i = 0; i < watch->count; i++)
		total += rollup_kib(watch->pids[i], "\nPss:");
	return total;
}

/* Keep one point; when they are full, each comes to stand for twice as many as before. */
static void keep(struct watch *watch, struct child_result *result, struct child_sample sample)
{
	struct child_sample *samples = result->samples;

	if (!watch->pending++ || sample.kib > watch->largest.kib)
		watch->largest = sample;
	if (watch->pending < watch->stride)
		return;
	watch->pending = 0;
	samples[result->sample_count++] = watch->largest;
	if (result->sample_count < CHILD_SAMPLES)
		return;
	for (int i = 0; i < CHILD_SAMPLES / 2; i++) {
		const struct child_sample *pair = samples + 2 * i;

		samples[i] = pair[0].kib >= pair[1].kib ? pair[0] : pair[1];
	}
	result->sample_count = CHILD_SAMPLES / 2;
	watch->stride *= 2;
}

/* Take one sample; returns how long to wait for the next one, PAUSE seconds at least. */
static double take_sample(struct watch *watch, struct child_result *result, double pause)
{
	double begin = now(), found = begin, end;
	long kib;

	if (begin >= watch->next_find) {
		find_processes(watch);
		found = now();
		watch->next_find = found + COST_LIMIT * (found - begin);
	}
	kib = total_kib(watch);
	end = now();
	/* A process that is starting or ending has no memory to speak of. */
	if (kib > 0)
		keep(watch, result, (struct child_sample){ end - watch->begin, kib });
	if (kib > result->tree_kib)
		result->tree_kib = kib;
	return COST_LIMIT * (end - found) > pause ? COST_LIMIT * (end - found) : pause;
}

void child_init(void)
{
	sigemptyset(&waited_for);
	sigaddset(&waited_for, SIGCHLD);
	sigaddset(&waited_for, SIGINT);
	sigaddset(&waited_for, SIGTERM);
	sigprocmask(SIG_BLOCK, &waited_for, NULL);
}

static int start(char **argv, char **envp, pid_t *pid)
{
	posix_spawnattr_t attr;
	sigset_t none;
	int error;

	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setsigmask(&attr, &none);
	error = posix_spawnp(pid, argv[0], NULL, &attr, argv, envp);
	posix_spawnattr_destroy(&attr);
	return error;
}

/*
 * Wait until PID can be waited for; sample on the way, SAMPLE_MS > 0 apart. Returns 1 on
 * time-out.
 */
static int wait_for_end(pid_t pid, double deadline, int sample_ms, struct child_result *result)
{
	struct watch watch = { .pids = { pid }, .count = 1, .stride = 1, .begin = now() };
	double next = sample_ms > 0 ? watch.begin + sample_ms / 1e3 : deadline;

	for (;;) {
		double left = (next < deadline ? next : deadline) - now();
		struct timespec ts = { 0, 0 };
		siginfo_t info = { 0 };
		int sig;

		if (left > 0) {
			ts.tv_sec = (time_t)left;
			ts.tv_nsec = (long)((left - (double)ts.tv_sec) * 1e9);
		}
		sig = sigtimedwait(&waited_for, NULL, &ts);
		if (sig == SIGINT || sig == SIGTERM) {
			kill(-pid, SIGKILL);
			_exit(128 + sig);
		}
		/* Several SIGCHLDs may have become one: look, do not count. */
		waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT);
		if (info.si_pid == pid)
			return 0;
		if (now() >= deadline)
			return 1;
		if (sample_ms > 0 && now() >= next)
			next = now() + take_sample(&watch, result, sample_ms / 1e3);
	}
}

int child_run(char **argv, char **envp, double timeout, int sample_ms, struct child_result *result)
{
	struct rusage usage;
	double begin = now();
	pid_t pid;
	int error;

	memset(result, 0, sizeof(*result));
	if (sample_ms > 0) {
		result->samples = calloc(CHILD_SAMPLES, sizeof(*result->samples));
		if (!result->samples)
			return -1;
	}
	error = start(argv, envp, &pid);
	if (error) {
		free(result->samples);
		errno = error;
		return -1;
	}
	result->timed_out = wait_for_end(pid, begin + timeout, sample_ms, result);
	result->wall = now() - begin;
	if (result->timed_out)
		kill(-pid, SIGKILL);
	while (wait4(pid, &result->status, 0, &usage) < 0 && errno == EINTR)
		;
	/* Whatever the program left behind in its process group goes too. */
	kill(-pid, SIGKILL);

	result->user = usage.ru_utime.tv_sec + usage.ru_utime.tv_usec / 1e6;
	result->sys = usage.ru_stime.tv_sec + usage.ru_stime.tv_usec / 1e6;
	result->maxrss_kib = usage.ru_maxrss;
	result->minflt = usage.ru_minflt;
	result->majflt = usage.ru_majflt;
	return 0;
}
