/* SPDX-License-Identifier: MIT */
/*
 * test_trace.c - events into rings, with a reader in the same process that does what `kmem` does from outside: it
 * writes the wishes, looks at heads, and raises limits. meson runs the program once per mode.
 */
#include "unit.h"

#include "kmalloc/kvmalloc.h"
#include "kmalloc/observe.h"
#include "kmalloc/start.h"
#include "lib/param.h"
#include "slab/percpu.h"
#include "trace/trace.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <time.h>

#define EVENTS 128UL
#define RING_BYTES (TRACE_RING_HEADER + EVENTS * TRACE_EVENT_BYTES)
#define RINGS 16 /* as many as a test meets */

static struct trace_ring *ring_of(size_t index)
{
	const uint64_t *offset = (const uint64_t *)trace_control.rings;

	return offset[index] ? (struct trace_ring *)(trace_control.base + offset[index]) : NULL;
}

/* All rings that there are. */
static unsigned find_rings(struct trace_ring *rings[RINGS])
{
	unsigned count = 0;

	for (size_t i = 0; i < trace_control.nr_rings; i++)
		if (ring_of(i)) {
			CHECK(count < RINGS);
			CHECK_EQ(ring_of(i)->index, i);
			rings[count++] = ring_of(i);
		}
	return count;
}

/* The ring of a test that has one. */
static struct trace_ring *the_ring(void)
{
	struct trace_ring *rings[RINGS];

	CHECK_EQ(find_rings(rings), 1);
	return rings[0];
}

static const uint64_t *event_at(const struct trace_ring *ring, uint64_t number)
{
	return (const uint64_t *)((const char *)ring + TRACE_RING_HEADER) +
	       (number & ring->mask) * TRACE_WORDS;
}

static void want(enum trace_mode mode, enum trace_full full)
{
	trace_control.want_mode = mode;
	trace_control.want_full = full;
	trace_control.want_ring_events = EVENTS;
	trace_control.generation++;
	trace_poll(GFP_KERNEL);
	CHECK_EQ(trace_control.applied, trace_control.generation);
	CHECK_EQ(trace_mode(), mode);
}

static void put_as(uint64_t number, gfp_t gfp)
{
	struct trace_event event = {
		.type = TRACE_KMALLOC,
		.cache = 7,
		.ptr = (const void *)(number * 16),
		.call_site = (const void *)0x123456789abcUL,
		.bytes_req = number,
		.gfp = gfp,
	};

	trace_write(&event);
}

static void put(uint64_t number)
{
	put_as(number, GFP_KERNEL);
}

/* Nothing moves, so that one thread means one ring. */
static void start(enum trace_full full)
{
	unit_pin(0);
	want(TRACE_ALL, full);
}

/* The events from `first` on are those of put(number) and so on, with times that never go back. */
static void check_events(const struct trace_ring *ring, uint64_t first, uint64_t count,
			 uint64_t number)
{
	uint64_t last = 0;

	for (uint64_t i = first; i < first + count; i++) {
		const uint64_t *event = event_at(ring, i);

		CHECK(event[0] >= last);
		last = event[0];
		CHECK_EQ(event[1] & TRACE_ADDRESS_MASK, (number + i - first) * 16);
		CHECK_EQ(event[3] & TRACE_REQ_MASK, number + i - first);
	}
}

static void event_has_all_that_it_was_told(void)
{
	struct trace_event event = {
		.type = TRACE_VFREE,
		.cache = 0xabcd,
		.ptr = (const void *)0x7fffdeadbee0UL,
		.call_site = (const void *)0x7fff00c0ffeeUL,
		.bytes_req = 1UL << 50, /* more than there is room for */
		.gfp = GFP_ATOMIC,
	};
	const uint64_t *words;

	start(TRACE_DROP);
	put(1);
	trace_write(&event);
	words = event_at(the_ring(), 1);
	CHECK_EQ(words[1], 0x7fffdeadbee0UL | (uint64_t)TRACE_VFREE << 48 | 1UL << 56);
	CHECK_EQ(trace_control.gfp[0], GFP_KERNEL);
	CHECK_EQ(trace_control.gfp[1], GFP_ATOMIC);
	CHECK_EQ(words[2], 0x7fff00c0ffeeUL | 0xabcdUL << 48);
	CHECK_EQ(words[3], TRACE_REQ_MASK | (uint64_t)gettid() << 40);
}

