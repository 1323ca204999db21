/* SPDX-License-Identifier: MIT
 *
 * idle: many threads that each once allocated a mix of sizes, freed it all and
 * now sleep. What the process still holds then is what an allocator keeps for
 * threads that do nothing.
 *
 * Output: `rss_kib N`. With `bare` the threads allocate nothing: the stacks.
 */
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const size_t mix[] = {
	16,  32,  48,  64,   80,   96,	 112,  128,  160,  192,	 224,  256,  320,  384,	 448,  512,
	640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192,
};

#define MIX (sizeof(mix) / sizeof(mix[0]))
#define EACH 8 /* objects of each size, live at the same time */

static bool bare;
static sem_t done;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *idle(void *arg)
{
	void *object[MIX * EACH];

	(void)arg;
	if (!bare) {
		for (size_t i = 0; i < MIX * EACH; i++) {
			object[i] = malloc(mix[i / EACH]);
			if (!object[i]) {
				fprintf(stderr, "idle: out of memory\n");
				_exit(1);
			}
			memset(object[i], 1, mix[i / EACH]);
		}
		for (size_t i = 0; i < MIX * EACH; i++)
			free(object[i]);
	}
	sem_post(&done);
	/* The main thread holds it for good. */
	pthread_mutex_lock(&gate);
	return NULL;
}

static long rss_kib(void)
{
	char text[128];
	int fd = open("/proc/self/statm", O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	long pages = 0;

	if (n > 0) {
		text[n] = 0;
		sscanf(text, "%*s %ld", &pages);
	}
	if (fd >= 0)
		close(fd);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(int argc, char **argv)
{
	long threads = argc > 1 ? atol(argv[1]) : 0;

	bare = argc == 3 && !strcmp(argv[2], "bare");
	if (threads < 1 || argc > 3 || (argc == 3 && !bare)) {
		fprintf(stderr, "usage: idle THREADS [bare]\n");
		return 2;
	}
	sem_init(&done, 0, 0);
	pthread_mutex_lock(&gate);
	for (long i = 0; i < threads; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, idle, NULL)) {
			fprintf(stderr, "idle: cannot start thread %ld\n", i + 1);
			return 1;
		}
	}
	for (long i = 0; i < threads; i++)
		sem_wait(&done);
	usleep(200000);
	printf("rss_kib %ld\n", rss_kib());
	fflush(stdout);
	_exit(0);
}
