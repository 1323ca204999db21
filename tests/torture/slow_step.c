/* SPDX-License-Identifier: MIT */
/*
 * slow_step.c - a signal handler at every instruction of the slow paths, that allocates
 * and frees at each.
 *
 * It is linked with the rooms below the entry points; its own memory is the C library's. Each
 * scenario runs in a process of its own, on an allocator that was not started yet, in each
 * mode. Around a call of the allocator the trap flag is set: after every
 * instruction, the C library's and the vDSO's ones on the way included, SIGTRAP's handler runs
 * with the allocator in whatever state it is, with whichever locks held. It
 * allocates, clears, resizes and frees in the same cache and on the vmalloc path, keeps
 * objects from one instruction to the next ones, sometimes fills and empties whole sheaves, and
 * sometimes forks, and the child does the same.
 *
 * A restartable sequence can't be stepped through: each trap aborts it. The trap at its
 * first instruction comes with the address of its abort handler, so the handler knows: it lets the
 * thread run free, with breakpoints where the sequence can be left, and goes on
 * stepping there. (rseq_step.c is about the inside of sequences.)
 *
 * At the end of a scenario everything is freed and drained. Then no object may be in use in any
 * cache, no slab and no area be left and no page be mapped: nothing got lost. While it runs,
 * stamps show that nothing was handed out twice; an alarm, that nothing waits for itself.
 * In every mode all ranks of locks must have been met held.
 */
#include "slow_step.h"

#include "kmalloc/kvmalloc.h"
#include "kmalloc/start.h"
#include "lib/lock.h"
#include "lib/param.h"
#include "page/page.h"
#include "page/reclaim.h"
#include "slab/percpu.h"
#include "step.h"
#include "vmalloc/vmalloc.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MINE_MAX 6000
#define SHEAF_MAX 400 /* more than a sheaf holds */
#define AREA 200000   /* bytes, on the vmalloc path */

static const struct mode {
	const char *name, *cmdline;
	bool locked;
} modes[] = {
	{ "mm_cid", "reclaim.age_ms=0", false },
	{ "cpu_id", "rseq=cpu_id reclaim.age_ms=0", false },
	{ "locked", "rseq=off reclaim.age_ms=0", true },
};

static const char *const rank_names[] = { "start", "mutex", "reserve", "percpu", "area", "barn",
					  "cache", "areas", "zone",    "trace",	 "meta" };

struct step_stats *stats;
static uint64_t deadline_ms, seed;
static const char *only = "";

/* The entry points, which are not linked here. */

void *slow_malloc(size_t size)
{
	void *object;

	return kmalloc_hit(size, &object) ? object : kvmalloc_slow(size, NULL, NULL);
}

void *slow_realloc(void *ptr, size_t size)
{
	return krealloc_hit(ptr, size) ? ptr : kvmalloc_resize(ptr, size, NULL);
}

/* What the scenario made and has not freed; handlers keep their objects to themselves. */
static void *mine[MINE_MAX];
static unsigned nr_mine;

static void keep(void *ptr, size_t size)
{
	if (nr_mine == MINE_MAX)
		step_fail("the scenario keeps too much");
	step_hold(ptr, size);
	mine[nr_mine++] = ptr;
}

/* Mostly handlers leave the sheaf alone until it was found empty (full). */
static void begin(size_t size)
{
	static unsigned calls;

	if (++calls % 4)
		step_begin_miss(size);
	else
		step_begin(size);
}

/* Steps through one call; what it gives is kept. */
static void step_malloc(size_t size)
{
	void *ptr;

	begin(size);
	ptr = slow_malloc(size);
	step_end();
	keep(ptr, size);
}

static void step_malloc_aligned(size_t size, size_t align)
{
	void *ptr;

	begin(size);
	ptr = kvmalloc_aligned(size, align, NULL);
	step_end();
	if ((uintptr_t)ptr & (align - 1))
		step_fail("%p is not aligned to %zu", ptr, align);
	keep(ptr, size);
}

static void step_calloc(size_t size)
{
	void *ptr;

	begin(size);
	ptr = kvmalloc_zeroed(size, NULL);
	step_end();
	if (!ptr)
		step_fail("no memory for %zu bytes", size);
	step_check_zero(ptr, size);
	keep(ptr, size);
}

static void step_free(void *ptr, size_t size)
{
	begin(size);
	kvmalloc_free(ptr);
	step_end();
}

