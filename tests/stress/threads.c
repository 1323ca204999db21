/* SPDX-License-Identifier: MIT */
/*
 * threads.c THREADS SECONDS - many threads that allocate, stamp, hand blocks to each other,
 * resize, check and free, while one calls malloc_trim() all the time, one moves the others
 * between CPUs, and short-lived threads come and go.
 *
 * Blocks change hands over a shelf: each place holds a block or NULL and is only ever
 * exchanged, so each block has one owner at any time.
 */
#include "stress.h"

#define SHELF 1024
#define MAX_THREADS 128
#define OWN 24

static _Atomic(void *) shelf[SHELF];
static pthread_t threads[MAX_THREADS];
static _Atomic int stop;
static int nr_threads;
static uint64_t seed;
static _Atomic unsigned long nr_trims, nr_blocks;

static uint64_t token_of(uint64_t *state)
{
	return next_random(state) | 1;
}

static void drop(void *block)
{
	check_stamp(block, 0, "threads");
	memset(block, 0xdb, 16); /* who frees it twice sees no block */
	free(block);
}

static void work(uint64_t *state, void **own)
{
	unsigned k = (unsigned)(next_random(state) % OWN);
	uint64_t r = next_random(state);
	void *block;

	if (!own[k]) {
		own[k] = new_block(state, random_size(state), token_of(state));
		CHECK(own[k] != NULL);
		atomic_fetch_add_explicit(&nr_blocks, 1, memory_order_relaxed);
		return;
	}
	switch (r % 8) {
	case 0:
		check_stamp(own[k], 0, "threads");
		block = resize_block(own[k], random_size(state));
		CHECK(block != NULL);
		own[k] = block;
		break;
	case 1:
	case 2:
		drop(own[k]);
		own[k] = NULL;
		break;
	default:
		own[k] = atomic_exchange(&shelf[(r >> 8) % SHELF], own[k]);
		if (own[k])
			check_stamp(own[k], 0, "threads");
		break;
	}
}

static void leave(void **own)
{
	for (int k = 0; k < OWN; k++)
		if (own[k])
			drop(own[k]);
}

static void *worker(void *arg)
{
	uint64_t state = seed + (uintptr_t)arg * 7919;
	void *own[OWN] = { 0 };

	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		for (int i = 0; i < 64; i++)
			work(&state, own);
	leave(own);
	return NULL;
}

static void *short_worker(void *arg)
{
	uint64_t state = seed + (uintptr_t)arg * 104729;
	void *own[OWN] = { 0 };

	for (int i = 0; i < 300; i++)
		work(&state, own);
	leave(own);
	return NULL;
}

static void *come_and_go(void *unused)
{
	pthread_t few[4];
	uintptr_t n = 1;

	while (!atomic_load(&stop)) {
		for (int i = 0; i < 4; i++)
			CHECK(pthread_create(&few[i], NULL, short_worker, (void *)n++) == 0);
		for (int i = 0; i < 4; i++)
			pthread_join(few[i], NULL);
	}
	return unused;
}

static void *trimmer(void *unused)
{
	while (!atomic_load(&stop)) {
		malloc_trim(0);
		atomic_fetch_add(&nr_trims, 1);
		sleep_us(200);
	}
	return unused;
}

static void *mover(void *unused)
{
	uint64_t state = seed + 3;

	while (!atomic_load(&stop)) {
		wander(threads[next_random(&state) % (uint64_t)nr_threads], &state);
		sleep_us(100);
	}
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t others[3];

	nr_threads = argc > 1 ? atoi(argv[1]) : 8;
	CHECK(nr_threads > 0 && nr_threads <= MAX_THREADS);
	stress_start();
	seed = stress_seed();
	for (int i = 0; i < nr_threads; i++)
		CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)i) == 0);
	CHECK(pthread_create(&others[0], NULL, trimmer, NULL) == 0);
	CHECK(pthread_create(&others[1], NULL, mover, NULL) == 0);
	CHECK(pthread_create(&others[2], NULL, come_and_go, NULL) == 0);
	sleep_us((argc > 2 ? atol(argv[2]) : 2) * 1000000);
	atomic_store(&stop, 1);
	for (int i = 0; i < 3; i++)
		pthread_join(others[i], NULL);
	for (int i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < SHELF; i++)
		if (shelf[i])
			drop(shelf[i]);
	CHECK(nr_trims > 0);
	say_to(1, "%lu blocks, %lu trims", nr_blocks, nr_trims);
	return 0;
}
