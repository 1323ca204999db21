/* SPDX-License-Identifier: MIT */
/*
 * test_atomic.c - GFP_ATOMIC and GFP_NOWAIT make no system call and wait for no lock: threads that may
 * make none, against others that hold, want and drain everything; and handlers that interrupted a thread
 * with each lock of the allocator in its hands.
 */
#include "unit.h"

#include "kmalloc/gfp_alloc.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/reserve.h"
#include "kmalloc/slab.h"
#include "seccomp.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define STRICT_THREADS 3
#define ALLOCATIONS 350000 /* per thread: a million and more */
#define HELD 64

static _Atomic int nr_done;
static _Atomic size_t nr_got, nr_refused;
static struct kmem_cache *created;

struct held {
	unsigned char *object;
	size_t size;
	unsigned char stamp;
};

/* Mostly small, some of every class. */
static size_t random_size(uint64_t random)
{
	return random % 8 ? 1 + (random >> 8) % 1000 : 1 + (random >> 8) % KMALLOC_MAX_SIZE;
}

static void put(struct held *held)
{
	if (!held->object)
		return;
	CHECK_EQ(held->object[0], held->stamp);
	CHECK_EQ(held->object[held->size - 1], held->stamp);
	if (held->size == 200)
		kmem_cache_free(created, held->object);
	else
		kfree(held->object);
}

static void get(struct held *held, uint64_t random, gfp_t gfp)
{
	held->size = random % 16 == 1 ? 200 : random_size(random);
	if (held->size == 200)
		held->object = kmem_cache_alloc(created, gfp);
	else
		held->object = kmalloc(held->size, gfp);
	atomic_fetch_add(held->object ? &nr_got : &nr_refused, 1);
	if (!held->object)
		return;
	held->stamp = (unsigned char)(random >> 40);
	held->object[0] = held->stamp;
	held->object[held->size - 1] = held->stamp;
}

static void churn(uint64_t seed, size_t n, bool atomic)
{
	struct held held[HELD] = { 0 };

	for (size_t i = 0; i < n; i++) {
		uint64_t random = unit_random(&seed);
		struct held *one = &held[random >> 32 & (HELD - 1)];

		put(one);
		get(one, random,
		    !atomic	? GFP_KERNEL :
		    random & 64 ? GFP_NOWAIT :
				  GFP_ATOMIC | __GFP_NOWARN);
	}
	for (size_t i = 0; i < HELD; i++)
		put(&held[i]);
}

static void *churn_strictly(void *arg)
{
	seccomp_no_calls();
	churn((uintptr_t)arg * 7919 + 1, ALLOCATIONS, true);
	atomic_fetch_add(&nr_done, 1);
	for (;;)
		__builtin_ia32_pause();
	return NULL;
}

/* What makes others wait and sleep: it takes every lock and every CPU's sheaves. */
static void *disturb(void *arg)
{
	uint64_t seed = (uintptr_t)arg + 99;

	while (atomic_load(&nr_done) < STRICT_THREADS) {
		churn(seed++, 3000, false);
		if (arg) {
			kmem_cache_drain_all();
			lock_fork_prepare();
			lock_fork_parent();
		}
	}
	return NULL;
}

static size_t objects_in_use(void)
{
	struct kmem_cache_stat stat;
	size_t n = 0;

	kmalloc_trim();
	for_each_kmem_cache(cache)
	{
		kmem_cache_stat(cache, &stat);
		n += stat.active_objs - stat.cached_objs;
	}
	return n;
}

static void a_million_allocations_make_no_system_call(void)
{
	pthread_t strict[STRICT_THREADS], others[2];
	struct reserve_stat reserve;
	size_t in_use;

	created = kmem_cache_create("created", 200, 0, 0, NULL);
	CHECK(created != NULL);
	kfree(kmalloc(100, GFP_KERNEL));
	in_use = objects_in_use();
	for (uintptr_t i = 0; i < STRICT_THREADS; i++)
		CHECK(pthread_create(&strict[i], NULL, churn_strictly, (void *)i) == 0);
	for (uintptr_t i = 0; i < 2; i++)
		CHECK(pthread_create(&others[i], NULL, disturb, (void *)i) == 0);
	for (int i = 0; i < 2; i++)
		pthread_join(others[i], NULL);
	CHECK(atomic_load(&nr_got) + atomic_load(&nr_refused) > 1000000);
	/* most get what they ask for */
	CHECK(atomic_load(&nr_got) > 9 * atomic_load(&nr_refused));
	/* nothing is lost, whatever came late */
	CHECK_EQ(objects_in_use(), in_use);
	reserve_stat(&reserve);
	CHECK_EQ(reserve.free, reserve.bytes);
}

/* A handler, when this thread holds one lock, or all. */

static _Atomic int nr_handled;
static bool expect_all; /* each size must be had */
static size_t nr_sizes;

