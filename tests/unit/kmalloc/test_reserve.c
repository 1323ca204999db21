/* SPDX-License-Identifier: MIT */
/*
 * test_reserve.c - the atomic reserve: every size, what is left when it is used up, how it comes back,
 * and threads and handlers in it at once.
 *
 *	chunk of 256 KiB: | page | page | ... 64 pages of 4 KiB
 *	a page of slots:  | 64 | 64 | ... 56 at most
 *	a run:            | page page page |
 */
#include "unit.h"

#include "kmalloc/kvmalloc.h"
#include "kmalloc/reserve.h"
#include "kmalloc/start.h"
#include "page/reclaim.h"
#include "seccomp.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define KIB 1024UL

static struct reserve_stat stat_now(void)
{
	struct reserve_stat stat;

	reserve_stat(&stat);
	return stat;
}

static void reserve_of_a_preloaded_program_is_not_there(void)
{
	CHECK(!reserve_is_ready());
	CHECK_EQ(stat_now().bytes, 0);
	CHECK(reserve_alloc(64, 16, NULL) == NULL);
	CHECK(!reserve_owns(&reserve_init));
	reserve_fill();
	CHECK_EQ(stat_now().bytes, 1024 * KIB);
	CHECK_EQ(stat_now().free, 1024 * KIB);
}

static void parameter_gives_the_size_from_the_start_on(void)
{
	CHECK(reserve_is_ready());
	CHECK_EQ(stat_now().bytes, 3072 * KIB);
}

static void parameter_of_nothing_gives_no_reserve(void)
{
	CHECK(reserve_is_ready());
	reserve_fill();
	CHECK_EQ(stat_now().bytes, 0);
	CHECK(reserve_alloc(64, 16, NULL) == NULL);
}

static void start_with_little(void *arg)
{
	(void)arg;
	/* the maps of the windows fit, and not all of the reserve */
	unit_limit_address_space(256UL << 20);
	CHECK(kmalloc_start());
	CHECK(stat_now().bytes < 300000 * KIB);
}

static void parameter_that_the_system_has_no_memory_for_is_told_of(void)
{
	struct unit_end end = unit_child(start_with_little, NULL);
	const char *head =
		"libkmalloc: min_free_kbytes=300000: the system has no memory for more than ";

	CHECK(end.signal == 0 && end.status == 0);
	fputs(end.text, stderr);
	CHECK(!strncmp(end.text, head, strlen(head)));
	CHECK(strchr(end.text, '\n') == end.text + strlen(end.text) - 1);
}

static void memory_is_resident_before_it_is_used(void)
{
	char *object = reserve_alloc(KMALLOC_MAX_SIZE, 4096, NULL);

	CHECK(object != NULL);
	CHECK_EQ(unit_resident(object, 128 * KIB), 32);
}

static void object_of_every_size_and_alignment_holds_it(void)
{
	for (size_t size = 1; size <= KMALLOC_MAX_SIZE; size += size / 3 + 1) {
		for (size_t align = 16; align <= 128 * KIB; align *= 2) {
			char *object = reserve_alloc(size, align, NULL);

			CHECK(object != NULL);
			CHECK_EQ((uintptr_t)object % align, 0);
			CHECK(reserve_owns(object));
			CHECK(reserve_size(object) >= size);
			CHECK_EQ(kvmalloc_size(object), reserve_size(object));
			CHECK_EQ(page_owner(object), 0);
			memset(object, 0xff, reserve_size(object));
			CHECK(reserve_cache(object) == NULL);
			kvmalloc_free(object);
			CHECK_EQ(reserve_size(object), 0);
		}
	}
	CHECK_EQ(stat_now().free, stat_now().bytes);
	CHECK(reserve_alloc(KMALLOC_TOP_BLOCK + 1, 16, NULL) == NULL);
	CHECK(reserve_alloc(16, 2 * KMALLOC_TOP_BLOCK, NULL) == NULL);
}

static void object_of_a_cache_remembers_it(void)
{
	struct kmem_cache *cache = &kmem_caches[kmalloc_index(100)];

	for (size_t size = 1; size <= KMALLOC_MAX_SIZE; size = size * 2 + 3) {
		char *object = reserve_alloc(size, 16, cache);

		CHECK(object && reserve_size(object) >= size);
		memset(object, 0xff, reserve_size(object));
		CHECK(reserve_cache(object) == cache);
		reserve_free(object);
	}
	CHECK_EQ(stat_now().free, stat_now().bytes);
}

