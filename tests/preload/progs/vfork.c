/* SPDX-License-Identifier: MIT */
/*
 * Children that share their parent's memory: vfork and then _exit or exec, posix_spawn, system,
 * popen, while other threads allocate. The child allocates too, and the parent frees what the
 * child allocated.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "check.h"

#define THREADS 3

extern char **environ;

static _Atomic bool stop;
static unsigned char *volatile from_child[64];

static void *allocate_on_and_on(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg * 313 + 7;
	unsigned char *mine[100] = { NULL };
	unsigned char kind[100] = { 0 };

	while (!atomic_load(&stop)) {
		int i = next_random(&seed) % 100;

		CHECK(mine[i] == NULL || pattern_ok(mine[i], 64, kind[i]), "an object changed");
		free(mine[i]);
		kind[i] = seed & 255;
		mine[i] = hide(malloc(64 + (seed >> 8) % (seed % 64 ? 2000 : 300000)));
		CHECK(mine[i] != NULL, "malloc");
		pattern_fill(mine[i], 64, kind[i]);
	}
	for (int i = 0; i < 100; i++)
		free(mine[i]);
	return NULL;
}

static size_t child_size(int i)
{
	return i % 16 == 15 ? 200000 : 10 + i * 37;
}

/* In the child: on the parent's stack and heap. */
static void child_allocates(int round)
{
	for (int i = 0; i < 300; i++) {
		unsigned char *p = hide(malloc(16 + (i * 53 + round) % 3000));

		if (p == NULL)
			_exit(40);
		p[0] = 1;
		free(p);
	}
	for (int i = 0; i < 64; i++) {
		unsigned char *p = hide(malloc(child_size(i)));

		if (p == NULL)
			_exit(41);
		pattern_fill(p, child_size(i), i);
		from_child[i] = p;
	}
}

static void expect_status(pid_t child, int want)
{
	int status;

	CHECK(waitpid(child, &status, 0) == child, "waitpid");
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == want, "status %x, not exit %d", status,
	      want);
}

static void by_vfork(int round)
{
	bool execs = round % 2;
	unsigned char *mine = hide(malloc(500));
	pid_t child = vfork();

	if (child == 0) {
		child_allocates(round);
		free(mine);
		if (execs)
			execl("/bin/sh", "sh", "-c", "exit 5", (char *)NULL);
		_exit(execs ? 42 : 6);
	}
	CHECK(child > 0, "vfork");
	expect_status(child, execs ? 5 : 6);
	for (int i = 0; i < 64; i++) {
		CHECK(pattern_ok(from_child[i], child_size(i), i), "the child's object %d", i);
		free(from_child[i]);
	}
}

static void by_posix_spawn(void)
{
	char *args[] = { "sh", "-c", "exit 7", NULL };
	posix_spawn_file_actions_t actions;
	pid_t child;

	CHECK(posix_spawn_file_actions_init(&actions) == 0, "file actions");
	for (int fd = 100; fd < 130; fd++)
		posix_spawn_file_actions_adddup2(&actions, 1, fd);
	CHECK(posix_spawn(&child, "/bin/sh", &actions, NULL, args, environ) == 0, "posix_spawn");
	expect_status(child, 7);
	CHECK(posix_spawnp(&child, "sh", NULL, NULL, args, environ) == 0, "posix_spawnp");
	expect_status(child, 7);
	posix_spawn_file_actions_destroy(&actions);
}

static void by_popen(void)
{
	char text[64] = "";
	FILE *from = popen("echo from a pipe", "r");

	CHECK(from != NULL && fgets(text, sizeof(text), from) != NULL, "popen");
	CHECK(pclose(from) == 0 && strcmp(text, "from a pipe\n") == 0, "popen read '%s'", text);
	int status = system("exit 9");
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9, "system gave %x", status);
}

static void all_kinds(int rounds)
{
	for (int round = 0; round < rounds; round++) {
		by_vfork(round);
		if (round % 8 == 0) {
			by_posix_spawn();
			by_popen();
		}
	}
}

static void *all_kinds_here(void *arg)
{
	/* A thread of its own that forks, while main has none of its vforks under way. */
	all_kinds(20);
	return arg;
}

int main(void)
{
	pthread_t threads[THREADS], forker;

	check_library();
	all_kinds(40);
	say("vfork, posix_spawn, popen, system: alone");
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, allocate_on_and_on, (void *)(uintptr_t)i) ==
			      0,
		      "create");
	all_kinds(80);
	say("vfork, posix_spawn, popen, system: beside threads that allocate");
	CHECK(pthread_create(&forker, NULL, all_kinds_here, NULL) == 0, "create");
	pthread_join(forker, NULL);
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	say("vfork, posix_spawn, popen, system: from a thread");
	return 0;
}
