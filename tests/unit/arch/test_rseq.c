/* SPDX-License-Identifier: MIT */
/*
 * test_rseq.c - the restartable sequences by themselves, on areas of the test's own.
 *
 *	own.empty   the all-empty area: its page is made read-only, so a store
 *	            there ends the test
 *	own.table   offsets of each CPU's area from own.empty; 0: none
 *
 * Word TOP of an area is the top of a sheaf, word COUNT a plain number.
 */
#include "unit.h"

#include "slab/percpu.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/time.h>

#define WORDS 512 /* a page */
#define TOP 3
#define COUNT 70
#define CAPACITY 5
#define NR_AREAS 64
#define THREADS 6
#define ROUNDS 2000000

static struct {
	uintptr_t empty[WORDS];
	uintptr_t table[RSEQ_NR_CPUS];
} own __attribute__((aligned(4096)));

#define OWN &own, sizeof(own.empty)

static uintptr_t *areas[NR_AREAS];
static const uintptr_t zero_sheaf[2] = { SHEAF_SENTINEL, SHEAF_SENTINEL };
static char objects[64][16];

static struct slab_sheaf *sheaf_new(unsigned capacity)
{
	struct slab_sheaf *sheaf = calloc(1, sheaf_bytes(capacity));

	CHECK(sheaf != NULL);
	sheaf_init(sheaf, capacity);
	return sheaf;
}

static void own_init(bool with_areas)
{
	own.empty[TOP] = (uintptr_t)&zero_sheaf[1];
	CHECK(mprotect(own.empty, sizeof(own.empty), PROT_READ) == 0);
	for (unsigned i = 0; with_areas && i < NR_AREAS; i++) {
		areas[i] = calloc(WORDS, sizeof(uintptr_t));
		CHECK(areas[i] != NULL);
		areas[i][TOP] = (uintptr_t)&zero_sheaf[1];
		own.table[i] = (uintptr_t)areas[i] - (uintptr_t)&own;
	}
}

/* The area of the CPU that the thread is pinned to. */
static uintptr_t *own_area(void)
{
	unit_pin(0);
	CHECK(rseq_index() < NR_AREAS);
	return areas[rseq_index()];
}

static void everything_misses(void)
{
	struct slab_sheaf *sheaf = sheaf_new(CAPACITY);
	uintptr_t sentinel;
	void *object;

	CHECK(!rseq_pop(OWN, TOP, &object));
	CHECK(!rseq_push(OWN, TOP, objects[0]));
	CHECK(!rseq_cmpxchg(OWN, COUNT, 0, 1));
	CHECK(!rseq_replace_empty(OWN, TOP, (uintptr_t)sheaf->top, &sentinel));
	CHECK(!rseq_replace_full(OWN, TOP, (uintptr_t)sheaf->top, &sentinel));
}

static void sequence_before_start_misses(void)
{
	own_init(true);
	CHECK_EQ(rseq_index(), UINT32_MAX);
	everything_misses();
	for (unsigned i = 0; i < NR_AREAS; i++)
		CHECK_EQ(areas[i][COUNT], 0);
}

static void sequence_without_area_misses_and_stores_nothing(void)
{
	own_init(false);
	everything_misses();
}

static void pop_from_zero_capacity_misses(void)
{
	void *object;

	own_init(true);
	own_area();
	CHECK(!rseq_pop(OWN, TOP, &object));
	CHECK(!rseq_push(OWN, TOP, objects[0]));
}

