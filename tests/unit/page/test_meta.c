/* SPDX-License-Identifier: MIT */
/*
 * test_meta.c - memory for the allocator's own structures: zero, aligned, apart, used again,
 * never unmapped.
 */
#include "unit.h"

#include "lib/lock.h"
#include "os/os.h"
#include "page/meta.h"

#include <pthread.h>

static void meta_start(void)
{
	os_init();
	meta_init();
}

static size_t rounded(size_t size)
{
	size_t n = 64;

	while (n < size)
		n *= 2;
	return n;
}

static void piece_of_every_size_is_zero_and_aligned(void)
{
	meta_start();
	for (int turn = 0; turn < 3; turn++) {
		for (size_t size = 1; size <= META_MAX_SIZE; size += size < 300 ? 1 : 97) {
			char *ptr = meta_alloc(size, GFP_KERNEL);

			CHECK(ptr != NULL);
			CHECK_EQ((uintptr_t)ptr % min_size(rounded(size), os_page_size), 0);
			CHECK(unit_is_zero(ptr, size));
			memset(ptr, 0xff, size);
			if (turn != 1)
				meta_free(ptr, size, GFP_KERNEL);
		}
	}
}

static void pieces_of_mixed_sizes_are_apart(void)
{
	enum { COUNT = 3000 };
	static struct {
		char *ptr;
		size_t size;
	} pieces[COUNT];
	uint64_t random = unit_seed();

	meta_start();
	for (int i = 0; i < 60000; i++) {
		uint64_t r = unit_random(&random);
		unsigned k = (unsigned)(r % COUNT);

		if (pieces[k].ptr) {
			CHECK(unit_is_filled(pieces[k].ptr, pieces[k].size, k));
			meta_free(pieces[k].ptr, pieces[k].size, GFP_KERNEL);
			pieces[k].ptr = NULL;
			continue;
		}
		pieces[k].size = 1 + (r >> 20) % (64UL << (r >> 40) % 9);
		pieces[k].ptr = meta_alloc(pieces[k].size, GFP_KERNEL);
		CHECK(unit_is_zero(pieces[k].ptr, pieces[k].size));
		unit_fill(pieces[k].ptr, pieces[k].size, k);
	}
}

static void piece_freed_is_used_again_before_more_is_mapped(void)
{
	void *pieces[100];
	size_t mapped;

	meta_start();
	for (size_t size = 64; size <= META_MAX_SIZE; size *= 2) {
		for (int i = 0; i < 100; i++)
			pieces[i] = meta_alloc(size, GFP_KERNEL);
		mapped = meta_bytes();
		for (int turn = 0; turn < 50; turn++) {
			for (int i = 0; i < 100; i++)
				meta_free(pieces[i], size - 3, GFP_KERNEL);
			for (int i = 0; i < 100; i++) {
				pieces[i] = meta_alloc(size, GFP_KERNEL);
				CHECK(unit_is_zero(pieces[i], size));
				memset(pieces[i], 1, size);
			}
		}
		CHECK_EQ(meta_bytes(), mapped);
	}
}

/* What is left of a region when the next one starts is not lost, and is cut aligned. */
static void rest_of_a_region_serves_smaller_sizes(void)
{
	enum { REGION = 256 << 10 }; /* MAP_GROW of meta.c */
	char *first;
	size_t mapped;

	meta_start();
	first = meta_alloc(64, GFP_KERNEL);
	for (int i = 1; i < (REGION - (int)META_MAX_SIZE) / 64 + 3; i++)
		CHECK(meta_alloc(64, GFP_KERNEL) == first + i * 64L);
	mapped = meta_bytes();
	CHECK(meta_alloc(META_MAX_SIZE, GFP_KERNEL) != NULL);
	CHECK(meta_bytes() > mapped);
	for (size_t size = 2048; size >= 256; size /= 2) {
		char *ptr = meta_alloc(size, GFP_ATOMIC);

		CHECK(ptr > first && ptr < first + REGION);
		CHECK_EQ((uintptr_t)ptr % min_size(size, os_page_size), 0);
	}
}

/* What a cut skips to be aligned is not lost either. */
static void gap_before_an_aligned_piece_serves_smaller_sizes(void)
{
	char *first, *page;

	meta_start();
	first = meta_alloc(64, GFP_KERNEL);
	page = meta_alloc(4096, GFP_KERNEL);
	CHECK(page == first + 4096);
	for (size_t size = 64; size <= 2048; size *= 2)
		CHECK(meta_alloc(size, GFP_ATOMIC) == first + size);
}

