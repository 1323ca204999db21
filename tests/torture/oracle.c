/* SPDX-License-Identifier: MIT */
/*
 * oracle.c [--seconds N] [--seed S] [--threads T] - no byte of memory is ever two threads' at once.
 *
 * Threads allocate by every call and in every size class, stamp each block over its whole
 * length, claim its addresses in the oracle of shadow.h, hand blocks to each other, resize,
 * check and free them. Meanwhile
 *
 *	one calls malloc_trim() all the time: every CPU's objects are taken away;
 *	one moves threads from CPU to CPU, and at times binds all of them to one;
 *	one sends signals at random times, whose handler allocates and frees;
 *	short-lived threads come and go.
 *
 * It goes in rounds of 2 to 512 threads. After each, everything is freed and given back, and what
 * the library says is still handed out must not have grown from round to round.
 *
 * Blocks change hands over a shelf: each place holds a block or NULL and is only ever exchanged,
 * so each block has one owner at any time. What is live is bounded, so that 512 threads fit.
 */
#include "shadow.h"

#define SHELF 1024
#define MAX_THREADS 512
#define OWN 24
#define BURST 40 /* less than a sheaf and more than half of one */
#define BURST_ROUNDS 25
#define KEPT 4		       /* blocks of a thread's handler */
#define MAX_LIVE (192UL << 20) /* bytes; beyond it blocks are only freed */
#define MAX_LOST (256UL << 10) /* what the C library keeps of that many threads */
#define ROUND_MS_MIN 500
#define ROUND_MS_MAX 10000
#define CLASSES (SMALL_LIMIT / 16 + 1)

static const int round_threads[] = { 8, 2, 32, 4, 128, 16, 512, 64, 256 };

static _Atomic(void *) shelf[SHELF];
static pthread_t threads[MAX_THREADS];
static _Atomic int stop;
static int nr_threads;
static _Atomic size_t live;
static _Atomic unsigned char class_seen[CLASSES]; /* by usable size */
static _Atomic unsigned long nr_blocks, nr_trims, nr_moves, nr_signals, nr_handed, nr_born,
	nr_bursts;

/* Of each thread: what its handler has, and when it may not come any more. */
static __thread struct {
	void *kept[KEPT];
	uint64_t state;
} in_handler __attribute__((tls_model("initial-exec")));

/* Any class as likely as any other of its power of two, the small ones the most; some areas. */
static size_t draw_size(uint64_t *state)
{
	uint64_t r = next_random(state);
	unsigned shift = 4 + (unsigned)(r >> 8) % 13;
	size_t size;

	if (r % 256 == 0)
		return SMALL_LIMIT + 1 + (r >> 16) % (2UL << 20);
	if (r % 8)
		shift = 4 + (unsigned)(r >> 8) % 6;
	size = (1UL << shift) + (r >> 16) % (1UL << shift);
	return size > SMALL_LIMIT ? SMALL_LIMIT : size;
}

/* The calls that stress.h's new_block() does not know. */
static void *odd_new(uint64_t *state, size_t size)
{
	uint64_t r = next_random(state);
	size_t align = 16UL << (r >> 8) % 16;
	void *block;

	switch (r % 4) {
	case 0:
		block = memalign(align, size);
		break;
	case 1:
		block = aligned_alloc(align, size);
		break;
	case 2:
		align = 16;
		block = reallocarray(NULL, (size + 15) / 16, 16);
		break;
	default:
		align = 4096;
		block = valloc(size);
		break;
	}
	CHECK(block != NULL && (uintptr_t)block % align == 0);
	stamp(block, size, next_random(state) | 1);
	oracle_claim(block);
	return block;
}

static void *get(uint64_t *state)
{
	size_t size = draw_size(state), usable;
	bool odd = next_random(state) % 16 == 0;
	void *block = odd ? odd_new(state, size) : oracle_new(state, size);

	CHECK(block != NULL);
	usable = malloc_usable_size(block);
	atomic_fetch_add_explicit(&live, usable, memory_order_relaxed);
	atomic_fetch_add_explicit(&nr_blocks, 1, memory_order_relaxed);
	if (usable <= SMALL_LIMIT && !odd) /* an odd one may be a small area */
		atomic_store_explicit(&class_seen[usable / 16], 1, memory_order_relaxed);
	return block;
}

