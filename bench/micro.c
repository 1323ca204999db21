/* SPDX-License-Identifier: MIT
 *
 * micro: nanoseconds per operation of whatever malloc is loaded.
 *
 * One process measures one allocator. bench/compare starts it in turn under
 * each of them and takes medians over the processes. Inside a process every
 * pattern runs in short slices, round robin with the others of its group, and
 * the fastest slice is printed: an interruption spoils a slice, not a result.
 *
 * The controls of controls.c (empty calls, a thread's own list, its own array)
 * run beside the loaded malloc in the same loops.
 *
 * The four main patterns do not write to the objects. The other patterns do, once
 * per object, or once per page where objects are large.
 *
 * Output: one line `NAME VALUE` per pattern, value in ns. With threads, the value
 * is ns of processor time per pair: wall time x processors in use / pairs.
 */
#include "controls.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define noinline __attribute__((noinline))
#define always_inline inline __attribute__((always_inline))
#define unlikely(x) __builtin_expect(!!(x), 0)

/* The compiler must believe that P is used and that memory may have changed. */
static inline void escape(void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static uint32_t random_state = 2463534242u;

static uint32_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

static void die(const char *what)
{
	fprintf(stderr, "micro: %s\n", what);
	exit(1);
}

/* ------------------------------------------------------------- patterns */

typedef void *alloc_fn(size_t);
typedef void free_fn(void *);

#define SIZES 1024
#define BATCH 64
#define MANY 1000
#define LIVE 10000

static uint16_t sizes[SIZES];		/* 16..256 */
static uint16_t churn_slot[SIZES * 16]; /* below LIVE */
static uint16_t many_order[MANY];	/* a permutation */

static void tables_init(void)
{
	for (int i = 0; i < SIZES; i++)
		sizes[i] = 16 + next_random() % 241;
	for (int i = 0; i < SIZES * 16; i++)
		churn_slot[i] = next_random() % LIVE;
	for (int i = 0; i < MANY; i++)
		many_order[i] = i;
	for (int i = MANY - 1; i > 0; i--) {
		int j = next_random() % (i + 1);
		uint16_t t = many_order[i];

		many_order[i] = many_order[j];
		many_order[j] = t;
	}
}

static void *must(void *p)
{
	if (unlikely(!p))
		die("out of memory");
	return p;
}

static always_inline void pair_64(alloc_fn alloc, free_fn release, unsigned long loops)
{
	for (unsigned long i = 0; i < loops; i++) {
		void *p = alloc(64);

		escape(p);
		release(p);
	}
}

static always_inline void pair_mixed(alloc_fn alloc, free_fn release, unsigned long loops)
{
	for (unsigned long i = 0; i < loops; i++) {
		void *p = alloc(sizes[i % SIZES]);

		escape(p);
		release(p);
	}
}

static always_inline void batch_64(alloc_fn alloc, free_fn release, unsigned long loops)
{
	void *object[BATCH];

	for (unsigned long i = 0; i < loops; i++) {
		for (int j = 0; j < BATCH; j++)
			object[j] = alloc(64);
		escape(object);
		for (int j = BATCH - 1; j >= 0; j--)
			release(object[j]);
	}
}

static always_inline void batch_mixed(alloc_fn alloc, free_fn release, unsigned long loops)
{
	void *object[BATCH];

	for (unsigned long i = 0; i < loops; i++) {
		const uint16_t *size = sizes + i * BATCH % SIZES;

		for (int j = 0; j < BATCH; j++)
			object[j] = alloc(size[j]);
		escape(object);
		for (int j = BATCH - 1; j >= 0; j--)
			release(object[j]);
	}
}

static void fill_many(unsigned long i, void **object)
{
	for (int j = 0; j < MANY; j++) {
		object[j] = must(malloc(sizes[(i * 7 + j) % SIZES]));
		*(void **)object[j] = object;
	}
	escape(object);
}

static noinline void fifo_1000(unsigned long loops)
{
	void *object[MANY];

	for (unsigned long i = 0; i < loops; i++) {
		fill_many(i, object);
		for (int j = 0; j < MANY; j++)
			free(object[j]);
	}
}

static noinline void random_1000(unsigned long loops)
{
	void *object[MANY];

	for (unsigned long i = 0; i < loops; i++) {
		fill_many(i, object);
		for (int j = 0; j < MANY; j++)
			free(object[many_order[j]]);
	}
}

/* One of 10,000 live objects, any one, gives way to a new one of another size. */
static noinline void churn_10k(unsigned long loops)
{
	static void *live[LIVE];

	for (unsigned long i = 0; i < loops; i++) {
		void **slot = live + churn_slot[i % (SIZES * 16)];

		free(*slot);
		*slot = must(malloc(sizes[i % SIZES]));
		*(void **)*slot = slot;
	}
}

static void touch(void *p, size_t size)
{
	for (size_t i = 0; i < size; i += 4096)
		((volatile char *)p)[i] = 1;
}

static void calloc_pairs(size_t size, unsigned long loops)
{
	for (unsigned long i = 0; i < loops; i++) {
		void *p = must(calloc(1, size));

		touch(p, size);
		escape(p);
		free(p);
	}
}

static void grow(size_t from, size_t to, unsigned int percent, unsigned long loops)
{
	for (unsigned long i = 0; i < loops; i++) {
		size_t size = from;
		char *p = must(malloc(size));

		touch(p, size);
		while (size < to) {
			size_t old = size;

			size += size * percent / 100;
			p = must(realloc(p, size));
			touch(p + old, size - old);
		}
		escape(p);
		free(p);
	}
}

static noinline void calloc_64(unsigned long loops)
{
	calloc_pairs(64, loops);
}

static noinline void calloc_4K(unsigned long loops)
{
	calloc_pairs(4096, loops);
}

static noinline void calloc_64K(unsigned long loops)
{
	calloc_pairs(65536, loops);
}

static noinline void calloc_1M(unsigned long loops)
{
	calloc_pairs(1 << 20, loops);
}

/* A string that gets longer by 16 bytes at a time, to 4 KiB: ns per step. */
static noinline void realloc_step(unsigned long loops)
{
	for (unsigned long i = 0; i < loops; i++) {
		char *p = NULL;

		for (size_t size = 16; size <= 4096; size += 16) {
			p = must(realloc(p, size));
			p[size - 1] = 1;
		}
		escape(p);
		free(p);
	}
}

static noinline void realloc_64K(unsigned long loops)
{
	grow(16, 65536, 50, loops);
}

static noinline void realloc_64M(unsigned long loops)
{
	grow(128 << 10, 64 << 20, 25, loops);
}

/* Two buffers that grow in turn: neither may have free room behind it. */
static noinline void realloc_two(unsigned long loops)
{
	for (unsigned long i = 0; i < loops; i++) {
		size_t size = 128 << 10;
		char *p = must(malloc(size));
		char *q = must(malloc(size));

		while (size < 16 << 20) {
			size_t old = size;

			size += size / 4;
			p = must(realloc(p, size));
			touch(p + old, size - old);
			q = must(realloc(q, size));
			touch(q + old, size - old);
		}
		escape(p);
		escape(q);
		free(p);
		free(q);
	}
}

static void touch_pairs(size_t size, unsigned long loops)
{
	for (unsigned long i = 0; i < loops; i++) {
		void *p = must(malloc(size));

		touch(p, size);
		escape(p);
		free(p);
	}
}

#define LARGE(name, size)                                                                          \
	static noinline void name(unsigned long loops)                                             \
	{                                                                                          \
		touch_pairs(size, loops);                                                          \
	}

LARGE(large_32K, 32ul << 10)
LARGE(large_128K, 128ul << 10)
LARGE(large_256K, 256ul << 10)
LARGE(large_512K, 512ul << 10)
LARGE(large_1M, 1ul << 20)
LARGE(large_4M, 4ul << 20)
LARGE(large_16M, 16ul << 20)
LARGE(large_64M, 64ul << 20)

/* Sixteen live buffers of 128 KiB to 4 MiB, replaced one at a time. */
static noinline void large_mixed(unsigned long loops)
{
	static void *live[16];

	for (unsigned long i = 0; i < loops; i++) {
		uint32_t r = sizes[i % SIZES] * 2654435761u;
		void **slot = live + (r >> 28);
		size_t size = (128ul << 10) + (r & 0xfffff) * 4 / 100 * 97;

		free(*slot);
		*slot = must(malloc(size));
		touch(*slot, size);
	}
}

/* ------------------------------------------- objects from thread to thread */

#define RING 1024
#define HAND_OVER 32

static struct ring {
	_Alignas(128) atomic_ulong filled; /* objects put in; the producer writes it */
	_Alignas(128) atomic_ulong taken;  /* objects taken out; the consumer's */
	_Alignas(128) void *object[RING];
} ring;

/* Wait for the other thread, which may have to run on this processor. */
static void ring_wait(unsigned int *spins)
{
	if (++*spins % 64 == 0)
		sched_yield();
	else
		__builtin_ia32_pause();
}

static void *ring_consumer(void *arg)
{
	unsigned long total = *(unsigned long *)arg, taken = 0;
	unsigned int spins = 0;

	while (taken < total) {
		unsigned long filled = atomic_load_explicit(&ring.filled, memory_order_acquire);

		if (filled == taken) {
			ring_wait(&spins);
			continue;
		}
		for (; taken < filled; taken++)
			free(ring.object[taken % RING]);
		atomic_store_explicit(&ring.taken, taken, memory_order_release);
	}
	return NULL;
}

/* One thread allocates, another one frees. */
static noinline void hand_over(unsigned long loops)
{
	unsigned long total = loops * HAND_OVER, filled = 0;
	unsigned int spins = 0;
	pthread_t thread;

	ring.filled = 0;
	ring.taken = 0;
	if (pthread_create(&thread, NULL, ring_consumer, &total))
		die("cannot start a thread");
	while (filled < total) {
		unsigned long taken = atomic_load_explicit(&ring.taken, memory_order_acquire);

		if (filled + HAND_OVER - taken > RING) {
			ring_wait(&spins);
			continue;
		}
		for (int i = 0; i < HAND_OVER; i++, filled++) {
			void **p = must(malloc(sizes[filled % SIZES]));

			*p = p;
			ring.object[filled % RING] = p;
		}
		atomic_store_explicit(&ring.filled, filled, memory_order_release);
	}
	pthread_join(thread, NULL);
}

/* ---------------------------------------------------------------- runner */

typedef void pattern_fn(unsigned long loops);

struct pattern {
	const char *name;
	pattern_fn *run;
	unsigned int ops; /* operations in one loop: what the time is divided by */
};

/* A main pattern for the loaded malloc and for each control. Each is compiled
   on its own so that the calls are direct ones, as in any program. */
#define MAIN_PATTERN(pattern)                                                                      \
	static noinline void pattern##_malloc(unsigned long loops)                                 \
	{                                                                                          \
		pattern(malloc, free, loops);                                                      \
	}                                                                                          \
	static noinline void pattern##_list(unsigned long loops)                                   \
	{                                                                                          \
		pattern(list_alloc, list_free, loops);                                             \
	}                                                                                          \
	static noinline void pattern##_array(unsigned long loops)                                  \
	{                                                                                          \
		pattern(array_alloc, array_free, loops);                                           \
	}                                                                                          \
	static noinline void pattern##_empty(unsigned long loops)                                  \
	{                                                                                          \
		pattern(empty_alloc, empty_free, loops);                                           \
	}

MAIN_PATTERN(pair_64)
MAIN_PATTERN(pair_mixed)
MAIN_PATTERN(batch_64)
MAIN_PATTERN(batch_mixed)

static const struct pattern main_patterns[] = {
	{ "pair_64", pair_64_malloc, 1 },
	{ "list:pair_64", pair_64_list, 1 },
	{ "array:pair_64", pair_64_array, 1 },
	{ "empty:pair_64", pair_64_empty, 1 },
	{ "pair_mixed", pair_mixed_malloc, 1 },
	{ "list:pair_mixed", pair_mixed_list, 1 },
	{ "array:pair_mixed", pair_mixed_array, 1 },
	{ "empty:pair_mixed", pair_mixed_empty, 1 },
	{ "batch_64", batch_64_malloc, BATCH },
	{ "list:batch_64", batch_64_list, BATCH },
	{ "array:batch_64", batch_64_array, BATCH },
	{ "empty:batch_64", batch_64_empty, BATCH },
	{ "batch_mixed", batch_mixed_malloc, BATCH },
	{ "list:batch_mixed", batch_mixed_list, BATCH },
	{ "array:batch_mixed", batch_mixed_array, BATCH },
	{ "empty:batch_mixed", batch_mixed_empty, BATCH },
	{ NULL, NULL, 0 },
};

static const struct pattern more_patterns[] = {
	{ "fifo_1000", fifo_1000, MANY },      { "random_1000", random_1000, MANY },
	{ "churn_10k", churn_10k, 1 },	       { "calloc_64", calloc_64, 1 },
	{ "calloc_4K", calloc_4K, 1 },	       { "calloc_64K", calloc_64K, 1 },
	{ "realloc_step", realloc_step, 256 }, { "realloc_64K", realloc_64K, 1 },
	{ "hand_over", hand_over, HAND_OVER }, { NULL, NULL, 0 },
};

static const struct pattern large_patterns[] = {
	{ "large_32K", large_32K, 1 },
	{ "large_128K", large_128K, 1 },
	{ "large_256K", large_256K, 1 },
	{ "large_512K", large_512K, 1 },
	{ "large_1M", large_1M, 1 },
	{ "large_4M", large_4M, 1 },
	{ "large_16M", large_16M, 1 },
	{ "large_64M", large_64M, 1 },
	{ "large_mixed", large_mixed, 1 },
	{ "calloc_1M", calloc_1M, 1 },
	{ "realloc_two", realloc_two, 1 },
	{ "realloc_64M", realloc_64M, 1 },
	{ NULL, NULL, 0 },
};

static const struct group {
	const char *name;
	const struct pattern *patterns;
	int threads; /* 1: this thread alone */
} groups[] = {
	{ "main", main_patterns, 1 }, { "t2", main_patterns, 2 },     { "t8", main_patterns, 8 },
	{ "more", more_patterns, 1 }, { "large", large_patterns, 1 },
};

#define JOBS 32

static double slice_ns = 2e6;
static int repeats = 12;

struct job {
	const struct pattern *pattern;
	unsigned long loops; /* in one slice */
	double best;	     /* ns per operation so far */
};

static double run_alone(const struct job *job)
{
	double start;

	controls_reset();
	controls_start();
	start = now_ns();
	job->pattern->run(job->loops);
	return now_ns() - start;
}

static pthread_barrier_t barrier;

struct runner {
	pthread_t thread;
	const struct job *job;
	double start, end;
};

static void *run_thread(void *arg)
{
	struct runner *runner = arg;
	const struct job *job = runner->job;

	controls_start();
	job->pattern->run(job->loops / 16 + 1);
	pthread_barrier_wait(&barrier);
	runner->start = now_ns();
	job->pattern->run(job->loops);
	runner->end = now_ns();
	return NULL;
}

/* Wall time from the first thread's start to the last one's end. */
static double run_together(const struct job *job, int threads)
{
	struct runner runner[threads];
	double start, end;

	controls_reset();
	pthread_barrier_init(&barrier, NULL, threads);
	for (int i = 0; i < threads; i++) {
		runner[i].job = job;
		if (pthread_create(&runner[i].thread, NULL, run_thread, &runner[i]))
			die("cannot start a thread");
	}
	for (int i = 0; i < threads; i++)
		pthread_join(runner[i].thread, NULL);
	pthread_barrier_destroy(&barrier);

	start = runner[0].start;
	end = runner[0].end;
	for (int i = 1; i < threads; i++) {
		start = runner[i].start < start ? runner[i].start : start;
		end = runner[i].end > end ? runner[i].end : end;
	}
	return end - start;
}

/* Find how many loops fill a slice. */
static void calibrate(struct job *job)
{
	double ns = 0;

	for (job->loops = 1; job->loops < 1ul << 40; job->loops *= 2) {
		ns = run_alone(job);
		if (ns > slice_ns / 4)
			break;
	}
	job->loops = job->loops * (slice_ns / ns);
	if (job->loops == 0)
		job->loops = 1;
	job->best = 1e30;
}

static void run_job(struct job *job, int threads)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	double ns;

	if (threads == 1) {
		ns = run_alone(job);
	} else {
		ns = run_together(job, threads);
		ns *= (double)(threads < cpus ? threads : cpus) / threads;
	}
	ns /= (double)job->loops * job->pattern->ops;
	if (ns < job->best)
		job->best = ns;
}

