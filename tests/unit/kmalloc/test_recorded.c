/* SPDX-License-Identifier: MIT */
/*
 * test_recorded.c - a hit that is recorded on the straight way: the same events as on the general one, and not that way where
 * anything is the matter.
 */
#include "unit.h"

#include "kmalloc/kvmalloc.h"
#include "kmalloc/observe.h"
#include "kmalloc/recorded.h"

#define SITE ((const void *)0x123456789abcUL)
#define SIZE 100U
#define RING 4096U

static const struct trace_ring *ring(void)
{
	const struct trace_ring *found = NULL;

	for (unsigned i = 0; i < TRACE_NR_RINGS; i++)
		if (trace_rings.offset[i]) {
			CHECK(!found);
			found = (const struct trace_ring *)((uintptr_t)&trace_rings +
							    trace_rings.offset[i]);
		}
	CHECK(found != NULL);
	return found;
}

static const uint64_t *last_event(void)
{
	return (const uint64_t *)((const char *)ring() + TRACE_RING_HEADER) +
	       ((ring()->head - 1) & ring()->mask) * TRACE_WORDS;
}

/* As a reader does it; and the first events of this thread, which go the general way. */
static void record_all(void)
{
	unit_pin(0);
	percpu_divert(PERCPU_DIVERT_TRACE, PERCPU_DIVERT_ALL);
	trace_control.want_mode = TRACE_ALL;
	trace_control.want_full = TRACE_OVERWRITE;
	trace_control.want_ring_events = RING;
	trace_control.generation++;
	for (int i = 0; i < 3; i++)
		kvfree_slow(kvmalloc_slow(SIZE, NULL, SITE), SITE);
	trace_thread.until_look = 1000;
	CHECK(percpu_diverted_for_all());
}

static void event_is_that_of_the_general_way(void)
{
	uint64_t straight[TRACE_WORDS], head;
	void *object;

	record_all();
	head = ring()->head;
	object = kmalloc_recorded(SIZE, SITE, 0);
	CHECK(object != NULL);
	CHECK_EQ(ring()->head, head + 1);
	memcpy(straight, last_event(), sizeof(straight));
	CHECK_EQ(straight[1] & TRACE_ADDRESS_MASK, (uintptr_t)object);
	CHECK_EQ(kfree_recorded(object, SITE), RECORDED_FREE_DONE);
	CHECK_EQ(ring()->head, head + 2);
	/* the object that was freed last is the next one */
	CHECK(kvmalloc_observed(SIZE, NULL, SITE) == object);
	CHECK_EQ(ring()->head, head + 3);
	for (unsigned i = 1; i < TRACE_WORDS; i++)
		CHECK_EQ(last_event()[i], straight[i]);
	CHECK(last_event()[0] >= straight[0]);
}

static void free_is_that_of_the_general_way(void)
{
	uint64_t straight[TRACE_WORDS];
	void *object;

	record_all();
	object = kmalloc_recorded(SIZE, SITE, 0);
	CHECK_EQ(kfree_recorded(object, SITE), RECORDED_FREE_DONE);
	memcpy(straight, last_event(), sizeof(straight));
	CHECK(kvmalloc_observed(SIZE, NULL, SITE) == object);
	observe_free(object, GFP_KERNEL, SITE);
	for (unsigned i = 1; i < TRACE_WORDS; i++)
		CHECK_EQ(last_event()[i], straight[i]);
}

/* Every class, until its sheaf is empty, and back, until it is full: what the straight way does not do the general one does, once. */
static void every_call_is_one_event(void)
{
	enum { COUNT = 300 };
	void *objects[COUNT];
	uint64_t events = 0, seen = 0;

	record_all();
	trace_control.want_full = TRACE_DROP;
	for (unsigned class = 1; class < NR_KMALLOC_CLASSES; class ++) {
		uint64_t head = ring()->head, told = 0;
		size_t size = kmem_caches[class].object_size;

		((struct trace_ring *)(uintptr_t)ring())->limit = head + RING;
		for (unsigned i = 0; i < COUNT; i++)
			objects[i] = kvmalloc_slow(size, NULL, SITE);
		for (unsigned i = 0; i < COUNT; i++)
			kvfree_slow(objects[i], SITE);
		CHECK_EQ(ring()->lost, 0);
		for (uint64_t at = head; at < ring()->head; at++) {
			const uint64_t *words =
				(const uint64_t *)((const char *)ring() + TRACE_RING_HEADER) +
				(at & ring()->mask) * TRACE_WORDS;
			unsigned type = words[1] >> TRACE_ADDRESS_BITS & 0xff;

			if (type != TRACE_KMALLOC && type != TRACE_KFREE)
				continue;
			CHECK_EQ(words[2] >> TRACE_ADDRESS_BITS, class);
			CHECK_EQ(words[1] & TRACE_ADDRESS_MASK, (uintptr_t)objects[told % COUNT]);
			CHECK_EQ(type, told < COUNT ? TRACE_KMALLOC : TRACE_KFREE);
			told++;
		}
		CHECK_EQ(told, 2 * COUNT);
		events += told;
		seen += ring()->head - head;
	}
	CHECK(seen >= events);
}

