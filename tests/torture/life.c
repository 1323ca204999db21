/* SPDX-License-Identifier: MIT */
/*
 * life.c [--seconds N] [--seed S] [--threads T] - threads that are born and die by the thousand,
 * and libraries that are loaded and unloaded.
 *
 * T threads, 100,000 if none is told, some dozens at a time, joined or detached, with stacks from the
 * smallest to 8 MiB. Each allocates, leaves blocks for threads that come after it, and ends by
 * return, by pthread_exit(), or cancelled. After its end its thread-local objects and its
 * keys' values are destroyed, as C++ and POSIX have it: the destructors free, allocate, and set their
 * key again.
 *
 * Cancellation: a request that is pending must not strike inside the allocator, whatever path is taken;
 * it strikes at the next cancellation point, and the cleanup handlers free. Asynchronous cancellation is
 * allowed around computing alone, as POSIX has it.
 *
 * Libraries: dlopen() runs a constructor that allocates and starts a thread; its thread-local
 * storage is allocated in each thread that touches it; blocks outlive dlclose().
 *
 * Each 1000 threads everything is given back and measured: neither what is out, nor what is mapped,
 * nor what is resident may grow with the number of threads that there have been.
 */
#include "shadow.h"

#include <limits.h>

#define THREADS 100000UL
#define BATCH 40
#define SHELF 256
#define OWN 12
#define NR_KEYS 40 /* beyond 32 the C library allocates room for their values */
#define DESTROYS                                                                                   \
	3 /* times that a thread's destructors set a key again: one less than there are rounds */
#define WARM_THREADS 3000
#define MEASURE_EACH 1000
#define MAX_GROWTH_OUT (32UL << 10)
#define MAX_GROWTH_MAPPED (8UL << 20)
#define MAX_GROWTH_RESIDENT (2UL << 20)

static const size_t stacks[] = { 0,	      32UL << 10, 64UL << 10, 128UL << 10,
				 256UL << 10, 1UL << 20,  8UL << 20 };

static _Atomic(void *) shelf[SHELF];
static pthread_key_t keys[NR_KEYS];
static _Atomic unsigned long nr_live, nr_cancelled, nr_cleaned, nr_destroyed, nr_local, nr_loads;

/* What C++ calls for a thread_local object with a destructor. */
extern int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *dso);
extern void *__dso_handle __attribute__((visibility("hidden")));

static void *fresh(uint64_t *state)
{
	uint64_t r = next_random(state);
	size_t size = r % 64 ? random_size(state) % 20000 + 16 : 140000 + (r >> 8) % 200000;
	void *block = oracle_new(state, size);

	CHECK(block != NULL);
	return block;
}

/* Leave a block to a thread that comes later; free what an earlier one left. */
static void leave(uint64_t *state, void *block)
{
	block = atomic_exchange(&shelf[next_random(state) % SHELF], block);
	oracle_free(block, "left by a thread that ended");
}

/* The end of a thread: values of keys, and thread-local objects. */

static void set_key(uint64_t *state)
{
	unsigned k = (unsigned)(next_random(state) % NR_KEYS);

	oracle_free(pthread_getspecific(keys[k]), "value of a key");
	CHECK(pthread_setspecific(keys[k], fresh(state)) == 0);
}

static void key_destroy(void *block)
{
	static __thread unsigned set_again;
	uint64_t state = ((uint64_t *)block)[1] | 1;

	oracle_free(block, "value of a key");
	atomic_fetch_add_explicit(&nr_destroyed, 1, memory_order_relaxed);
	if (set_again++ < DESTROYS)
		set_key(&state);
	oracle_free(fresh(&state), "in a destructor");
}

static void local_destroy(void *block)
{
	uint64_t state = ((uint64_t *)block)[1] | 1;

	leave(&state, fresh(&state));
	oracle_free(block, "thread-local object");
	atomic_fetch_add_explicit(&nr_local, 1, memory_order_relaxed);
}

static void set_up_ends(uint64_t *state)
{
	for (int i = 0; i < 3; i++)
		set_key(state);
	for (int i = 0; i < 2; i++)
		CHECK(__cxa_thread_atexit_impl(local_destroy, fresh(state), &__dso_handle) == 0);
}

/* A thread */

struct own {
	void *block[OWN];
	uint64_t state;
	bool computed;
};