static void freed_piece_stays_readable(void)
{
	static void *pieces[500];

	meta_start();
	for (int i = 0; i < 500; i++)
		pieces[i] = meta_alloc(4096, GFP_KERNEL);
	for (int i = 0; i < 500; i++)
		meta_free(pieces[i], 4096, GFP_KERNEL);
	for (int i = 0; i < 500; i++)
		CHECK(unit_is_mapped(pieces[i]));
}

static void null_freed_is_nothing(void)
{
	meta_start();
	meta_free(NULL, 64, GFP_KERNEL);
	CHECK(meta_alloc(64, GFP_KERNEL) != NULL);
}

static void atomic_request_never_maps(void)
{
	size_t mapped;

	meta_start();
	CHECK(meta_alloc(64, GFP_ATOMIC) == NULL);
	CHECK_EQ(meta_bytes(), 0);
	CHECK(meta_alloc(64, GFP_KERNEL) != NULL);
	mapped = meta_bytes();
	while (meta_alloc(1024, GFP_ATOMIC))
		;
	CHECK_EQ(meta_bytes(), mapped);
	CHECK(meta_alloc(1024, GFP_KERNEL) != NULL);
	CHECK(meta_bytes() > mapped);
}

static void limit_of_the_address_space_gives_null(void)
{
	int n = 0;

	meta_start();
	unit_limit_address_space(1UL << 20);
	while (meta_alloc(4096, GFP_KERNEL))
		n++;
	CHECK(n >= 128);
	CHECK(meta_alloc(4096, GFP_KERNEL) == NULL);
	unit_limit_address_space(SIZE_MAX);
	CHECK(meta_alloc(4096, GFP_KERNEL) != NULL);
}

static pthread_barrier_t barrier;

static void *hold_locks(void *unused)
{
	lock_fork_prepare();
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	lock_fork_parent();
	return unused;
}

static void piece_freed_with_the_lock_busy_is_used_again(void)
{
	pthread_t thread;
	void *piece;

	meta_start();
	piece = meta_alloc(64, GFP_KERNEL);
	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(pthread_create(&thread, NULL, hold_locks, NULL) == 0);
	pthread_barrier_wait(&barrier);
	CHECK(meta_alloc(64, GFP_ATOMIC) == NULL);
	meta_free(piece, 64, GFP_ATOMIC);
	CHECK_EQ(lock_depth, 0);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	CHECK(meta_alloc(64, GFP_ATOMIC) == piece);
	CHECK(unit_is_zero(piece, 64));
}

static void *churn(void *arg)
{
	char *pieces[64] = { 0 };

	for (unsigned i = 0; i < 200000; i++) {
		unsigned k = i * 7 % 64;
		size_t size = 64UL << k % 4;

		if (pieces[k]) {
			CHECK(unit_is_filled(pieces[k], 24, (uintptr_t)arg));
			meta_free(pieces[k], size, GFP_KERNEL);
			pieces[k] = NULL;
			continue;
		}
		pieces[k] = meta_alloc(size, GFP_KERNEL);
		unit_fill(pieces[k], 24, (uintptr_t)arg);
	}
	return NULL;
}

static void pieces_of_many_threads_are_apart(void)
{
	pthread_t threads[4];

	meta_start();
	for (uintptr_t i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, churn, (void *)i) == 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK(meta_bytes() < 4UL << 20);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST_RAW(piece_of_every_size_is_zero_and_aligned),
		UNIT_TEST_RAW(pieces_of_mixed_sizes_are_apart),
		UNIT_TEST_RAW(piece_freed_is_used_again_before_more_is_mapped),
		UNIT_TEST_RAW(rest_of_a_region_serves_smaller_sizes),
		UNIT_TEST_RAW(gap_before_an_aligned_piece_serves_smaller_sizes),
		UNIT_TEST_RAW(freed_piece_stays_readable),
		UNIT_TEST_RAW(null_freed_is_nothing),
		UNIT_TEST_RAW(atomic_request_never_maps),
		UNIT_TEST_RAW(limit_of_the_address_space_gives_null),
		UNIT_TEST_RAW(piece_freed_with_the_lock_busy_is_used_again),
		UNIT_TEST_RAW(pieces_of_many_threads_are_apart),
	};

	return UNIT_MAIN(tests);
}