/* The last one that was made. */
static void step_realloc(size_t size)
{
	struct step_object old = step_take(mine[nr_mine - 1]);
	void *ptr;

	step_begin(size);
	ptr = slow_realloc(old.ptr, size);
	step_end();
	step_moved(&old, ptr, size);
	mine[nr_mine - 1] = ptr;
}

/* Not the validators of a debug build: they stop the world, with all signals blocked, and so the trap. */
static void step_trim(size_t size)
{
	size_t valid_shift = params.valid_shift;

	params.valid_shift = SIZE_MAX;
	step_begin(size);
	kmalloc_trim();
	step_end();
	params.valid_shift = valid_shift;
}

static void step_reclaim(enum reclaim what, size_t size)
{
	step_begin(size);
	reclaim_run(what);
	step_end();
}

/* Without steps: get somewhere quickly. */
static void quick_malloc(size_t size, unsigned count)
{
	while (count--)
		keep(slow_malloc(size), size);
}

static void quick_free(unsigned count)
{
	while (count-- && nr_mine)
		kvmalloc_free(step_take(mine[--nr_mine]).ptr);
}

static void step_free_some(unsigned count)
{
	while (count-- && nr_mine) {
		struct step_object object = step_take(mine[--nr_mine]);

		step_free(object.ptr, object.size);
	}
}

/* The top of this CPU's sheaf; a hint. In locked mode one thread has the first area to itself. */
static void **top_of(size_t size)
{
	unsigned index = percpu_mode() == PERCPU_LOCKED ? 0 : rseq_index();
	uintptr_t *area = (uintptr_t *)((char *)&percpu + percpu.backing[index]);

	return (void **)area[PERCPU_MAIN + kmalloc_index(size)];
}

/* Until the next request will miss. */
static void quick_until_empty(size_t size)
{
	for (unsigned i = 0; i < SHEAF_MAX && !sheaf_is_sentinel(top_of(size)[-1]); i++)
		quick_malloc(size, 1);
}

/* Until the next free will miss. */
static void quick_until_full(size_t size)
{
	for (unsigned i = 0; i < SHEAF_MAX && !sheaf_is_sentinel(top_of(size)[0]); i++)
		quick_free(1);
}

/* The scenarios. */

static void scenario_start(size_t size)
{
	step_malloc(size);
	step_malloc(AREA);
	step_free_some(1);
}

/* Misses: the first sheaf, slab and pages, then refill after refill. */
static void scenario_refill(size_t size)
{
	quick_malloc(AREA, 1);
	for (unsigned sheaf = 0; sheaf < 6; sheaf++) {
		quick_until_empty(size);
		if (sheaf % 3 == 2)
			step_calloc(size);
		else
			step_malloc(size);
	}
}

/* Full sheaves: spare, barn, and at last back to the slabs, which go back to the pages. */
static void scenario_flush(size_t size)
{
	quick_malloc(size, 3200);
	while (nr_mine) {
		quick_until_full(size);
		step_free_some(1);
	}
}

/* The barn's sheaves come back, and go there again. */
static void scenario_barn(size_t size)
{
	quick_malloc(size, 1600);
	quick_free(1600);
	for (unsigned i = 0; i < 12; i++) {
		quick_until_empty(size);
		step_malloc(size);
	}
	while (nr_mine) {
		quick_until_full(size);
		step_free_some(1);
	}
}

/* Slabs of the top class: sections are mapped, described, and given back. */
static void scenario_pages(size_t size)
{
	for (unsigned i = 0; i < 40; i++) {
		if (i % 8 == 0)
			step_malloc(KMALLOC_MAX_SIZE);
		else
			quick_malloc(KMALLOC_MAX_SIZE, 1);
	}
	step_free_some(3);
	quick_free(30);
	step_reclaim(RECLAIM_AGE, size);
	step_free_some(2);
	quick_free(40);
	step_reclaim(RECLAIM_ALL, size);
	step_malloc(size);
}

static void scenario_areas(size_t size)
{
	quick_malloc(size, 1);
	step_malloc(AREA);
	step_calloc(2 * AREA);
	step_free_some(1);
	step_malloc(AREA);
	step_free_some(2);
	step_calloc(AREA);
	step_malloc_aligned(AREA, 1UL << 20);
	quick_malloc(AREA, 20);
	quick_free(18);
	step_malloc(9 * AREA); /* of neighbours, joined */
	step_free_some(1);
	step_reclaim(RECLAIM_AGE, size);
	quick_malloc(AREA, 1);
	step_realloc(2 * AREA);
	step_realloc(5 * AREA);
	step_realloc(AREA);
	step_realloc(1000);
	step_realloc(AREA);
	step_trim(AREA);
}

