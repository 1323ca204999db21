/* SPDX-License-Identifier: MIT */
/*
 * test_samples.c - allocations while samples are taken: each is one as often as it should, whatever the program does; none is
 * missed where each is one; and no object is lost or handed out twice when samples begin and end, with sheaves drained, processes
 * forked and threads moved from CPU to CPU meanwhile.
 *
 * The test plays the reader, and sees by an object's cache whether it was sampled. Sums are compared with what they should be,
 * up to SIGMAS standard deviations: for N allocations that are samples with probability p, N p and sqrt(N p (1 - p)). The seeds are
 * the library's own, so each run is another one; a bound is missed once in hundreds of millions. meson runs the program once per mode.
 */
#include "unit.h"

#include "kmalloc/kvmalloc.h"
#include "kmalloc/observe.h"
#include "kmalloc/start.h"
#include "kmalloc/valid.h"
#include "page/reclaim.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define SIGMAS 6
#define MEAN 4096UL
#define EVENTS 1024UL
#define THREADS 4

/* As kmem does it: wishes, the byte, the tables, the generation. The next call applies it. */
static void want(enum trace_mode mode, size_t mean)
{
	trace_give_up_ms = trace_silent_ms = 1U << 30;
	trace_control.want_mode = mode;
	trace_control.want_full = TRACE_OVERWRITE;
	trace_control.want_ring_events = EVENTS;
	trace_control.want_sample_bytes = mean;
	__atomic_store_n(&percpu.divert[PERCPU_DIVERT_TRACE], trace_diversion(mode),
			 __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < percpu_nr_areas(); i++) {
		__atomic_store_n(&percpu.hit[i], 0, __ATOMIC_SEQ_CST);
		if (mode == TRACE_OFF)
			__atomic_store_n(&percpu.hit_free[i], 0, __ATOMIC_SEQ_CST);
	}
	__atomic_fetch_add(&trace_control.generation, 1, __ATOMIC_SEQ_CST);
}

static void *get(size_t size)
{
	void *object;

	if (!kmalloc_hit(size, &object))
		object = kvmalloc_slow(size, NULL, NULL);
	CHECK(object != NULL);
	return object;
}

static void put(void *object)
{
	if (!kfree_hit(object))
		kvfree_slow(object, NULL);
}

static void begin(size_t mean)
{
	want(TRACE_SAMPLE, mean);
	put(get(16));
	CHECK_EQ(trace_mode(), TRACE_SAMPLE);
}

static void end(void)
{
	want(TRACE_OFF, 0);
	put(get(16));
	CHECK_EQ(trace_mode(), TRACE_OFF);
	CHECK(!percpu_diverted());
}

static bool was_sampled(const void *object)
{
	return virt_to_cache(object)->flags & KMEM_CACHE_SAMPLED;
}

/* What was sampled, and what should have been. */
struct sum {
	double count, expected, variance;
};

static double chance_of(size_t size)
{
	return -expm1(-(double)kmem_caches[kmalloc_index(size)].size / MEAN);
}

static void add(struct sum *sum, const void *object, size_t size)
{
	double chance = chance_of(size);

	sum->count += was_sampled(object);
	sum->expected += chance;
	sum->variance += chance * (1 - chance);
}

static void check(const struct sum *sum, const char *what, size_t number)
{
	double off = fabs(sum->count - sum->expected);

	if (off <= SIGMAS * sqrt(sum->variance) + 1)
		return;
	fprintf(stderr, "%s %zu: %.0f samples, expected %.1f, %.1f deviations\n", what, number,
		sum->count, sum->expected, off / sqrt(sum->variance));
	CHECK(!"within its bounds");
}

static const size_t sizes[] = { 16, 64, 100, 1000, 4096, 5000, 20000, 100000 };

#define NR_SIZES (sizeof(sizes) / sizeof(*sizes))

/* Last in, first out: what an object through one sheaf would hide. */
static void pairs_of_each_size(void)
{
	begin(MEAN);
	for (size_t i = 0; i < NR_SIZES; i++) {
		struct sum sum = { 0 };

		for (unsigned n = 0; n < 200000; n++) {
			void *object = get(sizes[i]);

			add(&sum, object, sizes[i]);
			put(object);
		}
		check(&sum, "pairs of", sizes[i]);
	}
	end();
}

/*
 * Each call of a period is a site of its own. With the period of a sheaf, and near it, a site that always comes at the same place
 * of a sheaf would be sampled too often, or never.
 */
