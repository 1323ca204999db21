/* SPDX-License-Identifier: MIT */
/*
 * test_no_call.c - frees where no system call may be made: kfree() anywhere, and free() and vfree() in an
 * atomic scope. What needs a call then waits for a miss or a trim that may sleep.
 *
 * A thread is prepared, forbidden every call, and frees; the process then looks at what is left.
 */
#include "unit.h"

#include "kmalloc/emergency.h"
#include "kmalloc/io.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/memcontrol.h"
#include "kmalloc/slab.h"
#include "kmalloc/vmalloc.h"
#include "page/page.h"
#include "seccomp.h"
#include "vmalloc/vmalloc.h"

#include <pthread.h>
#include <stdatomic.h>

#define K 1024UL
#define M (1UL << 20)

static _Atomic bool done;

static void *run(void *body)
{
	void (*forbidden)(void) = *(void (**)(void))body;

	seccomp_no_calls();
	forbidden();
	atomic_store(&done, true);
	for (;;)
		__builtin_ia32_pause();
	return NULL;
}

/* Run body() in a thread that may make no system call. */
static void without_calls(void (*body)(void))
{
	static void (*forbidden)(void);
	pthread_t thread;

	forbidden = body;
	atomic_store(&done, false);
	CHECK(pthread_create(&thread, NULL, run, &forbidden) == 0);
	while (!atomic_load(&done))
		usleep(100);
}

static void *objects[256];

static void kfree_all(void)
{
	for (size_t i = 0; i < 256; i++)
		kfree(objects[i]);
}

static void free_all_in_a_scope(void)
{
	unsigned scope = memalloc_atomic_save();

	for (size_t i = 0; i < 256; i++)
		kvmalloc_free(objects[i]);
	memalloc_atomic_restore(scope);
}

static void vfree_all_in_a_scope(void)
{
	unsigned scope = memalloc_atomic_save();

	for (size_t i = 0; i < 256; i++)
		vfree(objects[i]);
	memalloc_atomic_restore(scope);
}

static void areas_over_the_watermark_wait(void)
{
	static void (*const ways[])(void) = { kfree_all, free_all_in_a_scope,
					      vfree_all_in_a_scope };
	struct vmalloc_stat stat;

	for (size_t way = 0; way < 3; way++) {
		for (size_t i = 0; i < 256; i++) {
			objects[i] = way == 2 ? vmalloc(M) : kvmalloc_slow(M, NULL, NULL);
			CHECK(objects[i] != NULL);
			*(char *)objects[i] = 1;
		}
		without_calls(ways[way]);
		vmalloc_stat(&stat);
		CHECK_EQ(stat.nr_areas, 0);
		CHECK(stat.lazy >= 256 * M);
		/* the next miss that may sleep looks after the watermark */
		kvmalloc_free(kvmalloc_slow(M, NULL, NULL));
		vmalloc_stat(&stat);
		CHECK(stat.lazy < 32 * M);
	}
}

static void pages_over_the_watermark_wait(void)
{
	struct page_stat stat;

	for (size_t i = 0; i < 256; i++) {
		CHECK((objects[i] = kmalloc(KMALLOC_MAX_SIZE, GFP_KERNEL)) != NULL);
		*(char *)objects[i] = 1;
	}
	without_calls(kfree_all);
	page_stat(&stat);
	CHECK(stat.free_dirty > 16 * M);
	kmalloc_trim();
	page_stat(&stat);
	CHECK_EQ(stat.free_dirty, 0);
}

static void emergency_mappings_wait(void)
{
	size_t bytes, stuck;

	for (int way = 0; way < 2; way++) {
		/* as a handler gets them that interrupted the allocator */
		for (size_t i = 0; i < 256; i++) {
			objects[i] = emergency_alloc(way ? 16 : 100 * K, 16);
			CHECK(objects[i] != NULL);
		}
		CHECK_EQ(emergency_used(), 256);
		without_calls(way ? kfree_all : free_all_in_a_scope);
		CHECK_EQ(emergency_used(), 0);
		CHECK(emergency_account(&bytes, &stuck) == 0 && bytes == 0);
		CHECK(stuck >= 256 * 4 * K);
		kmalloc_trim();
		CHECK(emergency_account(&bytes, &stuck) == 0 && stuck == 0);
	}
}

