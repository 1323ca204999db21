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
 * time can only be sampled: Pss of the child and all below it (pages that several share
 * count once). That costs time, so a run that samples is not one to take times from.
 */
#include "child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

static long pss_kib(long pid)
{
	char path[64], text[2048];
	const char *pss;

	snprintf(path, sizeof(path), "/proc/%ld/smaps_rollup", pid);
	read_text(path, text, sizeof(text));
	pss = strstr(text, "\nPss:");
	return pss ? strtol(pss + 5, NULL, 10) : 0;
}

static long tree_kib(long pid, int depth)
{
	char path[320], text[4096];
	long total = pss_kib(pid);
	struct dirent *entry;
	DIR *tasks;

	if (depth > 16)
		return total;
	snprintf(path, sizeof(path), "/proc/%ld/task", pid);
	tasks = opendir(path);
	if (!tasks)
		return total;
	while ((entry = readdir(tasks))) {
		char *next = text, *end;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%ld/task/%s/children", pid, entry->d_name);
		read_text(path, text, sizeof(text));
		for (;;) {
			long child = strtol(next, &end, 10);

			if (end == next)
				break;
			total += tree_kib(child, depth + 1);
			next = end;
		}
	}
	closedir(tasks);
	return total;
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

/* Wait until PID can be waited for, sampling on the way. Returns 1 on time-out. */
static int wait_for_end(pid_t pid, double deadline, int sample_ms, struct child_result *result)
{
	for (;;) {
		double left = deadline - now();
		double pause = sample_ms > 0 && sample_ms / 1e3 < left ? sample_ms / 1e3 : left;
		struct timespec ts = { (time_t)pause, (long)((pause - (time_t)pause) * 1e9) };
		siginfo_t info = { 0 };
		int sig;

		if (left <= 0)
			return 1;
		sig = sigtimedwait(&waited_for, NULL, &ts);
		if (sig == SIGINT || sig == SIGTERM) {
			kill(-pid, SIGKILL);
			_exit(128 + sig);
		}
		/* Several SIGCHLDs may have become one: look, do not count. */
		waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT);
		if (info.si_pid == pid)
			return 0;
		if (sample_ms > 0) {
			long kib = tree_kib(pid, 0);

			if (kib > result->tree_kib)
				result->tree_kib = kib;
		}
	}
}

int child_run(char **argv, char **envp, double timeout, int sample_ms, struct child_result *result)
{
	struct rusage usage;
	double begin = now();
	pid_t pid;
	int error;

	memset(result, 0, sizeof(*result));
	error = start(argv, envp, &pid);
	if (error) {
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