static void ring_is_in_order(void)
{
	start(TRACE_DROP);
	for (uint64_t i = 0; i < EVENTS; i++)
		put(i);
	CHECK_EQ(the_ring()->head, EVENTS);
	CHECK_EQ(the_ring()->lost, 0);
	CHECK_EQ(trace_control.lost, 0);
	check_events(the_ring(), 0, EVENTS, 0);
}

static void ring_wraps_as_the_reader_takes(void)
{
	uint64_t number = 0;

	start(TRACE_DROP);
	for (unsigned round = 0; round < 50; round++) {
		uint64_t first = number;

		for (unsigned i = 0; i < 100; i++)
			put(number++);
		check_events(the_ring(), first, 100, first);
		the_ring()->limit = number + EVENTS;
	}
	CHECK_EQ(the_ring()->head, 5000);
	CHECK_EQ(the_ring()->lost, 0);
}

static void full_ring_drops_and_counts(void)
{
	start(TRACE_DROP);
	for (uint64_t i = 0; i < EVENTS + 77; i++)
		put(i);
	CHECK_EQ(the_ring()->head, EVENTS);
	CHECK_EQ(the_ring()->lost, 77);
	check_events(the_ring(), 0, EVENTS, 0);
	/* room for five */
	the_ring()->limit += 5;
	for (uint64_t i = 1000; i < 1010; i++)
		put(i);
	CHECK_EQ(the_ring()->lost, 77 + 5);
	check_events(the_ring(), EVENTS, 5, 1000);
	check_events(the_ring(), 5, EVENTS - 5, 5);
}

