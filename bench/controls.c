/* SPDX-License-Identifier: MIT
 *
 * controls: two things shaped like malloc and free that show what time is there
 * to be won or lost.
 *
 *   empty  two functions that do nothing: what the loop and the calls cost;
 *   list   a thread's own list of free objects per size class, linked through
 *          the objects, without any synchronisation. free() finds the class in
 *          a byte map. An allocator for many threads has to do this and more, so
 *          this is the limit that results are held against.
 *
 * They are a shared library of their own so that a program calls them the way
 * it calls a preloaded malloc, through its procedure linkage table, and so that
 * their thread-local data costs what a preloaded library's costs.
 *
 * Classes are 16 bytes apart up to 256, then four per doubling. Memory comes from
 * one area in granules of 32 KiB, one or more for one class, and goes back only
 * all at once (controls_reset).
 */
#include "controls.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define unlikely(x) __builtin_expect(!!(x), 0)
/* Where a function lies in a cache line is worth a cycle; it must not depend on luck. */
#define lined_up __attribute__((aligned(64)))

#define STEPS (CONTROL_SIZE_MAX / 16 + 1)
#define CLASSES 53 /* 16 up to 256, 4 in each of 9 doublings; 0 is none */
#define GRANULE_SHIFT 15
#define GRANULE (1ul << GRANULE_SHIFT)
#define AREA (64ul << 20)

static char *area;		/* AREA bytes; NULL before controls_init */
static atomic_size_t area_used; /* bytes of it handed out, whole granules */
static uint8_t granule_class[AREA / GRANULE];
static uint8_t size_class[STEPS];    /* (size + 15) >> 4 -> class; 0 counts as 16 */
static size_t class_bytes[CLASSES];  /* from object to object */
static size_t class_extent[CLASSES]; /* bytes carved at a time, whole granules */

struct control {
	void *list[CLASSES];	  /* first free object, or NULL */
	char *carve[CLASSES];	  /* next fresh object of the current granules */
	char *carve_end[CLASSES]; /* end of those; both NULL: none yet */
};

static _Thread_local struct control control __attribute__((tls_model("initial-exec")));

static void die(const char *what)
{
	fprintf(stderr, "micro: %s\n", what);
	exit(1);
}

static __attribute__((noinline, cold)) void *carve(unsigned int class)
{
	size_t bytes = class_bytes[class], extent = class_extent[class];
	char *object;

	if (control.carve[class] == control.carve_end[class]) {
		size_t used = atomic_fetch_add(&area_used, extent);

		if (used + extent > AREA)
			die("the controls ran out of memory");
		memset(granule_class + (used >> GRANULE_SHIFT), (int)class,
		       extent >> GRANULE_SHIFT);
		control.carve[class] = area + used;
		control.carve_end[class] = area + used + extent - extent % bytes;
	}
	object = control.carve[class];
	control.carve[class] += bytes;
	return object;
}

lined_up void *list_alloc(size_t size)
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

lined_up void list_free(void *object)
{
	size_t offset = (size_t)((char *)object - area);
	unsigned int class;

	if (unlikely(offset >= AREA))
		return;
	class = granule_class[offset >> GRANULE_SHIFT];
	*(void **)object = control.list[class];
	control.list[class] = object;
}

static char empty_object[CONTROL_SIZE_MAX];

lined_up void *empty_alloc(size_t size)
{
	__asm__ volatile("" : : "r"(size));
	return empty_object;
}

lined_up void empty_free(void *object)
{
	__asm__ volatile("" : : "r"(object));
}

void controls_init(void)
{
	size_t bytes = 16, step = 0;

	area = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		    -1, 0);
	if (area == MAP_FAILED)
		die("no memory for the controls");
	for (unsigned int class = 1; class < CLASSES; class ++) {
		class_bytes[class] = bytes;
		class_extent[class] = (bytes + GRANULE - 1) & ~(GRANULE - 1);
		for (; step <= bytes / 16; step++)
			size_class[step] = (uint8_t) class;
		bytes += bytes < 256 ? 16 : (1ul << (63 - __builtin_clzl(bytes))) / 4;
	}
}

void controls_reset(void)
{
	atomic_store(&area_used, 0);
}

void controls_start(void)
{
	memset(&control, 0, sizeof(control));
}