static void check_period(unsigned period, unsigned batch, size_t size)
{
	static struct sum sums[4 * SHEAF_CAPACITY_MAX];
	static void *held[4 * SHEAF_CAPACITY_MAX];
	unsigned nr = 0;

	memset(sums, 0, sizeof(sums));
	for (unsigned n = 0; n < 2000 * period; n++) {
		held[nr] = get(size);
		add(&sums[n % period], held[nr++], size);
		if (nr == batch)
			while (nr)
				put(held[--nr]);
	}
	while (nr)
		put(held[--nr]);
	for (unsigned i = 0; i < period; i++)
		check(&sums[i], "site", i);
}

static void sites_with_a_period_of_their_own(void)
{
	unsigned capacity = kmem_caches[kmalloc_index(64)].capacity;

	begin(MEAN);
	check_period(capacity, 1, 64);
	check_period(capacity, capacity, 64);
	check_period(capacity - 1, 2 * capacity + 1, 64);
	check_period(capacity + 1, 7, 64);
	check_period(2 * capacity, 3 * capacity, 64);
	check_period(2, 2, 2000);
	check_period(28, 28, 2000);
	end();
}

/* To know that an object is none, and then not to hand it out, must not bring the next sample nearer. */
static void sheaves_that_are_drained_before_they_are_used(void)
{
	struct sum often = { 0 }, shrunk = { 0 };

	begin(MEAN);
	for (unsigned n = 0; n < 60000; n++) {
		void *object = get(64);

		add(n % 2 ? &shrunk : &often, object, 64);
		put(object);
		if (n % 8 == 0)
			kmem_cache_drain_all();
		else if (n % 8 == 1)
			reclaim_run(RECLAIM_ALL);
	}
	check(&often, "drained", 0);
	check(&shrunk, "shrunk", 0);
	end();
}

static void all_are_samples_where_the_mean_is_one_byte(void)
{
	void *held[1000];

	/* full sheaves, of objects that were allocated before */
	for (unsigned i = 0; i < NR_SIZES; i++) {
		for (unsigned n = 0; n < 1000; n++)
			held[n] = get(sizes[i]);
		for (unsigned n = 0; n < 1000; n++)
			put(held[n]);
	}
	for (int round = 0; round < 4; round++) {
		begin(1);
		for (unsigned i = 0; i < NR_SIZES; i++)
			for (unsigned n = 0; n < 1000; n++) {
				void *object = get(sizes[i]);

				CHECK(was_sampled(object));
				put(object);
			}
		/* and a reader that takes over: what it knows to be none is not used by another */
		if (round == 1) {
			want(TRACE_SAMPLE, 1UL << 40);
			for (unsigned n = 0; n < 1000; n++)
				put(get(sizes[n % NR_SIZES]));
			continue;
		}
		end();
		for (unsigned n = 0; n < 1000; n++) {
			void *object = get(sizes[n % NR_SIZES]);

			CHECK(!was_sampled(object));
			put(object);
		}
	}
	CHECK(kmalloc_is_valid());
}

static atomic_uint running;
static _Atomic(void *) exchange[256];

struct worker {
	pthread_t thread;
	uint64_t seed;
	unsigned rounds;
	struct sum by_size[NR_SIZES];
};

static void move_to_any_cpu(uint64_t *seed)
{
	unit_pin((unsigned)(unit_random(seed) % unit_cpus()));
}

/* Nobody else has had it meanwhile. */
static void fill(void *object)
{
	((void **)object)[0] = object;
	((uintptr_t *)object)[1] = ~(uintptr_t)object;
}

static void check_and_put(void *object)
{
	CHECK(((void **)object)[0] == object);
	CHECK_EQ(((uintptr_t *)object)[1], ~(uintptr_t)object);
	memset(object, 0, 16);
	put(object);
}

/* Allocate, and free what some thread has put there; now and then on another CPU. */
static void *work(void *arg)
{
	struct worker *worker = arg;

	for (unsigned n = 0; n < worker->rounds; n++) {
		uint64_t random = unit_random(&worker->seed);
		size_t i = random % NR_SIZES;
		void *object = get(sizes[i]);

		if (random >> 32 & 1)
			i = 1, put(object), object = get(sizes[i]);
		fill(object);
		add(&worker->by_size[i], object, sizes[i]);
		object = atomic_exchange(&exchange[random >> 8 & 255], object);
		if (object)
			check_and_put(object);
		if (!(random >> 40 & 1023))
			move_to_any_cpu(&worker->seed);
	}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static void start_workers(struct worker workers[THREADS], unsigned rounds)
{
	uint64_t seed = unit_seed();

	atomic_store(&running, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		memset(&workers[i], 0, sizeof(*workers));
		workers[i].seed = unit_random(&seed);
		workers[i].rounds = rounds;
		CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
	}
}

static void join_workers(struct worker workers[THREADS])
{
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < 256; i++) {
		void *object = atomic_exchange(&exchange[i], NULL);

		if (object)
			check_and_put(object);
	}
}

