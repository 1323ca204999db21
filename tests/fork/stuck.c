/* SPDX-License-Identifier: MIT */
/*
 * stuck.c THREADS SECONDS - fork waits for a lock of the C library, whose holder allocates.
 *
 * The C library takes locks of its own behind the library's, and some of them are held by threads that allocate:
 *
 *  - its list of handlers: pthread_atfork() makes that longer under its lock, now and then;
 *  - its list of streams: here it is simply held by a thread that allocates, while a handler that interrupted another thread's
 *    allocation forks.
 *
 * In the first case the fork has all locks, and the allocation takes none that it would have to wait for (interpose/atfork.c). In
 * the second the interrupted thread has one, and the allocation goes on after LOCK_STUCK_MS (lib/lock.h), unless it is amid one of
 * a large area, of which there are none here. Nothing hangs, and both sides' heaps are sound.
 */
#include "stress.h"

#include <sys/wait.h>

#define HANDLERS 48 /* that the C library has room for at first */
#define CHILD_SECONDS 30

extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));

static _Atomic int go, ready, stop;
static _Atomic unsigned long nr_forks, nr_rounds;
static uint64_t seed;

static void some_blocks(uint64_t state, size_t large)
{
	void *own[40];

	for (int i = 0; i < 40; i++) {
		own[i] = new_block(&state, i & 1 ? 40000 : large, next_random(&state) | 1);
		CHECK(own[i] != NULL);
	}
	for (int i = 0; i < 40; i++) {
		check_stamp(own[i], 0, "block");
		free(own[i]);
	}
}

static void reap(pid_t pid)
{
	int status;

	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void nothing(void)
{
}

static void begin(void)
{
	atomic_store(&go, 1);
}

static void *lengthen_list(void *unused)
{
	atomic_store(&ready, 1);
	while (!atomic_load(&go))
		;
	for (volatile uint64_t i = seed % 3000; i; i--)
		;
	CHECK(pthread_atfork(nothing, NULL, NULL) == 0);
	return unused;
}

/* In a child of its own, as the list grows once in a while only. */
static void fork_while_the_list_grows(void)
{
	pthread_t thread;
	pid_t pid;

	alarm(CHILD_SECONDS);
	CHECK(pthread_create(&thread, NULL, lengthen_list, NULL) == 0);
	while (!atomic_load(&ready))
		;
	pid = fork();
	if (pid == 0) {
		some_blocks(seed, 300000);
		_exit(0);
	}
	reap(pid);
	pthread_join(thread, NULL);
	some_blocks(seed, 300000);
}

static void grow_lists(uint64_t until)
{
	unsigned trials = 0;

	/* the library has one */
	for (int i = 2; i < HANDLERS; i++)
		CHECK(pthread_atfork(nothing, NULL, NULL) == 0);
	CHECK(pthread_atfork(begin, NULL, NULL) == 0);
	for (; now_ms() < until; trials++) {
		pid_t pid = fork();

		next_random(&seed);
		if (pid == 0) {
			atomic_store(&go, 0);
			fork_while_the_list_grows();
			_exit(0);
		}
		reap(pid);
	}
	say_to(1, "%u forks beside a list that grows", trials);
	CHECK(trials);
}

static void on_signal(int sig)
{
	int saved = errno;
	pid_t pid = fork();

	(void)sig;
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	atomic_fetch_add(&nr_forks, 1);
	errno = saved;
}

static void *allocate(void *arg)
{
	for (uint64_t i = 0; !atomic_load(&stop); i++)
		some_blocks(seed + i, SMALL_LIMIT);
	return arg;
}

static void *interrupt(void *arg)
{
	while (!atomic_load(&stop)) {
		sleep_us(900);
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
	}
	return arg;
}

static void hold_streams(uint64_t until)
{
	struct sigaction action = { .sa_handler = on_signal };
	pthread_t worker, sender;

	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	CHECK(pthread_create(&worker, NULL, allocate, NULL) == 0);
	CHECK(pthread_create(&sender, NULL, interrupt, &worker) == 0);
	while (now_ms() < until) {
		_IO_list_lock();
		some_blocks(seed + nr_rounds, SMALL_LIMIT);
		_IO_list_unlock();
		nr_rounds++;
	}
	atomic_store(&stop, 1);
	pthread_join(sender, NULL);
	pthread_join(worker, NULL);
	say_to(1, "%lu forks in handlers, beside %lu rounds under the list of streams", nr_forks,
	       nr_rounds);
	CHECK(nr_forks && nr_rounds);
}

int main(int argc, char **argv)
{
	unsigned seconds = stress_start(argc, argv);
	uint64_t start = now_ms();

	seed = stress_seed();
	if (_IO_list_lock && _IO_list_unlock)
		hold_streams(start + seconds * 500);
	grow_lists(start + seconds * 1000);
	return 0;
}