/* As many objects of a size as there are, none over another, until NULL; then all come back. */
static void exhaust(size_t size)
{
	static unsigned char *objects[20000];
	size_t n = 0;

	while ((objects[n] = reserve_alloc(size, 16, NULL)) != NULL) {
		memset(objects[n], (int)(n % 251), reserve_size(objects[n]));
		n++;
	}
	CHECK(n * size <= stat_now().bytes);
	CHECK(n >= stat_now().bytes / (size > 2048 ? 131072 : 2 * 64 + 2 * size));
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < size; k++)
			CHECK_EQ(objects[i][k], i % 251);
	for (size_t i = 0; i < n; i++)
		reserve_free(objects[i]);
	CHECK_EQ(stat_now().free, stat_now().bytes);
}

static void reserve_used_up_gives_null_until_something_is_freed(void)
{
	static const size_t sizes[] = { 1, 64, 65, 500, 2048, 2049, 30000, 65536, 131056 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		exhaust(sizes[i]);
}

static void reserve_used_up_is_filled_where_it_may_sleep(void)
{
	size_t bytes = stat_now().bytes, n = 0;
	void *objects[64];

	while ((objects[n] = reserve_alloc(128 * KIB, 16, NULL)) != NULL)
		n++;
	CHECK_EQ(n, bytes / (128 * KIB));
	kvmalloc_poll_deferred(GFP_ATOMIC);
	CHECK_EQ(stat_now().bytes, bytes);
	kvmalloc_poll_deferred(GFP_KERNEL);
	CHECK_EQ(stat_now().bytes, 2 * bytes);
	CHECK_EQ(stat_now().free, bytes);
	for (size_t i = 0; i < n; i++)
		reserve_free(objects[i]);
	CHECK_EQ(stat_now().free, 2 * bytes);
	/* what is too much goes when memory is short, and comes back when needed */
	reclaim_run(RECLAIM_AGE);
	CHECK_EQ(stat_now().bytes, 2 * bytes);
	reclaim_run(RECLAIM_ALL);
	CHECK_EQ(stat_now().bytes, bytes);
	for (n = 0; (objects[n] = reserve_alloc(128 * KIB, 16, NULL)) != NULL; n++)
		memset(objects[n], 1, 128 * KIB);
	reserve_fill();
	CHECK_EQ(stat_now().free, bytes);
	for (size_t i = 0; i < n; i++)
		reserve_free(objects[i]);
}

static void fill_without_memory_leaves_what_there_is(void)
{
	void *object;

	unit_limit_address_space(0);
	while ((object = reserve_alloc(4096, 16, NULL)) != NULL)
		CHECK(unit_is_mapped(object));
	reserve_fill();
	CHECK(reserve_alloc(4096, 16, NULL) == NULL);
	unit_limit_address_space(SIZE_MAX);
	reserve_fill();
	CHECK(reserve_alloc(4096, 16, NULL) != NULL);
}

static void free_twice(void *object)
{
	reserve_free(object);
	reserve_free(object);
}

static void free_inside(void *object)
{
	reserve_free((char *)object + 4096);
}

static void free_unaligned(void *object)
{
	reserve_free((char *)object + 32);
}

static void misuse_dies_with_a_report(void)
{
	char text[200], *slot = reserve_alloc(100, 16, NULL), *run = reserve_alloc(9000, 16, NULL);

	CHECK(reserve_alloc(100, 16, NULL) != NULL); /* keeps the slot's page */
	snprintf(text, sizeof(text),
		 "libkmalloc: BUG reserve: Object already free: %p (double free)\n", (void *)slot);
	unit_dies(free_twice, slot, text);
	snprintf(text, sizeof(text),
		 "libkmalloc: BUG reserve: Object already free: %p (double free)\n", (void *)run);
	unit_dies(free_twice, run, text);
	snprintf(text, sizeof(text),
		 "libkmalloc: BUG reserve: Invalid object pointer %p: not the start of an object "
		 "(free of an interior pointer)\n",
		 (void *)(run + 4096));
	unit_dies(free_inside, run, text);
	snprintf(text, sizeof(text),
		 "libkmalloc: BUG reserve: Invalid object pointer %p: not the start of an object "
		 "(free of an interior pointer)\n",
		 (void *)(slot + 32));
	unit_dies(free_unaligned, slot, text);
}

/* Threads, and handlers that interrupt them anywhere, in it at once, with no system call. */

#define ROUNDS 300000

static _Atomic int nr_done;
static _Atomic size_t nr_got;

static void churn(uint64_t *seed, unsigned rounds)
{
	struct {
		unsigned char *ptr;
		size_t size;
		unsigned char stamp;
	} held[8] = { 0 };

	for (unsigned i = 0; i < rounds; i++) {
		uint64_t random = unit_random(seed);
		unsigned at = random % 8;

		if (held[at].ptr) {
			CHECK_EQ(held[at].ptr[0], held[at].stamp);
			CHECK_EQ(held[at].ptr[held[at].size - 1], held[at].stamp);
			reserve_free(held[at].ptr);
		}
		held[at].size = (random >> 8) % (random & 256 ? 100 : 20000) + 1;
		held[at].stamp = (unsigned char)(random >> 40);
		held[at].ptr = reserve_alloc(held[at].size, 16, NULL);
		if (held[at].ptr) {
			memset(held[at].ptr, held[at].stamp, held[at].size);
			atomic_fetch_add(&nr_got, 1);
		}
	}
	for (unsigned at = 0; at < 8; at++)
		if (held[at].ptr)
			reserve_free(held[at].ptr);
}

static void on_signal(int sig)
{
	static _Atomic uint64_t count = 1;
	uint64_t seed = atomic_fetch_add(&count, 1) * 77 + (uint64_t)sig;

	churn(&seed, 20);
}

static void *churn_strictly(void *arg)
{
	static const int allowed[] = { SYS_rt_sigreturn, -1 };
	uint64_t seed = (uintptr_t)arg + 1;

	seccomp_strict(allowed);
	churn(&seed, ROUNDS);
	atomic_fetch_add(&nr_done, 1);
	for (;;)
		__builtin_ia32_pause();
	return NULL;
}

static void threads_and_handlers_share_it_without_a_call(void)
{
	pthread_t threads[4];
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGUSR1, &action, NULL);
	for (uintptr_t i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, churn_strictly, (void *)i) == 0);
	while (atomic_load(&nr_done) < 4) {
		for (int i = 0; i < 4; i++)
			pthread_kill(threads[i], SIGUSR1);
		usleep(200);
	}
	usleep(50000); /* handlers still under way */
	CHECK(atomic_load(&nr_got) > ROUNDS);
	CHECK_EQ(stat_now().free, stat_now().bytes);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(reserve_of_a_preloaded_program_is_not_there),
		UNIT_TEST_WITH(parameter_gives_the_size_from_the_start_on, "min_free_kbytes=3000"),
		UNIT_TEST_WITH(parameter_of_nothing_gives_no_reserve, "min_free_kbytes=0"),
		{ "parameter_that_the_system_has_no_memory_for_is_told_of",
		  parameter_that_the_system_has_no_memory_for_is_told_of, "min_free_kbytes=300000",
		  false },
		UNIT_TEST_WITH(memory_is_resident_before_it_is_used, "min_free_kbytes=1024"),
		UNIT_TEST_WITH(object_of_every_size_and_alignment_holds_it, "min_free_kbytes=1024"),
		UNIT_TEST_WITH(object_of_a_cache_remembers_it, "min_free_kbytes=1024"),
		UNIT_TEST_WITH(reserve_used_up_gives_null_until_something_is_freed,
			       "min_free_kbytes=1024"),
		UNIT_TEST_WITH(reserve_used_up_is_filled_where_it_may_sleep,
			       "min_free_kbytes=1024"),
		UNIT_TEST_WITH(fill_without_memory_leaves_what_there_is, "min_free_kbytes=512"),
		UNIT_TEST_WITH(misuse_dies_with_a_report, "min_free_kbytes=512"),
		UNIT_TEST_WITH(threads_and_handlers_share_it_without_a_call, "min_free_kbytes=512"),
	};

	return UNIT_MAIN(tests);
}