static void scenario_trim(size_t size)
{
	quick_malloc(size, 1500);
	quick_malloc(AREA, 3);
	quick_free(1100);
	step_trim(size);
	step_malloc(size);
	step_free_some(1);
	step_reclaim(RECLAIM_AGE, size);
}

static void scenario_aligned(size_t size)
{
	for (size_t align = 16; align <= 4096; align *= 4)
		step_malloc_aligned(size, align);
	step_free_some(3);
}

static void scenario_realloc(size_t size)
{
	quick_malloc(size, 1);
	for (size_t to = size; to < 300000; to = to * 5 / 2)
		step_realloc(to);
	for (size_t to = 100000; to > 16; to /= 4)
		step_realloc(to);
}

static void scenario_divert(size_t size)
{
	quick_malloc(size, 300);
	quick_free(30);
	step_begin(size);
	percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_ALL);
	step_end();
	step_malloc(size);
	step_free_some(2);
	step_begin(size);
	percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_NOTHING);
	step_end();
	step_malloc(size);
}

static void *first_touch(void *size)
{
	step_malloc(*(size_t *)size);
	step_free_some(1);
	step_malloc(AREA);
	return NULL;
}

static void run_thread(void *(*body)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, body, arg) != 0)
		step_fail("no thread");
	pthread_join(thread, NULL);
}

static void scenario_thread(size_t size)
{
	quick_malloc(size, 10);
	run_thread(first_touch, &size);
	run_thread(first_touch, &size);
}

/* Another thread is at the same locks meanwhile. */

static _Atomic bool contender_stops;

static void *contend(void *arg)
{
	size_t size = *(size_t *)arg;
	unsigned char *theirs[90];

	for (unsigned char round = 0; !atomic_load(&contender_stops); round++) {
		for (unsigned i = 0; i < 90; i++) {
			theirs[i] = slow_malloc(i % 30 ? size : AREA);
			if (!theirs[i])
				step_fail("no memory for another thread");
			memset(theirs[i], round + (int)i, i % 30 ? size : 64);
		}
		for (unsigned i = 0; i < 90; i++) {
			for (size_t at = 0; at < (i % 30 ? size : 64); at++)
				if (theirs[i][at] != (unsigned char)(round + i))
					step_fail("another thread's object was changed");
			kvmalloc_free(theirs[i]);
		}
		if (round % 16 == 0)
			kmalloc_trim();
	}
	return NULL;
}

static void scenario_contended(size_t size)
{
	pthread_t thread;

	quick_malloc(size, 1);
	atomic_store(&contender_stops, false);
	if (pthread_create(&thread, NULL, contend, &size) != 0)
		step_fail("no thread");
	for (unsigned i = 0; i < 4; i++) {
		step_malloc(size);
		quick_malloc(size, 300);
		step_malloc(AREA);
		step_free_some(2);
		quick_free(300);
	}
	atomic_store(&contender_stops, true);
	pthread_join(thread, NULL);
}

static const struct scenario {
	const char *name;
	void (*run)(size_t size);
	bool raw; /* the library is not started before */
} scenarios[] = {
	{ "start", scenario_start, true },	{ "refill", scenario_refill, false },
	{ "flush", scenario_flush, false },	{ "barn", scenario_barn, false },
	{ "pages", scenario_pages, false },	{ "areas", scenario_areas, false },
	{ "trim", scenario_trim, false },	{ "aligned", scenario_aligned, false },
	{ "realloc", scenario_realloc, false }, { "divert", scenario_divert, false },
	{ "thread", scenario_thread, false },	{ "contended", scenario_contended, false },
};

