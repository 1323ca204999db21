/* SPDX-License-Identifier: MIT */
/*
 * test_percpu.c - per-CPU areas: when they come, what each step does, drain, divert,
 * vfork, and the modes. The sheaves are the test's own, in a slot that no cache has;
 * meson runs the program once per mode.
 */
#include "unit.h"

#include "kmalloc/start.h"
#include "slab/kmem_cache.h"

#include <pthread.h>
#include <sched.h>

#define SLOT 100
#define CAPACITY 6

static char objects[64][16] __attribute__((aligned(16)));

static bool has_rseq(void)
{
	return percpu_mode() != PERCPU_LOCKED;
}

static struct slab_sheaf *sheaf_new(unsigned count)
{
	struct slab_sheaf *sheaf = calloc(1, sheaf_bytes(CAPACITY));

	CHECK(sheaf != NULL);
	sheaf_init(sheaf, CAPACITY);
	for (unsigned i = 0; i < count; i++)
		*sheaf->top++ = objects[i];
	return sheaf;
}

/* On one CPU, so that two steps meet the same area; its index is returned. */
static unsigned prepared(void)
{
	unit_pin(0);
	CHECK(percpu_prepare(GFP_KERNEL));
	for (unsigned i = 0; i < RSEQ_NR_CPUS; i++)
		if (percpu.backing[i])
			return i;
	CHECK(!"an area");
	return 0;
}

static void area_of_no_use_yet_misses(void)
{
	void *object;

	CHECK_EQ(percpu_nr_areas(), 0);
	CHECK(!percpu_pop(SLOT, &object));
	CHECK(!percpu_push(SLOT, objects[0]));
	CHECK(!percpu_pop_slow(SLOT, &object, GFP_KERNEL));
	CHECK(!percpu_push_slow(SLOT, objects[0], GFP_KERNEL));
	CHECK(!percpu_take_spare(SLOT, true, GFP_KERNEL));
	CHECK(!percpu_put_spare(SLOT, sheaf_new(0), false, GFP_KERNEL));
	CHECK_EQ(percpu_nr_areas(), 0);
}

static void area_is_populated_for_this_cpu_alone(void)
{
	unsigned index = prepared();

	CHECK_EQ(percpu_nr_areas(), index + 1);
	CHECK_EQ(percpu.hit[index], has_rseq() ? percpu.backing[index] : 0);
	for (unsigned i = 0; i < RSEQ_NR_CPUS; i++)
		CHECK(i == index || (!percpu.hit[i] && !percpu.backing[i]));
	CHECK(percpu_prepare(GFP_ATOMIC));
	CHECK_EQ(percpu_nr_areas(), index + 1);
}

static void area_when_new_is_empty_and_full(void)
{
	void *object;

	prepared();
	for (unsigned slot = 0; slot < KMEM_CACHES_MAX; slot++) {
		CHECK(!percpu_pop_slow(slot, &object, GFP_KERNEL));
		CHECK(!percpu_push_slow(slot, objects[0], GFP_KERNEL));
		CHECK(!percpu_take_spare(slot, true, GFP_KERNEL));
		CHECK(!percpu_take_spare(slot, false, GFP_KERNEL));
	}
}

static void hit_and_slow_path_share_the_main_sheaf(void)
{
	struct slab_sheaf *old;
	void *object;

	prepared();
	CHECK(percpu_replace_empty(SLOT, sheaf_new(0), &old, GFP_KERNEL));
	CHECK(old == NULL);
	for (unsigned i = 0; i < CAPACITY; i++)
		CHECK(i % 2 && has_rseq() ? percpu_push(SLOT, objects[i]) :
					    percpu_push_slow(SLOT, objects[i], GFP_KERNEL));
	CHECK(!percpu_push(SLOT, objects[10]));
	CHECK(!percpu_push_slow(SLOT, objects[10], GFP_KERNEL));
	for (unsigned i = CAPACITY; i-- > 0;) {
		CHECK(i % 2 && has_rseq() ? percpu_pop(SLOT, &object) :
					    percpu_pop_slow(SLOT, &object, GFP_KERNEL));
		CHECK(object == objects[i]);
	}
	CHECK(!percpu_pop(SLOT, &object));
	CHECK(!percpu_pop_slow(SLOT, &object, GFP_KERNEL));
}