static void work(struct own *own, int steps)
{
	while (steps--) {
		void **place = &own->block[next_random(&own->state) % OWN];

		if (!*place) {
			*place = fresh(&own->state);
		} else if (next_random(&own->state) % 2) {
			leave(&own->state, *place);
			*place = NULL;
		} else {
			oracle_free(*place, "own");
			*place = NULL;
		}
	}
}

static void clean_up(void *arg)
{
	struct own *own = arg;

	for (int k = 0; k < OWN; k++)
		oracle_free(own->block[k], "in a cleanup handler");
	atomic_fetch_add_explicit(&nr_cleaned, 1, memory_order_relaxed);
	CHECK(own->computed);
}

/* With a request pending, through every path; the flag says that it did not strike on the way. */
static void work_while_cancelled(struct own *own)
{
	void *area;

	own->computed = false;
	CHECK(pthread_cancel(pthread_self()) == 0);
	atomic_fetch_add_explicit(&nr_cancelled, 1, memory_order_relaxed);
	work(own, 100);
	area = malloc(300000);
	area = realloc(area, 5000000);
	free(area);
	if (own->state % 16 == 0)
		malloc_trim(0);
	own->computed = true;
	pthread_testcancel();
	FAIL("a cancelled thread went on %s", stress_seed_text);
}

static void compute_until_cancelled(struct own *own)
{
	volatile uint64_t sum = own->state;
	bool waits = own->state % 2;

	atomic_fetch_add_explicit(&nr_cancelled, 1, memory_order_relaxed);
	CHECK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL) == 0);
	while (sum != 1)
		if (waits)
			pause();
		else
			sum = sum * 3 + 1;
}

static void *thread_main(void *arg)
{
	uintptr_t number = (uintptr_t)arg;
	struct own own = { .state = torture.seed + number * 7919, .computed = true };

	pthread_cleanup_push(clean_up, &own);
	set_up_ends(&own.state);
	work(&own, 20);
	switch (number % 8) {
	case 0:
		work_while_cancelled(&own);
		break;
	case 1:
		compute_until_cancelled(&own);
		break;
	case 2:
	case 3:
		atomic_fetch_sub(&nr_live, 1);
		pthread_exit(NULL);
	default:
		break;
	}
	pthread_cleanup_pop(1);
	atomic_fetch_sub(&nr_live, 1);
	return NULL;
}

static bool is_detached(uintptr_t number)
{
	return number % 8 > 4;
}

static bool born(pthread_t *thread, uintptr_t number)
{
	pthread_attr_t attr;
	size_t stack = stacks[number / 8 % (sizeof(stacks) / sizeof(stacks[0]))];
	int err;

	pthread_attr_init(&attr);
	if (!stack)
		stack = (size_t)PTHREAD_STACK_MIN;
	CHECK(pthread_attr_setstacksize(&attr, stack) == 0);
	if (is_detached(number))
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	atomic_fetch_add(&nr_live, 1);
	err = pthread_create(thread, &attr, thread_main, (void *)number);
	pthread_attr_destroy(&attr);
	CHECK(err == 0 || err == EAGAIN);
	if (err)
		atomic_fetch_sub(&nr_live, 1);
	return err == 0;
}

static void batch_of_threads(uintptr_t *number)
{
	pthread_t threads[BATCH];
	uintptr_t first = *number;
	void *result;
	int n = 0;

	while (n < BATCH && born(&threads[n], first + (uintptr_t)n)) {
		if (n % 8 == 1)
			CHECK(pthread_cancel(threads[n]) == 0);
		n++;
	}
	CHECK(n > 0);
	for (int i = 0; i < n; i++) {
		uintptr_t kind = (first + (uintptr_t)i) % 8;

		if (is_detached(kind))
			continue;
		CHECK(pthread_join(threads[i], &result) == 0);
		CHECK((result == PTHREAD_CANCELED) == (kind < 2));
		if (kind < 2)
			atomic_fetch_sub(&nr_live, 1);
	}
	*number += (uintptr_t)n;
	while (atomic_load(&nr_live))
		sleep_us(100);
}

/* Libraries */

static void load_and_unload(const char *path, uint64_t *state)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	void *(*block_of)(size_t);
	void *(*touch)(void *);
	pthread_t thread;
	void *block;

	if (!library)
		FAIL("%s %s", dlerror(), stress_seed_text);
	block_of = (__typeof__(block_of))dlsym(library, "plugin_block");
	touch = (__typeof__(touch))dlsym(library, "plugin_touch");
	CHECK(block_of && touch);
	CHECK(pthread_create(&thread, NULL, touch, NULL) == 0);
	touch(NULL);
	block = block_of(1000 + next_random(state) % 200000);
	pthread_join(thread, NULL);
	CHECK(dlclose(library) == 0);
	check_stamp(block, 4711, "of a library that is gone");
	free(block);
	atomic_fetch_add(&nr_loads, 1);
}

