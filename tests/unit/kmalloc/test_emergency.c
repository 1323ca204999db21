/* SPDX-License-Identifier: MIT */
/*
 * test_emergency.c - what a handler gets that interrupted the allocator: emergency mappings,
 * and frees that wait.
 *
 * The handler's situation is made by this thread itself: it takes every lock, as
 * fork does, so lock_depth is up and no try succeeds.
 */
#include "unit.h"

#include "kmalloc/emergency.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/start.h"
#include "lib/lock.h"
#include "os/os.h"
#include "slab/percpu.h"
#include "vmalloc/vmalloc.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#define NR_SLOTS 1024 /* of emergency.c */
#define M (1UL << 20)

static void *alloc(size_t size)
{
	void *object;

	if (kmalloc_hit(size, &object))
		return object;
	return kvmalloc_slow(size, NULL, NULL);
}

static void enter_atomic(void)
{
	lock_fork_prepare();
	CHECK(lock_in_atomic());
}

static void leave_atomic(void)
{
	lock_fork_parent();
	CHECK(!lock_in_atomic());
}

static bool is_emergency(const void *ptr)
{
	return emergency_size(ptr) != 0;
}

/* Objects that the program still holds, all classes together. */
static size_t objects_in_use(void)
{
	struct kmem_cache_stat stat;
	size_t n = 0;

	kmalloc_trim();
	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++) {
		kmem_cache_stat(&kmem_caches[i], &stat);
		n += stat.active_objs;
	}
	return n;
}

static void mapping_of_every_size_and_alignment_holds_it(void)
{
	os_init();
	for (size_t size = 0; size < 3 * M; size = size * 3 + 1) {
		for (size_t align = 16; align <= 16 * M; align *= 4) {
			char *ptr = emergency_alloc(size, align);

			CHECK(ptr != NULL);
			CHECK_EQ((uintptr_t)ptr % align, 0);
			CHECK(emergency_size(ptr) >= size);
			CHECK(unit_is_zero(ptr, emergency_size(ptr)));
			memset(ptr, 1, emergency_size(ptr));
			CHECK(emergency_free(ptr, true));
			CHECK(!unit_is_mapped(ptr));
			CHECK(!emergency_free(ptr, true));
		}
	}
	CHECK(emergency_alloc(SIZE_MAX, 16) == NULL);
	CHECK(emergency_alloc(PTRDIFF_MAX, 1UL << 62) == NULL);
	CHECK(emergency_alloc(16, 1UL << 63) == NULL);
}

static void mapping_that_is_not_one_is_turned_away(void)
{
	char *ptr;

	os_init();
	CHECK_EQ(emergency_size(NULL), 0);
	CHECK(!emergency_free(NULL, true));
	CHECK(!emergency_free((void *)1, true));
	ptr = emergency_alloc(100, 16);
	CHECK_EQ(emergency_size(NULL), 0);
	CHECK_EQ(emergency_size((void *)1), 0);
	CHECK_EQ(emergency_size(ptr + 16), 0);
	CHECK_EQ(emergency_size(ptr + 1), 0);
	CHECK(!emergency_free((void *)1, true));
	CHECK(!emergency_free(ptr + 16, true));
	CHECK(emergency_size(ptr) >= 100);
}

static void table_when_full_gives_null_until_a_slot_is_free(void)
{
	static char *ptrs[NR_SLOTS];

	os_init();
	for (int i = 0; i < NR_SLOTS; i++) {
		ptrs[i] = emergency_alloc(10, 16);
		CHECK(ptrs[i] != NULL);
		*(int *)ptrs[i] = i;
	}
	CHECK(emergency_alloc(10, 16) == NULL);
	for (int i = 0; i < NR_SLOTS; i++)
		CHECK_EQ(*(int *)ptrs[i], i);
	CHECK(emergency_free(ptrs[500], true));
	CHECK(emergency_alloc(10, 16) != NULL);
	CHECK(emergency_alloc(10, 16) == NULL);
}

static void mapping_without_address_space_frees_its_slot(void)
{
	os_init();
	unit_limit_address_space(M);
	for (int i = 0; i < 3 * NR_SLOTS; i++)
		CHECK(emergency_alloc(16 * M, 16) == NULL);
	CHECK(emergency_alloc(16, 16) != NULL);
}