/* What was there before: nothing more is in use, and all of it is where it should be. */
static void check_heap(void)
{
	struct kmem_cache_stat stat;

	CHECK(kmalloc_is_valid());
	kmalloc_trim();
	for (unsigned i = 0; i < NR_SIZES; i++) {
		kmem_cache_stat(&kmem_caches[kmalloc_index(sizes[i])], &stat);
		CHECK_EQ(stat.active_objs, 0);
	}
	CHECK(kmalloc_is_valid());
}

static void threads_that_move(void)
{
	static struct worker workers[THREADS];
	unsigned drains = 0;

	begin(MEAN);
	start_workers(workers, 200000);
	while (atomic_load(&running)) {
		usleep(500);
		if (++drains % 4 == 0)
			kmem_cache_drain_all();
	}
	join_workers(workers);
	for (unsigned i = 0; i < NR_SIZES; i++) {
		struct sum sum = { 0 };

		for (unsigned w = 0; w < THREADS; w++) {
			sum.count += workers[w].by_size[i].count;
			sum.expected += workers[w].by_size[i].expected;
			sum.variance += workers[w].by_size[i].variance;
		}
		check(&sum, "size", sizes[i]);
	}
	end();
	check_heap();
}

/* Samples of any mean, all events, nothing, and who counts calls, one after the other, as fast as it goes. */
static void samples_that_come_and_go(void)
{
	static const enum trace_mode modes[] = { TRACE_SAMPLE, TRACE_OFF, TRACE_SAMPLE, TRACE_ALL };
	static struct worker workers[THREADS];
	uint64_t seed = unit_seed();

	start_workers(workers, 150000);
	while (atomic_load(&running)) {
		uint64_t random = unit_random(&seed);

		want(modes[random % 4], 1UL << (random >> 8) % 24);
		usleep((unsigned)(random >> 16) % 300);
		if (random >> 32 & 1)
			percpu_divert(PERCPU_DIVERT_STAT,
				      random >> 33 & 1 ? PERCPU_DIVERT_ALL : PERCPU_DIVERT_NOTHING);
		if (!(random >> 34 & 3))
			kmem_cache_drain_all();
		if (!(random >> 36 & 7))
			CHECK(kmalloc_is_valid());
	}
	join_workers(workers);
	percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_NOTHING);
	end();
	check_heap();
}

static void fork_while_samples_are_taken(void)
{
	static struct worker workers[THREADS];
	int status;

	begin(MEAN);
	start_workers(workers, 100000);
	while (atomic_load(&running)) {
		pid_t child;

		usleep(3000);
		lock_fork_prepare();
		child = fork();
		if (child) {
			lock_fork_parent();
			CHECK(waitpid(child, &status, 0) == child && status == 0);
			continue;
		}
		lock_fork_child();
		percpu_fork_child();
		kmalloc_fork_child();
		for (unsigned n = 0; n < 5000; n++) {
			void *object = get(sizes[n % NR_SIZES]);

			CHECK(!was_sampled(object));
			memset(object, 1, 16);
			put(object);
		}
		CHECK(kmalloc_is_valid());
		_exit(0);
	}
	join_workers(workers);
	end();
	check_heap();
}

/* Who listens to a probe wants to know of each call: then each is asked by itself. */
static void listener_meanwhile(void)
{
	struct sum sum = { 0 };

	begin(MEAN);
	for (unsigned n = 0; n < 100000; n++) {
		void *object = get(64);

		add(&sum, object, 64);
		put(object);
		if (n % 10000 == 5000)
			percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_ALL);
		if (n % 10000 == 0)
			percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_NOTHING);
	}
	check(&sum, "size", 64);
	percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_NOTHING);
	end();
	check_heap();
}

int main(void)
{
	static const struct unit_case cases[] = {
		UNIT_TEST(pairs_of_each_size),
		UNIT_TEST(sites_with_a_period_of_their_own),
		UNIT_TEST(sheaves_that_are_drained_before_they_are_used),
		UNIT_TEST(all_are_samples_where_the_mean_is_one_byte),
		UNIT_TEST(threads_that_move),
		UNIT_TEST(samples_that_come_and_go),
		UNIT_TEST(fork_while_samples_are_taken),
		UNIT_TEST(listener_meanwhile),
	};

	return UNIT_MAIN(cases);
}
