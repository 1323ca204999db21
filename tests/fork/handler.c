/* SPDX-License-Identifier: MIT */
/*
 * handler.c THREADS SECONDS - fork in a signal handler, which may have interrupted the
 * allocator in the midst of anything.
 *
 * Of the children one half allocates and frees in the handler and exits there; the other
 * returns from the handler, so that what was interrupted goes on in the child, and then
 * allocates. The interrupted thread calls nothing but the allocator: what else it might
 * be in, the C library does not promise to survive. One handler forks at a time: two threads
 * that were stopped in the midst of changes by handlers that wait for each other are no
 * whole heap for any child.
 */
#include "stress.h"

#include <sys/wait.h>

#define MAX_THREADS 16
#define OWN 64
#define CHILD_SECONDS 20

static pthread_t threads[MAX_THREADS];
static _Atomic int stop;
static int nr_threads;
static uint64_t seed;
static _Atomic unsigned long nr_forks;
static _Atomic int nr_children;
static _Atomic int forking;

/* 0: no child; what a child that came back from the handler has to do. */
static __thread volatile int is_child __attribute__((tls_model("initial-exec")));

static void few_steps(uint64_t state, int steps)
{
	void *own[8] = { 0 };

	while (steps--) {
		unsigned k = (unsigned)(next_random(&state) % 8);

		if (own[k]) {
			check_stamp(own[k], 0, "child");
			free(own[k]);
			own[k] = NULL;
			continue;
		}
		own[k] = new_block(&state, random_size(&state), next_random(&state) | 1);
		CHECK(own[k] != NULL);
	}
	for (int k = 0; k < 8; k++)
		free(own[k]);
}

static void on_signal(int sig)
{
	int saved = errno;
	uint64_t state;
	pid_t pid;

	(void)sig;
	if (is_child || atomic_load(&nr_children) > 8 || atomic_exchange(&forking, 1))
		return;
	atomic_fetch_add(&nr_children, 1);
	state = seed + atomic_fetch_add(&nr_forks, 1) * 977;
	pid = fork();
	CHECK(pid >= 0);
	atomic_store(&forking, 0);
	if (pid == 0) {
		alarm(CHILD_SECONDS);
		few_steps(state, 60);
		if (state % 4 < 2)
			_exit(0);
		is_child = 1;
	}
	errno = saved;
}

static void *worker(void *arg)
{
	uint64_t state = seed + (uintptr_t)arg * 7919;
	void *own[OWN] = { 0 }, *batch[100];

	while (!atomic_load(&stop) && !is_child) {
		unsigned k = (unsigned)(next_random(&state) % OWN);
		size_t size = random_size(&state);

		if (own[k])
			check_stamp(own[k], 0, "worker");
		free(own[k]);
		own[k] = new_block(&state, size, next_random(&state) | 1);
		for (int i = 0; i < 100; i++)
			batch[i] = malloc(size);
		for (int i = 0; i < 100; i++)
			free(batch[i]);
	}
	if (is_child) {
		few_steps(state, 500);
		malloc_trim(0);
		few_steps(state + 1, 200);
	}
	for (int k = 0; k < OWN; k++) {
		if (own[k])
			check_stamp(own[k], 0, "worker, at the end");
		free(own[k]);
	}
	if (is_child)
		_exit(0);
	return NULL;
}

static void *sender(void *unused)
{
	uint64_t state = seed + 11;

	while (!atomic_load(&stop)) {
		pthread_kill(threads[next_random(&state) % (uint64_t)nr_threads], SIGUSR1);
		sleep_us(300);
	}
	return unused;
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, 0)) > 0 || errno == EINTR) {
		if (pid <= 0)
			continue;
		atomic_fetch_sub(&nr_children, 1);
		if (WIFSIGNALED(status))
			FAIL("child %d died by signal %d%s %s", (int)pid, WTERMSIG(status),
			     WTERMSIG(status) == SIGALRM ? ": it hung" : "", stress_seed_text);
		CHECK(WEXITSTATUS(status) == 0);
	}
}

static void *reaper(void *unused)
{
	while (!atomic_load(&stop)) {
		reap();
		sleep_us(500);
	}
	return unused;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	pthread_t others[2];
	sigset_t ours;

	nr_threads = argc > 1 ? atoi(argv[1]) : 4;
	CHECK(nr_threads > 0 && nr_threads <= MAX_THREADS);
	unsigned seconds = stress_start(argc, argv);

	seed = stress_seed();
	sigfillset(&action.sa_mask);
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < nr_threads; i++)
		CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)i) == 0);
	sigemptyset(&ours);
	sigaddset(&ours, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &ours, NULL);
	CHECK(pthread_create(&others[0], NULL, sender, NULL) == 0);
	CHECK(pthread_create(&others[1], NULL, reaper, NULL) == 0);
	sleep_us(seconds * 1000000L);
	atomic_store(&stop, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(others[i], NULL);
	for (int i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	reap();
	say_to(1, "%lu forks", nr_forks);
	CHECK(nr_forks > 0);
	return 0;
}
