/* SPDX-License-Identifier: MIT */
/*
 * account.c --seconds N --seed S - random work, then the exact account, again and again.
 *
 * A round: threads allocate, resize and free by every way there is, hand blocks to each
 * other over a shelf, trim, and are interrupted by a handler that does the same; meanwhile the
 * account is taken, which must add up at any time, and processes are forked. Then all stand
 * still, and what the account says must be exactly so:
 *
 *   - it adds up, and nothing is lost;
 *   - of each class as many objects are out as the threads hold, counted one by one; the
 *     same of areas, in bytes, and of emergency mappings;
 *   - /proc/self/maps has as many bytes in the two windows, and all of the metadata;
 *   - a child of fork finds the same, frees everything and finds nothing live, cached or lost.
 *
 * A child that is forked while others work inherits what their threads carried: that is counted as
 * lost, and stays as it is.
 *
 * Modes: each index of rseq, locked, and as on a kernel without guard marks; each with the
 * usual limits and with narrow ones. A mode runs in a process of its own. The rooms are linked;
 * the test's bookkeeping is on the C library's malloc.
 */
#include "account.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS 6
#define OWN 96
#define SHELF 64
#define STEPS 2000
#define STORM_FORKS 4
#define CHILD_SECONDS 60

static const struct mode {
	const char *name, *cmdline;
	bool old_kernel;
} modes[] = {
	{ "rseq", "", false },
	{ "rseq-narrow", "vmalloc.lazy_max=4M page.dirty_max=1M reclaim.age_ms=20", false },
	{ "cpu_id", "rseq=cpu_id", false },
	{ "cpu_id-narrow", "rseq=cpu_id vmalloc.lazy_max=4M page.dirty_max=1M reclaim.age_ms=20",
	  false },
	{ "locked", "rseq=off", false },
	{ "locked-narrow", "rseq=off vmalloc.lazy_max=4M page.dirty_max=1M reclaim.age_ms=20",
	  false },
	{ "old_kernel", "vmalloc.lazy_max=16M", true },
};

static void *own[THREADS][OWN]; /* each thread's blocks */
static _Atomic(void *) shelf[SHELF];
static pthread_barrier_t barrier;
static _Atomic bool working, ended;
static uint64_t seed;
static _Atomic unsigned long nr_ops, nr_in_handlers;
static unsigned long nr_exact, nr_running, nr_children, nr_storm_children, nr_lost_seen;

static size_t random_size(uint64_t *random)
{
	uint64_t r = unit_random(random);

	switch (r % 64) {
	case 0:
		return 1 + (r >> 8) % (3UL << 20);
	case 1:
	case 2:
	case 3:
		return 1 + (r >> 8) % (300UL << 10);
	default:
		return 1 + (r >> 8) % (r % 64 < 12 ? 9000 : 600);
	}
}

static void *alloc_some(uint64_t *random)
{
	size_t size = random_size(random);
	void *block;

	switch (unit_random(random) % 8) {
	case 0:
		return kvmalloc_zeroed(size, NULL);
	case 1:
		return kvmalloc_aligned(size, 16UL << unit_random(random) % 14, NULL);
	default:
		return kmalloc_hit(size, &block) ? block : kvmalloc_slow(size, NULL, NULL);
	}
}

static void step(uint64_t *random, void **slot)
{
	uint64_t r = unit_random(random);

	if (r % 8 == 0) {
		*slot = atomic_exchange(&shelf[(r >> 8) % SHELF], *slot);
	} else if (!*slot) {
		*slot = alloc_some(random);
		CHECK(*slot != NULL);
	} else if (r % 4 == 0) {
		void *block = kvmalloc_resize(*slot, random_size(random), NULL);

		CHECK(block != NULL);
		*slot = block;
	} else {
		kvmalloc_free(*slot);
		*slot = NULL;
	}
}

