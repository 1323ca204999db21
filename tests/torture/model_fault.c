/* SPDX-License-Identifier: MIT */
/*
 * model_fault.c - a malloc with one fault of choice, to see that the model finds it.
 *
 * Preloaded before the library, it hands each call on to it, and every 30th or so comes back wrong in
 * the way that MODEL_FAULT names.
 */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVERY 30

static unsigned long calls;
static void *last;

/* Only in the process that runs a round; the one that drives it stays right. */
static int is_fault(const char *fault)
{
	const char *wanted = getenv("MODEL_FAULT");

	return wanted && !strcmp(wanted, fault) &&
	       !strcmp(program_invocation_short_name, "model-round");
}

/* Is it this call that goes wrong? */
static int wrong(const char *fault)
{
	return is_fault(fault) && ++calls % EVERY == 0;
}

#define NEXT(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

void *malloc(size_t size)
{
	static void *(*next)(size_t);
	char *ptr;

	if (!next)
		next = NEXT(malloc);
	ptr = next(size);
	if (size > 1UL << 20)
		return ptr;
	if (last && malloc_usable_size(last) >= size && wrong("twice"))
		return last;
	if (wrong("misaligned"))
		return ptr + 8;
	if (wrong("errno"))
		errno = EIO;
	if (wrong("refuses"))
		return NULL;
	last = ptr;
	return ptr;
}

void free(void *ptr)
{
	static void (*next)(void *);

	if (!next)
		next = NEXT(free);
	if (ptr == last)
		last = NULL;
	if (ptr && wrong("free_errno"))
		errno = EINVAL;
	if (ptr && wrong("writes") && malloc_usable_size(last) && last != ptr)
		*(char *)last ^= 1;
	next(ptr);
}

void *calloc(size_t count, size_t size)
{
	static void *(*next)(size_t, size_t);
	char *ptr;

	if (!next)
		next = NEXT(calloc);
	ptr = next(count, size);
	if (ptr && count * size > 40 && wrong("not_zero"))
		ptr[40] = 1;
	return ptr;
}

void *realloc(void *old, size_t size)
{
	static void *(*next)(void *, size_t);
	char *ptr;

	if (!next)
		next = NEXT(realloc);
	if (old == last)
		last = NULL;
	ptr = next(old, size);
	if (old && ptr && size > 20 && malloc_usable_size(ptr) < 2000 && wrong("forgets"))
		ptr[0] ^= 1;
	return ptr;
}

size_t malloc_usable_size(void *ptr)
{
	static size_t (*next)(void *);
	size_t size;

	if (!next)
		next = NEXT(malloc_usable_size);
	size = next(ptr);
	return size > 100 && wrong("size") ? size - 16 : size;
}

int posix_memalign(void **out, size_t align, size_t size)
{
	static int (*next)(void **, size_t, size_t);

	if (!next)
		next = NEXT(posix_memalign);
	if (is_fault("stores"))
		*out = NULL;
	return next(out, align, size);
}

pid_t fork(void)
{
	static pid_t (*next)(void);
	pid_t pid;

	if (!next)
		next = NEXT(fork);
	pid = next();
	if (pid == 0 && last && is_fault("fork"))
		memset(last, 0x55, 1);
	return pid;
}
