/* SPDX-License-Identifier: MIT */
/*
 * test_dma.c - GFP_DMA over time: thousands of objects of each class, forks, threads, what the zone has
 * to the last byte, and blocks that the system moves or splits. tests/unit/page/test_zone_dma.c has the rest.
 *
 *	 virtual   | object of the DMA zone |        | area of vmalloc()      |
 *	 physical  | one run of frames      |        | here | there | there   |
 *
 * Skipped where the system shows no frames, or gives no huge page.
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
#include "slab/percpu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define K 1024UL
#define PER_CLASS 1024 /* objects of each class: thousands, over all 64 of them */

static struct zone_dma_stat zone_now(void)
{
	struct zone_dma_stat stat;

	zone_dma_stat(&stat);
	return stat;
}

static size_t locked_bytes(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	size_t kib = 0;

	CHECK(file != NULL);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "VmLck: %zu", &kib) == 1)
			break;
	fclose(file);
	return kib * K;
}

static void object_of_every_class_is_contiguous_resident_and_locked(void)
{
	static char *objects[PER_CLASS];
	size_t checked = 0;

	for (unsigned class = 1; class < NR_KMALLOC_CLASSES; class ++) {
		size_t size = kmem_caches[class].object_size;

		for (size_t i = 0; i < PER_CLASS; i++) {
			objects[i] = kmalloc(size, GFP_KERNEL | GFP_DMA);
			CHECK(objects[i] != NULL);
			CHECK(ksize(objects[i]) >= size);
			frames_check_object(objects[i], size);
			memset(objects[i], (int)i, size);
			checked++;
		}
		/* pages of the pool are never swapped, and not counted */
		CHECK(locked_bytes() == zone_now().bytes || !locked_bytes());
		for (size_t i = 0; i < PER_CLASS; i++) {
			CHECK_EQ((unsigned char)objects[i][size - 1], i & 0xff);
			frames_check_object(objects[i], size);
			kfree(objects[i]);
		}
	}
	CHECK_EQ(checked, (NR_KMALLOC_CLASSES - 1) * PER_CLASS);
	printf("%zu objects of %u classes, each in one run of frames\n", checked,
	       NR_KMALLOC_CLASSES - 1);
}

#define KEPT 512

/* As fork() in a program that has the library, whose handlers these are. */
static pid_t fork_with_handlers(void)
{
	pid_t pid;

	lock_fork_prepare();
	pid = fork();
	if (pid == 0) {
		lock_fork_child();
		percpu_fork_child();
		kmalloc_fork_child();
	} else {
		lock_fork_parent();
	}
	return pid;
}

