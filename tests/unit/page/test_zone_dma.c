/* SPDX-License-Identifier: MIT */
/*
 * test_zone_dma.c - GFP_DMA: objects whose frames follow each other, looked at in /proc/self/pagemap here
 * too, not only by what the library says; and areas, whose frames do not.
 *
 *	object   |....|....|....|     virtual pages
 *	          f    f+1  f+2       frames, each present
 *
 * Where this process may not see frames (CAP_SYS_ADMIN), there is nothing to look at: skipped.
 */
#include "unit.h"

#include "frames.h"
#include "kmalloc/io.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/size_class.h"
#include "kmalloc/slab.h"
#include "kmalloc/start.h"
#include "kmalloc/vmalloc.h"
#include "os/os.h"
#include "page/zone_dma.h"
#include "seccomp.h"
#include "slab/kmem_cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define PAGE FRAME_BYTES
#define PER_CLASS (6UL << 20) /* bytes of each class, at most */

struct dma_object {
	char *ptr;
	size_t size;
	phys_addr_t phys;
};

static struct dma_object objects[20000];
static size_t nr_objects;

/* Memory comes and goes all around, so that the system has reasons to move things. */
static void press(void)
{
	static void *areas[16];

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
			areas[i] = vmalloc(4UL << 20);
			memset(areas[i], round, 4UL << 20);
		}
		for (size_t i = 0; i < ARRAY_SIZE(areas); i++)
			vfree(areas[i]);
		kmalloc_trim();
	}
}

static void objects_of_every_class_are_contiguous_and_stay(void)
{
	for (unsigned index = 1; index < NR_KMALLOC_CLASSES; index++) {
		size_t size = kmem_caches[index].object_size;
		size_t count = min_size(PER_CLASS / size, 300);

		for (size_t i = 0; i < count; i++) {
			struct dma_object *one = &objects[nr_objects++];

			CHECK(nr_objects <= ARRAY_SIZE(objects));
			one->size = size - i % 2;
			one->ptr = kmalloc(one->size, GFP_DMA | GFP_KERNEL);
			CHECK(one->ptr != NULL);
			CHECK(!strncmp(virt_to_cache(one->ptr)->name, "dma-kmalloc-", 12));
			frames_check_object(one->ptr, one->size);
			one->phys = virt_to_phys(one->ptr);
			unit_fill(one->ptr, one->size, i);
		}
	}
	CHECK(nr_objects > 5000);
	press();
	CHECK(dma_zone_verify());
	for (size_t i = 0; i < nr_objects; i++) {
		CHECK_EQ(virt_to_phys(objects[i].ptr), objects[i].phys);
		frames_check_object(objects[i].ptr, objects[i].size);
	}
	for (size_t i = 0; i < nr_objects; i++)
		kfree(objects[i].ptr);
}

static struct zone_dma_stat zone(void)
{
	struct zone_dma_stat stat;

	zone_dma_stat(&stat);
	return stat;
}

static _Atomic bool done;

/* GFP_DMA | GFP_ATOMIC where no system call may be made: until the zone is used up, and then NULL. */
static void *take_what_is_there(void *unused)
{
	static void *taken[4096];
	size_t n = 0;

	seccomp_no_calls();
	while (n < ARRAY_SIZE(taken) &&
	       (taken[n] = kmalloc(30000, GFP_DMA | GFP_ATOMIC | __GFP_NOWARN)) != NULL)
		n++;
	CHECK(n > 2 && n < ARRAY_SIZE(taken));
	while (n > 0)
		kfree(taken[--n]);
	atomic_store(&done, true);
	for (;;)
		__builtin_ia32_pause();
	return unused;
}

static void four_combinations_do_what_they_say(void)
{
	size_t bytes;
	pthread_t thread;
	void *object;

	/* neither is of the zone, whatever the zone has */
	kfree(kmalloc(1000, GFP_DMA | GFP_KERNEL));
	object = kmalloc(1000, GFP_KERNEL);
	CHECK(object && phys_to_virt(0) == NULL &&
	      !(virt_to_cache(object)->flags & KMEM_CACHE_DMA));
	kfree(object);
	object = kmalloc(1000, GFP_ATOMIC);
	CHECK(object && !(virt_to_cache(object)->flags & KMEM_CACHE_DMA));
	kfree(object);
	/* the zone grows where it may sleep */
	object = kmalloc(100000, GFP_DMA | GFP_KERNEL);
	CHECK(object != NULL);
	bytes = zone().bytes;
	CHECK(bytes > 0);
	/* and does not where it may not */
	CHECK(pthread_create(&thread, NULL, take_what_is_there, NULL) == 0);
	while (!atomic_load(&done))
		usleep(100);
	CHECK_EQ(zone().bytes, bytes);
	kfree(object);
}