static void handler_gets_what_the_cpu_has_and_then_mappings(void)
{
	unsigned hits = 0;
	char *ptrs[200];

	unit_pin(0);
	kvmalloc_free(alloc(64));
	enter_atomic();
	for (int i = 0; i < 200; i++) {
		ptrs[i] = alloc(64);
		CHECK(ptrs[i] != NULL);
		CHECK(kvmalloc_size(ptrs[i]) >= 64);
		CHECK_EQ((uintptr_t)ptrs[i] % 64, 0);
		memset(ptrs[i], i, 64);
		hits += !is_emergency(ptrs[i]);
	}
	/* in locked mode the area's lock is one of those that are held */
	CHECK_EQ(hits,
		 percpu_mode() == PERCPU_LOCKED ? 0 : kmem_caches[kmalloc_index(64)].capacity);
	leave_atomic();
	for (int i = 0; i < 200; i++) {
		for (int k = 0; k < 64; k++)
			CHECK_EQ((unsigned char)ptrs[i][k], i);
		kvmalloc_free(ptrs[i]);
		CHECK(!is_emergency(ptrs[i]));
	}
	CHECK_EQ(objects_in_use(), 0);
}

static void handler_gets_every_size_and_alignment(void)
{
	enter_atomic();
	for (size_t size = 0; size < 4 * M; size = size * 2 + 1) {
		char *ptr = alloc(size), *zeroed = kvmalloc_zeroed(size, NULL), *aligned;

		CHECK(ptr && zeroed);
		CHECK(kvmalloc_size(ptr) >= size);
		CHECK(unit_is_zero(zeroed, size));
		memset(ptr, 1, size);
		memset(zeroed, 1, size);
		for (size_t align = 16; align < 2 * M; align *= 2) {
			aligned = kvmalloc_aligned(size, align, NULL);
			CHECK(aligned != NULL);
			CHECK_EQ((uintptr_t)aligned % align, 0);
			CHECK(kvmalloc_size(aligned) >= size);
			memset(aligned, 1, size);
			kvmalloc_free(aligned);
		}
		kvmalloc_free(ptr);
		kvmalloc_free(zeroed);
	}
	leave_atomic();
}

static void handler_resizes_every_kind_of_memory(void)
{
	char *small = alloc(1000), *large = alloc(M), *mapping;

	unit_fill(small, 1000, 1);
	unit_fill(large, M, 2);
	enter_atomic();
	mapping = kvmalloc_aligned(5000, 32768, NULL);
	unit_fill(mapping, 5000, 3);
	small = kvmalloc_resize(small, 9000, NULL);
	large = kvmalloc_resize(large, 2 * M, NULL);
	mapping = kvmalloc_resize(mapping, 300000, NULL);
	CHECK(small && large && mapping);
	CHECK(unit_is_filled(small, 1000, 1));
	CHECK(unit_is_filled(large, M, 2));
	CHECK(unit_is_filled(mapping, 5000, 3));
	leave_atomic();
	small = kvmalloc_resize(small, 200, NULL);
	large = kvmalloc_resize(large, 3 * M, NULL);
	mapping = kvmalloc_resize(mapping, 4000, NULL);
	CHECK(unit_is_filled(small, 200, 1));
	CHECK(unit_is_filled(large, M, 2));
	CHECK(unit_is_filled(mapping, 4000, 3));
	CHECK(!is_emergency(small) && !is_emergency(large) && !is_emergency(mapping));
	kvmalloc_free(small);
	kvmalloc_free(large);
	kvmalloc_free(mapping);
	CHECK_EQ(objects_in_use(), 0);
}

static void frees_of_a_handler_are_done_at_the_next_miss(void)
{
	enum { COUNT = 1000 };
	static char *small[COUNT], *large[20];
	struct vmalloc_stat areas;

	for (int i = 0; i < COUNT; i++)
		small[i] = alloc((size_t)(16 + i % 3000));
	for (int i = 0; i < 20; i++)
		large[i] = alloc(M);
	enter_atomic();
	for (int i = 0; i < COUNT; i++)
		kvmalloc_free(small[i]);
	for (int i = 0; i < 20; i++)
		kvmalloc_free(large[i]);
	leave_atomic();
	vmalloc_stat(&areas);
	CHECK_EQ(areas.nr_areas, 20);
	kvmalloc_free(alloc(2 * M)); /* a miss */
	vmalloc_stat(&areas);
	CHECK_EQ(areas.nr_areas, 0);
	CHECK_EQ(objects_in_use(), 0);
}

static void trim_of_a_handler_does_nothing(void)
{
	kvmalloc_free(alloc(100));
	enter_atomic();
	CHECK(!kmalloc_trim());
	leave_atomic();
	CHECK(kmalloc_trim());
}