static struct mem_cgroup *group;

static void kfree_all_and_the_group(void)
{
	mem_cgroup_put(group);
	kfree_all(); /* the last one frees the group too */
}

static void accounted_objects_and_their_group_go(void)
{
	group = mem_cgroup_create("group");
	set_active_memcg(group);
	for (size_t i = 0; i < 256; i++)
		CHECK((objects[i] = kmalloc(1 + i * 500, GFP_KERNEL_ACCOUNT)) != NULL);
	set_active_memcg(NULL);
	for (size_t i = 0; i < 256; i++)
		CHECK(mem_cgroup_from_slab_obj(objects[i]) == group);
	without_calls(kfree_all_and_the_group);
	for (size_t i = 0; i < 256; i++)
		CHECK(mem_cgroup_from_slab_obj(objects[i]) == NULL);
}

static void *call_wrongly(size_t i)
{
	switch (i) {
	case 0:
		return kmalloc(KMALLOC_MAX_SIZE + 1, GFP_ATOMIC);
	case 1:
		return kmalloc(100, GFP_ATOMIC | __GFP_HIGHMEM | __GFP_ZERO);
	case 2:
		return __vmalloc(0, GFP_ATOMIC);
	case 3:
		return kvmalloc(3UL << 30, GFP_ATOMIC);
	case 4:
		return __vmalloc(6000, GFP_ATOMIC | __GFP_NOFAIL);
	default:
		return __vmalloc(5000, GFP_ATOMIC);
	}
}

static void call_all_wrongly(void)
{
	for (size_t i = 0; i < 6; i++)
		kfree(call_wrongly(i));
}

static void call_wrongly_then_sleep(void *unused)
{
	(void)unused;
	without_calls(call_all_wrongly);
	fprintf(stderr, "quiet\n");
	vfree(vmalloc(5000));
}

/* Each has its report, with the caller's name: later. */
static void reports_of_calls_that_may_not_wait_wait(void)
{
	static const char *const reports[] = {
		"kmalloc: 131057 bytes are over the limit of 131056, called from test_kmalloc_no",
		"Unexpected gfp: 0x2 (__GFP_HIGHMEM). Fixing up to gfp: ",
		"Fix your code! Called from test_kmalloc_no_call",
		"vmalloc: 0 bytes asked for, called from test_kmalloc_no_call",
		"kvmalloc: 3221225472 bytes are more than INT_MAX, called from test_kmalloc_no",
		"__GFP_NOFAIL where nothing may sleep can't be kept: it may fail. Called from test_",
		"vmalloc: allocation failure: 5000 bytes, mode:",
	};
	struct unit_end end;

	kfree(kmalloc(100, GFP_KERNEL));
	end = unit_child(call_wrongly_then_sleep, NULL);
	CHECK(!end.signal && !end.status);
	CHECK(!strncmp(end.text, "quiet\n", 6));
	for (size_t i = 0; i < ARRAY_SIZE(reports); i++)
		if (!strstr(end.text, reports[i]))
			unit_failed(__FILE__, __LINE__, reports[i]);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST_WITH(areas_over_the_watermark_wait, "vmalloc.lazy_max=16M"),
		UNIT_TEST_WITH(pages_over_the_watermark_wait, "page.dirty_max=1M"),
		UNIT_TEST(emergency_mappings_wait),
		UNIT_TEST(accounted_objects_and_their_group_go),
		UNIT_TEST(reports_of_calls_that_may_not_wait_wait),
	};

	return UNIT_MAIN(tests);
}