static void atomic_request_of_an_empty_zone_gets_nothing(void)
{
	kfree(kmalloc(1, GFP_KERNEL));
	CHECK(kmalloc(1000, GFP_DMA | GFP_ATOMIC | __GFP_NOWARN) == NULL);
	CHECK(kmalloc(1000, GFP_DMA | GFP_NOWAIT) == NULL);
	CHECK_EQ(zone().bytes, 0);
}

static void zeroed_object_of_used_memory_is_zero(void)
{
	for (int i = 0; i < 3; i++) {
		char *object = kzalloc(50000, GFP_DMA | GFP_KERNEL);

		CHECK(unit_is_zero(object, 50000));
		memset(object, 0xee, 50000);
		kfree(object);
	}
}

static void zone_that_is_not_used_is_given_back(void)
{
	void *held[100];

	for (int i = 0; i < 100; i++)
		CHECK((held[i] = kmalloc(100000, GFP_DMA | GFP_KERNEL)) != NULL);
	CHECK(zone().bytes >= 100 * 100000UL);
	for (int i = 0; i < 100; i++)
		kfree(held[i]);
	kmalloc_trim();
	CHECK_EQ(zone().bytes, 0);
}

static void child_of_fork_has_none_and_the_parent_keeps_its_frames(void)
{
	char *object = kmalloc(100000, GFP_DMA | GFP_KERNEL);
	phys_addr_t phys = virt_to_phys(object);
	int status;
	pid_t child;

	memset(object, 1, 100000);
	child = fork();
	if (!child) {
		kmalloc_fork_child();
		CHECK(unit_faults(object));
		CHECK(virt_to_cache(object) == NULL);
		object = kmalloc(5000, GFP_DMA | GFP_KERNEL);
		CHECK(object != NULL);
		frames_check_object(object, 5000);
		kfree(object);
		_exit(0);
	}
	/* where it was shared, this write would get a copy elsewhere */
	memset(object, 2, 100000);
	CHECK_EQ(virt_to_phys(object), phys);
	frames_check_object(object, 100000);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	kfree(object);
}

static void ask_without_huge_pages(void *unused)
{
	(void)unused;
	CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
	for (int i = 0; i < 3; i++)
		CHECK(kmalloc(100, GFP_DMA | GFP_KERNEL) == NULL);
	CHECK_EQ(zone().bytes, 0);
	/* other memory is not concerned */
	kfree(kmalloc(100, GFP_KERNEL));
}

static void ask_without_locked_memory(void *unused)
{
	struct rlimit none = { 0, 0 };

	(void)unused;
	CHECK(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
	CHECK(setuid(65534) == 0);
	for (int i = 0; i < 3; i++)
		CHECK(kmalloc(100, GFP_DMA | GFP_KERNEL) == NULL);
	CHECK_EQ(zone().bytes, 0);
}

static void is_one_line(const char *text, const char *line)
{
	const char *at = strstr(text, line);

	CHECK(at != NULL);
	CHECK(!strstr(at + 1, line));
}

static void refusal_is_null_and_one_clear_line(void)
{
	struct unit_end end;

	/* a page of the system's pool needs neither */
	if (os_huge_pages_free())
		return;
	end = unit_child(ask_without_huge_pages, NULL);
	CHECK(!end.signal && !end.status);
	is_one_line(end.text, "GFP_DMA: no contiguous memory: the system gave no huge page");
	end = unit_child(ask_without_locked_memory, NULL);
	CHECK(!end.signal && !end.status);
	is_one_line(end.text, "GFP_DMA: memory can't be locked: RLIMIT_MEMLOCK is 0 bytes");
}

/* Frames go to pages in the order of their first touch, so an area touched from its end is scattered. */
static void area_spans_frames_that_do_not_follow_each_other(void)
{
	size_t size = 4UL << 20;
	char *area = vmalloc(size);

	for (size_t at = size; at > 0; at -= PAGE)
		area[(at - PAGE) * 7 % size] = 1;
	CHECK(frames_runs(area, size / PAGE) > 1);
	CHECK(virt_to_phys(area) == PHYS_ADDR_UNKNOWN);
	vfree(area);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(objects_of_every_class_are_contiguous_and_stay),
		UNIT_TEST(four_combinations_do_what_they_say),
		UNIT_TEST(atomic_request_of_an_empty_zone_gets_nothing),
		UNIT_TEST(zeroed_object_of_used_memory_is_zero),
		UNIT_TEST(zone_that_is_not_used_is_given_back),
		UNIT_TEST(child_of_fork_has_none_and_the_parent_keeps_its_frames),
		UNIT_TEST(refusal_is_null_and_one_clear_line),
		UNIT_TEST_WITH(area_spans_frames_that_do_not_follow_each_other,
			       "transparent_hugepage=never"),
	};
	volatile char here = 1;

	if (access("/proc/self/pagemap", R_OK) != 0 ||
	    !frames_phys((const void *)(uintptr_t)&here)) {
		fprintf(stderr, "skipped: this process may not see the frames of its memory\n");
		return 77;
	}
	return UNIT_MAIN(tests);
}