static void push_to_capacity_then_misses(void)
{
	struct slab_sheaf *sheaf = sheaf_new(CAPACITY);
	void *object;

	own_init(true);
	own_area()[TOP] = (uintptr_t)sheaf->top;
	for (int i = 0; i < CAPACITY; i++)
		CHECK(rseq_push(OWN, TOP, objects[i]));
	CHECK(!rseq_push(OWN, TOP, objects[CAPACITY]));
	for (int i = 0; i < CAPACITY; i++)
		CHECK(sheaf->slots[1 + i] == objects[i]);
	CHECK(sheaf_is_sentinel(sheaf->slots[0]));
	CHECK(sheaf_is_sentinel(sheaf->slots[CAPACITY + 1]));
	for (int i = CAPACITY; i-- > 0;) {
		CHECK(rseq_pop(OWN, TOP, &object));
		CHECK(object == objects[i]);
	}
	CHECK(!rseq_pop(OWN, TOP, &object));
	CHECK_EQ(own_area()[TOP], (uintptr_t)&sheaf->slots[1]);
}

static void cmpxchg_of_expected_value_stores(void)
{
	uintptr_t *area;

	own_init(true);
	area = own_area();
	CHECK(rseq_cmpxchg(OWN, COUNT, 0, 7));
	CHECK_EQ(area[COUNT], 7);
	CHECK(!rseq_cmpxchg(OWN, COUNT, 0, 9));
	CHECK(!rseq_cmpxchg(OWN, COUNT, 8, 9));
	CHECK_EQ(area[COUNT], 7);
	CHECK(rseq_cmpxchg(OWN, COUNT, 7, 1UL << 63));
	CHECK_EQ(area[COUNT], 1UL << 63);
	CHECK_EQ(area[COUNT - 1], 0);
	CHECK_EQ(area[COUNT + 1], 0);
}

static void replace_of_empty_tells_what_was_there(void)
{
	struct slab_sheaf *first = sheaf_new(CAPACITY), *second = sheaf_new(CAPACITY);
	uintptr_t sentinel;

	own_init(true);
	own_area();
	/* the zero-capacity sheaf is both empty and full, and nobody's */
	CHECK(rseq_replace_empty(OWN, TOP, (uintptr_t)first->top, &sentinel));
	CHECK_EQ(sentinel, SHEAF_SENTINEL);
	CHECK(rseq_replace_empty(OWN, TOP, (uintptr_t)second->top, &sentinel));
	CHECK_EQ(sentinel, (uintptr_t)first | SHEAF_SENTINEL);
	CHECK(rseq_push(OWN, TOP, objects[0]));
	CHECK(!rseq_replace_empty(OWN, TOP, (uintptr_t)first->top, &sentinel));
	CHECK_EQ(own_area()[TOP], (uintptr_t)&second->slots[2]);
}

static void replace_of_full_tells_what_was_there(void)
{
	struct slab_sheaf *first = sheaf_new(2), *second = sheaf_new(2);
	uintptr_t sentinel;

	own_init(true);
	own_area();
	CHECK(rseq_replace_full(OWN, TOP, (uintptr_t)first->top, &sentinel));
	CHECK_EQ(sentinel, SHEAF_SENTINEL);
	CHECK(rseq_push(OWN, TOP, objects[0]));
	CHECK(!rseq_replace_full(OWN, TOP, (uintptr_t)second->top, &sentinel));
	CHECK(rseq_push(OWN, TOP, objects[1]));
	CHECK(rseq_replace_full(OWN, TOP, (uintptr_t)second->top, &sentinel));
	CHECK_EQ(sentinel, (uintptr_t)first | SHEAF_SENTINEL);
	CHECK_EQ(own_area()[TOP], (uintptr_t)second->top);
}

/* What disturbs sequences: ticks of a timer, and CPUs that change. */

static void on_tick(int sig)
{
	(void)sig;
}

static void ticks_start(void)
{
	struct itimerval often = { { 0, 500 }, { 0, 500 } };

	signal(SIGPROF, on_tick);
	CHECK(setitimer(ITIMER_PROF, &often, NULL) == 0);
}

static void move_sometimes(unsigned *turn)
{
	if (++*turn % 4096 == 0)
		unit_pin(*turn / 4096);
	else if (*turn % 512 == 0)
		sched_yield();
}