/* Allocates and frees at any point of the allocator. */
static void handler(int signal)
{
	static _Atomic uint64_t turn;
	uint64_t random = seed + atomic_fetch_add(&turn, 1) * 0x9e3779b97f4a7c15UL;
	void *block = NULL;

	(void)signal;
	for (int i = 0; i < 3; i++) {
		if (!block)
			block = alloc_some(&random);
		block = atomic_exchange(&shelf[unit_random(&random) % SHELF], block);
		if (unit_random(&random) % 2) {
			kvmalloc_free(block);
			block = NULL;
		}
	}
	kvmalloc_free(block);
	atomic_fetch_add_explicit(&nr_in_handlers, 1, memory_order_relaxed);
}

static void signals_allow(bool allow)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(allow ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}

static void signals_tick(bool on)
{
	struct itimerval timer = { { 0, on ? 300 : 0 }, { 0, on ? 300 : 0 } };

	CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static void *worker(void *arg)
{
	unsigned self = (unsigned)(uintptr_t)arg;
	uint64_t random = seed * 31 + self + 1;

	for (;;) {
		pthread_barrier_wait(&barrier);
		if (atomic_load(&ended))
			return NULL;
		signals_allow(true);
		for (unsigned i = 0; i < STEPS; i++) {
			step(&random, &own[self][unit_random(&random) % OWN]);
			if (self == 0 && i % 1000 == 999)
				kmalloc_trim();
		}
		signals_allow(false);
		atomic_fetch_add(&nr_ops, STEPS);
		pthread_barrier_wait(&barrier);
	}
}

static void expect_block(struct expected *expected, void *ptr)
{
	unsigned owner = page_owner(ptr);

	if (!ptr)
		return;
	if (owner)
		expected->objects[owner]++;
	else if (vmalloc_owns(ptr))
		expected->areas += vmalloc_size(ptr);
	else
		expected->emergency++;
}

static void expect_all(struct expected *expected)
{
	memset(expected, 0, sizeof(*expected));
	for (unsigned t = 0; t < THREADS; t++)
		for (unsigned i = 0; i < OWN; i++)
			expect_block(expected, own[t][i]);
	for (unsigned i = 0; i < SHELF; i++)
		expect_block(expected, atomic_load(&shelf[i]));
}

static void free_all(void)
{
	for (unsigned t = 0; t < THREADS; t++) {
		for (unsigned i = 0; i < OWN; i++) {
			kvmalloc_free(own[t][i]);
			own[t][i] = NULL;
		}
	}
	for (unsigned i = 0; i < SHELF; i++)
		kvmalloc_free(atomic_exchange(&shelf[i], NULL));
}

/* In a child that has the heap as it was while all stood still. */
static void child_of_rest(const struct expected *expected)
{
	static const struct expected nothing;
	struct account account;
	uint64_t random = seed;

	account_is(expected);
	for (unsigned i = 0; i < 500; i++)
		step(&random, &own[0][i % OWN]);
	free_all();
	kmalloc_trim();
	account_is(&nothing);
	CHECK(account_read(&account));
	CHECK_EQ(account.cached, 0);
	CHECK_EQ(account.free_slabs, 0);
	CHECK_EQ(account.free_areas, account.vmalloc.lazy_clean);
}

/* In a child that was forked while others worked; the status says whether something is lost. */
static int child_of_storm(void)
{
	struct account before, after;
	uint64_t random = seed;
	void *blocks[OWN] = { 0 };
	/* a guard page that is a gap is made or filled without the lock, and noted then: by each thread and its handler */
	size_t half_done = 2UL * THREADS * (size_t)sysconf(_SC_PAGESIZE);

	CHECK(account_read(&before));
	account_adds_up(&before);
	account_is_mapped(&before, half_done);
	for (unsigned i = 0; i < 3000; i++)
		step(&random, &blocks[unit_random(&random) % OWN]);
	kmalloc_trim();
	for (unsigned i = 0; i < OWN; i++)
		kvmalloc_free(blocks[i]);
	kmalloc_trim();
	CHECK(account_read(&after));
	account_adds_up(&after);
	account_is_mapped(&after, half_done);
	CHECK_EQ(after.page.lost, before.page.lost);
	CHECK_EQ(after.vmalloc.lost, before.vmalloc.lost);
	CHECK_EQ(after.lost_meta, before.lost_meta);
	return before.lost != 0;
}

static void fork_storm(void)
{
	for (unsigned i = 0; i < STORM_FORKS && atomic_load(&working); i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (pid == 0) {
			alarm(CHILD_SECONDS);
			_exit(child_of_storm() ? 2 : 0);
		}

		int status = wait_for_child(pid);

		CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 2));
		nr_lost_seen += WEXITSTATUS(status) == 2;
		nr_storm_children++;
	}
}

