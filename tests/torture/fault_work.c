/* SPDX-License-Identifier: MIT */
/*
 * fault_work.c - what the library is asked for while calls fail.
 *
 * Each request is granted or refused with ENOMEM; a block keeps what was written to it until it
 * is freed, through every request of others that failed, a realloc of its own included.
 */
#include "fault.h"

#include "lib/compiler.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define MARK_EVERY (32 * KIB)
#define THREADS 3
#define THREAD_STACK (128 * KIB)

/* A block and what is written in it: its token at both ends and every so often. */
struct block {
	char *at;
	size_t size;
	uint64_t token;
};

int fault_output = 2;
const char *fault_doing;

_Noreturn void fault_fail(const char *format, ...)
{
	char text[400];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text) - 1, format, args);
	va_end(args);
	if (fault_doing && n < (int)sizeof(text) - 1)
		n += snprintf(text + n, sizeof(text) - 1 - (size_t)n, " in %s", fault_doing);
	n = n > (int)sizeof(text) - 2 ? (int)sizeof(text) - 2 : n;
	text[n++] = '\n';
	if (write(fault_output, text, (size_t)n) != n)
		_exit(2);
	_exit(1);
}

void touch_stack(void)
{
	volatile char room[512 * KIB];

	for (size_t i = 0; i < sizeof(room); i += 4096)
		room[i] = 1;
}

static void mark(struct block *block)
{
	static _Atomic uint64_t tokens;

	block->token = atomic_fetch_add(&tokens, 1) * 0x9e3779b97f4a7c15UL | 1;
	for (size_t i = 0; i + 16 <= block->size; i += MARK_EVERY)
		memcpy(block->at + i, &block->token, 8);
	memcpy(block->at + block->size - 8, &block->token, 8);
}

/* Is what was written to its first `size` bytes still there? */
static void check_marks(const struct block *block, size_t size)
{
	for (size_t i = 0; i + 16 <= size; i += MARK_EVERY)
		CHECK(memcmp(block->at + i, &block->token, 8) == 0);
	if (size == block->size)
		CHECK(memcmp(block->at + size - 8, &block->token, 8) == 0);
}

static bool is_zero(const char *at, size_t size)
{
	return at[0] == 0 && memcmp(at, at + 1, size - 1) == 0;
}

enum how { PLAIN, ZEROED, ALIGNED };

/* Sizes are 8 bytes at least. False: refused. */
static bool get(struct block *block, enum how how, size_t size, size_t align)
{
	void *at = NULL;
	int error;

	errno = 0;
	if (how == ALIGNED) {
		error = posix_memalign(&at, align, size);
		CHECK(errno == 0);
		errno = error;
	} else {
		at = how == ZEROED ? calloc(1, size) : malloc(size);
	}
	if (!at) {
		CHECK(errno == ENOMEM);
		*block = (struct block){ 0 };
		return false;
	}
	*block = (struct block){ at, size, 0 };
	CHECK(errno == 0 && (uintptr_t)at % (align ? align : 16) == 0);
	CHECK(malloc_usable_size(at) >= size);
	CHECK(how != ZEROED || is_zero(at, size));
	mark(block);
	return true;
}

static bool resize(struct block *block, size_t size)
{
	char *to;

	if (!block->at)
		return get(block, PLAIN, size, 0);
	check_marks(block, block->size);
	errno = 0;
	to = realloc(block->at, size);
	if (!to) {
		/* what gets smaller can always stay where it is */
		CHECK(errno == ENOMEM && size > block->size);
		check_marks(block, block->size);
		return false;
	}
	CHECK(errno == 0 && malloc_usable_size(to) >= size);
	block->at = to;
	check_marks(block, size < block->size ? size : block->size);
	block->size = size;
	mark(block);
	return true;
}

static void put(struct block *block)
{
	if (!block->at)
		return;
	check_marks(block, block->size);
	errno = 77;
	free(block->at);
	CHECK(errno == 77);
	*block = (struct block){ 0 };
}

static void put_all(struct block *blocks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		put(&blocks[i]);
}

/* New slabs with and without a bitmap of their own, new sheaves, new sections. */
static void small(void)
{
	static const struct {
		size_t size, count;
	} runs[] = { { 16, 1500 }, { 64, 300 },	 { 200, 150 },
		     { 1024, 60 }, { 8192, 12 }, { 65536, 70 } };
	struct block blocks[1500];

	for (size_t r = 0; r < ARRAY_SIZE(runs); r++) {
		for (size_t i = 0; i < runs[r].count; i++)
			get(&blocks[i], i % 5 ? PLAIN : ZEROED, runs[r].size, 0);
		for (size_t i = 0; i < runs[r].count; i += 2)
			put(&blocks[i]);
		for (size_t i = 0; i < runs[r].count; i += 2)
			get(&blocks[i], PLAIN, runs[r].size, 0);
		put_all(blocks, runs[r].count);
	}
}

