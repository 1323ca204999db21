/* SPDX-License-Identifier: MIT
 *
 * server: a server with 1 to 20,000 threads, for what an allocator costs under load and what it
 * keeps for threads that sleep.
 *
 *	server THREADS REQUESTS		busy: the threads serve so many requests, all together
 *	server THREADS REQUESTS idle	the same, then all of them sleep for a while
 *	server THREADS mix		each thread allocates 8 objects of 32 sizes up to 8 KiB,
 *					frees them and sleeps
 *	server THREADS bare		they allocate nothing: what the stacks take
 *
 * Output: `NAME VALUE` lines: checksum, which depends on REQUESTS only, rss_kib and live_kib (the
 * bytes asked for and not freed), both at the end of the work with all threads still there.
 *
 * A thread works like this:
 *
 *  1. It waits until all threads have started.
 *  2. In each of five bursts it serves a fifth of its share (request.c, cache.c). Between two
 *     bursts it waits for the others: so each thread runs again after all others have run,
 *     however many there are, as in a server whose requests come in one by one.
 *  3. Of every four responses three are sent (hashed) and freed at once. One goes into the inbox
 *     of another thread, which sends and frees it: memory that is freed where it was not
 *     allocated.
 *  4. When all are done it empties its inbox and sleeps. The main thread measures, and ends the
 *     process as it is: a server does not end its threads one by one either.
 */
#include "server.h"

#define BURSTS 5
#define STACK (128ul << 10)
#define REST_MS 200 /* from the end of the work until memory is read, when idle */

static const size_t mix[] = {
	16,  32,  48,  64,   80,   96,	 112,  128,  160,  192,	 224,  256,  320,  384,	 448,  512,
	640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192,
};

#define MIX (sizeof(mix) / sizeof(mix[0]))
#define EACH 8 /* objects of each size, live at the same time */

static struct worker *workers;
static long threads, requests;
static bool idle, bare;
static pthread_barrier_t together; /* of all workers and the main thread */

/* Send and free what others left in the inbox. */
static void empty_inbox(struct worker *worker)
{
	struct delivery *delivery, *next;

	pthread_mutex_lock(&worker->lock);
	delivery = worker->inbox;
	worker->inbox = NULL;
	pthread_mutex_unlock(&worker->lock);
	for (; delivery; delivery = next) {
		next = delivery->next;
		worker->sum += hash_bytes(delivery->response.data, delivery->response.used);
		buffer_free(worker, &delivery->response);
		give(&worker->live, delivery, sizeof(*delivery));
	}
}

static void deliver(struct worker *worker, struct worker *to, struct buffer response)
{
	struct delivery *delivery = take(&worker->live, sizeof(*delivery));

	delivery->response = response;
	pthread_mutex_lock(&to->lock);
	delivery->next = to->inbox;
	to->inbox = delivery;
	pthread_mutex_unlock(&to->lock);
}

static void serve(struct worker *worker, long id)
{
	struct buffer response = serve_request(worker, (uint64_t)id);

	empty_inbox(worker);
	if (id % 4 == 0) {
		deliver(worker, &workers[(worker->number + 1 + id / 4) % threads], response);
		return;
	}
	worker->sum += hash_bytes(response.data, response.used);
	buffer_free(worker, &response);
}

static void allocate_mix(struct worker *worker)
{
	void *object[MIX * EACH];

	for (size_t i = 0; i < MIX * EACH; i++) {
		object[i] = take(&worker->live, mix[i / EACH]);
		memset(object[i], 1, mix[i / EACH]);
	}
	for (size_t i = 0; i < MIX * EACH; i++)
		give(&worker->live, object[i], mix[i / EACH]);
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	/* The requests are dealt out in turn; the share's first one is the thread's number. */
	long share = (requests - worker->number + threads - 1) / threads, done = 0;

	pthread_barrier_wait(&together);
	if (!requests && !bare)
		allocate_mix(worker);
	for (int burst = 1; requests && burst <= BURSTS; burst++) {
		for (; done < share * burst / BURSTS; done++)
			serve(worker, worker->number + done * threads);
		if (burst < BURSTS)
			pthread_barrier_wait(&together);
	}
	pthread_barrier_wait(&together);
	empty_inbox(worker);
	pthread_barrier_wait(&together);
	for (;;)
		pause();
	return NULL;
}

static void arguments(int argc, char **argv)
{
	const char *word = argv[argc - 1];

	idle = argc > 2 && !strcmp(word, "idle");
	bare = argc == 3 && !strcmp(word, "bare");
	if (argc != 3 + idle)
		die(2, "usage: server THREADS REQUESTS [idle], or server THREADS mix|bare");
	threads = number(argv[1], "THREADS", 1, 20000);
	if (bare || (argc == 3 && !strcmp(word, "mix")))
		idle = true;
	else
		requests = number(argv[2], "REQUESTS", 1, 1000000000);
}

static void start(void)
{
	uint64_t random = 1;
	pthread_attr_t attr;

	for (size_t i = 0; i < LETTERS; i++)
		letters[i] = (char)('a' + random_next(&random) % 26);
	cache_init();
	/* Not in the account: what the threads share is no part of what they serve. */
	if (posix_memalign((void **)&workers, 64, sizeof(*workers) * (size_t)threads))
		die(1, "out of memory");
	pthread_barrier_init(&together, NULL, (unsigned int)threads + 1);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	for (long i = 0; i < threads; i++) {
		workers[i] = (struct worker){ .number = i };
		pthread_mutex_init(&workers[i].lock, NULL);
	}
	for (long i = 0; i < threads; i++) {
		pthread_t thread;
		int error = pthread_create(&thread, &attr, work, &workers[i]);

		if (error)
			die(1, "cannot start thread %ld: %s", i + 1, strerror(error));
	}
	pthread_attr_destroy(&attr);
}

int main(int argc, char **argv)
{
	long live = 0;
	uint64_t sum = 0;

	arguments(argc, argv);
	start();
	/* The start, the end of each burst, the inboxes. */
	for (int i = 0; i < (requests ? BURSTS : 1) + 2; i++)
		pthread_barrier_wait(&together);
	if (idle)
		sleep_ms(REST_MS);
	for (long i = 0; i < threads; i++) {
		live += workers[i].live;
		sum += workers[i].sum;
	}
	printf("checksum %016llx\n", (unsigned long long)sum);
	printf("rss_kib %ld\nlive_kib %ld\n", rss_kib(), live / 1024);
	return 0;
}
