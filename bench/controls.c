/* SPDX-License-Identifier: MIT
 *
 * controls: three things shaped like malloc and free that show what time is
 * there to be won or lost.
 *
 *   empty  two functions that do nothing: what the loop and the calls cost;
 *   list   a thread's own list of free objects per size, linked through the
 *          objects, without any synchronisation. free() finds the size in a
 *          byte map. An allocator for many threads has to do this and more, so
 *          this is the limit that results are held against;
 *   array  the same with an array of pointers in place of the links.
 *
 * They are a shared library of their own so that a program calls them the way
 * it calls a preloaded malloc, through its procedure linkage table, and so that
 * their thread-local data costs what a preloaded library's costs.
 *
 * Memory comes from one area in granules of 32 KiB, each for one size, and goes
 * back only all at once (controls_reset).
 */
#include "controls.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define unlikely(x) __builtin_expect(!!(x), 0)

#define CLASSES (CONTROL_SIZE_MAX / 16 + 1)
#define GRANULE_SHIFT 15
#define GRANULE (1ul << GRANULE_SHIFT)
#define AREA (64ul << 20)
#define STACK_SLOTS 512

static char *area;		/* AREA bytes; NULL before controls_init */
static atomic_size_t area_used; /* bytes of it handed out, whole granules */
static uint8_t granule_class[AREA / GRANULE];
static uint8_t size_class[CLASSES]; /* (size + 15) >> 4 -> class; 0 counts as 16 */

struct control {
	void *list[CLASSES];		   /* first free object, or NULL */
	void **top[CLASSES];		   /* one past the last pointer on the stack */
	char *carve[CLASSES];		   /* next fresh object of the current granule */
	char *carve_end[CLASSES];	   /* end of that granule; both NULL: none yet */
	void *stack[CLASSES][STACK_SLOTS]; /* both ends hold a sentinel: bit 0 set */
};

static _Thread_local struct control control __attribute__((tls_model("initial-exec")));

static void die(const char *what)
{
	fprintf(stderr, "micro: %s\n", what);
	exit(1);
}

static __attribute__((noinline, cold)) void *carve(unsigned int class)
{
	char *object;

	if (control.carve[class] == control.carve_end[class]) {
		size_t used = atomic_fetch_add(&area_used, GRANULE);

		if (used + GRANULE > AREA)
			die("the controls ran out of memory");
		granule_class[used >> GRANULE_SHIFT] = class;
		control.carve[class] = area + used;
		control.carve_end[class] = area + used + GRANULE - GRANULE % (class * 16);
	}
	object = control.carve[class];
	control.carve[class] += class * 16;
	return object;
}

void *list_alloc(size_t size)
{
	unsigned int class;
	void *object;

	if (unlikely(size > CONTROL_SIZE_MAX))
		return NULL;
	class = size_class[(size + 15) >> 4];
	object = control.list[class];
	if (unlikely(!object))
		return carve(class);
	control.list[class] = *(void **)object;
	return object;
}

void list_free(void *object)
{
	size_t offset = (size_t)((char *)object - area);
	unsigned int class;

	if (unlikely(offset >= AREA))
		return;
	class = granule_class[offset >> GRANULE_SHIFT];
	*(void **)object = control.list[class];
	control.list[class] = object;
}

void *array_alloc(size_t size)
{
	unsigned int class;
	void **top;
	void *object;

	if (unlikely(size > CONTROL_SIZE_MAX))
		return NULL;
	class = size_class[(size + 15) >> 4];
	top = control.top[class];
	object = top[-1];
	if (unlikely((uintptr_t)object & 1))
		return carve(class);
	control.top[class] = top - 1;
	return object;
}

void array_free(void *object)
{
	size_t offset = (size_t)((char *)object - area);
	unsigned int class;
	void **top;

	if (unlikely(offset >= AREA))
		return;
	class = granule_class[offset >> GRANULE_SHIFT];
	top = control.top[class];
	if (unlikely((uintptr_t)*top & 1))
		die("a control's array is full");
	*top = object;
	control.top[class] = top + 1;
}

static char empty_object[CONTROL_SIZE_MAX];

void *empty_alloc(size_t size)
{
	__asm__ volatile("" : : "r"(size));
	return empty_object;
}

void empty_free(void *object)
{
	__asm__ volatile("" : : "r"(object));
}

void controls_init(void)
{
	area = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		    -1, 0);
	if (area == MAP_FAILED)
		die("no memory for the controls");
	for (int i = 0; i < CLASSES; i++)
		size_class[i] = i ? i : 1;
}

void controls_reset(void)
{
	atomic_store(&area_used, 0);
}

void controls_start(void)
{
	memset(&control, 0, sizeof(control));
	for (int i = 0; i < CLASSES; i++) {
		void **stack = control.stack[i];

		stack[0] = (void *)1;
		stack[STACK_SLOTS - 1] = (void *)1;
		control.top[i] = stack + 1;
	}
}