/* Areas that are new, reused whole, cut, joined, unmapped for others, and unmapped at once. */
static void large(void)
{
	struct block blocks[24] = { 0 }, one = { 0 };

	for (size_t i = 0; i < 24; i++)
		get(&blocks[i], i % 8 ? PLAIN : ZEROED, 140 * KIB + i * 8 * KIB, 0);
	for (size_t i = 0; i < 24; i += 2)
		put(&blocks[i]);
	for (size_t i = 0; i < 24; i += 2)
		get(&blocks[i], i % 8 ? PLAIN : ZEROED, 150 * KIB + i * 4 * KIB, 0);
	for (size_t i = 8; i < 20; i++)
		put(&blocks[i]);
	get(&one, ZEROED, 900 * KIB, 0);
	put(&one);
	get(&one, PLAIN, 2 * MIB, 0);
	put(&one);
	get(&one, PLAIN, 20 * MIB, 0);
	put_all(blocks, 24);
	put(&one);
}

/* In place into a hole, a lazy range and the top; moved, moved again; copied; cut. */
static void growth(void)
{
	struct block a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };

	get(&a, PLAIN, 200 * KIB, 0);
	resize(&a, 400 * KIB); /* the top */
	get(&b, PLAIN, 300 * KIB, 0);
	get(&c, PLAIN, 200 * KIB, 0);
	put(&b);
	resize(&a, 500 * KIB); /* a lazy range */
	resize(&a, 2 * MIB);   /* moves */
	resize(&a, 3 * MIB);   /* into the room left behind */
	get(&b, PLAIN, 300 * KIB, 0);
	malloc_trim(0);
	resize(&b, 304 * KIB); /* a page */
	resize(&b, 900 * KIB);
	resize(&c, 1 * MIB);
	get(&d, PLAIN, 150 * KIB, 0);
	resize(&a, 9 * MIB);
	resize(&a, 10 * MIB);
	resize(&a, 1 * MIB);
	resize(&b, 200 * KIB);
	resize(&a, 4 * MIB);
	resize(&a, 3000);
	resize(&b, 40);
	put(&c);
	resize(&a, 300 * KIB);
	put(&a);
	put(&b);
	put(&d);
}

/* From the smallest size to the largest and back, between neighbours. */
static void steps(void)
{
	struct block block = { 0 }, between[64] = { 0 };
	size_t n = 0, size;

	for (size = 16; size <= 6 * MIB; size = size * 7 / 4) {
		resize(&block, size);
		get(&between[n++], PLAIN, size > 400 * KIB ? 140 * KIB : size, 0);
	}
	for (; size >= 16; size /= 3)
		resize(&block, size);
	put_all(between, n);
	put(&block);
}

static void aligned(void)
{
	struct block blocks[64] = { 0 };
	size_t n = 0;

	for (size_t align = 32; align <= 4 * MIB; align *= 4) {
		get(&blocks[n++], ALIGNED, 40, align);
		get(&blocks[n++], ALIGNED, 5000, align);
		get(&blocks[n++], ALIGNED, 150 * KIB, align);
	}
	for (size_t i = 0; i < n; i += 2)
		resize(&blocks[i], blocks[i].at ? blocks[i].size * 3 : 64);
	put_all(blocks, n);
}

/* Dirty memory of every kind, and then zeroed requests that get it. */
static void zeroed(void)
{
	static const size_t sizes[] = {
		16, 500, 9000, 60000, 131056, 131057, 200 * KIB, 600 * KIB
	};
	struct block blocks[16] = { 0 };

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < 16; i++)
			get(&blocks[i], PLAIN, sizes[i % 8], 0);
		for (size_t i = 0; i < 16; i++)
			if (blocks[i].at)
				memset(blocks[i].at + 8, 0xa5,
				       blocks[i].size > 16 ? blocks[i].size / 2 : 0);
		for (size_t i = 0; i < 16; i++)
			if (blocks[i].at)
				mark(&blocks[i]);
		put_all(blocks, 16);
		if (round)
			malloc_trim(0);
		for (size_t i = 0; i < 16; i++)
			get(&blocks[i], ZEROED, sizes[7 - i % 8], 0);
		put_all(blocks, 16);
	}
}

/* Everything goes back to the system and is taken again. */
static void trim(void)
{
	struct block blocks[60] = { 0 };

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < 60; i++)
			get(&blocks[i], PLAIN, i % 10 ? 100 * KIB : 400 * KIB, 0);
		for (size_t i = 0; i < 60; i++)
			if (round == 1 || i % 3)
				put(&blocks[i]);
		malloc_trim(0);
		put_all(blocks, 60);
		malloc_trim(0);
	}
}