static void allocate_every_size(int sig)
{
	static unsigned char *objects[128];
	size_t n = 0;

	CHECK_EQ(sig, SIGUSR1);
	for (size_t size = 1; size <= KMALLOC_MAX_SIZE; size += size / 4 + 1) {
		objects[n] = kmalloc(size, GFP_ATOMIC);
		if (!objects[n] && expect_all)
			unit_differ(__FILE__, __LINE__, "size", "refused", size, n);
		if (!objects[n])
			continue;
		CHECK(ksize(objects[n]) >= size);
		memset(objects[n], 0x5a, size);
		n++;
		if (n >= 2 && n % 2)
			kfree(objects[--n]); /* some at once, others later */
	}
	nr_sizes = n;
	while (n > 0) {
		CHECK_EQ(objects[n - 1][0], 0x5a);
		kfree(objects[--n]);
	}
	kmem_cache_free(created, kmem_cache_alloc(created, GFP_ATOMIC));
	atomic_fetch_add(&nr_handled, 1);
}

static const int raise_calls[] = { SYS_tgkill,	       SYS_gettid,	 SYS_getpid,
				   SYS_rt_sigprocmask, SYS_rt_sigreturn, -1 };

/* The handler runs in a thread that holds what `hold` takes, and may make no call but raise()'s. */
static void *interrupt(void *arg)
{
	struct lock *lock = arg;
	int before = atomic_load(&nr_handled);

	if (lock) {
		lock_acquire(lock);
	} else {
		lock_fork_prepare();
	}
	CHECK(in_atomic());
	seccomp_strict(raise_calls);
	raise(SIGUSR1);
	CHECK_EQ(atomic_load(&nr_handled), before + 1);
	if (lock)
		lock_release(lock);
	else
		lock_fork_parent();
	CHECK(!in_atomic());
	atomic_fetch_add(&nr_done, 1);
	for (;;)
		__builtin_ia32_pause();
	return NULL;
}

/* In a process each, since the thread that may make no call can't end either. */
static void interrupt_holder(void *lock)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, interrupt, lock) == 0);
	while (!atomic_load(&nr_done))
		usleep(100);
	/* what the handler had to put off is done by now or with the next miss */
	kfree(kmalloc(5000, GFP_KERNEL));
}

static void handler_under_each_lock_gets_every_size(void)
{
	struct sigaction action = { .sa_handler = allocate_every_size };
	unsigned ranks = 0;
	int n = 0;

	created = kmem_cache_create("created", 200, 0, 0, NULL);
	kfree(kmalloc(100, GFP_KERNEL));
	expect_all = true;
	sigaction(SIGUSR1, &action, NULL);
	for (struct lock *lock = (struct lock *)(uintptr_t)lock_list(); lock;
	     lock = lock->next, n++) {
		struct unit_end end;

		/* of the many locks of one rank that caches have, every eighth */
		if (ranks & 1U << lock->rank && n % 8)
			continue;
		ranks |= 1U << lock->rank;
		end = unit_child(interrupt_holder, lock);
		if (end.signal || end.status)
			fprintf(stderr, "under a lock of rank %u: signal %d, status %d: %s\n",
				lock->rank, end.signal, end.status, end.text);
		CHECK(!end.signal && !end.status);
	}
	/* every rank there is, but for the areas' where they have none */
	CHECK(__builtin_popcount(ranks) >= (percpu_mode() == PERCPU_LOCKED ? 10 : 9));
}

static void handler_under_all_locks_gets_every_size(void)
{
	struct sigaction action = { .sa_handler = allocate_every_size };
	struct unit_end end;

	created = kmem_cache_create("created", 200, 0, 0, NULL);
	kfree(kmalloc(100, GFP_KERNEL));
	expect_all = true;
	sigaction(SIGUSR1, &action, NULL);
	end = unit_child(interrupt_holder, NULL);
	if (end.signal || end.status)
		fprintf(stderr, "signal %d, status %d: %s\n", end.signal, end.status, end.text);
	CHECK(!end.signal && !end.status);
}

/* Plain malloc() in an atomic scope: no call either; the reserve, then nothing. */
static void *malloc_strictly(void *unused)
{
	unsigned scope = memalloc_atomic_save();
	static void *objects[4096];
	size_t n = 0, large = 0;

	seccomp_no_calls();
	while (n < 4096 && (objects[n] = kvmalloc_slow(100000, NULL, NULL)) != NULL)
		n++;
	CHECK(n > 5 && n < 4096);
	while (n > 0)
		kvmalloc_free(objects[--n]);
	large += kvmalloc_slow(1 << 20, NULL, NULL) != NULL;
	CHECK_EQ(large, 0);
	memalloc_atomic_restore(scope);
	CHECK(!in_atomic());
	atomic_fetch_add(&nr_done, 1);
	for (;;)
		__builtin_ia32_pause();
	return unused;
}

static void malloc_in_an_atomic_scope_makes_no_system_call(void)
{
	pthread_t thread;

	kfree(kmalloc(100, GFP_KERNEL));
	CHECK(pthread_create(&thread, NULL, malloc_strictly, NULL) == 0);
	while (!atomic_load(&nr_done))
		usleep(100);
}

int main(void)
{
	static const struct unit_case tests[] = {
		UNIT_TEST(a_million_allocations_make_no_system_call),
		UNIT_TEST_WITH(handler_under_each_lock_gets_every_size, "min_free_kbytes=8192"),
		UNIT_TEST_WITH(handler_under_all_locks_gets_every_size, "min_free_kbytes=8192"),
		UNIT_TEST(malloc_in_an_atomic_scope_makes_no_system_call),
	};

	return UNIT_MAIN(tests);
}
