/* SPDX-License-Identifier: MIT */
/*
 * signals.c [--seconds N] [--seed S] [--threads T] - handlers that allocate, resize and free,
 * whatever they interrupt.
 *
 * T threads keep the allocator on its slow paths, where locks are held: batches that no sheaf holds,
 * areas that are cut, joined and moved, everything given back. Into each come thousands of
 * signals a second from three sides:
 *
 *	a timer of its own, by turns on the wall's clock and on the thread's CPU time, so
 *	that it strikes running code at any instruction;
 *	a thread that sends to one after the other by tgkill();
 *	signals to the process, which strike threads that are just starting or ending.
 *
 * One handler may interrupt another; one of them runs on an alternate stack. Each has blocks of
 * its own in each thread, which the code that it interrupts never touches. Blocks are stamped
 * and claimed (shadow.h). No request may be refused, errno must survive a free(), nothing may
 * hang, and once everything was freed nothing may be missing.
 *
 * The handler counts where it struck: in the library's text, and while the thread held a lock
 * of the library (mallinfo2() then answers with zeros).
 */
#include "shadow.h"

#include <link.h>
#include <sys/syscall.h>
#include <ucontext.h>

#define MAX_THREADS 64
#define OWN 16
#define KEPT 6
#define NR_SIGNALS 4
#define ALT_STACK (64UL << 10)
#define ROUND_MS 2000
#define MAX_LOST (32UL << 10)

/* The last one goes to the process; its handler keeps nothing. */
static int signals[NR_SIGNALS + 1]; /* SIGUSR1, SIGALRM, two real-time ones; SIGUSR2 */
static pthread_t threads[MAX_THREADS];
static _Atomic int stop;
static int nr_threads;
static uintptr_t text_start, text_end; /* of the library */
static _Atomic unsigned long nr_handled, nr_sent, nr_refused, nr_inside, nr_locked, nr_born;

/* Of each thread's handlers, for each signal, since one may interrupt the other. */
static __thread struct {
	void *kept[KEPT];
	uint64_t state;
} in_handler[NR_SIGNALS + 1] __attribute__((tls_model("initial-exec")));

static size_t handler_size(uint64_t *state)
{
	uint64_t r = next_random(state);

	if (r % 6 == 0)
		return 120000 + (r >> 8) % 200000;
	return 16 + (r >> 8) % (r % 4 ? 300 : 9000);
}

static void handler_step(unsigned which)
{
	uint64_t *state = &in_handler[which].state;
	void **place = &in_handler[which].kept[next_random(state) % KEPT];
	void *to;

	if (!*place) {
		*place = oracle_new(state, handler_size(state));
		if (!*place)
			atomic_fetch_add(&nr_refused, 1);
		return;
	}
	if (next_random(state) % 3) {
		oracle_release(*place, "handler");
		errno = 4711;
		free(*place);
		CHECK(errno == 4711);
		*place = NULL;
		return;
	}
	to = oracle_resize(*place, handler_size(state), "handler");
	if (to)
		*place = to;
	else
		atomic_fetch_add(&nr_refused, 1);
}

static void free_kept(unsigned which)
{
	for (int k = 0; k < KEPT; k++) {
		oracle_free(in_handler[which].kept[k], "kept");
		in_handler[which].kept[k] = NULL;
	}
}

static void note_where(const ucontext_t *context, uint64_t *state)
{
	uintptr_t at = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];

	atomic_fetch_add_explicit(&nr_handled, 1, memory_order_relaxed);
	if (at < text_start || at >= text_end)
		return;
	atomic_fetch_add_explicit(&nr_inside, 1, memory_order_relaxed);
	if (next_random(state) % 4 == 0 && mallinfo2().arena == 0)
		atomic_fetch_add_explicit(&nr_locked, 4, memory_order_relaxed);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	int saved = errno;
	unsigned which = 0;
	void *block;

	(void)info;
	while (signals[which] != sig)
		which++;
	if (!in_handler[which].state)
		in_handler[which].state = torture.seed + (uintptr_t)pthread_self() + which;
	note_where(context, &in_handler[which].state);
	for (int i = 0; i < 3; i++)
		handler_step(which);
	errno = 0;
	block = malloc(64);
	if (block) {
		CHECK(errno == 0);
		free(block);
	} else {
		CHECK(errno == ENOMEM);
		atomic_fetch_add(&nr_refused, 1);
	}
	if (which == NR_SIGNALS)
		free_kept(which);
	errno = saved;
}

