/* SPDX-License-Identifier: MIT */
/*
 * test_gfp_alloc.c - each flag and each scope: a test that fails if it were ignored.
 *
 * Memory is made short by a limit of the address space; then everything that there is is taken.
 */
#include "unit.h"

#include "kmalloc/gfp_alloc.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/memcontrol.h"
#include "kmalloc/report.h"
#include "kmalloc/reserve.h"
#include "kmalloc/slab.h"
#include "kmalloc/vmalloc.h"
#include "page/meta.h"
#include "page/reclaim.h"

#include <pthread.h>
#include <stdatomic.h>

#define K 1024UL

/* Take all memory there is in objects of a size, so that the next allocation needs new pages. */
static void use_up(size_t size)
{
	unit_limit_address_space(0);
	for (size_t n = size; n <= 128 * K; n *= 2)
		while (kmalloc(n, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN))
			;
	while (kmalloc(size, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN))
		;
}

/* What there is without a system call, of one class and what its slabs are cut from. */
static void use_up_class(size_t size)
{
	for (size_t n = 128 * K; n > size; n /= 2)
		while (kmalloc(n, GFP_NOWAIT))
			;
	while (kmalloc(size, GFP_NOWAIT))
		;
}

static _Atomic unsigned nr_purges;

static size_t count_purges(enum reclaim what)
{
	atomic_fetch_add(&nr_purges, what == RECLAIM_ALL);
	return 0;
}

/* How often everything is purged for an allocation that can't be had. */
static unsigned purges_for(gfp_t gfp)
{
	atomic_store(&nr_purges, 0);
	CHECK(kmalloc(100 * K, gfp | __GFP_NOWARN) == NULL);
	return atomic_load(&nr_purges);
}

static void failure_comes_after_as_many_purges_as_the_flags_say(void)
{
	static struct shrinker shrinker = { count_purges, NULL };
	unsigned normal, hard;

	use_up(100 * K);
	shrinker_register(&shrinker);
	CHECK_EQ(purges_for(GFP_KERNEL | __GFP_NORETRY), 0);
	CHECK_EQ(purges_for(GFP_NOWAIT), 0);
	CHECK_EQ(purges_for(GFP_ATOMIC | __GFP_NOMEMALLOC), 0);
	normal = purges_for(GFP_KERNEL);
	hard = purges_for(GFP_KERNEL | __GFP_RETRY_MAYFAIL);
	CHECK(normal >= 1);
	CHECK(hard >= normal + 3);
	/* the same for areas */
	atomic_store(&nr_purges, 0);
	CHECK(__vmalloc(1 << 20, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN) == NULL);
	CHECK_EQ(atomic_load(&nr_purges), 0);
	CHECK(__vmalloc(1 << 20, GFP_KERNEL | __GFP_NOWARN) == NULL);
	CHECK(atomic_load(&nr_purges) >= 1);
}

static _Atomic bool short_of_memory, relieved;

static void *relieve(void *unused)
{
	while (!atomic_load(&short_of_memory))
		usleep(1000);
	usleep(100000);
	atomic_store(&relieved, true);
	unit_limit_address_space(SIZE_MAX);
	return unused;
}

static void nofail_goes_on_until_there_is_memory(void)
{
	pthread_t thread;
	void *object;

	CHECK(pthread_create(&thread, NULL, relieve, NULL) == 0);
	use_up(100 * K);
	CHECK(kmalloc(100 * K, GFP_KERNEL | __GFP_NOWARN) == NULL);
	CHECK(!atomic_load(&relieved));
	atomic_store(&short_of_memory, true);
	object = kmalloc(100 * K, GFP_KERNEL | __GFP_NOFAIL);
	CHECK(object != NULL);
	CHECK(atomic_load(&relieved));
	CHECK(__vmalloc(1 << 20, GFP_KERNEL | __GFP_NOFAIL) != NULL);
	pthread_join(thread, NULL);
}

/* Where not even the cache is there yet, which needs memory of its own. */
static void nofail_goes_on_until_there_is_a_cache(void)
{
	struct mem_cgroup *group = mem_cgroup_create("group");
	pthread_t thread;
	void *object;

	CHECK(pthread_create(&thread, NULL, relieve, NULL) == 0);
	set_active_memcg(group);
	use_up(100 * K);
	while (meta_alloc(sizeof(struct kmem_cache), GFP_NOWAIT))
		;
	CHECK(kmalloc(100 * K, GFP_KERNEL_ACCOUNT | __GFP_NOWARN) == NULL);
	CHECK(!atomic_load(&relieved));
	atomic_store(&short_of_memory, true);
	object = kmalloc(100 * K, GFP_KERNEL_ACCOUNT | __GFP_NOFAIL);
	CHECK(object != NULL);
	CHECK(atomic_load(&relieved));
	CHECK(mem_cgroup_from_slab_obj(object) == group);
	pthread_join(thread, NULL);
}

