/* SPDX-License-Identifier: MIT */
/*
 * atfork.c THREADS SECONDS - what comes between the library's locks, its fork handlers and the fork.
 *
 *  - pthread_atfork() makes the C library's list of handlers longer, now and then, under a lock that fork() waits for with all of the
 *    library's in its hands: so what it allocates must not wait for those.
 *  - A signal handler that came between them would find the thread amid the allocator, and one that forks would release its locks: so
 *    none comes in between, and the mask is as it was on both sides.
 *  - A handler may strike where its thread takes a lock and has not noted it, and fork: it must know that it is its own.
 */
#include "stress.h"

#include <sys/wait.h>

#define HANDLERS 48 /* that the C library has room for at first */
#define CHILD_SECONDS 30
#define MAX_THREADS 16
#define LATE_MS 900 /* nearly LOCK_FORK_WAIT_MS (lib/lock.h) */

static _Atomic int go, ready, stop;
static _Atomic unsigned long nr_handled, nr_amid, nr_late;
static bool (*in_atomic)(void); /* kmalloc/gfp.h */
static uint64_t seed;

static void some_blocks(uint64_t state)
{
	void *own[40];

	for (int i = 0; i < 40; i++) {
		own[i] = new_block(&state, random_size(&state), next_random(&state) | 1);
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
		some_blocks(seed);
		_exit(0);
	}
	reap(pid);
	pthread_join(thread, NULL);
	some_blocks(seed);
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
	(void)sig;
	nr_handled++;
	nr_amid += in_atomic();
}

/* Sizes for which locks are taken. */
static void *allocate_large(void *arg)
{
	while (!atomic_load(&stop)) {
		void *own[40];

		for (int i = 0; i < 40; i++)
			own[i] = malloc(i & 1 ? 40000 : 300000);
		for (int i = 0; i < 40; i++)
			free(own[i]);
	}
	return arg;
}

static void *allocate(void *arg)
{
	for (uint64_t i = (uintptr_t)arg; !atomic_load(&stop); i++)
		some_blocks(seed + i);
	return NULL;
}

static void *interrupt(void *thread)
{
	while (!atomic_load(&stop)) {
		pthread_kill(*(pthread_t *)thread, SIGUSR1);
		sleep_us(50);
	}
	return NULL;
}

/* This thread allocates nothing itself: where its handler finds it in the allocator, that is fork(). */
static void interrupt_forks(int nr_threads, uint64_t until)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	pthread_t self = pthread_self(), sender, workers[MAX_THREADS];
	sigset_t mask;
	unsigned forks = 0;

	atomic_store(&stop, 0);
	nr_handled = 0;
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	for (int i = 0; i < nr_threads; i++)
		CHECK(pthread_create(&workers[i], NULL, allocate, (void *)(uintptr_t)i) == 0);
	CHECK(pthread_create(&sender, NULL, interrupt, &self) == 0);
	for (; now_ms() < until; forks++) {
		pid_t pid = fork();

		CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0 &&
		      !sigismember(&mask, SIGUSR1));
		if (pid == 0) {
			some_blocks(seed);
			_exit(0);
		}
		reap(pid);
	}
	atomic_store(&stop, 1);
	pthread_join(sender, NULL);
	for (int i = 0; i < nr_threads; i++)
		pthread_join(workers[i], NULL);
	say_to(1, "%u forks and %lu signals, %lu of them amid the allocator", forks, nr_handled,
	       nr_amid);
	CHECK(forks && nr_handled > forks && !nr_amid);
}

static void on_signal_fork(int sig)
{
	int saved = errno;
	uint64_t start = now_ms();
	pid_t pid = fork();

	(void)sig;
	if (pid == 0)
		_exit(0);
	nr_late += now_ms() - start > LATE_MS;
	nr_handled++;
	reap(pid);
	errno = saved;
}

/* One thread allocates, so nobody else has a lock: a fork in its handler waits for nobody. */
static void fork_in_handlers(uint64_t until)
{
	struct sigaction action = { .sa_handler = on_signal_fork, .sa_flags = SA_RESTART };
	pthread_t worker;

	atomic_store(&stop, 0);
	nr_handled = 0;
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	CHECK(pthread_create(&worker, NULL, allocate_large, NULL) == 0);
	while (now_ms() < until) {
		pthread_kill(worker, SIGUSR1);
		sleep_us(300);
	}
	atomic_store(&stop, 1);
	pthread_join(worker, NULL);
	say_to(1, "%lu forks in handlers, %lu of them late", nr_handled, nr_late);
	/* the machine may be slow */
	CHECK(nr_handled && nr_late <= 1 + nr_handled / 100);
}

int main(int argc, char **argv)
{
	int nr_threads = argc > 1 ? atoi(argv[1]) : 3;
	unsigned seconds = stress_start(argc, argv);
	uint64_t start = now_ms();

	CHECK(nr_threads > 0 && nr_threads <= MAX_THREADS);
	seed = stress_seed();
	in_atomic = (bool (*)(void))dlsym(RTLD_DEFAULT, "libkmalloc_in_atomic");
	CHECK(in_atomic);
	fork_in_handlers(start + seconds * 400);
	/* what this allocates must be no hit: the sizes before were others */
	grow_lists(start + seconds * 700);
	interrupt_forks(nr_threads, start + seconds * 1000);
	return 0;
}
