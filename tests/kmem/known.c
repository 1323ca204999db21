/* SPDX-License-Identifier: MIT */
/*
 * known.c - a known number of each kind of call, each kind from a function of its own: test_record.py knows the same numbers.
 *
 *	known [calls|kernel] ROUNDS	the calls, in THREADS threads; kernel: those of the kernel too
 *	known fork ROUNDS		the same in a child as well, which is not recorded
 *	known exec ROUNDS		the calls, then this program again as `known calls ROUNDS`
 *	known exit|kill ROUNDS		the calls, a pause, then _exit(3) or SIGKILL
 *	known sizes ROUNDS		objects of many sizes in one thread, half of them kept
 *	known late ROUNDS		a pause, then objects of a cache that is made only then, in one thread
 *
 * The functions are neither inlined nor left by a jump, so that the return address is in them.
 */
#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define KEEP_EVERY 10
#define PAUSE_US 200000 /* kmem has taken what there is by then */

#define KNOWN static __attribute__((noinline, noclone)) void *

/* The compiler knows nothing of what comes out of here. */
static void *opaque(void *ptr)
{
	__asm__ __volatile__("" : "+r"(ptr) : : "memory");
	return ptr;
}

extern void *operator_new(size_t size) __asm__("_Znwm");
extern void operator_delete(void *ptr) __asm__("_ZdlPv");

KNOWN known_malloc(void)
{
	return opaque(malloc(100));
}

KNOWN known_keep(void)
{
	return opaque(malloc(1000));
}

KNOWN known_calloc(void)
{
	return opaque(calloc(3, 50));
}

KNOWN known_realloc_null(void)
{
	return opaque(realloc(opaque(NULL), 64));
}

KNOWN known_realloc_move(void *ptr)
{
	return opaque(realloc(ptr, 5000));
}

KNOWN known_reallocarray(void)
{
	return opaque(reallocarray(opaque(NULL), 7, 11));
}

KNOWN known_aligned(void)
{
	return opaque(aligned_alloc(256, 512));
}

KNOWN known_memalign(void)
{
	void *ptr = NULL;

	if (posix_memalign(&ptr, 4096, 10) != 0)
		abort();
	return opaque(ptr);
}

KNOWN known_new(void)
{
	return opaque(operator_new(77));
}

KNOWN known_large(void)
{
	return opaque(malloc(1 << 20));
}

KNOWN known_kmalloc(void)
{
	return opaque(kmalloc(200, GFP_KERNEL));
}

KNOWN known_kzalloc(void)
{
	return opaque(kzalloc(300, GFP_KERNEL));
}

KNOWN known_cache(struct kmem_cache *cache)
{
	return opaque(kmem_cache_alloc(cache, GFP_KERNEL));
}

KNOWN known_vmalloc(void)
{
	return opaque(vmalloc(300000));
}

static unsigned long rounds;
static int with_kernel;
static struct kmem_cache *cache;

static void kernel_calls(void)
{
	kfree(known_kmalloc());
	kfree(known_kzalloc());
	kmem_cache_free(cache, known_cache(cache));
	vfree(known_vmalloc());
}

static void *calls(void *arg)
{
	for (unsigned long i = 0; i < rounds; i++) {
		free(known_malloc());
		if (i % KEEP_EVERY == 0)
			known_keep();
		free(known_calloc());
		free(known_realloc_move(known_realloc_null()));
		free(known_reallocarray());
		free(known_aligned());
		free(known_memalign());
		operator_delete(known_new());
		if (i % KEEP_EVERY == 0)
			free(known_large());
		if (with_kernel)
			kernel_calls();
	}
	return arg;
}

static void in_threads(void)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, calls, NULL) != 0)
			abort();
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void in_child_too(void)
{
	pid_t child = fork();
	int status = 0;

	in_threads();
	if (child == 0)
		_exit(0);
	if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
		abort();
}

KNOWN known_size(size_t size)
{
	return opaque(malloc(size));
}

static void sizes(void)
{
	uint64_t random = 88172645463325252UL;

	for (unsigned long i = 0; i < rounds; i++) {
		unsigned class;
		void *ptr;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		class = (unsigned)__builtin_ctzl(random | 1UL << 14);
		ptr = known_size((16UL << class) + (random >> 32) % (16UL << class));
		if (i % 2)
			free(ptr);
	}
}

static void late(void)
{
	usleep(PAUSE_US);
	cache = kmem_cache_create("late", 120, 0, 0, NULL);
	for (unsigned long i = 0; i < rounds; i++)
		kmem_cache_free(cache, known_cache(cache));
}

int main(int argc, char **argv)
{
	const char *how = argc == 3 ? argv[1] : "";

	rounds = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	with_kernel = !strcmp(how, "kernel");
	cache = kmem_cache_create("known", 120, 0, 0, NULL);
	if (!strcmp(how, "fork"))
		in_child_too();
	else if (!strcmp(how, "sizes"))
		sizes();
	else if (!strcmp(how, "late"))
		late();
	else
		in_threads();
	if (!strcmp(how, "calls") || with_kernel || !strcmp(how, "fork") || !strcmp(how, "sizes") ||
	    !strcmp(how, "late"))
		return 0;
	usleep(PAUSE_US);
	if (!strcmp(how, "exec"))
		execl("/proc/self/exe", "known", "calls", argv[2], (char *)NULL);
	if (!strcmp(how, "kill"))
		kill(getpid(), SIGKILL);
	_exit(3);
}
