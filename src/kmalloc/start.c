/* SPDX-License-Identifier: MIT */
/*
 * start.c - the library's start: parameters, address layout, rooms from the
 * bottom up.
 *
 * The kernel's counterpart is mm_core_init(). It runs in the first call
 * that misses, which is in the dynamic linker, before any constructor: so it
 * uses no libc state but what the kernel put on the stack. Until it ran,
 * every hit path misses by itself (see arch/x86_64/rseq.S and slab/percpu.h).
 *
 * Layout: two windows far from where the system places mappings by itself, at
 * a base that differs from run to run:
 *
 *   16 TiB + random x 1 GiB    kmalloc window: 4 x RAM, 1 to 16 TiB
 *   behind it                  the atomic reserve: 1 GiB
 *   1 GiB behind that          vmalloc window: up to 80 TiB
 *
 * Nothing of them is reserved; both tell foreign mappings apart when they
 * meet them. Under a limit of the address space the kmalloc window shrinks, because
 * its maps (1/32768 of it) are reserved, and count.
 *
 * States: NOT -> RUNNING -> DONE or FAILED; FAILED -> RUNNING. The thread that made it
 * RUNNING does the work; others sleep on the word. Its lock_depth is up from before that
 * on, so a handler that interrupts it does not wait for it, and gets an emergency
 * mapping. FAILED: there was no address space for the maps. The request is an emergency
 * mapping of its own then, and each that follows tries the start again first: what fails is
 * its first step, which leaves nothing behind. Other threads may run by then, and have
 * read the words by which the hit paths find their area (rseq_abi); these change at the first
 * try alone, so a start that succeeds later is in locked mode.
 *
 * fork: the child of a fork amidst another thread's start would wait for that thread for ever.
 * So a fork waits for a start that runs, and keeps others from starting: it makes the state
 * RUNNING itself, and puts it back on both sides. A fork in a handler that interrupted the
 * start leaves it alone, the child goes on with it; in one that interrupted the allocator
 * otherwise, it waits for a bounded time.
 */
#include "kmalloc/start.h"

#include "kmalloc/layout.h"
#include "kmalloc/places.h"
#include "kmalloc/report.h"
#include "kmalloc/reserve.h"
#include "kmalloc/size_class.h"
#include "kmalloc/stat.h"
#include "lib/fmt.h"
#include "lib/lock.h"
#include "lib/param.h"
#include "lib/port.h"
#include "os/os.h"
#include "page/page.h"
#include "page/zone_dma.h"
#include "slab/kmem_cache.h"
#include "trace/probes.h"
#include "trace/trace.h"
#include "vmalloc/vmalloc.h"

#define GIB (1UL << 30)
#define TIB (1UL << 40)
#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer has its own tables there: what it watches has to lie below 512 GiB */
#define LAYOUT_BASE (64 * GIB)
#define LAYOUT_RANDOM 1
#define LAYOUT_END (448 * GIB)
#define SLABS_MIN (64 * GIB)
#define SLABS_MAX (64 * GIB)
#else
#define LAYOUT_BASE (16 * TIB)
#define LAYOUT_RANDOM 8192 /* GiB */
#define LAYOUT_END (80 * TIB)
#define SLABS_MIN TIB
#define SLABS_MAX (16 * TIB)
#endif
#define LIMIT_MATTERS (64 * GIB) /* below this RLIMIT_AS the maps are worth saving */

_Atomic uint32_t start_state;
static void *start_owner;  /* thread pointer of who made it RUNNING; NULL: nobody */
static bool start_forking; /* and did so to fork */
static uint32_t start_before_fork;

static size_t round_up_pow2(size_t n)
{
	return is_power_of_2(n) ? n : 2UL << ilog2(n);
}

static size_t slab_window_size(void)
{
	size_t limit = os_address_space_limit();

	if (limit < LIMIT_MATTERS)
		return round_up_pow2(max_size(limit, SECTION_SIZE) * 4);
	return min_size(max_size(round_up_pow2(os_total_ram() * 4), SLABS_MIN), SLABS_MAX);
}

/* Once, and not again when the start is tried a second time. */
static void read_parameters(void)
{
	static bool done;
	const char *cmdline;

	/* the environment may change by now: not even looked at */
	if (done)
		return;
	done = true;
	cmdline = os_secure() ? NULL : os_getenv("KMALLOC_CMDLINE");
	if (cmdline)
		param_parse(cmdline);
	if (params.help)
		param_print_help();
}

static void create_caches(void)
{
	static const struct {
		uint8_t index, order;
		uint32_t size;
	} classes[] = {
#define CLASS(index, size, order) { index, order, size },
		KMALLOC_CLASSES(CLASS)
#undef CLASS
	};

	kmem_cache_init_room();
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		size_t size = classes[i].size;
		char name[16];

		if (size >= 1024 && size % 1024 == 0)
			fmt_format(name, sizeof(name), "kmalloc-%zuk", size / 1024);
		else
			fmt_format(name, sizeof(name), "kmalloc-%zu", size);
		kmem_cache_init(classes[i].index, name, size, min_size(size, KMALLOC_MAX_SIZE),
				classes[i].order);
	}
}