static void nofail_that_may_not_sleep_warns_and_may_fail(void *unused)
{
	(void)unused;
	use_up(100 * K);
	for (volatile int i = 0; i < 2; i++) /* volatile: not unrolled, so one place */
		CHECK(kmalloc(100 * K, GFP_NOWAIT | __GFP_NOFAIL) == NULL);
	report_flush();
}

static void reserve_is_for_those_who_may_use_it(void)
{
	static const struct {
		gfp_t gfp;
		bool given;
	} cases[] = {
		{ GFP_ATOMIC, true },
		{ GFP_ATOMIC | __GFP_NOMEMALLOC, false },
		{ GFP_NOWAIT, false },
		{ GFP_NOWAIT | __GFP_MEMALLOC, true },
		{ GFP_NOWAIT | __GFP_MEMALLOC | __GFP_NOMEMALLOC, false },
		{ GFP_KERNEL | __GFP_NORETRY, false },
		{ GFP_KERNEL | __GFP_NORETRY | __GFP_HIGH, true },
	};
	unsigned scope;
	void *object;

	use_up(100 * K);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		object = kmalloc(100 * K, cases[i].gfp | __GFP_NOWARN);
		CHECK_EQ(object != NULL, cases[i].given);
		CHECK(!object || reserve_owns(object));
		kfree(object);
	}
	scope = memalloc_noreclaim_save();
	object = kmalloc(100 * K, GFP_KERNEL);
	CHECK(reserve_owns(object));
	memalloc_noreclaim_restore(scope);
	CHECK(kmalloc(100 * K, GFP_KERNEL | __GFP_NOWARN) == NULL);
}

static void construct(void *object)
{
	memset(object, 0x33, 100 * K);
}

static void object_of_a_created_cache_comes_from_the_reserve_and_goes_back(void)
{
	struct kmem_cache *cache = kmem_cache_create("big", 100 * K, 0, 0, construct);
	struct kmem_cache *other = kmem_cache_create("other", 100 * K, 0, 0, NULL);
	struct reserve_stat stat;
	unsigned char *object;

	kfree(kmalloc(1, GFP_KERNEL));
	use_up(100 * K);
	while ((object = kmem_cache_alloc(cache, GFP_ATOMIC)) != NULL && !reserve_owns(object))
		;
	CHECK(object != NULL);
	CHECK_EQ(object[0], 0x33);
	CHECK_EQ(object[100 * K - 1], 0x33);
	CHECK(ksize(object) >= 100 * K);
	kmem_cache_free(other, object); /* reported, and not freed */
	CHECK(ksize(object) >= 100 * K);
	kmem_cache_free(cache, object);
	reserve_stat(&stat);
	CHECK_EQ(stat.free, stat.bytes);
}

static void zero_clears_old_data_and_nothing_else(void)
{
	unsigned char *object;

	for (size_t size = 16; size <= KMALLOC_MAX_SIZE; size = size * 3 + 1) {
		for (int round = 0; round < 3; round++) {
			object = kmalloc(size, GFP_KERNEL);
			memset(object, 0xee, ksize(object));
			kfree(object);
			object = kzalloc(size, round == 2 ? GFP_ATOMIC : GFP_KERNEL);
			CHECK(unit_is_zero(object, ksize(object)));
			memset(object, 0xee, ksize(object));
			kfree(object);
		}
	}
	kmalloc_trim();
	/* fresh memory is known to be zero, and is not even touched */
	object = kzalloc(100 * K, GFP_KERNEL);
	CHECK_EQ(unit_resident((void *)((uintptr_t)object & ~4095UL), 96 * K), 0);
	CHECK(unit_is_zero(object, 100 * K));
}

static void zero_from_the_reserve_is_zero_to_its_end(void)
{
	static const size_t sizes[] = { 1, 70, 200, 700, 1300, 5000, 70000 };

	kfree(kmalloc(1, GFP_KERNEL));
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned char *dirty = reserve_alloc(sizes[i], 16, NULL), *object;

		CHECK(dirty != NULL);
		memset(dirty, 0xee, reserve_size(dirty));
		kfree(dirty);
		use_up_class(sizes[i]);
		object = kzalloc(sizes[i], GFP_ATOMIC);
		CHECK(reserve_owns(object));
		CHECK(unit_is_zero(object, ksize(object)));
	}
}