/* So little address space that the maps can't be had: until they can, requests are mappings of their own. */
static void start_that_failed_is_tried_again_by_each_request(void)
{
	char *ptr, *other;

	unit_limit_address_space(4096);
	CHECK(!kmalloc_start());
	CHECK_EQ(start_state, START_FAILED);
	ptr = kvmalloc_slow(100, NULL, NULL);
	CHECK(ptr && is_emergency(ptr));
	CHECK_EQ(start_state, START_FAILED);
	CHECK(kvmalloc_slow(100, NULL, NULL) == NULL);
	CHECK(kvmalloc_aligned(100, 4096, NULL) == NULL);
	CHECK(kvmalloc_zeroed(100, NULL) == NULL);
	CHECK(!kmalloc_trim());
	unit_fill(ptr, 100, 1);
	unit_limit_address_space(SIZE_MAX);
	other = kvmalloc_aligned(1000, 1UL << 16, NULL);
	CHECK(other && !is_emergency(other) && (uintptr_t)other % (1UL << 16) == 0);
	CHECK_EQ(start_state, START_DONE);
	CHECK_EQ(percpu_mode(), PERCPU_LOCKED);
	ptr = kvmalloc_resize(ptr, 200000, NULL);
	CHECK(ptr && !is_emergency(ptr) && unit_is_filled(ptr, 100, 1));
	CHECK(unit_is_zero(kvmalloc_zeroed(5000, NULL), 5000));
	kvmalloc_free(ptr);
	kvmalloc_free(other);
	CHECK(kmalloc_trim());
}

static _Atomic bool go, stop;

static void *try_to_start(void *unused)
{
	while (!atomic_load(&go))
		;
	while (!atomic_load(&stop))
		kmalloc_start();
	return unused;
}

static void start_fork_prepare(void)
{
	CHECK(kmalloc_start_fork_prepare(LOCK_FORK_TRY_MS));
	lock_fork_prepare();
}

static void start_fork_parent(void)
{
	lock_fork_parent();
	kmalloc_start_fork_done();
}

static void start_fork_child(void)
{
	lock_fork_child();
	kmalloc_start_fork_done();
}

/* The thread at the start is not in the child, which would wait for it. */
static void fork_amidst_a_start_that_is_tried_again(void)
{
	pthread_t thread;

	CHECK(pthread_atfork(start_fork_prepare, start_fork_parent, start_fork_child) == 0);
	CHECK(pthread_create(&thread, NULL, try_to_start, NULL) == 0);
	unit_limit_address_space(4096);
	atomic_store(&go, true);
	for (int i = 0; i < 200; i++) {
		int status;
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (pid == 0) {
			alarm(20);
			kmalloc_start();
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK_EQ(status, 0);
	}
	unit_limit_address_space(SIZE_MAX);
	/* one that the thread began under the limit may fail yet */
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	CHECK(kmalloc_start());
}

static void first_request_of_a_handler_during_start_gets_a_mapping(void)
{
	void *ptr;

	/* as if this thread had been interrupted in the middle of it */
	CHECK(kmalloc_start());
	atomic_store(&start_state, START_RUNNING);
	lock_depth++;
	ptr = kvmalloc_slow(100, NULL, NULL);
	CHECK(ptr && is_emergency(ptr));
	kvmalloc_free(ptr);
	CHECK(!kmalloc_trim());
	lock_depth--;
	atomic_store(&start_state, START_DONE);
	ptr = kvmalloc_slow(100, NULL, NULL);
	CHECK(ptr && !is_emergency(ptr));
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST_RAW(mapping_of_every_size_and_alignment_holds_it),
		UNIT_TEST_RAW(mapping_that_is_not_one_is_turned_away),
		UNIT_TEST_RAW(table_when_full_gives_null_until_a_slot_is_free),
		UNIT_TEST_RAW(mapping_without_address_space_frees_its_slot),
		UNIT_TEST(handler_gets_what_the_cpu_has_and_then_mappings),
		UNIT_TEST(handler_gets_every_size_and_alignment),
		UNIT_TEST(handler_resizes_every_kind_of_memory),
		UNIT_TEST(frees_of_a_handler_are_done_at_the_next_miss),
		UNIT_TEST(trim_of_a_handler_does_nothing),
		UNIT_TEST_RAW(start_that_failed_is_tried_again_by_each_request),
		UNIT_TEST_RAW(fork_amidst_a_start_that_is_tried_again),
		UNIT_TEST_RAW(first_request_of_a_handler_during_start_gets_a_mapping),
	};

	return UNIT_MAIN(tests);
}