static void drop(void *block, const char *where)
{
	if (block)
		atomic_fetch_sub_explicit(&live, malloc_usable_size(block), memory_order_relaxed);
	oracle_free(block, where);
}

static void *change(uint64_t *state, void *block, const char *where)
{
	size_t old = malloc_usable_size(block);

	block = oracle_resize(block, draw_size(state), where);
	CHECK(block != NULL);
	atomic_fetch_add_explicit(&live, malloc_usable_size(block) - old, memory_order_relaxed);
	return block;
}

/*
 * As fast as it goes, so that a drain meets threads in the midst of the hit path: small blocks of one
 * size, claimed but not stamped.
 */
static void burst(uint64_t *state)
{
	void *blocks[BURST];
	size_t size = 16 + next_random(state) % 112;
	unsigned char owner = (unsigned char)(1 + next_random(state) % 255);

	for (int round = 0; round < BURST_ROUNDS; round++) {
		for (int i = 0; i < BURST; i++) {
			blocks[i] = malloc(size);
			CHECK(blocks[i] != NULL);
			shadow_claim(blocks[i], size, owner);
		}
		for (int i = 0; i < BURST; i++) {
			shadow_release(blocks[i], size, owner);
			free(blocks[i]);
		}
	}
	atomic_fetch_add_explicit(&nr_bursts, 1, memory_order_relaxed);
}

static void work(uint64_t *state, void **own)
{
	unsigned k = (unsigned)(next_random(state) % OWN);
	uint64_t r = next_random(state);

	if (r % 256 == 255)
		burst(state);
	if (!own[k]) {
		if (atomic_load_explicit(&live, memory_order_relaxed) < MAX_LIVE)
			own[k] = get(state);
		return;
	}
	if (atomic_load_explicit(&live, memory_order_relaxed) >= MAX_LIVE)
		r = 1;
	switch (r % 8) {
	case 0:
		own[k] = change(state, own[k], "own");
		break;
	case 1:
	case 2:
		drop(own[k], "own");
		own[k] = NULL;
		break;
	default:
		own[k] = atomic_exchange(&shelf[(r >> 8) % SHELF], own[k]);
		atomic_fetch_add_explicit(&nr_handed, 1, memory_order_relaxed);
		if (own[k])
			check_stamp(own[k], 0, "from another thread");
		break;
	}
}

static void on_signal(int sig)
{
	int saved = errno;
	void **kept = &in_handler.kept[next_random(&in_handler.state) % KEPT];

	(void)sig;
	atomic_fetch_add_explicit(&nr_signals, 1, memory_order_relaxed);
	if (!*kept) {
		*kept = get(&in_handler.state);
	} else if (next_random(&in_handler.state) % 4) {
		drop(*kept, "handler");
		*kept = NULL;
	} else {
		*kept = change(&in_handler.state, *kept, "handler");
	}
	errno = saved;
}

static void leave(void **own)
{
	torture_let_signals(SIG_BLOCK);
	for (int k = 0; k < OWN; k++)
		drop(own[k], "at the end");
	for (int k = 0; k < KEPT; k++)
		drop(in_handler.kept[k], "handler, at the end");
}

static void *worker(void *arg)
{
	uint64_t state = torture.seed + (uintptr_t)arg * 7919;
	void *own[OWN] = { 0 };

	in_handler.state = state ^ 0x5555;
	torture_let_signals(SIG_UNBLOCK);
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		for (int i = 0; i < 64; i++)
			work(&state, own);
	leave(own);
	return NULL;
}

static void *short_worker(void *arg)
{
	uint64_t state = torture.seed + (uintptr_t)arg * 104729;
	void *own[OWN] = { 0 };

	for (int i = 0; i < 300; i++)
		work(&state, own);
	leave(own);
	return NULL;
}

static pthread_t start(void *(*function)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	CHECK(pthread_attr_setstacksize(&attr, 128UL << 10) == 0);
	CHECK(pthread_create(&thread, &attr, function, arg) == 0);
	pthread_attr_destroy(&attr);
	return thread;
}