static void fail_without_a_cache(void *unused)
{
	(void)unused;
	CHECK(kmalloc(1000, GFP_ATOMIC | GFP_DMA) == NULL);
	CHECK(kmalloc(1000, GFP_NOWAIT | GFP_DMA) == NULL);
	fputs("HERE\n", stderr);
	fflush(stderr);
	for (int i = 0; i < 400; i++) /* some miss */
		CHECK(kmalloc(2000, GFP_KERNEL) != NULL);
}

static void report_of_a_cache_that_is_not_there_names_the_call(void)
{
	struct unit_end end = unit_child(fail_without_a_cache, NULL);

	CHECK(!end.signal && !end.status);
	CHECK(strstr(end.text,
		     "HERE\nlibkmalloc: kmalloc: allocation failure: 1000 bytes, "
		     "mode:0x821(GFP_ATOMIC|GFP_DMA), called from test_kmalloc_gfp_alloc"));
	CHECK(!strstr(strstr(end.text, "allocation failure") + 1, "allocation failure"));
}

static void fail_with(void *gfp)
{
	use_up(100 * K);
	CHECK(kmalloc(100 * K, (gfp_t)(uintptr_t)gfp) == NULL);
}

static void report_has_the_kernels_words_unless_nowarn(void)
{
	struct unit_end end = unit_child(fail_with, (void *)(uintptr_t)GFP_KERNEL);

	CHECK(strstr(end.text, "libkmalloc: SLUB: Unable to allocate memory on CPU "));
	CHECK(strstr(end.text, " (of node 0) on node 0, gfp=0xcc0(GFP_KERNEL), called from "));
	CHECK(strstr(end.text, "test_kmalloc_gfp_alloc"));
	CHECK(strstr(end.text, "\n  cache: kmalloc-112k, object size: 114688, buffer size: 114688, "
			       "default order: 5, min order: 5\n  node 0: slabs: "));
	CHECK(strstr(end.text, ", free: 0\n"));
	end = unit_child(fail_with, (void *)(uintptr_t)(GFP_KERNEL | __GFP_NOWARN));
	CHECK_EQ(strlen(end.text), 0);
	end = unit_child(fail_with, (void *)(uintptr_t)GFP_NOWAIT);
	CHECK_EQ(strlen(end.text), 0);
}

static void fail_atomically(void *unused)
{
	(void)unused;
	use_up(100 * K);
	while (kmalloc(100 * K, GFP_ATOMIC | __GFP_NOWARN))
		;
	for (int i = 0; i < 40; i++)
		CHECK(kmalloc(100 * K, GFP_ATOMIC) == NULL);
	fputs("HERE\n", stderr);
	fflush(stderr);
	unit_limit_address_space(SIZE_MAX);
	kfree(kmalloc(100 * K, GFP_KERNEL));
}

static void report_of_an_atomic_failure_waits_for_who_may_print(void)
{
	struct unit_end end = unit_child(fail_atomically, NULL);
	const char *here = strstr(end.text, "HERE\n");
	unsigned n = 0;

	CHECK(here == end.text);
	CHECK(strstr(here, "gfp=0x820(GFP_ATOMIC)"));
	for (const char *at = end.text; (at = strstr(at, "SLUB: ")) != NULL; at++)
		n++;
	CHECK_EQ(n, 10); /* in five seconds */
}

static void ask_for_what_there_is_not(void *unused)
{
	(void)unused;
	for (volatile int i = 0; i < 3; i++) {
		char *object = kmalloc(100, GFP_KERNEL | __GFP_HIGHMEM);

		CHECK(object != NULL);
		object[99] = 1;
		kfree(object);
	}
}

static void zone_that_kmalloc_has_not_is_fixed_up(void)
{
	struct unit_end end = unit_child(ask_for_what_there_is_not, NULL);
	const char *line = "libkmalloc: Unexpected gfp: 0x2 (__GFP_HIGHMEM). Fixing up to gfp: "
			   "0xcc0 (GFP_KERNEL). Fix your code! Called from test_kmalloc_gfp_alloc";

	CHECK(!end.signal && !end.status);
	CHECK(strstr(end.text, line) == end.text);
	CHECK(!strstr(end.text + strlen(line), "Unexpected")); /* once for this place */
}

static void sleep_in_an_atomic_scope(void *unused)
{
	unsigned outer, inner;

	(void)unused;
	kfree(kmalloc(100, GFP_KERNEL)); /* makes the reserve ready */
	outer = memalloc_atomic_save();
	inner = memalloc_atomic_save();
	CHECK(in_atomic());
	memalloc_atomic_restore(inner);
	CHECK(in_atomic());
	for (volatile int i = 0; i < 200; i++)
		CHECK(kmalloc(100, GFP_KERNEL)); /* some miss */
	for (volatile int i = 0; i < 3; i++) {
		CHECK(vmalloc(1 << 20) == NULL);
		might_sleep();
		might_alloc(GFP_ATOMIC);
	}
	memalloc_atomic_restore(outer);
	CHECK(!in_atomic());
	might_sleep();
	vfree(vmalloc(1 << 20));
}