static void replace_empty_gives_back_a_usable_empty_sheaf(void)
{
	struct slab_sheaf *first = sheaf_new(2), *second = sheaf_new(1), *old = NULL;
	void *object;

	prepared();
	CHECK(percpu_replace_empty(SLOT, first, &old, GFP_KERNEL));
	CHECK(!percpu_replace_empty(SLOT, second, &old, GFP_KERNEL));
	CHECK(percpu_pop_slow(SLOT, &object, GFP_KERNEL) && object == objects[1]);
	CHECK(percpu_pop_slow(SLOT, &object, GFP_KERNEL) && object == objects[0]);
	CHECK(percpu_replace_empty(SLOT, second, &old, GFP_KERNEL));
	CHECK(old == first);
	CHECK(sheaf_empty(old));
	CHECK(percpu_pop_slow(SLOT, &object, GFP_KERNEL) && object == objects[0]);
}

static void replace_full_gives_back_the_full_sheaf(void)
{
	struct slab_sheaf *first = sheaf_new(CAPACITY - 1), *second = sheaf_new(0), *old = NULL;

	prepared();
	CHECK(percpu_replace_full(SLOT, first, &old, GFP_KERNEL));
	CHECK(old == NULL);
	CHECK(!percpu_replace_full(SLOT, second, &old, GFP_KERNEL));
	CHECK(percpu_push_slow(SLOT, objects[20], GFP_KERNEL));
	CHECK(percpu_replace_full(SLOT, second, &old, GFP_KERNEL));
	CHECK(old == first);
	CHECK(old->slots[CAPACITY] == objects[20]);
}

static void spare_is_taken_as_what_it_was_put(void)
{
	struct slab_sheaf *full = sheaf_new(CAPACITY), *empty = sheaf_new(0);

	prepared();
	CHECK(percpu_put_spare(SLOT, full, true, GFP_KERNEL));
	CHECK(!percpu_put_spare(SLOT, empty, false, GFP_KERNEL));
	CHECK(percpu_take_spare(SLOT, false, GFP_KERNEL) == NULL);
	CHECK(percpu_take_spare(SLOT + 1, true, GFP_KERNEL) == NULL);
	CHECK(percpu_take_spare(SLOT, true, GFP_KERNEL) == full);
	CHECK(percpu_take_spare(SLOT, true, GFP_KERNEL) == NULL);
	CHECK(percpu_put_spare(SLOT, empty, false, GFP_KERNEL));
	CHECK(percpu_take_spare(SLOT, true, GFP_KERNEL) == NULL);
	CHECK(percpu_take_spare(SLOT, false, GFP_KERNEL) == empty);
}

static void slot_of_no_cache_takes_nothing(void)
{
	static uintptr_t before[PERCPU_WORDS];
	void *object;

	memcpy(before, percpu.empty, sizeof(before));
	prepared();
	CHECK(!percpu_push(0, objects[0]));
	CHECK(!percpu_push_slow(0, objects[0], GFP_KERNEL));
	CHECK(!percpu_pop(0, &object));
	CHECK(!memcmp(before, percpu.empty, sizeof(before)));
}

static unsigned count_list(const struct slab_sheaf *list, unsigned *nr_objects)
{
	unsigned n = 0;

	for (; list; list = list->next, n++)
		*nr_objects += sheaf_count(list);
	return n;
}

static void drain_takes_all_sheaves_with_their_tops(void)
{
	struct slab_sheaf *lists[KMEM_CACHES_MAX], *old;
	unsigned nr_objects = 0;
	void *object;

	prepared();
	CHECK(percpu_replace_empty(SLOT, sheaf_new(3), &old, GFP_KERNEL));
	CHECK(percpu_put_spare(SLOT, sheaf_new(CAPACITY), true, GFP_KERNEL));
	CHECK(percpu_put_spare(SLOT + 1, sheaf_new(0), false, GFP_KERNEL));
	CHECK(percpu_put_sheaf(PERCPU_TESTED + SLOT, sheaf_new(2), GFP_KERNEL));
	CHECK(percpu_drain(lists));
	for (unsigned slot = 0; slot < KMEM_CACHES_MAX; slot++)
		CHECK(slot == SLOT || slot == SLOT + 1 || !lists[slot]);
	CHECK_EQ(count_list(lists[SLOT], &nr_objects), 3);
	CHECK_EQ(nr_objects, 5 + CAPACITY);
	CHECK_EQ(count_list(lists[SLOT + 1], &nr_objects), 1);
	CHECK_EQ(nr_objects, 5 + CAPACITY);

	/* and the area is as new, in use again at once */
	CHECK(!percpu_pop_slow(SLOT, &object, GFP_KERNEL));
	CHECK(!percpu_take_spare(SLOT, true, GFP_KERNEL));
	CHECK(percpu_replace_empty(SLOT, sheaf_new(1), &old, GFP_KERNEL));
	CHECK(old == NULL);
	CHECK(has_rseq() ? percpu_pop(SLOT, &object) : percpu_pop_slow(SLOT, &object, GFP_KERNEL));
}