/* Everything freed and drained: nothing may be left. */
static void settle(void)
{
	struct page_stat pages;
	struct vmalloc_stat areas;

	step_check_held();
	while (step_held())
		kvmalloc_free(step_last().ptr);
	kmalloc_trim();
	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++)
		if (kmem_caches[i].nr_inuse || kmem_caches[i].nr_slabs)
			step_fail("%s: %zu objects in %u slabs are in use, and nobody has them",
				  kmem_caches[i].name, kmem_caches[i].nr_inuse,
				  kmem_caches[i].nr_slabs);
	vmalloc_stat(&areas);
	if (areas.nr_areas)
		step_fail("%zu areas are in use, and nobody has them", areas.nr_areas);
	page_stat(&pages);
	if (pages.mapped)
		step_fail("%zu bytes of pages are mapped, %zu of them free", pages.mapped,
			  pages.free_clean + pages.free_dirty);
	if (lock_depth)
		step_fail("lock_depth is %d outside of the allocator", lock_depth);
}

static _Noreturn void in_process(const struct scenario *scenario, const struct mode *mode,
				 size_t size, uint64_t phase)
{
	setenv("KMALLOC_CMDLINE", mode->cmdline, 1);
	alarm(STEP_HANG_SECONDS);
	step_setup(phase);
	if (!scenario->raw && !kmalloc_start())
		step_fail("the library does not start");
	scenario->run(size);
	settle();
	_exit(0);
}

static void run_scenario(const struct scenario *scenario, const struct mode *mode, size_t size,
			 uint64_t phase)
{
	pid_t child = fork();
	int status = -1;

	if (child == 0)
		in_process(scenario, mode, size, phase);
	if (child < 0 || waitpid(child, &status, 0) != child)
		step_fail("no process");
	if (status == 0)
		return;
	step_fail("FAILED: %s of %zu bytes in mode %s: %s %d, at instruction %lu of it",
		  scenario->name, size, mode->name,
		  WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "status",
		  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), stats->points_here);
}

/* All scenarios in one mode. False: no time is left. */
static bool run_mode(const struct mode *mode, size_t size, uint64_t phase)
{
	memset(stats->rank_points, 0, sizeof(stats->rank_points));
	for (unsigned i = 0; i < ARRAY_SIZE(scenarios); i++) {
		if (!strstr(scenarios[i].name, only))
			continue;
		if (step_now_ms() > deadline_ms)
			return false;
		stats->points_here = 0;
		run_scenario(&scenarios[i], mode, size, phase);
		stats->scenarios++;
	}
	for (unsigned rank = LOCK_RANK_PERCPU; !*only && rank <= LOCK_RANK_META; rank++)
		if (!stats->rank_points[rank] && (rank != LOCK_RANK_AREA || mode->locked) &&
		    rank != LOCK_RANK_TRACE /* only where somebody traces */)
			step_fail("FAILED: in mode %s the lock of rank %s was never met held",
				  mode->name, rank_names[rank]);
	return true;
}

static unsigned long number(int argc, char **argv, const char *name, unsigned long otherwise)
{
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], name))
			return strtoul(argv[i + 1], NULL, 0);
	return otherwise;
}

static void report(unsigned rounds)
{
	char held[300];
	int n = 0;

	for (unsigned rank = 0; rank <= LOCK_RANK_META; rank++)
		n += snprintf(held + n, sizeof(held) - (size_t)n, "%s%s %lu", rank ? ", " : "",
			      rank_names[rank], stats->all_rank_points[rank]);
	step_say(
		1,
		"slow_step: %lu instruction points in %lu scenarios (%u rounds), at %zu different "
		"instructions; %lu with a lock held (%s); %lu sequences passed; %lu objects made in "
		"handlers, %lu forks",
		stats->points, stats->scenarios, rounds, step_distinct(), stats->atomic_points,
		held, stats->sections, stats->objects, stats->forks);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 64, 16, 1024, 208, 4096, 32, 512 };
	unsigned rounds;

	seed = number(argc, argv, "--seed", 1);
	deadline_ms = step_now_ms() + 1000 * number(argc, argv, "--seconds", 600);
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], "--only"))
			only = argv[i + 1];
	snprintf(step_repeat, sizeof(step_repeat), "repeat: %s --seed %lu", argv[0], seed);
	stats = step_prepare();
	for (rounds = 0; rounds < 2 * ARRAY_SIZE(sizes); rounds++) {
		size_t size = sizes[rounds % ARRAY_SIZE(sizes)];
		bool in_time = true;

		for (unsigned i = 0; in_time && i < ARRAY_SIZE(modes); i++)
			in_time = run_mode(&modes[i], size, seed * 1000003 + rounds);
		step_say(2, "slow_step: round %u, %zu bytes: %lu points so far", rounds + 1, size,
			 stats->points);
		if (!in_time)
			break;
	}
	report(rounds);
	return 0;
}