static void *observer(void *unused)
{
	struct account account;

	while (atomic_load(&working)) {
		CHECK(account_read(&account));
		account_adds_up(&account);
		nr_running++;
		sched_yield();
	}
	return unused;
}

static void one_round(bool forks)
{
	struct expected expected;
	pthread_t thread;

	atomic_store(&working, true);
	signals_tick(true);
	CHECK(pthread_create(&thread, NULL, observer, NULL) == 0);
	pthread_barrier_wait(&barrier);
	if (forks)
		fork_storm();
	pthread_barrier_wait(&barrier);
	atomic_store(&working, false);
	signals_tick(false);
	pthread_join(thread, NULL);

	expect_all(&expected);
	account_is(&expected);
	nr_exact++;
	if (!forks)
		return;

	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		alarm(CHILD_SECONDS);
		signal(SIGALRM, SIG_DFL);
		signals_allow(true);
		child_of_rest(&expected);
		_exit(0);
	}
	CHECK(wait_for_child(pid) == 0);
	nr_children++;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void run_mode(const struct mode *mode, uint64_t until)
{
	static const struct expected nothing;
	pthread_t threads[THREADS];

	setenv("KMALLOC_CMDLINE", mode->cmdline, 1);
	CHECK(!mode->old_kernel || unit_old_kernel());
	CHECK(kmalloc_start());
	pthread_atfork(lock_fork_prepare, lock_fork_parent, account_fork_child);
	signal(SIGALRM, handler);
	signals_allow(false);
	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, worker, (void *)i) == 0);
	do
		one_round(nr_exact % 4 == 0);
	while (now_ms() < until);
	atomic_store(&ended, true);
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	free_all();
	kmalloc_trim();
	account_is(&nothing);
	printf("%s: %lu exact accounts, %lu while running, %lu children at rest, %lu from the storm "
	       "(%lu with something lost), %lu operations, %lu handlers\n",
	       mode->name, nr_exact, nr_running, nr_children, nr_storm_children, nr_lost_seen,
	       atomic_load(&nr_ops), atomic_load(&nr_in_handlers));
	fflush(NULL);
}

int main(int argc, char **argv)
{
	unsigned long seconds = 14;
	unsigned passed = 0;

	seed = unit_seed();
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--seconds"))
			seconds = strtoul(argv[i + 1], NULL, 0);
		if (!strcmp(argv[i], "--seed"))
			seed = strtoul(argv[i + 1], NULL, 0);
	}
	for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		uint64_t until = now_ms() + seconds * 1000 / (sizeof(modes) / sizeof(modes[0]));
		pid_t pid;

		fprintf(stderr, "account: %s\n", modes[i].name);
		fflush(NULL);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			dup2(2, 1);
			run_mode(&modes[i], until);
			_exit(0);
		}
		if (wait_for_child(pid) != 0) {
			fprintf(stderr,
				"account: failed in mode %s; again: %s --seconds %lu --seed %lu\n",
				modes[i].name, argv[0], seconds, (unsigned long)seed);
			return 1;
		}
		passed++;
	}
	printf("account: %u modes, each account exact, seed %lu\n", passed, (unsigned long)seed);
	return 0;
}