static void full_ring_overwrites_the_oldest(void)
{
	start(TRACE_OVERWRITE);
	for (uint64_t i = 0; i < 10 * EVENTS + 3; i++)
		put(i);
	CHECK_EQ(the_ring()->head, 10 * EVENTS + 3);
	CHECK_EQ(the_ring()->lost, 0);
	check_events(the_ring(), 9 * EVENTS + 3, EVENTS, 9 * EVENTS + 3);
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

static _Atomic bool over;
static _Atomic uint64_t taken;

/* A reader that takes what is there, now and then, and checks that each ring is in order. */
static void *reader(void *arg)
{
	uint64_t tail[RINGS] = { 0 }, last[RINGS] = { 0 };

	for (bool again = true; again;) {
		struct trace_ring *rings[RINGS];
		unsigned count = find_rings(rings);

		again = !atomic_load(&over);
		for (unsigned i = 0; i < count; i++) {
			size_t at = rings[i]->index % RINGS;
			uint64_t head = __atomic_load_n(&rings[i]->head, __ATOMIC_ACQUIRE);

			for (; tail[at] < head; tail[at]++) {
				CHECK(*event_at(rings[i], tail[at]) >= last[at]);
				last[at] = *event_at(rings[i], tail[at]);
				atomic_fetch_add(&taken, 1);
			}
			__atomic_store_n(&rings[i]->limit, head + EVENTS, __ATOMIC_RELEASE);
		}
		sleep_ms(1);
	}
	return arg;
}

#define WRITES 5000

static void *writer(void *arg)
{
	unit_pin((unsigned)(uintptr_t)arg);
	for (uint64_t i = 0; i < WRITES; i++)
		put(i);
	return NULL;
}

static uint64_t total_lost(void)
{
	struct trace_ring *rings[RINGS];
	unsigned count = find_rings(rings);
	uint64_t lost = trace_control.lost;

	for (unsigned i = 0; i < count; i++)
		lost += rings[i]->lost;
	return lost;
}

/* Writers on all CPUs, two on each, beside the reader. */
static void run_writers(void)
{
	unsigned count = unit_cpus() < 4 ? 2 * unit_cpus() : 8;
	pthread_t writers[8], reading;

	CHECK(pthread_create(&reading, NULL, reader, NULL) == 0);
	for (unsigned i = 0; i < count; i++)
		CHECK(pthread_create(&writers[i], NULL, writer, (void *)(uintptr_t)i) == 0);
	for (unsigned i = 0; i < count; i++)
		pthread_join(writers[i], NULL);
	atomic_store(&over, true);
	pthread_join(reading, NULL);
	CHECK_EQ(atomic_load(&taken) + total_lost(), count * WRITES);
}

static void who_waits_loses_nothing(void)
{
	want(TRACE_ALL, TRACE_WAIT);
	run_writers();
	CHECK_EQ(total_lost(), 0);
}

static void who_drops_counts_each_on_every_cpu(void)
{
	want(TRACE_ALL, TRACE_DROP);
	run_writers();
}

static void who_may_not_sleep_does_not_wait(void)
{
	start(TRACE_WAIT);
	for (uint64_t i = 0; i < EVENTS; i++)
		put(i);
	for (uint64_t i = 0; i < 1000; i++)
		put_as(i, GFP_ATOMIC);
	CHECK_EQ(the_ring()->lost, 1000);
}

static void who_may_not_sleep_maps_no_ring(void)
{
	unit_pin(0);
	want(TRACE_ALL, TRACE_DROP);
	put_as(1, GFP_ATOMIC);
	CHECK_EQ(trace_control.nr_rings, 0);
	CHECK_EQ(trace_control.lost, 1);
	put(2);
	CHECK_EQ(the_ring()->head, 1);
}

static bool is_off(void)
{
	return trace_mode() == TRACE_OFF && trace_control.want_mode == TRACE_OFF &&
	       !percpu.divert[PERCPU_DIVERT_TRACE];
}

/* Nothing is traced any more; the next call that may sleep gives back what there was. */
static void check_given_up(void)
{
	CHECK(trace_mode() == TRACE_OFF && trace_control.want_mode == TRACE_OFF);
	trace_poll(GFP_ATOMIC);
	CHECK(!is_off());
	trace_poll(GFP_KERNEL);
	CHECK(is_off());
	for (size_t i = 0; i < trace_control.nr_rings; i++)
		CHECK(!ring_of(i) || !unit_resident(event_at(ring_of(i), 0), 4096));
}

static void full_ring_without_a_reader_ends_the_tracing(void)
{
	start(TRACE_WAIT);
	percpu_divert(PERCPU_DIVERT_TRACE, PERCPU_DIVERT_ALL);
	trace_give_up_ms = 50;
	for (uint64_t i = 0; i < EVENTS; i++)
		put(i);
	CHECK(!is_off());
	put(EVENTS);
	check_given_up();
	CHECK_EQ(the_ring()->lost, 1);
}

static void ring_that_drops_ends_the_tracing_too(void)
{
	start(TRACE_DROP);
	percpu_divert(PERCPU_DIVERT_TRACE, PERCPU_DIVERT_ALL);
	trace_give_up_ms = 50;
	for (uint64_t i = 0; i <= EVENTS; i++)
		put(i);
	CHECK(!is_off());
	sleep_ms(100);
	/* it may have been stopped for so long, and its reader with it */
	put(EVENTS);
	CHECK(!is_off());
	sleep_ms(20);
	put(EVENTS);
	check_given_up();
}

static void ring_that_overwrites_ends_the_tracing_too(void)
{
	start(TRACE_OVERWRITE);
	percpu_divert(PERCPU_DIVERT_TRACE, PERCPU_DIVERT_ALL);
	trace_give_up_ms = 50;
	for (uint64_t i = 0; i <= 5 * EVENTS; i++)
		put(i);
	/* a reader was here */
	sleep_ms(100);
	the_ring()->limit += 3;
	for (uint64_t i = 0; i <= 5 * EVENTS; i++)
		put(i);
	CHECK(!is_off());
	sleep_ms(100);
	for (uint64_t i = 0; i <= 2 * EVENTS; i++)
		put(i);
	CHECK(!is_off());
	sleep_ms(20);
	for (uint64_t i = 0; i <= 2 * EVENTS; i++)
		put(i);
	check_given_up();
}

/* A reader that was stopped together with the program goes on a moment after it. */
static void reader_that_goes_on_is_a_reader(void)
{
	start(TRACE_DROP);
	trace_give_up_ms = 80;
	for (uint64_t i = 0; i <= EVENTS; i++)
		put(i);
	for (int i = 0; i < 3; i++) {
		sleep_ms(150);
		put(0);
		the_ring()->limit += 1;
		put(0);
		put(0);
		CHECK(!is_off());
	}
}

static void look(unsigned times)
{
	while (times--)
		trace_poll(GFP_ATOMIC);
}

/* Rings never fill, so nothing but its beat tells of it. */
static void silent_reader_ends_the_tracing(enum trace_mode mode, unsigned times)
{
	start(TRACE_DROP);
	want(mode, TRACE_DROP);
	percpu_divert(PERCPU_DIVERT_TRACE, PERCPU_DIVERT_ALL);
	trace_silent_ms = 50;
	look(times);
	sleep_ms(100);
	look(times);
	CHECK(!is_off());
	sleep_ms(20);
	look(times);
	check_given_up();
	/* and another may come */
	trace_control.beat++;
	want(mode, TRACE_DROP);
	look(times);
	CHECK_EQ(trace_mode(), mode);
}

static void silent_reader_of_samples_ends_the_tracing(void)
{
	silent_reader_ends_the_tracing(TRACE_SAMPLE, 8);
}

static void silent_reader_of_all_ends_the_tracing(void)
{
	silent_reader_ends_the_tracing(TRACE_ALL, 64);
}

static void reader_that_beats_is_a_reader(void)
{
	start(TRACE_DROP);
	want(TRACE_SAMPLE, TRACE_DROP);
	trace_silent_ms = 60;
	for (int i = 0; i < 8; i++) {
		sleep_ms(40);
		look(16);
		trace_control.beat++;
	}
	/* not even when it was away for longer, but comes back before the doubt is over */
	sleep_ms(200);
	look(2);
	trace_control.beat++;
	sleep_ms(40);
	look(2);
	CHECK_EQ(trace_mode(), TRACE_SAMPLE);
}

/* Its ring is full each time somebody looks, for longer than the patience lasts. */
static void slow_reader_is_a_reader(void)
{
	start(TRACE_DROP);
	trace_give_up_ms = 60;
	for (int i = 0; i < 5; i++) {
		do
			put(0);
		while (the_ring()->lost < (uint64_t)i + 1);
		sleep_ms(40);
		the_ring()->limit += EVENTS;
	}
	CHECK_EQ(trace_mode(), TRACE_ALL);
	CHECK_EQ(the_ring()->lost, 5);
}

/* Takes what is there, and then there is more. */
static void *endless(void *ring)
{
	struct trace_ring *one = ring;

	while (!atomic_load(&over)) {
		sleep_ms(1);
		atomic_store(&taken, __atomic_load_n(&one->head, __ATOMIC_ACQUIRE));
		__atomic_store_n(&one->limit, atomic_load(&taken) + EVENTS, __ATOMIC_RELEASE);
		trace_control.seen_ending = trace_control.ending;
		unit_pin(0);
		put(0);
	}
	return NULL;
}

static void who_ends_waits_for_what_was_there(void)
{
	struct timespec before, now;
	pthread_t id;

	start(TRACE_DROP);
	for (uint64_t i = 0; i < EVENTS / 2; i++)
		put(i);
	CHECK_EQ(pthread_create(&id, NULL, endless, the_ring()), 0);
	clock_gettime(CLOCK_MONOTONIC, &before);
	trace_end();
	clock_gettime(CLOCK_MONOTONIC, &now);
	CHECK(atomic_load(&taken) >= EVENTS / 2);
	CHECK((now.tv_sec - before.tv_sec) * 1000 + (now.tv_nsec - before.tv_nsec) / 1000000 <
	      TRACE_WAIT_MS * 3 / 4);
	atomic_store(&over, true);
	pthread_join(id, NULL);
}

static _Atomic uint64_t handled;

static void on_timer(int number)
{
	(void)number;
	put(0);
	put_as(0, GFP_ATOMIC);
	atomic_fetch_add(&handled, 2);
}

/* All that was written is there, or counted as lost. */
static void handlers_may_interrupt_anywhere(void)
{
	struct itimerval often = { { 0, 50 }, { 0, 50 } }, never = { 0 };
	struct trace_ring *rings[RINGS];
	uint64_t written = 0, there = 0;
	unsigned count;

	start(TRACE_OVERWRITE);
	put(0);
	signal(SIGALRM, on_timer);
	setitimer(ITIMER_REAL, &often, NULL);
	while (atomic_load(&handled) < 4000) {
		put(written++);
		put(written++);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	sleep_ms(5);
	count = find_rings(rings);
	for (unsigned i = 0; i < count; i++) {
		there += rings[i]->head;
		for (uint64_t k = 1; k < EVENTS; k++)
			CHECK(*event_at(rings[i], rings[i]->head - k) >=
			      *event_at(rings[i], rings[i]->head - k - 1));
	}
	CHECK_EQ(there + total_lost(), 1 + written + atomic_load(&handled));
	if (percpu_mode() != PERCPU_LOCKED)
		CHECK_EQ(total_lost(), 0);
}

/*
 * What a handler leaves by siglongjmp() that interrupted a writer: a ring that is taken for good, by a thread that goes on at
 * another depth. And what others see of it.
 */
static void ring_that_is_never_released_costs_no_event(void)
{
	struct trace_ring *rings[RINGS];
	uint64_t number = 0, there = 0;

	if (percpu_mode() != PERCPU_LOCKED)
		return;
	start(TRACE_DROP);
	put(number++);
	the_ring()->busy = (uintptr_t)__builtin_thread_pointer();
	for (unsigned i = 0; i < TRACE_NR_LOCKED - 1; i++) {
		unsigned count;

		for (unsigned k = 0; k < 10; k++)
			put(number++);
		count = find_rings(rings);
		CHECK_EQ(count, i + 2);
		/* by a thread that is dead */
		for (unsigned k = 0; k < count; k++)
			rings[k]->busy = rings[k]->busy ?: 0x1000;
	}
	CHECK_EQ(total_lost(), 0);
	for (unsigned i = 0; i < TRACE_NR_LOCKED; i++)
		there += rings[i]->head;
	CHECK_EQ(there, number);
	/* none is left */
	put_as(0, GFP_ATOMIC);
	put(0);
	CHECK_EQ(total_lost(), 2);
	rings[0]->busy = 0;
	put(0);
	CHECK_EQ(total_lost(), 2);
}

static sigjmp_buf away;

static void jump(int number)
{
	siglongjmp(away, number);
}

/* Writes until a handler has left a writer that had taken the ring; then once more, from the same depth. */
static __attribute__((noinline)) void leave_a_writer_and_write(void)
{
	struct itimerval often = { { 0, 50 }, { 0, 50 } }, never = { 0 };
	uint64_t lost;

	if (sigsetjmp(away, 1) == 0)
		setitimer(ITIMER_REAL, &often, NULL);
	while (!the_ring()->busy)
		put(0);
	setitimer(ITIMER_REAL, &never, NULL);
	lost = total_lost();
	for (int i = 0; i < 10; i++)
		put(0);
	CHECK_EQ(the_ring()->busy, 0);
	CHECK_EQ(total_lost(), lost);
}

static void ring_that_a_jump_left_taken_is_taken_up_again(void)
{
	if (percpu_mode() != PERCPU_LOCKED)
		return;
	start(TRACE_OVERWRITE);
	put(0);
	signal(SIGALRM, jump);
	leave_a_writer_and_write();
}

/* In a handler that may map nothing, and finds the ring of what it interrupted. */
static void handler_that_finds_no_ring_free_loses_its_event(void)
{
	if (percpu_mode() != PERCPU_LOCKED)
		return;
	start(TRACE_DROP);
	put(0);
	the_ring()->busy = (uintptr_t)__builtin_thread_pointer();
	put_as(1, GFP_ATOMIC);
	CHECK_EQ(the_ring()->lost, 1);
	the_ring()->busy = 0;
	put_as(2, GFP_ATOMIC);
	check_events(the_ring(), 1, 1, 2);
}

/* The last listener of a probe has gone: the next call notices, though a sheaf serves it. */
static void check_that_listener_is_missed(void)
{
	void *object;

	probe_semaphores.of[TRACE_VFREE - 1] = 1;
	kvmalloc_poll_deferred(GFP_KERNEL);
	CHECK(percpu.divert[PERCPU_DIVERT_PROBE]);
	for (int i = 0; i < 3; i++)
		kvfree_slow(kvmalloc_slow(100, NULL, NULL), NULL);
	object = kvmalloc_slow(100, NULL, NULL);
	probe_semaphores.of[TRACE_VFREE - 1] = 0;
	kvfree_slow(object, NULL);
	CHECK(!percpu.divert[PERCPU_DIVERT_PROBE]);

	probe_semaphores.of[TRACE_VFREE - 1] = 1;
	kvmalloc_poll_deferred(GFP_KERNEL);
	CHECK(percpu.divert[PERCPU_DIVERT_PROBE]);
	probe_semaphores.of[TRACE_VFREE - 1] = 0;
	object = kvmalloc_slow(100, NULL, NULL);
	CHECK(!percpu.divert[PERCPU_DIVERT_PROBE]);
	kvfree_slow(object, NULL);
}

static void listener_that_goes_is_noticed_without_a_miss(void)
{
	unit_pin(0);
	check_that_listener_is_missed();
	CHECK(!percpu_diverted());
}

/* Nor is it by who counts calls and tells of samples alone. */
static void listener_that_goes_is_noticed_while_samples_are_taken(void)
{
	unit_pin(0);
	trace_control.want_sample_bytes = 1UL << 40;
	want(TRACE_SAMPLE, TRACE_DROP);
	percpu_divert(PERCPU_DIVERT_TRACE, PERCPU_DIVERT_ALL);
	check_that_listener_is_missed();
	CHECK(percpu_diverted());
}

static void in_fork_child(void *ring)
{
	kmalloc_fork_child();
	CHECK_EQ(trace_mode(), TRACE_OFF);
	CHECK_EQ(trace_control.nr_rings, 0);
	CHECK_EQ(trace_control.lost, 0);
	/* the addresses stay, for whom the fork interrupted; what was there is gone */
	CHECK(unit_is_zero((char *)ring + TRACE_RING_HEADER, RING_BYTES - TRACE_RING_HEADER));
	CHECK(kvmalloc_slow(100, NULL, NULL) != NULL);
	CHECK_EQ(trace_control.nr_rings, 0);
	/* who looks at the child is welcome */
	want(TRACE_ALL, TRACE_DROP);
	put(1);
	CHECK_EQ(trace_control.pid, getpid());
	CHECK_EQ(the_ring()->head, 1);
}

static void fork_child_has_no_rings(void)
{
	struct unit_end end;

	start(TRACE_WAIT);
	percpu_divert(PERCPU_DIVERT_TRACE, PERCPU_DIVERT_ALL);
	put(1);
	CHECK_EQ(trace_control.pid, getpid());
	end = unit_child(in_fork_child, the_ring());
	fputs(end.text, stderr);
	CHECK(end.signal == 0 && end.status == 0);
	put(2);
	CHECK_EQ(the_ring()->head, 2);
}

static void vfork_child_writes_nothing(void)
{
	void *ptr;
	uint64_t head;

	start(TRACE_WAIT);
	percpu_divert(PERCPU_DIVERT_TRACE, PERCPU_DIVERT_ALL);
	put(1);
	head = the_ring()->head;
	percpu_vfork_child();
	ptr = kvmalloc_slow(100, NULL, NULL);
	CHECK(ptr != NULL);
	kvfree_slow(ptr, NULL);
	CHECK_EQ(the_ring()->head, head);
	percpu_vfork_parent();
	/* what slabs and pages tell of it comes in between */
	kvfree_slow(kvmalloc_slow(100, NULL, NULL), NULL);
	CHECK(the_ring()->head >= head + 2);
	CHECK_EQ(total_lost(), 0);
}

static void more_kinds_of_gfp_than_there_is_room_for(void)
{
	start(TRACE_DROP);
	for (unsigned i = 0; i < 80; i++)
		put_as(i, GFP_KERNEL | i << 24);
	for (unsigned i = 0; i < 80; i++) {
		uint64_t code = event_at(the_ring(), i)[1] >> 56;

		CHECK_EQ(code, i < TRACE_GFP_OTHER ? i : TRACE_GFP_OTHER);
		CHECK_EQ(trace_control.gfp[code],
			 i < TRACE_GFP_OTHER ? GFP_KERNEL | i << 24 : TRACE_GFP_NONE);
	}
	/* those that are there are found again */
	put_as(0, GFP_KERNEL | 5U << 24);
	CHECK_EQ(event_at(the_ring(), 80)[1] >> 56, 5);
}

static void end_gives_the_pages_back(void)
{
	start(TRACE_DROP);
	percpu_divert(PERCPU_DIVERT_TRACE, PERCPU_DIVERT_ALL);
	for (uint64_t i = 0; i < EVENTS; i++)
		put(i);
	CHECK_EQ(unit_resident(event_at(the_ring(), 0), 4096), 1);
	want(TRACE_OFF, TRACE_DROP);
	CHECK(is_off());
	CHECK_EQ(unit_resident(event_at(the_ring(), 0), 4096), 0);
	/* once more: the same ring, from where it was */
	want(TRACE_ALL, TRACE_DROP);
	the_ring()->limit = the_ring()->head + EVENTS;
	put(5);
	CHECK_EQ(the_ring()->head, EVENTS + 1);
	check_events(the_ring(), EVENTS, 1, 5);
}

static void wish_is_left_to_a_call_that_may_sleep(void)
{
	trace_control.want_mode = TRACE_ALL;
	trace_control.generation++;
	trace_poll(GFP_ATOMIC);
	CHECK_EQ(trace_mode(), TRACE_OFF);
	trace_poll(GFP_KERNEL);
	CHECK_EQ(trace_mode(), TRACE_ALL);
	/* no size was wanted */
	CHECK_EQ(trace_control.ring_events, 65536);
}

/* The parameters are for one process. */
static void start_with(const char *format, int pid)
{
	char text[200];
	const char *base = getenv("KMALLOC_CMDLINE");
	int n = snprintf(text, sizeof(text), "%s ", base ? base : "");

	snprintf(text + n, sizeof(text) - (size_t)n, format, pid);
	setenv("KMALLOC_CMDLINE", text, 1);
	CHECK(kmalloc_start());
}

static void parameters_trace_from_the_start(void)
{
	start_with("trace=all trace.full=wait trace.ring=256 trace.pid=%d", getpid());
	CHECK_EQ(trace_control.magic, TRACE_MAGIC);
	CHECK_EQ(trace_mode(), TRACE_ALL);
	CHECK_EQ(trace_control.want_full, TRACE_WAIT);
	CHECK_EQ(trace_control.ring_events, 256);
	CHECK(percpu_diverted());
	CHECK(kvmalloc_slow(100, NULL, NULL) != NULL);
	CHECK(the_ring()->head >= 1);
}

static void parameters_are_not_for_another_process(void)
{
	start_with("trace=all trace.pid=%d", getpid() + 1);
	CHECK_EQ(trace_mode(), TRACE_OFF);
	CHECK(!percpu_diverted());
	CHECK_EQ(trace_control.magic, TRACE_MAGIC);
}

int main(void)
{
	static const struct unit_case cases[] = {
		UNIT_TEST(event_has_all_that_it_was_told),
		UNIT_TEST(ring_is_in_order),
		UNIT_TEST(ring_wraps_as_the_reader_takes),
		UNIT_TEST(full_ring_drops_and_counts),
		UNIT_TEST(full_ring_overwrites_the_oldest),
		UNIT_TEST(who_waits_loses_nothing),
		UNIT_TEST(who_drops_counts_each_on_every_cpu),
		UNIT_TEST(who_may_not_sleep_does_not_wait),
		UNIT_TEST(who_may_not_sleep_maps_no_ring),
		UNIT_TEST(full_ring_without_a_reader_ends_the_tracing),
		UNIT_TEST(ring_that_drops_ends_the_tracing_too),
		UNIT_TEST(ring_that_overwrites_ends_the_tracing_too),
		UNIT_TEST(slow_reader_is_a_reader),
		UNIT_TEST(reader_that_goes_on_is_a_reader),
		UNIT_TEST(who_ends_waits_for_what_was_there),
		UNIT_TEST(silent_reader_of_samples_ends_the_tracing),
		UNIT_TEST(silent_reader_of_all_ends_the_tracing),
		UNIT_TEST(reader_that_beats_is_a_reader),
		UNIT_TEST(handlers_may_interrupt_anywhere),
		UNIT_TEST(ring_that_is_never_released_costs_no_event),
		UNIT_TEST(ring_that_a_jump_left_taken_is_taken_up_again),
		UNIT_TEST(handler_that_finds_no_ring_free_loses_its_event),
		UNIT_TEST(listener_that_goes_is_noticed_without_a_miss),
		UNIT_TEST(listener_that_goes_is_noticed_while_samples_are_taken),
		UNIT_TEST(fork_child_has_no_rings),
		UNIT_TEST(vfork_child_writes_nothing),
		UNIT_TEST(more_kinds_of_gfp_than_there_is_room_for),
		UNIT_TEST(end_gives_the_pages_back),
		UNIT_TEST(wish_is_left_to_a_call_that_may_sleep),
		UNIT_TEST_RAW(parameters_trace_from_the_start),
		UNIT_TEST_RAW(parameters_are_not_for_another_process),
	};

	return UNIT_MAIN(cases);
}