static void call_that_may_sleep_in_an_atomic_scope_is_named_once(void)
{
	struct unit_end end;
	unsigned n = 0;

	end = unit_child(sleep_in_an_atomic_scope, NULL);
	CHECK(!end.signal && !end.status);
	CHECK(strstr(end.text, "sleeping function called from invalid context: "
			       "kmalloc(gfp=0xcc0(GFP_KERNEL)) in an atomic scope, called from "
			       "test_kmalloc_gfp_alloc"));
	CHECK(strstr(end.text, "sleeping function called from invalid context: "
			       "vmalloc(gfp=0xcc0(GFP_KERNEL)) in an atomic scope, called from "));
	CHECK(strstr(end.text, "sleeping function called from invalid context at "
			       "../tests/unit/kmalloc/test_gfp_alloc.c:"));
	for (const char *at = end.text; (at = strstr(at, "sleeping function")) != NULL; at++)
		n++;
	CHECK_EQ(n, 3);
}

static void vmalloc_inside_the_allocator(void *unused)
{
	(void)unused;
	lock_fork_prepare();
	CHECK(vmalloc(1 << 20) == NULL);
	lock_fork_parent();
}

static void area_inside_the_allocators_own_section_is_refused(void)
{
	struct unit_end end = unit_child(vmalloc_inside_the_allocator, NULL);

	CHECK(!end.signal && !end.status);
	CHECK(strstr(end.text, "vmalloc(gfp=0xcc0(GFP_KERNEL)) in a handler that interrupted the "
			       "allocator, called from "));
	CHECK(__vmalloc(1 << 20, GFP_ATOMIC | __GFP_NOWARN) == NULL);
	CHECK(__vmalloc(1 << 20, GFP_NOWAIT) == NULL);
}

static void scopes_take_away_what_they_say(void)
{
	unsigned noio = memalloc_noio_save(), nofs;

	CHECK_EQ(current_gfp_context(GFP_KERNEL), GFP_NOIO);
	memalloc_noio_restore(noio);
	CHECK_EQ(current_gfp_context(GFP_KERNEL), GFP_KERNEL);
	nofs = memalloc_nofs_save();
	CHECK_EQ(current_gfp_context(GFP_KERNEL), GFP_NOFS);
	noio = memalloc_noio_save();
	CHECK_EQ(current_gfp_context(GFP_KERNEL), GFP_NOIO);
	memalloc_noio_restore(noio);
	CHECK_EQ(current_gfp_context(GFP_KERNEL), GFP_NOFS);
	memalloc_nofs_restore(nofs);
	CHECK_EQ(current_gfp_context(GFP_KERNEL), GFP_KERNEL);
}

static void nofail_report_is_one_line(void)
{
	struct unit_end end = unit_child(nofail_that_may_not_sleep_warns_and_may_fail, NULL);

	CHECK(!end.signal && !end.status);
	CHECK(strstr(end.text, "__GFP_NOFAIL where nothing may sleep can't be kept"));
	CHECK(!strstr(strstr(end.text, "__GFP_NOFAIL where") + 1, "__GFP_NOFAIL where"));
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(failure_comes_after_as_many_purges_as_the_flags_say),
		UNIT_TEST(nofail_goes_on_until_there_is_memory),
		UNIT_TEST(nofail_goes_on_until_there_is_a_cache),
		UNIT_TEST(nofail_report_is_one_line),
		UNIT_TEST_WITH(reserve_is_for_those_who_may_use_it, "min_free_kbytes=1024"),
		UNIT_TEST(object_of_a_created_cache_comes_from_the_reserve_and_goes_back),
		UNIT_TEST_WITH(zero_clears_old_data_and_nothing_else, "transparent_hugepage=never"),
		UNIT_TEST(zero_from_the_reserve_is_zero_to_its_end),
		UNIT_TEST(report_has_the_kernels_words_unless_nowarn),
		UNIT_TEST(report_of_a_cache_that_is_not_there_names_the_call),
		UNIT_TEST(report_of_an_atomic_failure_waits_for_who_may_print),
		UNIT_TEST(zone_that_kmalloc_has_not_is_fixed_up),
		UNIT_TEST(call_that_may_sleep_in_an_atomic_scope_is_named_once),
		UNIT_TEST(area_inside_the_allocators_own_section_is_refused),
		UNIT_TEST(scopes_take_away_what_they_say),
	};

	return UNIT_MAIN(tests);
}