/* Tell who looks from outside where things are. */
static void start_trace(void)
{
	trace_control.hit_table = (uintptr_t)percpu.hit;
	trace_control.hit_free_table = (uintptr_t)percpu.hit_free;
	trace_control.nr_hit = RSEQ_NR_CPUS;
	trace_control.split = PERCPU_SPLIT;
	trace_control.divert = (uintptr_t)&percpu.divert[PERCPU_DIVERT_TRACE];
	trace_control.caches = (uintptr_t)&kmem_cache_first;
	trace_control.layout = TRACE_LAYOUT;
	trace_control.places = (uintptr_t)places();
	trace_init();
	if (trace_mode() != TRACE_OFF)
		percpu_divert(PERCPU_DIVERT_TRACE, trace_diversion(trace_mode()));
	/* who listened before the program began hears of everything */
	if (probes_armed())
		percpu_divert(PERCPU_DIVERT_PROBE, PERCPU_DIVERT_ALL);
}

/* Rooms from the bottom up; the shrinker that is registered last is called first. */
static bool start_rooms(void)
{
	static bool warned; /* so this is not the first try */
	uintptr_t base;
	size_t size;

	os_init();
	read_parameters();
	base = LAYOUT_BASE + os_random_seed() % LAYOUT_RANDOM * GIB;
	size = slab_window_size();
	if (!page_init(base, size)) {
		if (!warned)
			fmt_warn("no address space for the memory map (%zu bytes): raise ulimit -v",
				 size >> GRANULE_SHIFT);
		warned = true;
		return false;
	}
	vmalloc_init(base + size + 2 * GIB, LAYOUT_END - (base + size + 2 * GIB));
	percpu_init(!warned);
	create_caches();
	reserve_init(base + size);
	start_trace();
	if (params.stat)
		stat_start();
	return true;
}

static bool start_is_mine(void)
{
	return __atomic_load_n(&start_owner, __ATOMIC_RELAXED) == __builtin_thread_pointer();
}

static void end_running(uint32_t state)
{
	__atomic_store_n(&start_owner, NULL, __ATOMIC_RELAXED);
	atomic_store_explicit(&start_state, state, memory_order_release);
	port_futex_wake(&start_state, INT32_MAX);
}

cold_path bool kmalloc_start_slow(void)
{
	uint32_t state = atomic_load_explicit(&start_state, memory_order_acquire);
	bool mine = false;

	lock_atomic_enter();
	while (!mine && (state == START_NOT || state == START_FAILED))
		mine = atomic_compare_exchange_strong(&start_state, &state, START_RUNNING);
	if (mine) {
		__atomic_store_n(&start_owner, __builtin_thread_pointer(), __ATOMIC_RELAXED);
		state = start_rooms() ? START_DONE : START_FAILED;
		end_running(state);
	}
	lock_atomic_exit();
	while (state == START_RUNNING) {
		if (lock_in_atomic() || start_is_mine())
			return false;
		port_futex_wait(&start_state, START_RUNNING);
		state = atomic_load_explicit(&start_state, memory_order_acquire);
	}
	return state == START_DONE;
}

void kmalloc_fork_child(void)
{
	report_fork_child();
	kmem_cache_fork_child();
	zone_dma_fork_child();
	percpu.divert[PERCPU_DIVERT_TRACE] = PERCPU_DIVERT_NOTHING;
	trace_fork_child();
}

bool kmalloc_start_fork_prepare(unsigned ms)
{
	bool nested = lock_in_atomic();
	uint32_t state = atomic_load_explicit(&start_state, memory_order_acquire);
	unsigned waited = 0;

	while (state != START_DONE && !start_is_mine()) {
		if (state == START_RUNNING) {
			if (waited++ == (nested ? LOCK_FORK_WAIT_MS : ms))
				return nested;
			port_futex_wait_ms(&start_state, START_RUNNING, 1);
			state = atomic_load_explicit(&start_state, memory_order_acquire);
			continue;
		}
		/* a handler between the two steps must not wait for this thread */
		lock_atomic_enter();
		if (atomic_compare_exchange_strong(&start_state, &state, START_RUNNING)) {
			start_before_fork = state;
			start_forking = true;
			__atomic_store_n(&start_owner, __builtin_thread_pointer(),
					 __ATOMIC_RELAXED);
		}
		lock_atomic_exit();
	}
	return true;
}

void kmalloc_start_fork_done(void)
{
	if (!start_is_mine() || !start_forking)
		return;
	lock_atomic_enter();
	start_forking = false;
	end_running(start_before_fork);
	lock_atomic_exit();
}