/* Ways into the slow paths, where a handler finds locks held. */
static void slow_path(uint64_t *state)
{
	void *blocks[200], *area;
	size_t size = 16 + next_random(state) % (next_random(state) % 2 ? 1000 : 40000);

	switch (next_random(state) % 8) {
	case 0:
		malloc_trim(0);
		break;
	case 1:
	case 2:
	case 3:
		for (int i = 0; i < 200; i++)
			blocks[i] = malloc(size);
		for (int i = 0; i < 200; i++)
			free(blocks[i]);
		break;
	default:
		area = malloc(140000 + next_random(state) % 100000);
		for (int i = 0; area && i < 8; i++)
			area = realloc(area, 140000 + next_random(state) % 2000000);
		free(area);
		break;
	}
}

static void step(uint64_t *state, void **own)
{
	void **place = &own[next_random(state) % OWN];

	if (!*place) {
		*place = oracle_new(state, random_size(state));
		CHECK(*place != NULL);
	} else if (next_random(state) % 4) {
		oracle_free(*place, "worker");
		*place = NULL;
	} else {
		*place = oracle_resize(*place, random_size(state), "worker");
		CHECK(*place != NULL);
	}
}

static void let_signals(int how)
{
	sigset_t ours;

	sigemptyset(&ours);
	for (unsigned i = 0; i <= NR_SIGNALS; i++)
		sigaddset(&ours, signals[i]);
	pthread_sigmask(how, &ours, NULL);
}

/* A timer that strikes this thread alone. */
static timer_t timer_for_me(uintptr_t number, uint64_t *state)
{
	struct itimerspec time = { 0 };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID };
	timer_t timer;

	event.sigev_signo = signals[2 + number % 2];
	event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	CHECK(timer_create(number % 2 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &event,
			   &timer) == 0);
	time.it_interval.tv_nsec = time.it_value.tv_nsec =
		(long)(200000 + next_random(state) % 1000000);
	CHECK(timer_settime(timer, 0, &time, NULL) == 0);
	return timer;
}

static void *worker(void *arg)
{
	uint64_t state = torture.seed + (uintptr_t)arg * 7919;
	stack_t alternate = { .ss_sp = torture_map(ALT_STACK), .ss_size = ALT_STACK };
	void *own[OWN] = { 0 };
	timer_t timer;

	CHECK(sigaltstack(&alternate, NULL) == 0);
	timer = timer_for_me((uintptr_t)arg, &state);
	let_signals(SIG_UNBLOCK);
	for (unsigned i = 0; !atomic_load_explicit(&stop, memory_order_relaxed); i++) {
		step(&state, own);
		if (i % 16 == 0)
			slow_path(&state);
	}
	let_signals(SIG_BLOCK);
	timer_delete(timer);
	for (int k = 0; k < OWN; k++)
		oracle_free(own[k], "worker, at the end");
	for (unsigned which = 0; which < NR_SIGNALS; which++)
		free_kept(which);
	alternate.ss_flags = SS_DISABLE;
	CHECK(sigaltstack(&alternate, NULL) == 0);
	munmap(alternate.ss_sp, ALT_STACK);
	return NULL;
}

static void *short_worker(void *arg)
{
	uint64_t state = torture.seed + (uintptr_t)arg * 104729;
	void *own[OWN] = { 0 };

	for (int i = 0; i < 100; i++)
		step(&state, own);
	for (int k = 0; k < OWN; k++)
		oracle_free(own[k], "short-lived");
	return NULL;
}

