/* SPDX-License-Identifier: MIT */
/*
 * live_busy.c - THREADS threads that allocate, check and free without end, and print how many rounds they did each tenth of a second.
 * Every block is reachable. A signal arrives all the time, whose handler allocates too. Ends with 0 when its input ends.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define THREADS 4
#define BLOCKS 256

static _Atomic unsigned long rounds;
static _Atomic int stop;

static void on_alarm(int sig)
{
	(void)sig;
	free(malloc(64));
}

static void *work(void *arg)
{
	unsigned seed = (unsigned)(size_t)arg + 1;
	unsigned char *block[BLOCKS] = { 0 };
	size_t size[BLOCKS] = { 0 };

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		unsigned i = (seed = seed * 1103515245u + 12345u) >> 16 & (BLOCKS - 1);

		if (block[i] && (block[i][0] != (unsigned char)i ||
				 block[i][size[i] - 1] != (unsigned char)i)) {
			fprintf(stderr, "busy: a block was changed\n");
			abort();
		}
		free(block[i]);
		size[i] = 1 + (seed >> 8) % (seed % 50 ? 2000 : 300000);
		block[i] = malloc(size[i]);
		block[i][0] = block[i][size[i] - 1] = (unsigned char)i;
		atomic_fetch_add_explicit(&rounds, 1, memory_order_relaxed);
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		free(block[i]);
	return NULL;
}

static void *report(void *arg)
{
	unsigned long before = 0;

	(void)arg;
	while (!stop) {
		unsigned long now;

		usleep(100000);
		now = rounds;
		printf("%lu\n", now - before);
		fflush(stdout);
		before = now;
	}
	return NULL;
}

int main(void)
{
	struct itimerval timer = { { 0, 2000 }, { 0, 2000 } };
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	pthread_t thread[THREADS + 1];
	char line[64];

	sigaction(SIGALRM, &action, NULL);
	for (size_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, work, (void *)i);
	pthread_create(&thread[THREADS], NULL, report, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	while (read(0, line, sizeof(line)) != 0)
		;
	stop = 1;
	for (size_t i = 0; i <= THREADS; i++)
		pthread_join(thread[i], NULL);
	return 0;
}