static void run_group(const struct group *group)
{
	struct job jobs[JOBS];
	int count = 0;

	for (const struct pattern *p = group->patterns; p->name && count < JOBS; p++)
		jobs[count++].pattern = p;
	for (int i = 0; i < count; i++)
		calibrate(&jobs[i]);
	for (int r = 0; r < repeats; r++)
		for (int i = 0; i < count; i++)
			run_job(&jobs[i], group->threads);

	for (int i = 0; i < count; i++) {
		printf("%s", jobs[i].pattern->name);
		if (group->threads > 1)
			printf(".t%d", group->threads);
		printf(" %.3f\n", jobs[i].best);
	}
}

static void print_owner(void)
{
	Dl_info info;

	if (!dladdr((void *)malloc, &info))
		die("no file has malloc");
	puts(info.dli_fname);
}

static void print_list(void)
{
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		for (const struct pattern *p = groups[i].patterns; p->name; p++) {
			printf("%s %s", groups[i].name, p->name);
			if (groups[i].threads > 1)
				printf(".t%d", groups[i].threads);
			putchar('\n');
		}
	}
}

static void usage(FILE *out)
{
	fprintf(out,
		"usage: micro [--repeats N] [--slice-us N] GROUP...\n"
		"       micro --which | --list\n"
		"Print ns per operation of the loaded malloc, the fastest of N slices.\n"
		"Groups: main, t2 and t8 (main in 2 and 8 threads), more, large.\n"
		"--which prints the file that malloc comes from, --list the groups' patterns.\n");
}

static long number(const char *text)
{
	char *end = "";
	long value = text ? strtol(text, &end, 10) : 0;

	if (!text || *end || value < 1 || value > 1000000) {
		fprintf(stderr, "micro: not a number from 1 to 1000000: %s\n", text ? text : "");
		exit(2);
	}
	return value;
}

static const struct group *find_group(const char *name)
{
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (!strcmp(name, groups[i].name))
			return &groups[i];
	fprintf(stderr, "micro: no such group: %s\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--help")) {
			usage(stdout);
			return 0;
		} else if (!strcmp(argv[i], "--which")) {
			print_owner();
			return 0;
		} else if (!strcmp(argv[i], "--list")) {
			print_list();
			return 0;
		} else if (!strcmp(argv[i], "--repeats")) {
			repeats = number(argv[++i]);
		} else if (!strcmp(argv[i], "--slice-us")) {
			slice_ns = number(argv[++i]) * 1e3;
		} else {
			break;
		}
	}
	if (i >= argc) {
		usage(stderr);
		return 2;
	}
	controls_init();
	tables_init();
	for (; i < argc; i++)
		run_group(find_group(argv[i]));
	return 0;
}
