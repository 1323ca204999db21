/* SPDX-License-Identifier: MIT */
/*
 * signals.c THREADS SECONDS - handlers that allocate and free, in threads that allocate
 * and free: thousands of signals a second, sent by a thread to the others, one handler
 * interrupting the other.
 *
 * A handler has blocks of its own in each thread; the code that it interrupts never touches
 * them. Both check every block that they give up. errno must survive a free().
 */
#include "stress.h"

#define MAX_THREADS 64
#define OWN 16
#define KEPT 6

static pthread_t threads[MAX_THREADS];
static _Atomic int stop;
static int nr_threads;
static uint64_t seed;
static _Atomic unsigned long nr_handled, nr_sent, nr_refused;

/* Of each thread's handlers; each signal has its own half, since one may interrupt the other. */
static __thread struct {
	void *kept[KEPT];
	uint64_t state;
} in_handler[2] __attribute__((tls_model("initial-exec")));

static size_t handler_size(uint64_t *state)
{
	uint64_t r = next_random(state);

	if (r % 6 == 0)
		return 120000 + (r >> 8) % 200000;
	return 16 + (r >> 8) % (r % 4 ? 300 : 9000);
}

static void handler_step(unsigned which)
{
	uint64_t *state = &in_handler[which].state;
	unsigned k = (unsigned)(next_random(state) % KEPT);
	void *block = in_handler[which].kept[k], *to;

	if (!block) {
		block = new_block(state, handler_size(state), next_random(state) | 1);
		if (!block)
			atomic_fetch_add(&nr_refused, 1);
	} else {
		check_stamp(block, 0, "handler");
		if (next_random(state) % 3) {
			errno = 4711;
			free(block);
			CHECK(errno == 4711);
			block = NULL;
		} else {
			to = resize_block(block, handler_size(state));
			if (!to)
				atomic_fetch_add(&nr_refused, 1);
			block = to ? to : block;
		}
	}
	in_handler[which].kept[k] = block;
}

static void on_signal(int sig)
{
	int saved = errno;
	unsigned which = sig == SIGUSR1;
	void *block;

	atomic_fetch_add_explicit(&nr_handled, 1, memory_order_relaxed);
	if (!in_handler[which].state)
		in_handler[which].state = seed + (uintptr_t)pthread_self() + which;
	for (int i = 0; i < 3; i++)
		handler_step(which);
	errno = 0;
	block = malloc(64);
	if (block) {
		CHECK(errno == 0);
		free(block);
	} else {
		CHECK(errno == ENOMEM);
		atomic_fetch_add(&nr_refused, 1);
	}
	errno = saved;
}

/*
 * Ways into the slow paths, where a handler finds locks held: many objects that no sheaf holds,
 * areas that are cut, joined and resized, everything given back.
 */
static void slow_path(uint64_t *state)
{
	void *blocks[200], *area;
	size_t size = 16 + next_random(state) % (next_random(state) % 2 ? 1000 : 40000);

	switch (next_random(state) % 8) {
	case 0:
		malloc_trim(0);
		break;
	case 1:
	case 2:
	case 3:
		for (int i = 0; i < 200; i++)
			blocks[i] = malloc(size);
		for (int i = 0; i < 200; i++)
			free(blocks[i]);
		break;
	default:
		area = malloc(140000 + next_random(state) % 100000);
		for (int i = 0; area && i < 8; i++)
			area = realloc(area, 140000 + next_random(state) % 2000000);
		free(area);
		break;
	}
}

static void *worker(void *arg)
{
	uint64_t state = seed + (uintptr_t)arg * 7919;
	void *own[OWN] = { 0 }, *to;

	for (unsigned i = 0; !atomic_load_explicit(&stop, memory_order_relaxed); i++) {
		unsigned k = (unsigned)(next_random(&state) % OWN);

		if (!own[k]) {
			own[k] = new_block(&state, random_size(&state), next_random(&state) | 1);
			CHECK(own[k] != NULL);
		} else if (next_random(&state) % 4) {
			check_stamp(own[k], 0, "worker");
			free(own[k]);
			own[k] = NULL;
		} else {
			check_stamp(own[k], 0, "worker");
			to = resize_block(own[k], random_size(&state));
			CHECK(to != NULL);
			own[k] = to;
		}
		if (i % 16 == 0)
			slow_path(&state);
	}
	for (int k = 0; k < OWN; k++)
		free(own[k]);
	return NULL;
}

static void *sender(void *unused)
{
	uint64_t state = seed + 11;

	while (!atomic_load(&stop)) {
		for (int i = 0; i < nr_threads; i++) {
			pthread_kill(threads[i], next_random(&state) % 2 ? SIGUSR1 : SIGALRM);
			atomic_fetch_add_explicit(&nr_sent, 1, memory_order_relaxed);
		}
		sleep_us(50);
		if (next_random(&state) % 16 == 0)
			wander(threads[next_random(&state) % (uint64_t)nr_threads], &state);
	}
	return unused;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	sigset_t ours;
	pthread_t sending;

	nr_threads = argc > 1 ? atoi(argv[1]) : 8;
	CHECK(nr_threads > 0 && nr_threads <= MAX_THREADS);
	stress_start();
	seed = stress_seed();
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	for (int i = 0; i < nr_threads; i++)
		CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)i) == 0);
	sigemptyset(&ours);
	sigaddset(&ours, SIGUSR1);
	sigaddset(&ours, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &ours, NULL);
	CHECK(pthread_create(&sending, NULL, sender, NULL) == 0);
	sleep_us((argc > 2 ? atol(argv[2]) : 2) * 1000000);
	atomic_store(&stop, 1);
	pthread_join(sending, NULL);
	for (int i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	say_to(1, "%lu signals sent, %lu handled, %lu requests refused", nr_sent, nr_handled,
	       nr_refused);
	CHECK(nr_handled > 100);
	CHECK(nr_refused == 0);
	return 0;
}
