/* SPDX-License-Identifier: MIT */
/*
 * stacks.c - a program whose allocations come by known ways; see test_stacks.py for which.
 *
 * Compiled without frame pointers. Each way is a function of its own, and none is left by a tail call.
 *
 *	near	3 calls deep, 1000 bytes, freed
 *	far	40 calls deep, 2000 bytes, kept
 *	deeper	more calls than are recorded, 3000 bytes, kept
 *	thread	in a second thread, 4000 bytes, kept
 *	switched	on a stack of its own (makecontext), 5000 bytes, kept
 *	handler	in a signal handler on an alternate stack, 6000 bytes, kept
 *	edge	on a stack whose last page has nothing behind it, 7000 bytes, kept
 *
 * "PROGRAM 0 N" does nothing of that but N allocations of 64 bytes, each by a way of its own, and calls _exit().
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define COUNT 400
#define STACK 65536

#define no_inline __attribute__((noinline, noclone))
#define no_tail_call() __asm__ volatile("" ::: "memory")

static ucontext_t back, other;
static void *kept[8][COUNT];

static no_inline void *leaf(size_t size)
{
	void *object = malloc(size);

	no_tail_call();
	return object;
}

static no_inline void *down(unsigned depth, size_t size, size_t room)
{
	char buf[room];
	void *object;

	memset(buf, 0, room);
	__asm__ volatile("" : : "r"(buf) : "memory");
	object = depth ? down(depth - 1, size, room) : leaf(size);
	no_tail_call();
	return object;
}

static no_inline void near(void)
{
	for (int i = 0; i < COUNT; i++)
		free(down(1, 1000, 16));
}

static no_inline void far(void)
{
	for (int i = 0; i < COUNT; i++)
		kept[1][i] = down(38, 2000, 16);
}

static no_inline void deeper(void)
{
	for (int i = 0; i < COUNT; i++)
		kept[2][i] = down(600, 3000, 16);
}

static void *thread(void *unused)
{
	for (int i = 0; i < COUNT; i++)
		kept[3][i] = leaf(4000);
	return unused;
}

static void switched(void)
{
	for (int i = 0; i < COUNT; i++)
		kept[4][i] = leaf(5000);
}

static void handler(int sig)
{
	(void)sig;
	for (int i = 0; i < COUNT; i++)
		kept[5][i] = leaf(6000);
}

static void edge(void)
{
	for (int i = 0; i < COUNT; i++)
		kept[6][i] = leaf(7000);
}

static void run_on(void (*function)(void), char *stack, size_t size)
{
	getcontext(&other);
	other.uc_stack.ss_sp = stack;
	other.uc_stack.ss_size = size;
	other.uc_link = &back;
	makecontext(&other, function, 0);
	swapcontext(&back, &other);
}

static void turns(unsigned which, unsigned left);

static no_inline void turn(unsigned which, unsigned left)
{
	turns(which >> 1, left - 1);
	no_tail_call();
}

static no_inline void turns(unsigned which, unsigned left)
{
	if (!left)
		free(leaf(64));
	else if (which & 1)
		turns(which >> 1, left - 1);
	else
		turn(which, left);
	no_tail_call();
}

static void many_ways(unsigned count)
{
	usleep(100000);
	for (unsigned i = 0; i < count; i++)
		turns(i, 16);
	_exit(0);
}

int main(int argc, char **argv)
{
	stack_t alternate = { .ss_size = STACK };
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
	pthread_t id;
	char *stack;

	/* wait until somebody looks, if told to */
	if (argc > 1)
		sleep((unsigned)atoi(argv[1]));
	if (argc > 2)
		many_ways((unsigned)atoi(argv[2]));
	near();
	far();
	deeper();
	pthread_create(&id, NULL, thread, NULL);
	pthread_join(id, NULL);
	run_on(switched, malloc(STACK), STACK);
	alternate.ss_sp = malloc(STACK);
	sigaltstack(&alternate, NULL);
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	/* nothing may be read behind it */
	stack = mmap(NULL, 3 * STACK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(stack + STACK, STACK, PROT_READ | PROT_WRITE);
	run_on(edge, stack + STACK, STACK);
	return kept[6][COUNT - 1] ? 0 : 1;
}