/* Threads that come and go with the process' signal open from their first instruction on. */
static void *come_and_go(void *unused)
{
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, signals[NR_SIGNALS]);
	pthread_sigmask(SIG_UNBLOCK, &one, NULL);
	while (!atomic_load(&stop)) {
		pthread_t thread;
		void *number = (void *)atomic_fetch_add(&nr_born, 1);

		CHECK(pthread_create(&thread, NULL, short_worker, number) == 0);
		pthread_join(thread, NULL);
	}
	return unused;
}

static void *sender(void *unused)
{
	uint64_t state = torture.seed + 11;

	while (!atomic_load(&stop)) {
		for (int i = 0; i < nr_threads; i++)
			pthread_kill(threads[i], signals[next_random(&state) % 2]);
		kill(getpid(), signals[NR_SIGNALS]);
		atomic_fetch_add(&nr_sent, (unsigned long)nr_threads + 1);
		sleep_us(50);
		if (next_random(&state) % 16 == 0)
			wander(threads[next_random(&state) % (uint64_t)nr_threads], &state);
	}
	return unused;
}

static void round_of(int n)
{
	pthread_t other[2];

	nr_threads = n;
	atomic_store(&stop, 0);
	for (int i = 0; i < n; i++)
		CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)i) == 0);
	CHECK(pthread_create(&other[0], NULL, sender, NULL) == 0);
	CHECK(pthread_create(&other[1], NULL, come_and_go, NULL) == 0);
	sleep_us(ROUND_MS * 1000L);
	atomic_store(&stop, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(other[i], NULL);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

static int find_text(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	if (!strstr(info->dlpi_name, "libkmalloc"))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];

		if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
			continue;
		text_start = info->dlpi_addr + part->p_vaddr;
		text_end = text_start + part->p_memsz;
	}
	return 1;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_sigaction = on_signal };

	signals[0] = SIGUSR1;
	signals[1] = SIGALRM;
	signals[2] = SIGRTMIN + 1;
	signals[3] = SIGRTMIN + 2;
	signals[NR_SIGNALS] = SIGUSR2;
	for (unsigned i = 0; i <= NR_SIGNALS; i++) {
		action.sa_flags = SA_RESTART | SA_SIGINFO | (i == 1 ? SA_ONSTACK : 0);
		CHECK(sigaction(signals[i], &action, NULL) == 0);
	}
}

int main(int argc, char **argv)
{
	size_t first = 0, out = 0;
	unsigned rounds = 0;
	uint64_t begin;

	(void)argc;
	torture_start(argv, "threads");

	int n = (int)torture_number(argv, "threads", 16);

	CHECK(n > 0 && n <= MAX_THREADS);
	dl_iterate_phdr(find_text, NULL);
	catch_signals();
	let_signals(SIG_BLOCK);
	begin = now_ms();
	do {
		round_of(n);
		out = torture_bytes_out();
		first = rounds++ ? first : out;
		say_to(2, "%lu handled, %lu inside the library, %lu under its locks, %zu bytes out",
		       nr_handled, nr_inside, nr_locked, out);
	} while (!torture_time_is_up());
	CHECK(nr_handled > 100 && nr_inside > 0);
	CHECK(nr_refused == 0);
	if (out > first + MAX_LOST)
		FAIL("%zu bytes out after %u rounds, %zu after the first %s", out, rounds, first,
		     stress_seed_text);
	say_to(1,
	       "%lu signals sent, %lu handled (%lu a second), %lu of them inside the library, about "
	       "%lu under its locks; %lu short-lived threads, %zd bytes out more than at first",
	       nr_sent, nr_handled, nr_handled * 1000 / (now_ms() - begin), nr_inside, nr_locked,
	       nr_born, (ssize_t)(out - first));
	return 0;
}