static void divert_sends_hits_to_the_slow_path(void)
{
	struct slab_sheaf *old;
	unsigned index = prepared();
	void *object;

	CHECK(percpu_replace_empty(SLOT, sheaf_new(3), &old, GFP_KERNEL));
	percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_ALL);
	CHECK(percpu_diverted());
	CHECK(!percpu_pop(SLOT, &object));
	CHECK(!percpu_push(SLOT, objects[9]));
	CHECK(percpu_prepare(GFP_KERNEL));
	CHECK_EQ(percpu.hit[index], 0);
	CHECK(percpu_pop_slow(SLOT, &object, GFP_KERNEL) && object == objects[2]);
	percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_NOTHING);
	CHECK(!percpu_diverted());
	CHECK_EQ(percpu_pop(SLOT, &object), has_rseq());
}

/* A reader that wants samples, as it does it: wishes, the byte, the table, the generation. */
static void want_samples(enum trace_mode mode, size_t mean)
{
	trace_control.want_mode = mode;
	trace_control.want_sample_bytes = mean;
	percpu.divert[PERCPU_DIVERT_TRACE] = trace_diversion(mode);
	memset(percpu.hit, 0, sizeof(percpu.hit));
	trace_control.generation++;
}

/* And what the library does. */
static void apply(enum trace_mode mode)
{
	trace_control.mode = mode;
	trace_control.applied = trace_control.generation;
	percpu.divert[PERCPU_DIVERT_TRACE] = mode == TRACE_OFF ? PERCPU_DIVERT_NOTHING :
								 trace_diversion(mode);
}

static void samples_part_pops_from_pushes(void)
{
	struct slab_sheaf *old, *freed = sheaf_new(3);
	unsigned index = prepared();
	uintptr_t *area = percpu_area(index);
	void *object;

	CHECK(percpu_replace_empty(SLOT, freed, &old, GFP_KERNEL));
	want_samples(TRACE_SAMPLE, 1UL << 40);
	/* until the wish is known nothing is a hit, but frees */
	CHECK(percpu_diverted() && percpu_diverted_for_samples() && !percpu_frees_diverted());
	CHECK(!percpu_takes_samples() && percpu_prepare(GFP_KERNEL));
	CHECK(!percpu_pop(SLOT, &object));
	CHECK_EQ(percpu_push(SLOT, objects[9]), has_rseq());
	apply(TRACE_SAMPLE);
	CHECK_EQ(percpu_takes_samples(), has_rseq());
	CHECK(percpu_prepare(GFP_KERNEL));
	if (!has_rseq())
		return;
	CHECK_EQ(percpu.hit[index], percpu.hit_free[index] + trace_control.split);
	/* what was freed before stays where frees go */
	CHECK(!percpu_pop(SLOT, &object));
	CHECK(percpu_replace_empty(PERCPU_TESTED + SLOT, sheaf_new(2), &old, GFP_KERNEL));
	CHECK(percpu_push(SLOT, objects[8]));
	CHECK(percpu_pop(SLOT, &object) && object == objects[1]);
	CHECK_EQ(area[PERCPU_MAIN + SLOT], (uintptr_t)&freed->slots[6]);
	/* the other tables' entries stand as they are to be: nothing to do */
	CHECK(percpu_prepare(GFP_KERNEL));
	apply(TRACE_OFF);
	CHECK(percpu_prepare(GFP_KERNEL));
	CHECK_EQ(percpu.hit[index], percpu.hit_free[index]);
	CHECK(percpu_pop(SLOT, &object) && object == objects[8]);
	/* one is left */
	CHECK(percpu_take_sheaf(PERCPU_TESTED + SLOT, GFP_KERNEL) != NULL);
	CHECK(!percpu_take_sheaf(PERCPU_TESTED + SLOT, GFP_KERNEL));
}