static const char *plugin_path(void)
{
	static char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);

	CHECK(n > 0);
	path[n] = 0;
	strcpy(strrchr(path, '/'), "/torture_life_plugin.so");
	return path;
}

/* What there is of memory */

struct memory {
	size_t out, mapped, resident;
};

/* A detached thread is done when it is gone: destructors of others run behind the one that counts it out. */
static void wait_for_threads(int at_first)
{
	char line[256];
	int threads = INT_MAX;

	for (int tries = 0; threads > at_first && tries < 10000; tries++) {
		FILE *file = fopen("/proc/self/status", "r");

		CHECK(file != NULL);
		while (fgets(line, sizeof(line), file))
			if (sscanf(line, "Threads: %d", &threads) == 1)
				break;
		fclose(file);
		if (threads > at_first)
			sleep_us(1000);
	}
	CHECK(threads <= at_first);
}

static struct memory measure(void)
{
	struct memory memory;
	struct mallinfo2 info;
	unsigned long total = 0, resident = 0;
	FILE *file;

	wait_for_threads(2); /* the one that watches the time is the second */
	for (int i = 0; i < SHELF; i++)
		oracle_free(atomic_exchange(&shelf[i], NULL), "shelf");
	shadow_forget();
	memory.out = torture_bytes_out();
	info = mallinfo2();
	memory.mapped = info.arena + info.hblkhd;
	file = fopen("/proc/self/statm", "r");
	CHECK(file != NULL && fscanf(file, "%lu %lu", &total, &resident) == 2);
	fclose(file);
	memory.resident = resident * 4096;
	return memory;
}

static void refuse_growth(struct memory first, struct memory now, uintptr_t threads)
{
	if (now.out > first.out + MAX_GROWTH_OUT || now.mapped > first.mapped + MAX_GROWTH_MAPPED ||
	    now.resident > first.resident + MAX_GROWTH_RESIDENT)
		FAIL("after %lu threads %zu bytes are out, %zu mapped, %zu resident; "
		     "after %d threads it was %zu, %zu, %zu %s",
		     threads, now.out, now.mapped, now.resident, WARM_THREADS, first.out,
		     first.mapped, first.resident, stress_seed_text);
}

/*
 * The C library keeps the stacks of threads that ended, up to 40 MB, each with a block of ours: how many that are is
 * chance, and would be taken for growth. So start over with a bound on that.
 */
static void bound_stack_cache(char **argv)
{
	if (getenv("GLIBC_TUNABLES"))
		return;
	setenv("GLIBC_TUNABLES", "glibc.pthread.stack_cache_size=1048576", 1);
	execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
	uintptr_t threads = 0, wanted, measured = 0;
	struct memory first = { 0 }, now = { 0 };
	const char *plugin;
	uint64_t state;

	(void)argc;
	bound_stack_cache(argv);
	torture_start(argv, "threads");
	wanted = torture_number(argv, "threads", THREADS);
	state = torture.seed;
	plugin = plugin_path();
	for (int i = 0; i < NR_KEYS; i++)
		CHECK(pthread_key_create(&keys[i], key_destroy) == 0);
	while (threads < wanted && !torture_time_is_up()) {
		batch_of_threads(&threads);
		load_and_unload(plugin, &state);
		if (threads < WARM_THREADS || threads < measured + MEASURE_EACH)
			continue;
		now = measure();
		first = measured ? first : now;
		measured = threads;
		refuse_growth(first, now, threads);
		say_to(2, "%lu threads: %zu bytes out, %zu mapped, %zu resident", threads, now.out,
		       now.mapped, now.resident);
	}
	CHECK(nr_cancelled && nr_cleaned && nr_destroyed && nr_local && nr_loads);
	say_to(1,
	       "%lu threads, %lu of them cancelled; %lu values of keys and %lu thread-local objects "
	       "destroyed; %lu loads of a library; since %d threads grown: out %zd, resident %zd",
	       threads, nr_cancelled, nr_destroyed, nr_local, nr_loads, WARM_THREADS,
	       (ssize_t)(now.out - first.out), (ssize_t)(now.resident - first.resident));
	return 0;
}