static void *come_and_go(void *unused)
{
	pthread_t few[4];

	while (!atomic_load(&stop)) {
		for (int i = 0; i < 4; i++)
			few[i] = start(short_worker, (void *)atomic_fetch_add(&nr_born, 1));
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
		if (nr_threads % 3 != 2)
			sleep_us(200);
	}
	return unused;
}

/* One thread somewhere else; now and then all of them to where one of them is. */
static void *mover(void *unused)
{
	uint64_t state = torture.seed + 3;
	cpu_set_t narrow;

	while (!atomic_load(&stop)) {
		pthread_t thread = threads[next_random(&state) % (uint64_t)nr_threads];

		wander(thread, &state);
		if (next_random(&state) % 64 == 0 &&
		    pthread_getaffinity_np(thread, sizeof(narrow), &narrow) == 0)
			for (int i = 0; i < nr_threads; i++)
				pthread_setaffinity_np(threads[i], sizeof(narrow), &narrow);
		atomic_fetch_add(&nr_moves, 1);
		sleep_us(100);
	}
	return unused;
}

static void *signaller(void *unused)
{
	uint64_t state = torture.seed + 5;

	while (!atomic_load(&stop)) {
		for (int i = 0; i < 4; i++)
			pthread_kill(threads[next_random(&state) % (uint64_t)nr_threads], SIGUSR1);
		sleep_us((long)(next_random(&state) % 200));
	}
	return unused;
}

static void round_of(int n, uint64_t ms)
{
	void *(*const others[])(void *) = { trimmer, mover, signaller, come_and_go };
	pthread_t other[4];

	nr_threads = n;
	atomic_store(&stop, 0);
	for (int i = 0; i < n; i++)
		threads[i] = start(worker, (void *)(uintptr_t)i);
	for (int i = 0; i < 4; i++)
		other[i] = start(others[i], NULL);
	for (uint64_t end = now_ms() + ms; now_ms() < end;)
		sleep_us(20000);
	atomic_store(&stop, 1);
	for (int i = 0; i < 4; i++)
		pthread_join(other[i], NULL);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < SHELF; i++)
		drop(atomic_exchange(&shelf[i], NULL), "shelf");
	CHECK(atomic_load(&live) == 0);
}

static unsigned count_classes(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < CLASSES; i++)
		n += class_seen[i];
	return n;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	unsigned nr_rounds = sizeof(round_threads) / sizeof(round_threads[0]), rounds = 0;
	size_t first = 0, out = 0;
	uint64_t ms;

	(void)argc;
	torture_start(argv, "threads");
	sigaction(SIGUSR1, &action, NULL);
	torture_let_signals(SIG_BLOCK);

	int only = (int)torture_number(argv, "threads", 0);

	CHECK(only >= 0 && only <= MAX_THREADS);
	ms = torture.seconds * 1000UL / nr_rounds;
	ms = ms < ROUND_MS_MIN ? ROUND_MS_MIN : ms > ROUND_MS_MAX ? ROUND_MS_MAX : ms;
	do {
		int n = only ? only : round_threads[rounds % nr_rounds];

		round_of(n, ms);
		out = torture_bytes_out();
		first = rounds++ ? first : out;
		say_to(2, "%d threads: %lu blocks so far, %zu bytes out", n, nr_blocks, out);
	} while (!torture_time_is_up());
	if (out > first + MAX_LOST)
		FAIL("%zu bytes out after %u rounds, %zu after the first %s", out, rounds, first,
		     stress_seed_text);
	CHECK(nr_trims && nr_moves && nr_signals && nr_handed && nr_born);
	say_to(1,
	       "%u rounds, %lu blocks in %u size classes and areas, %lu handed over, %lu bursts, %lu trims, "
	       "%lu moves, %lu signals, %lu short-lived threads, %zd bytes out more than at first",
	       rounds, nr_blocks, count_classes(), nr_handed, nr_bursts, nr_trims, nr_moves,
	       nr_signals, nr_born, (ssize_t)(out - first));
	return 0;
}
