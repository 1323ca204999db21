/* SPDX-License-Identifier: MIT */
/*
 * leaky.c - a program that has lost exactly known blocks, and has others in every place where a program can have them.
 *
 * Lost: LOST_OBJECTS of 100 bytes each by lose(), a chain of two of 200 bytes, of which the second is only referred to by the first, and
 * an area of 300000 bytes. Each begins with a text that names it. All others can be reached: by a global, a constant of
 * a thread, the stack, a register, an object, an area, their inside, a page that was made read-only, or epoll.
 *
 * It prints a line when it is all set up, and waits for its end of input; "more" makes it lose one more object, "quit" ends it.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOST_OBJECTS 7
#define AREA 300000

static char *volatile global;
static char *volatile interior;
static void **volatile chain;
static void **volatile area_of_pointers;
static _Thread_local char *volatile local;
static void **sealed;

static char *block(size_t size, const char *name)
{
	char *block = malloc(size);

	memset(block, 0, size);
	snprintf(block, 32, "%s", name);
	return block;
}

__attribute__((noinline)) static void lose(void)
{
	uintptr_t hidden = ~(uintptr_t)block(100, "lost object");

	/* used, so that it is allocated, but no address of it stays */
	if (!hidden)
		abort();
}

__attribute__((noinline)) static void lose_chain(void)
{
	void **first = (void **)block(200, "lost chain, 1st");

	first[10] = block(200, "lost chain, 2nd");
}

__attribute__((noinline)) static void lose_area(void)
{
	uintptr_t hidden = ~(uintptr_t)block(AREA, "lost area");

	if (!hidden)
		abort();
}

/* Overwrite what calls left on the stack. */
__attribute__((noinline)) static void wipe(void)
{
	volatile char stack[65536];

	for (size_t i = 0; i < sizeof(stack); i++)
		stack[i] = 0;
}

/* Blocks that only this thread has: in a register, on its stack, and in its local storage. */
static void *holder(void *arg)
{
	char *volatile on_stack = block(100, "kept on a stack");
	register char *in_register __asm__("r12") = block(100, "kept in a register");

	local = block(100, "kept in a thread's storage");
	wipe();
	*(volatile int *)arg = 1;
	/* a wait that the compiler can't see through: the register stays */
	__asm__ volatile("1: mov $34, %%eax\n\tsyscall\n\tcmp $-4, %%rax\n\tje 1b"
			 : "+r"(in_register)
			 :
			 : "rax", "rcx", "r11", "memory");
	return on_stack;
}

static void keep(void)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = block(100, "kept by epoll") };
	int pipes[2], poll = epoll_create1(0);

	global = block(100, "kept by a global");
	interior = block(100, "kept by its inside") + 50;
	chain = (void **)block(100, "kept, 1st of a chain");
	chain[5] = block(100, "kept, 2nd of a chain");
	area_of_pointers = malloc(AREA);
	memset(area_of_pointers, 0, AREA);
	area_of_pointers[20000] = block(AREA, "kept area");
	sealed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sealed[3] = block(100, "kept by a read-only page");
	mprotect(sealed, 4096, PROT_READ);
	if (pipe(pipes) != 0 || epoll_ctl(poll, EPOLL_CTL_ADD, pipes[0], &event) != 0)
		abort();
	event.data.ptr = NULL;
}

int main(void)
{
	static volatile int ready;
	pthread_t thread;
	char line[64];

	for (int i = 0; i < LOST_OBJECTS; i++)
		lose();
	lose_chain();
	lose_area();
	keep();
	/* what is free must not be taken for lost */
	for (int i = 0; i < 1000; i++)
		free(block(100, "freed"));
	pthread_create(&thread, NULL, holder, (void *)&ready);
	while (!ready)
		usleep(1000);
	wipe();
	printf("ready %d\n", LOST_OBJECTS);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "quit\n") != 0) {
		if (!strcmp(line, "more\n"))
			lose();
		wipe();
		puts("done");
		fflush(stdout);
	}
	return 0;
}