static void nothing_is_done(void)
{
	void *object = kvmalloc_observed(SIZE, NULL, SITE);
	uint64_t head = ring()->head;
	uint32_t until = trace_thread.until_look;

	CHECK(!percpu_diverted_for_all() || !kmalloc_recorded(SIZE, SITE, 0));
	CHECK(!percpu_diverted_for_all() || kfree_recorded(object, SITE) == RECORDED_FREE_NOT);
	CHECK_EQ(ring()->head, head);
	CHECK_EQ(trace_thread.until_look, until);
}

#define WITH(statement, back)                                                                      \
	do {                                                                                       \
		statement;                                                                         \
		nothing_is_done();                                                                 \
		back;                                                                              \
	} while (0)

static void where_anything_is_the_matter_nothing_is_done(void)
{
	record_all();
	WITH(percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_ALL),
	     percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_NOTHING));
	WITH(context_scope = SCOPE_ATOMIC, context_scope = 0);
	WITH(context_scope = SCOPE_NOIO, context_scope = 0);
	WITH(lock_depth++, lock_depth--);
	trace_thread.tid = 0;
	CHECK(!kmalloc_recorded(SIZE, SITE, 0));
	record_all();
	CHECK(kmalloc_recorded(SIZE, SITE, 0) != NULL);
	trace_thread.until_look = 0;
	CHECK(!kmalloc_recorded(SIZE, SITE, 0));
}

static void wish_of_the_reader_is_not_passed_over(void)
{
	record_all();
	trace_control.want_trim++;
	CHECK(!kmalloc_recorded(SIZE, SITE, 0));
	trace_control.trimmed = trace_control.want_trim;
	CHECK(kmalloc_recorded(SIZE, SITE, 0) != NULL);
	trace_control.generation++;
	CHECK(!kmalloc_recorded(SIZE, SITE, 0));
	trace_control.applied = trace_control.generation;
	probe_semaphores.of[TRACE_KFREE - 1] = 1;
	CHECK(!kmalloc_recorded(SIZE, SITE, 0));
	probe_semaphores.of[TRACE_KFREE - 1] = 0;
	trace_control.mode = TRACE_OFF;
	CHECK(!kmalloc_recorded(SIZE, SITE, 0));
	trace_control.mode = TRACE_ALL;
	CHECK(kmalloc_recorded(SIZE, SITE, 0) != NULL);
	CHECK(!kmalloc_recorded(KMALLOC_MAX_SIZE + 1, SITE, 0));
}

static void child_of_vfork_has_no_part_in_it(void)
{
	uint64_t head;
	void *object;

	record_all();
	head = ring()->head;
	percpu_vfork_child();
	object = kvmalloc_slow(SIZE, NULL, SITE);
	CHECK(object != NULL && !kmalloc_recorded(SIZE, SITE, 0));
	CHECK_EQ(kfree_recorded(object, SITE), RECORDED_FREE_NOT);
	percpu_vfork_parent();
	CHECK_EQ(ring()->head, head);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(event_is_that_of_the_general_way),
		UNIT_TEST(free_is_that_of_the_general_way),
		UNIT_TEST(every_call_is_one_event),
		UNIT_TEST(where_anything_is_the_matter_nothing_is_done),
		UNIT_TEST(wish_of_the_reader_is_not_passed_over),
		UNIT_TEST(child_of_vfork_has_no_part_in_it),
	};

	return UNIT_MAIN(tests);
}