static void run_threads(void *(*start)(void *))
{
	pthread_t threads[THREADS];

	ticks_start();
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, start, (void *)i) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void *count_up(void *arg)
{
	unsigned turn = (unsigned)(uintptr_t)arg * 1000;

	for (int done = 0; done < ROUNDS;) {
		uintptr_t seen = __atomic_load_n(&areas[rseq_index()][COUNT], __ATOMIC_RELAXED);

		done += rseq_cmpxchg(OWN, COUNT, seen, seen + 1);
		move_sometimes(&turn);
	}
	return NULL;
}

static void cmpxchg_by_many_threads_loses_no_count(void)
{
	uintptr_t sum = 0;

	own_init(true);
	run_threads(count_up);
	for (unsigned i = 0; i < NR_AREAS; i++)
		sum += areas[i][COUNT];
	CHECK_EQ(sum, (uintptr_t)THREADS * ROUNDS);
}

struct token {
	_Atomic int held; /* by a thread; else it is in a sheaf */
	int padding[3];
};

#define TOKENS (NR_AREAS * CAPACITY)

static struct token tokens[TOKENS] __attribute__((aligned(16)));

static void *pop_and_push(void *arg)
{
	unsigned turn = (unsigned)(uintptr_t)arg * 1000;
	uint64_t random = (uintptr_t)arg + 1;
	struct token *mine[4];
	unsigned count = 0;
	void *object;

	for (int i = 0; i < ROUNDS; i++) {
		bool pop = count == 0 || (count < 4 && unit_random(&random) % 2);

		if (pop && rseq_pop(OWN, TOP, &object)) {
			mine[count] = object;
			CHECK_EQ(atomic_exchange(&mine[count]->held, 1), 0);
			count++;
		} else if (count) {
			struct token *token = mine[--count];

			CHECK_EQ(atomic_exchange(&token->held, 0), 1);
			if (!rseq_push(OWN, TOP, token))
				mine[count] = token, atomic_store(&mine[count++]->held, 1);
		}
		move_sometimes(&turn);
	}
	while (count) {
		if (rseq_push(OWN, TOP, mine[count - 1]))
			atomic_store(&mine[--count]->held, 0);
		else
			unit_pin(turn++);
	}
	return NULL;
}

static void pop_and_push_by_many_threads_keep_every_object_once(void)
{
	unsigned found = 0;

	own_init(true);
	for (unsigned i = 0; i < NR_AREAS; i++) {
		struct slab_sheaf *sheaf = sheaf_new(2 * CAPACITY);

		for (unsigned n = 0; n < CAPACITY; n++)
			*sheaf->top++ = &tokens[i * CAPACITY + n];
		areas[i][TOP] = (uintptr_t)sheaf->top;
	}
	run_threads(pop_and_push);
	for (unsigned i = 0; i < NR_AREAS; i++) {
		void **top = (void **)areas[i][TOP];

		while (!sheaf_is_sentinel(*--top)) {
			struct token *token = *top;

			CHECK_EQ(atomic_exchange(&token->held, 2), 0);
			found++;
		}
	}
	CHECK_EQ(found, TOKENS);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST_RAW(sequence_before_start_misses),
		UNIT_TEST(sequence_without_area_misses_and_stores_nothing),
		UNIT_TEST(pop_from_zero_capacity_misses),
		UNIT_TEST(push_to_capacity_then_misses),
		UNIT_TEST(cmpxchg_of_expected_value_stores),
		UNIT_TEST(replace_of_empty_tells_what_was_there),
		UNIT_TEST(replace_of_full_tells_what_was_there),
		UNIT_TEST(cmpxchg_by_many_threads_loses_no_count),
		UNIT_TEST(pop_and_push_by_many_threads_keep_every_object_once),
	};

	if (!__rseq_size) {
		fprintf(stderr, "skipped: no rseq here\n");
		return 77;
	}
	return UNIT_MAIN(tests);
}
