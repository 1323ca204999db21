/* SPDX-License-Identifier: MIT */
/*
 * vfork.c THREADS SECONDS - storms of vfork and posix_spawn from several threads, while others
 * allocate and everything is given back.
 *
 * A vfork child runs on its parent's memory, and has no rseq registration. Here it
 * allocates, resizes and frees every kind of memory before it execs or exits: blocks of its own,
 * blocks that its parent had, and one that its parent takes over and checks. Some
 * children vfork again, some fork.
 */
#include "stress.h"

#include <spawn.h>
#include <sys/wait.h>

#define MAX_THREADS 32
#define OWN 48

static _Atomic int stop;
static uint64_t seed;
static _Atomic unsigned long nr_vforks, nr_spawns;

/* What parent and child share; both write it, so nothing of it may stay in registers. */
struct shared {
	void *own[OWN];
	void *left; /* by the child for its parent */
	uint64_t state;
};

__attribute__((noinline)) static void work(struct shared *shared, int steps)
{
	while (steps--) {
		void **own = &shared->own[next_random(&shared->state) % OWN], *to;
		size_t size = random_size(&shared->state);

		if (!*own) {
			*own = new_block(&shared->state, size, next_random(&shared->state) | 1);
			CHECK(*own != NULL);
			continue;
		}
		check_stamp(*own, 0, "vfork");
		if (next_random(&shared->state) % 4) {
			free(*own);
			*own = NULL;
		} else {
			to = resize_block(*own, size);
			CHECK(to != NULL);
			*own = to;
		}
	}
}

static void wait_for(pid_t pid, int expected)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		CHECK(errno == EINTR);
	if (WIFSIGNALED(status))
		FAIL("child %d died by signal %d %s", (int)pid, WTERMSIG(status), stress_seed_text);
	CHECK(WEXITSTATUS(status) == expected);
}

static void exec_true(void)
{
	static char *const argv[] = { (char *)"true", NULL };

	execv("/bin/true", argv);
	_exit(127);
}

/* The grandchild shares the memory too, and borrows what it shares from its parent. */
__attribute__((noinline)) static void vfork_again(struct shared *shared)
{
	pid_t pid = vfork();

	CHECK(pid >= 0);
	if (pid == 0) {
		work(shared, 20);
		_exit(3);
	}
	wait_for(pid, 3);
}

__attribute__((noinline)) static void fork_again(struct shared *shared)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		alarm(20);
		work(shared, 200);
		_exit(4);
	}
	wait_for(pid, 4);
}

__attribute__((noinline)) static void live_as_child(struct shared *shared)
{
	work(shared, 60);
	shared->left = new_block(&shared->state, random_size(&shared->state), 77);
	switch (next_random(&shared->state) % 8) {
	case 0:
		vfork_again(shared);
		break;
	case 1:
		fork_again(shared);
		break;
	default:
		break;
	}
	work(shared, 20);
}

__attribute__((noinline)) static void do_vfork(struct shared *shared)
{
	bool exec = next_random(&shared->state) % 4 == 0;
	pid_t pid = vfork();

	CHECK(pid >= 0);
	if (pid == 0) {
		live_as_child(shared);
		if (exec)
			exec_true();
		_exit(5);
	}
	atomic_fetch_add(&nr_vforks, 1);
	CHECK(shared->left != NULL);
	check_stamp(shared->left, 77, "left by the child");
	free(shared->left);
	shared->left = NULL;
	work(shared, 50);
	wait_for(pid, exec ? 0 : 5);
}

static void do_spawn(void)
{
	static char *const argv[] = { (char *)"true", NULL };
	extern char **environ;
	pid_t pid;

	CHECK(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) == 0);
	atomic_fetch_add(&nr_spawns, 1);
	wait_for(pid, 0);
	CHECK(posix_spawn(&pid, "/no/such/program", NULL, NULL, argv, environ) == ENOENT);
}

static void *worker(void *arg)
{
	struct shared *shared = calloc(1, sizeof(*shared));

	CHECK(shared != NULL);
	shared->state = seed + (uintptr_t)arg * 7919;
	while (!atomic_load(&stop)) {
		work(shared, 400);
		if ((uintptr_t)arg % 4 == 3)
			continue; /* every fourth thread only allocates */
		if (next_random(&shared->state) % 8)
			do_vfork(shared);
		else
			do_spawn();
	}
	for (int k = 0; k < OWN; k++) {
		if (shared->own[k])
			check_stamp(shared->own[k], 0, "at the end");
		free(shared->own[k]);
	}
	free(shared);
	return NULL;
}

int main(int argc, char **argv)
{
	int nr_threads = argc > 1 ? atoi(argv[1]) : 8;
	pthread_t threads[MAX_THREADS + 1];

	CHECK(nr_threads > 0 && nr_threads <= MAX_THREADS);
	unsigned seconds = stress_start(argc, argv);

	seed = stress_seed();
	for (int i = 0; i < nr_threads; i++)
		CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)i) == 0);
	CHECK(pthread_create(&threads[nr_threads], NULL, stress_trimmer, &stop) == 0);
	sleep_us(seconds * 1000000L);
	atomic_store(&stop, 1);
	for (int i = 0; i <= nr_threads; i++)
		pthread_join(threads[i], NULL);
	say_to(1, "%lu vforks, %lu spawns", nr_vforks, nr_spawns);
	CHECK(nr_vforks > 0 && nr_spawns > 0);
	return 0;
}
