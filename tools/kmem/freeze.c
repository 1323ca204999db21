/* SPDX-License-Identifier: MIT */
/*
 * freeze.c - stop all threads of a process for a while.
 *
 * PTRACE_SEIZE and PTRACE_INTERRUPT: a thread stops where it is, and a system call that waits goes on waiting when it is let go (a few
 * return EINTR, as after SIGSTOP and SIGCONT: signal(7) lists them). A thread may get a signal just then, and stops for that
 * instead: the signal is handed on with PTRACE_DETACH. New threads may come as long as not all are stopped: so the list of
 * threads is read until it brings none.
 *
 * A thread that a vfork child holds up can't be stopped before that child is done: STOP_MS are waited for it.
 */
#include "freeze.h"

#include "say.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STOP_MS 2000
#define ROUNDS 1000

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool is_known(const struct freeze *freeze, pid_t tid)
{
	for (size_t i = 0; i < freeze->count; i++)
		if (freeze->thread[i].tid == tid)
			return true;
	return false;
}

static void add(struct freeze *freeze, pid_t tid)
{
	if (freeze->count == freeze->room) {
		freeze->room = freeze->room * 2 + 16;
		freeze->thread = xrealloc(freeze->thread, freeze->room * sizeof(*freeze->thread));
	}
	memset(&freeze->thread[freeze->count], 0, offsetof(struct frozen, xstate));
	freeze->thread[freeze->count].xstate_words = 0;
	freeze->thread[freeze->count++].tid = tid;
}

/* A thread that ended and is kept because it was the first of the process. */
static bool is_zombie(pid_t pid, pid_t tid)
{
	char path[64], text[512];
	const char *state = NULL;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	file = fopen(path, "re");
	if (!file)
		return true;
	if (fgets(text, sizeof(text), file))
		state = strrchr(text, ')');
	fclose(file);
	return state && (state[2] == 'Z' || state[2] == 'X');
}

/* Seize the threads that are not yet. How many; -1 with errno: not allowed, or no such process. */
static int seize(struct freeze *freeze)
{
	char path[64];
	struct dirent *entry;
	DIR *dir;
	int count = 0, err;

	snprintf(path, sizeof(path), "/proc/%d/task", freeze->pid);
	dir = opendir(path);
	if (!dir)
		return -1;
	while (count >= 0 && (entry = readdir(dir)) != NULL) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (tid <= 0 || is_known(freeze, tid))
			continue;
		if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0) {
			err = errno;
			if (err == ESRCH || is_zombie(freeze->pid, tid))
				continue;
			errno = err;
			count = -1;
			break;
		}
		ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
		add(freeze, tid);
		count++;
	}
	err = errno;
	closedir(dir);
	errno = err;
	return count;
}

/* Wait until a thread has stopped. 0; -1: it ended; 1: it does not stop. */
static int wait_for(struct frozen *thread, uint64_t until_ns)
{
	for (;;) {
		int status;
		pid_t tid = waitpid(thread->tid, &status, __WALL | WNOHANG);

		if (tid < 0 && errno != EINTR)
			return -1;
		if (tid == thread->tid) {
			if (!WIFSTOPPED(status))
				return -1;
			if (status >> 16 == 0)
				thread->signal = WSTOPSIG(status);
			return 0;
		}
		if (now_ns() > until_ns)
			return 1;
		usleep(50);
	}
}

static void read_registers(struct frozen *thread)
{
	struct iovec regs = { &thread->regs, sizeof(thread->regs) };
	struct iovec xstate = { thread->xstate, sizeof(thread->xstate) };

	if (ptrace(PTRACE_GETREGSET, thread->tid, (void *)(uintptr_t)NT_PRSTATUS, &regs) != 0)
		memset(&thread->regs, 0, sizeof(thread->regs));
	if (ptrace(PTRACE_GETREGSET, thread->tid, (void *)(uintptr_t)NT_X86_XSTATE, &xstate) == 0)
		thread->xstate_words = xstate.iov_len / sizeof(uint64_t);
}

/* From thread `first` on. False: one does not stop. */
static bool wait_for_all(struct freeze *freeze, size_t first)
{
	uint64_t until_ns = now_ns() + STOP_MS * 1000000UL;

	for (size_t i = first; i < freeze->count;) {
		switch (wait_for(&freeze->thread[i], until_ns)) {
		case 0:
			read_registers(&freeze->thread[i++]);
			break;
		case -1:
			freeze->thread[i] = freeze->thread[--freeze->count];
			break;
		default:
			say("thread %d of process %d does not stop: try again",
			    freeze->thread[i].tid, freeze->pid);
			return false;
		}
	}
	return true;
}

bool freeze(struct freeze *freeze, pid_t pid)
{
	freeze->pid = pid;
	freeze->count = 0;
	freeze->since_ns = now_ns();
	for (int round = 0; round < ROUNDS; round++) {
		size_t first = freeze->count;
		int count = seize(freeze);

		if (count < 0) {
			int err = errno;

			thaw(freeze);
			if (err == EPERM)
				say("process %d can't be stopped: %s (is a debugger at it?)", pid,
				    strerror(err));
			else
				say("process %d is gone", pid);
			return false;
		}
		if (!count && freeze->count)
			return true;
		if (!wait_for_all(freeze, first))
			break;
		if (!freeze->count) {
			say("process %d is gone", pid);
			return false;
		}
	}
	thaw(freeze);
	return false;
}

void thaw(struct freeze *freeze)
{
	for (size_t i = 0; i < freeze->count; i++) {
		struct frozen *thread = &freeze->thread[i];

		/* refused for one that has not stopped yet: wait for it a moment */
		for (int tries = 0; tries < 100; tries++) {
			int status;

			if (ptrace(PTRACE_DETACH, thread->tid, NULL,
				   (void *)(uintptr_t)thread->signal) == 0)
				break;
			if (waitpid(thread->tid, &status, __WALL | WNOHANG) == thread->tid &&
			    WIFSTOPPED(status) && status >> 16 == 0)
				thread->signal = WSTOPSIG(status);
			usleep(100);
		}
	}
	if (freeze->count)
		freeze->stood_ns = now_ns() - freeze->since_ns;
	freeze->count = 0;
}

void freeze_free(struct freeze *freeze)
{
	thaw(freeze);
	free(freeze->thread);
	*freeze = (struct freeze){ 0 };
}
