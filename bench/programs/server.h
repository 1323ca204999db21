/* SPDX-License-Identifier: MIT
 *
 * server: what the files of the server program share. See server.c for what it does.
 *
 * Locks: that of an inbox (worker.lock) and that of a shard of the session cache. No thread holds
 * two at a time.
 */
#ifndef BENCH_PROGRAMS_SERVER_H
#define BENCH_PROGRAMS_SERVER_H

#include "common.h"

#include <pthread.h>
#include <stdbool.h>

struct buffer {
	char *data;  /* NULL: empty */
	size_t used; /* bytes written */
	size_t room; /* bytes allocated */
};

/* A response that another thread than its maker sends, counts and frees. */
struct delivery {
	struct delivery *next;
	struct buffer response;
};

/* One thread of the server, on a cache line of its own. */
struct worker {
	_Alignas(64) long number;
	long live;		/* its account, see common.h */
	uint64_t sum;		/* over what it did; addition, so that the order does not matter */
	pthread_mutex_t lock;	/* guards inbox */
	struct delivery *inbox; /* what others left for it; NULL: nothing */
};

/* request.c: make the request number ID, parse it, and make the response to it. */
struct buffer serve_request(struct worker *worker, uint64_t id);
void buffer_free(struct worker *worker, struct buffer *buffer);

/*
 * cache.c: the sessions that all threads share. cache_user returns the user's name of session
 * KEY, a copy that is the caller's (give_text), and adds what the session holds to *SUM.
 */
char *cache_user(struct worker *worker, uint32_t key, uint64_t *sum);
void cache_init(void);

/* Letters to take text from: any 4 KiB of it. */
#define LETTERS 8192
extern char letters[LETTERS];

/* LENGTH letters, up to LETTERS / 2, that depend on *STATE only. */
static inline const char *random_text(uint64_t *state)
{
	return letters + random_next(state) % (LETTERS / 2);
}

#endif