static char stacks[THREADS][THREAD_STACK] __attribute__((aligned(4096)));

static void *churn(void *arg)
{
	struct block blocks[48] = { 0 };
	uint64_t x = (uintptr_t)arg + 1;

	for (int i = 0; i < 150; i++) {
		struct block *block =
			&blocks[(x = x * 6364136223846793005UL + 1442695040888963407UL) >> 40 & 31];
		size_t size = 16 + (x >> 20) % (x >> 60 ? 3000 : 300 * KIB);

		if (!block->at)
			get(block, x >> 33 & 1 ? PLAIN : ZEROED, size, 0);
		else if (x >> 34 & 1)
			resize(block, size);
		else
			put(block);
		if (i % 64 == 63)
			malloc_trim(0);
	}
	put_all(blocks, 48);
	return NULL;
}

/* Threads on stacks of this program's own: the C library maps none. */
static unsigned start_threads(pthread_t *threads, unsigned count, void *(*body)(void *))
{
	unsigned started = 0;

	for (uintptr_t i = 0; i < count; i++) {
		pthread_attr_t attr;

		pthread_attr_init(&attr);
		pthread_attr_setstack(&attr, stacks[i], THREAD_STACK);
		/* refused where its memory for the thread is */
		started += pthread_create(&threads[started], &attr, body, (void *)i) == 0;
		pthread_attr_destroy(&attr);
	}
	return started;
}

static void threads(void)
{
	pthread_t ids[THREADS];
	unsigned started = start_threads(ids, THREADS, churn);

	for (unsigned i = 0; i < started; i++)
		pthread_join(ids[i], NULL);
}

/* The child works on what it got and on more; so does the parent after. */
static void forks(void)
{
	struct block blocks[32] = { 0 };
	int status = 0;
	pid_t pid;

	for (size_t i = 0; i < 32; i++)
		get(&blocks[i], PLAIN, 100 << i % 12, 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		for (size_t i = 0; i < 32; i += 2)
			resize(&blocks[i], 70000);
		for (size_t i = 0; i < 32; i += 3)
			put(&blocks[i]);
		large();
		put_all(blocks, 32);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	put_all(blocks, 32);
}

static atomic_bool stop_signals;
static pthread_t target;

static void *send_signals(void *unused)
{
	while (!atomic_load(&stop_signals)) {
		struct timespec time = { 0, 500000 };

		pthread_kill(target, SIGUSR1);
		nanosleep(&time, NULL);
	}
	return unused;
}

static void on_signal(int unused)
{
	struct block block[4] = { 0 };
	int saved = errno;

	(void)unused;
	get(&block[0], PLAIN, 48, 0);
	get(&block[1], ZEROED, 3000, 0);
	get(&block[2], PLAIN, 200 * KIB, 0);
	resize(&block[0], 100);
	resize(&block[2], 300 * KIB);
	get(&block[3], ALIGNED, 100, 4096);
	put_all(block, 4);
	errno = saved;
}

static void handlers(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct sigaction old;
	pthread_t ids[THREADS];
	unsigned started;

	target = pthread_self();
	atomic_store(&stop_signals, false);
	sigaction(SIGUSR1, &action, &old);
	started = start_threads(ids, 1, send_signals);
	trim();
	growth();
	atomic_store(&stop_signals, true);
	for (unsigned i = 0; i < started; i++)
		pthread_join(ids[i], NULL);
	sigaction(SIGUSR1, &old, NULL);
}

static void from_the_start(void)
{
	large();
	steps();
}

void all_works(void)
{
	static const size_t sizes[] = { 16, 100, 1000, 8192, 40000, 131056, 200 * KIB, 500 * KIB };
	struct block blocks[3 * ARRAY_SIZE(sizes)];

	for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
		CHECK(get(&blocks[i], (enum how)(i % 3), sizes[i / 3], i % 3 == ALIGNED ? 128 : 0));
	for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
		CHECK(resize(&blocks[i], blocks[i].size * 2));
	for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
		CHECK(resize(&blocks[i], blocks[i].size / 8 + 8));
	put_all(blocks, ARRAY_SIZE(blocks));
}

const struct workload workloads[] = {
	{ "small", small, true, false },	 { "large", large, true, false },
	{ "growth", growth, true, false },	 { "steps", steps, true, false },
	{ "aligned", aligned, true, false },	 { "zeroed", zeroed, true, false },
	{ "trim", trim, true, false },		 { "forks", forks, true, false },
	{ "start", from_the_start, true, true }, { "threads", threads, false, false },
	{ "handlers", handlers, false, false },	 { NULL, NULL, false, false },
};