static void child_has_a_zone_of_its_own(char **objects)
{
	pid_t pid = fork_with_handlers();
	int status;

	CHECK(pid >= 0);
	if (pid == 0) {
		/* its copy has nothing there; what it asks for itself is its own */
		char *object = kmalloc(100 * K, GFP_KERNEL | GFP_DMA);

		CHECK(virt_to_phys(objects[0]) == PHYS_ADDR_UNKNOWN);
		CHECK(unit_faults(objects[0]));
		kfree(objects[0]); /* foreign */
		CHECK(object != NULL);
		frames_check_object(object, 100 * K);
		kfree(object);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
}

/* Pages are asked for and given back, and the system is asked to take what it may. */
static void unrest(char **objects)
{
	for (int i = 0; i < 8; i++) {
		char *area = vmalloc(16 << 20);

		CHECK(area != NULL);
		memset(area, i, 16 << 20);
		vfree(area);
	}
	for (size_t i = 0; i < KEPT; i++)
		madvise((void *)((uintptr_t)objects[i] & ~(FRAME_BYTES - 1)), FRAME_BYTES,
			21 /* MADV_PAGEOUT: refused for locked pages */);
	kmalloc_trim();
}

static void object_stays_where_it_is_over_time_and_forks(void)
{
	static char *objects[KEPT];
	static uint64_t where[KEPT];
	static size_t sizes[KEPT];

	for (size_t i = 0; i < KEPT; i++) {
		sizes[i] = kmem_caches[1 + i % (NR_KMALLOC_CLASSES - 1)].object_size;
		objects[i] = kmalloc(sizes[i], GFP_KERNEL | GFP_DMA);
		CHECK(objects[i] != NULL);
		where[i] = virt_to_phys(objects[i]);
		unit_fill(objects[i], sizes[i], i);
	}
	for (int round = 0; round < 20; round++) {
		unrest(objects);
		child_has_a_zone_of_its_own(objects);
		for (size_t i = 0; i < KEPT; i++) {
			/* after a fork a write is what may copy a page */
			*(volatile char *)objects[i] = objects[i][0];
			CHECK(unit_is_filled(objects[i], sizes[i], i));
			CHECK_EQ(frames_phys(objects[i]), where[i]);
			frames_check_object(objects[i], sizes[i]);
		}
		CHECK(dma_zone_verify());
	}
}

static _Atomic bool done;
static size_t nr_atomic;
static char *atomic_objects[4096];

/* All that the zone has, and not one system call. */
static void *take_all_atomically(void *unused)
{
	seccomp_no_calls();
	while (nr_atomic < 4096) {
		char *object = kmalloc(100 * K, GFP_ATOMIC | GFP_DMA | __GFP_NOWARN);

		if (!object)
			break;
		atomic_objects[nr_atomic++] = object;
		object[0] = object[100 * K - 1] = 1;
	}
	CHECK(kmalloc(100 * K, GFP_NOWAIT | GFP_DMA) == NULL);
	atomic_store(&done, true);
	for (;;)
		__builtin_ia32_pause();
	return unused;
}

static void atomic_takes_what_is_there_and_builds_nothing(void)
{
	pthread_t thread;
	char *first;
	size_t bytes;

	CHECK(kmalloc(100 * K, GFP_ATOMIC | GFP_DMA | __GFP_NOWARN) == NULL);
	CHECK_EQ(zone_now().bytes, 0);
	first = kmalloc(100 * K, GFP_KERNEL | GFP_DMA);
	CHECK(first != NULL);
	bytes = zone_now().bytes;
	CHECK(bytes >= HUGE_BYTES);
	CHECK(pthread_create(&thread, NULL, take_all_atomically, NULL) == 0);
	while (!atomic_load(&done))
		usleep(1000);
	CHECK_EQ(zone_now().bytes, bytes);
	CHECK_EQ(zone_now().free, 0);
	CHECK_EQ(nr_atomic + 1, bytes / (128 * K));
	for (size_t i = 0; i < nr_atomic; i++) {
		frames_check_object(atomic_objects[i], 100 * K);
		kfree(atomic_objects[i]);
	}
	/* where it may sleep there is more */
	for (size_t i = 0; i < 2 * bytes / (128 * K); i++)
		CHECK(kmalloc(100 * K, GFP_KERNEL | GFP_DMA) != NULL);
	CHECK(zone_now().bytes > bytes);
}

static void address_has_a_fixed_offset_inside_a_block(void)
{
	char *object = kmalloc(KMALLOC_MAX_SIZE, GFP_KERNEL | GFP_DMA);
	uint64_t phys = virt_to_phys(object);
	/* the whole of its block */
	char *block = (char *)((uintptr_t)object & ~(HUGE_BYTES - 1));
	uint64_t start = phys - (uint64_t)(object - block);

	CHECK_EQ(start % HUGE_BYTES, 0);
	for (size_t i = 0; i < HUGE_BYTES; i += 509) {
		CHECK_EQ(virt_to_phys(block + i), start + i);
		CHECK(phys_to_virt(start + i) == block + i);
	}
	CHECK(virt_to_phys(block - 1) == PHYS_ADDR_UNKNOWN);
	CHECK(phys_to_virt(start - 1) == NULL);
	CHECK(phys_to_virt(start + HUGE_BYTES) == NULL);
}

static void *churn(void *arg)
{
	uint64_t seed = unit_seed() + (uintptr_t)arg;
	unsigned char *held[32] = { 0 };
	size_t sizes[32];

	for (int i = 0; i < 20000; i++) {
		uint64_t random = unit_random(&seed);
		size_t at = random % 32;

		if (held[at]) {
			CHECK_EQ(held[at][0], at);
			CHECK_EQ(held[at][sizes[at] - 1], at);
			kfree(held[at]);
			held[at] = NULL;
			continue;
		}
		sizes[at] = 1 + (random >> 8) % (random & 64 ? 500 : KMALLOC_MAX_SIZE);
		held[at] = kmalloc(sizes[at],
				   random & 128 ? GFP_KERNEL | GFP_DMA : GFP_NOWAIT | GFP_DMA);
		if (held[at])
			held[at][0] = held[at][sizes[at] - 1] = (unsigned char)at;
		if (arg && i % 1000 == 0)
			kmalloc_trim();
		if (arg && i % 1000 == 500)
			CHECK(dma_zone_verify());
	}
	for (size_t i = 0; i < 32; i++)
		kfree(held[i]);
	return NULL;
}

static void threads_share_the_zone(void)
{
	pthread_t threads[4];

	for (uintptr_t i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, churn, (void *)(i / 3)) == 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	kmalloc_trim();
	CHECK_EQ(zone_now().bytes, 0);
}

static void free_twice(void *unused)
{
	char *object = kmalloc(100, GFP_KERNEL | GFP_DMA), *other;

	(void)unused;
	other = kmalloc(100, GFP_KERNEL | GFP_DMA);
	kfree(object);
	kfree(object);
	kfree(other);
}

static void second_free_is_seen(void)
{
	struct unit_end end = unit_child(free_twice, NULL);

	CHECK_EQ(end.signal, 6);
	CHECK(strstr(end.text, "BUG dma-kmalloc-112: Object already free: "));
}

/* What the system may do to a block, done by the test: other frames for all of it, or for one page. */
static void move_block(char *block, size_t bytes)
{
	char *elsewhere = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* the old frames are given to others first, so that others come */
	CHECK(munlock(block, bytes) == 0);
	CHECK(elsewhere != MAP_FAILED);
	CHECK(madvise(block, bytes, MADV_DONTNEED) == 0);
	madvise(elsewhere, bytes + HUGE_BYTES, MADV_HUGEPAGE);
	memset(elsewhere, 1, bytes + HUGE_BYTES);
	for (size_t i = 0; i < bytes; i += FRAME_BYTES)
		block[i] = 1;
}

static char *block_of(const void *object)
{
	return (char *)((uintptr_t)object & ~(HUGE_BYTES - 1));
}

static void look_at_a_moved_block(void *unused)
{
	char *object = kmalloc(100 * K, GFP_KERNEL | GFP_DMA);
	uint64_t before = virt_to_phys(object);

	(void)unused;
	CHECK(dma_zone_verify());
	move_block(block_of(object), HUGE_BYTES);
	CHECK(frames_phys(object) != before);
	CHECK(!dma_zone_verify());
	/* known from now on, and still good */
	CHECK(dma_zone_verify());
	frames_check_object(object, 100 * K);
	CHECK(phys_to_virt(before) == NULL);
	CHECK(kmalloc(100 * K, GFP_KERNEL | GFP_DMA) != NULL);
	CHECK_EQ(zone_now().bytes, HUGE_BYTES);
}

static void block_that_was_moved_is_noticed_and_used_on(void)
{
	struct unit_end end;

	/* a page of the system's pool can't be moved so */
	if (os_huge_pages_free())
		return;
	end = unit_child(look_at_a_moved_block, NULL);
	CHECK(!end.signal && !end.status);
	CHECK(!strcmp(end.text, "libkmalloc: GFP_DMA: the system moved a block: physical addresses "
				"changed\n"));
}

static void look_at_a_split_block(void *verify)
{
	char *object = kmalloc(100 * K, GFP_KERNEL | GFP_DMA), *other;

	move_block(block_of(object) + HUGE_BYTES / 2, FRAME_BYTES);
	CHECK(frames_runs(block_of(object), HUGE_BYTES / FRAME_BYTES) > 1);
	if (verify)
		CHECK(!dma_zone_verify());
	/* the next comes from another block, since each is looked at before it gives a slab */
	other = kmalloc(100 * K, GFP_KERNEL | GFP_DMA);
	CHECK(other != NULL);
	CHECK(block_of(other) != block_of(object));
	frames_check_object(other, 100 * K);
	CHECK(dma_zone_verify());
	CHECK(virt_to_phys(object) == PHYS_ADDR_UNKNOWN);
	CHECK_EQ(zone_now().bytes, 2 * HUGE_BYTES);
	/* what is out can still be given back, and then the block goes */
	kfree(object);
	kmalloc_trim();
	CHECK_EQ(zone_now().bytes, HUGE_BYTES);
	frames_check_object(other, 100 * K);
}

static void block_that_was_split_gives_nothing_more(void)
{
	for (uintptr_t verify = 0; verify < 2 && !os_huge_pages_free(); verify++) {
		struct unit_end end = unit_child(look_at_a_split_block, (void *)verify);

		CHECK(!end.signal && !end.status);
		CHECK(!strcmp(end.text, "libkmalloc: GFP_DMA: the system split a block: it is "
					"contiguous no more\n"));
	}
}

/* The physical layout of an area and of an object, side by side. */
static void area_spans_frames_that_are_not_contiguous(void)
{
	size_t pages = 4096;
	char *area = vmalloc(pages * FRAME_BYTES), *object;
	size_t runs;

	CHECK(area != NULL);
	/* touched in an order of its own, as programs do: 2741 is prime */
	for (size_t i = 0; i < pages; i++)
		area[i * 2741 % pages * FRAME_BYTES] = 1;
	object = kmalloc(KMALLOC_MAX_SIZE, GFP_KERNEL | GFP_DMA);
	CHECK(object != NULL);
	runs = frames_runs(area, pages);
	printf("vmalloc(%zu): %zu pages in %zu runs of frames\n", pages * FRAME_BYTES, pages, runs);
	printf("kmalloc(%lu, GFP_KERNEL | GFP_DMA): %lu pages in %zu run of frames at 0x%lx\n",
	       KMALLOC_MAX_SIZE, 128 * K / FRAME_BYTES, frames_runs(object, 128 * K / FRAME_BYTES),
	       virt_to_phys(object));
	CHECK(runs > pages / 512);
	CHECK(virt_to_phys(area) == PHYS_ADDR_UNKNOWN);
	frames_check_object(object, KMALLOC_MAX_SIZE);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(object_of_every_class_is_contiguous_resident_and_locked),
		UNIT_TEST(object_stays_where_it_is_over_time_and_forks),
		UNIT_TEST(atomic_takes_what_is_there_and_builds_nothing),
		UNIT_TEST(address_has_a_fixed_offset_inside_a_block),
		UNIT_TEST(threads_share_the_zone),
		UNIT_TEST(second_free_is_seen),
		UNIT_TEST(block_that_was_moved_is_noticed_and_used_on),
		UNIT_TEST(block_that_was_split_gives_nothing_more),
		UNIT_TEST_WITH(area_spans_frames_that_are_not_contiguous,
			       "transparent_hugepage=never"),
	};
	const char *missing = frames_missing();

	if (missing) {
		printf("skipped: %s\n", missing);
		return 77;
	}
	return UNIT_MAIN(tests);
}