static void samples_and_all_calls_go_to_the_slow_path(void)
{
	unsigned index = prepared();

	want_samples(TRACE_SAMPLE, 1UL << 40);
	apply(TRACE_SAMPLE);
	CHECK(percpu_prepare(GFP_KERNEL));
	percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_ALL);
	CHECK(!percpu_diverted_for_samples() && percpu_frees_diverted() && !percpu_takes_samples());
	CHECK(!percpu_push(SLOT, objects[9]));
	CHECK(percpu_prepare(GFP_KERNEL));
	CHECK_EQ(percpu.hit[index], 0);
	CHECK_EQ(percpu.hit_free[index], 0);
	percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_NOTHING);
	CHECK_EQ(percpu.hit_free[index] != 0, has_rseq());
	/* what is known to be no sample still is none */
	CHECK_EQ(percpu.hit[index] != 0, has_rseq());
	apply(TRACE_OFF);
	percpu_divert(PERCPU_DIVERT_TRACE, PERCPU_DIVERT_NOTHING);
	CHECK_EQ(percpu.hit[index], percpu.hit_free[index]);
	CHECK_EQ(percpu.hit[index] != 0, has_rseq());
}

static void samples_that_begin_anew_take_what_was_tested_away(void)
{
	struct slab_sheaf *old, *sheaf = sheaf_new(5);
	unsigned index = prepared();

	if (!has_rseq())
		return;
	kmem_caches[SLOT].size = 64;
	want_samples(TRACE_SAMPLE, 1UL << 40);
	apply(TRACE_SAMPLE);
	CHECK(percpu_prepare(GFP_KERNEL));
	CHECK(percpu_replace_empty(PERCPU_TESTED + SLOT, sheaf, &old, GFP_KERNEL));
	CHECK_EQ(percpu_test(SLOT, 100), 100);
	want_samples(TRACE_SAMPLE, 1);
	CHECK(percpu_prepare(GFP_KERNEL));
	CHECK_EQ(percpu.hit[index], 0);
	apply(TRACE_SAMPLE);
	CHECK(percpu_prepare(GFP_KERNEL));
	CHECK(percpu.hit[index] != 0);
	CHECK_EQ(percpu_area(index)[PERCPU_TESTED + SLOT], percpu.empty[PERCPU_TESTED]);
	CHECK(atomic_load(&kmem_caches[SLOT].deferred) == sheaf);
	CHECK_EQ(sheaf_count(sheaf), 5);
	/* and the count is of the new mean */
	CHECK_EQ(percpu_test(SLOT, 100), 0);
	CHECK(percpu_sample(SLOT) && percpu_sample(SLOT));
}

static void tests_count_each_object_once(void)
{
	unsigned count = 0;

	prepared();
	if (!has_rseq())
		return;
	kmem_caches[SLOT].size = 64;
	want_samples(TRACE_SAMPLE, 1UL << 20);
	apply(TRACE_SAMPLE);
	CHECK(percpu_prepare(GFP_KERNEL));
	/* up to the next one, in steps; put back, and again: the same one */
	while (percpu_test(SLOT, 7) == 7)
		count += 7;
	count = 0;
	CHECK(percpu_sample(SLOT));
	while (percpu_test(SLOT, 1))
		count++;
	percpu_untest(SLOT, count);
	for (unsigned i = 0; i < count; i++)
		CHECK(!percpu_sample(SLOT));
	CHECK(percpu_sample(SLOT));
}

static void area_populated_while_diverted_stays_off_the_hit_path(void)
{
	unsigned index;

	percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_ALL);
	index = prepared();
	CHECK_EQ(percpu.hit[index], 0);
	percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_NOTHING);
	CHECK_EQ(percpu.hit[index] != 0, has_rseq());
}

static void vfork_child_keeps_off_all_areas(void)
{
	struct slab_sheaf *lists[KMEM_CACHES_MAX], *old;
	unsigned index = prepared();
	void *object;

	CHECK(percpu_replace_empty(SLOT, sheaf_new(3), &old, GFP_KERNEL));
	percpu_vfork_child();
	percpu_vfork_child(); /* a vfork child that vforks */
	percpu_vfork_parent();
	CHECK(!percpu_pop(SLOT, &object));
	CHECK(!percpu_push(SLOT, objects[9]));
	CHECK(!percpu_prepare(GFP_KERNEL));
	CHECK(!percpu_pop_slow(SLOT, &object, GFP_KERNEL));
	CHECK(!percpu_push_slow(SLOT, objects[9], GFP_KERNEL));
	CHECK(!percpu_replace_full(SLOT, sheaf_new(0), &old, GFP_KERNEL));
	CHECK(!percpu_put_spare(SLOT, sheaf_new(0), false, GFP_KERNEL));
	CHECK(!percpu_drain(lists));
	CHECK_EQ(percpu.hit[index], 0);
	percpu_vfork_parent();
	CHECK(percpu_prepare(GFP_KERNEL));
	CHECK(percpu_pop_slow(SLOT, &object, GFP_KERNEL) && object == objects[2]);
	CHECK_EQ(percpu_pop(SLOT, &object), has_rseq());
}

static pthread_barrier_t barrier;

static void *vfork_and_wait(void *unused)
{
	unit_pin(0);
	percpu_vfork_child();
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	percpu_vfork_parent();
	return unused;
}

/* Two threads on one CPU, so with one index: one of them is in vfork. */
static void vfork_of_another_thread_keeps_the_index_off_the_hit_path(void)
{
	unsigned index = prepared();
	pthread_t thread;

	if (!has_rseq())
		return;
	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(pthread_create(&thread, NULL, vfork_and_wait, NULL) == 0);
	pthread_barrier_wait(&barrier);
	CHECK_EQ(percpu.hit[index], 0);
	CHECK(percpu_prepare(GFP_KERNEL));
	CHECK_EQ(percpu.hit[index], 0);
	percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_ALL);
	percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_NOTHING);
	CHECK_EQ(percpu.hit[index], 0);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	CHECK(percpu_prepare(GFP_KERNEL));
	CHECK(percpu.hit[index] != 0);
}

static void fork_child_forgets_vforks_of_other_threads(void)
{
	unsigned index = prepared();
	pthread_t thread;

	if (!has_rseq())
		return;
	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(pthread_create(&thread, NULL, vfork_and_wait, NULL) == 0);
	pthread_barrier_wait(&barrier);
	percpu_fork_child();
	CHECK(percpu_prepare(GFP_KERNEL));
	CHECK(percpu.hit[index] != 0);
}

static void mode_without_rseq_is_locked(void)
{
	CHECK_EQ(percpu_mode(), PERCPU_LOCKED);
	CHECK(!strcmp(percpu_mode_name(), "locked"));
	CHECK(!strcmp(percpu_mode_reason(), "rseq=off in KMALLOC_CMDLINE"));
}

static void mode_cpu_id_indexes_by_cpu(void)
{
	if (!has_rseq())
		return;
	CHECK_EQ(percpu_mode(), PERCPU_CPU_ID);
	for (unsigned i = 0; i < unit_cpus(); i++) {
		unit_pin(i);
		CHECK_EQ(rseq_index(), sched_getcpu());
	}
}

static void mode_without_registration_says_so(void)
{
	char text[256];

	setenv("KMALLOC_CMDLINE", "", 1);
	unit_rerun("--mode", "GLIBC_TUNABLES", "glibc.pthread.rseq=0", text, sizeof(text));
	CHECK(!strcmp(text, "locked: the C library did not register rseq (tunable off, or no "
			    "kernel support)"));
}

static int print_mode(void)
{
	if (!kmalloc_start())
		return 1;
	printf("%s: %s", percpu_mode_name(), percpu_mode_reason());
	return 0;
}

int main(int argc, char **argv)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(area_of_no_use_yet_misses),
		UNIT_TEST(area_is_populated_for_this_cpu_alone),
		UNIT_TEST(area_when_new_is_empty_and_full),
		UNIT_TEST(hit_and_slow_path_share_the_main_sheaf),
		UNIT_TEST(replace_empty_gives_back_a_usable_empty_sheaf),
		UNIT_TEST(replace_full_gives_back_the_full_sheaf),
		UNIT_TEST(spare_is_taken_as_what_it_was_put),
		UNIT_TEST(slot_of_no_cache_takes_nothing),
		UNIT_TEST(drain_takes_all_sheaves_with_their_tops),
		UNIT_TEST(divert_sends_hits_to_the_slow_path),
		UNIT_TEST(samples_part_pops_from_pushes),
		UNIT_TEST(samples_and_all_calls_go_to_the_slow_path),
		UNIT_TEST(samples_that_begin_anew_take_what_was_tested_away),
		UNIT_TEST(tests_count_each_object_once),
		UNIT_TEST(area_populated_while_diverted_stays_off_the_hit_path),
		UNIT_TEST(vfork_child_keeps_off_all_areas),
		UNIT_TEST_WITH(vfork_of_another_thread_keeps_the_index_off_the_hit_path,
			       "rseq=cpu_id"),
		UNIT_TEST_WITH(fork_child_forgets_vforks_of_other_threads, "rseq=cpu_id"),
		UNIT_TEST_WITH(mode_without_rseq_is_locked, "rseq=off"),
		UNIT_TEST_WITH(mode_cpu_id_indexes_by_cpu, "rseq=cpu_id"),
		UNIT_TEST(mode_without_registration_says_so),
	};

	if (argc > 1 && !strcmp(argv[1], "--mode"))
		return print_mode();
	return UNIT_MAIN(tests);
}
