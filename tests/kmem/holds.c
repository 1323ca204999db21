/* SPDX-License-Identifier: MIT */
/*
 * holds.c - a program that holds exactly known objects and areas beyond what the C library has.
 *
 * It is linked with the library, for kmem_cache_create(). On each line of input it does something, then prints "done":
 * "hold" takes what follows below, "drop" gives it back, "trim" gives all that is free to the system; "quit" ends it.
 */
#include "kmalloc/slab.h"
#include "kmalloc/vmalloc.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#define OBJECTS 1000 /* of cache "holds" */
#define LARGE 24     /* of 100000 bytes: their size class has no others */
#define AREAS 3	     /* of 1000000 bytes */

static void *objects[OBJECTS], *large[LARGE], *areas[AREAS];

static void hold(struct kmem_cache *cache)
{
	for (int i = 0; i < OBJECTS; i++)
		objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
	for (int i = 0; i < LARGE; i++)
		large[i] = kmalloc(100000, GFP_KERNEL);
	for (int i = 0; i < AREAS; i++)
		areas[i] = vmalloc(1000000);
}

static void drop(struct kmem_cache *cache)
{
	/* first what may sleep: it sees the wish to be traced, and kfree() may not */
	for (int i = 0; i < AREAS; i++)
		vfree(areas[i]);
	for (int i = 0; i < OBJECTS; i++)
		kmem_cache_free(cache, objects[i]);
	for (int i = 0; i < LARGE; i++)
		kfree(large[i]);
}

int main(void)
{
	struct kmem_cache *cache = kmem_cache_create("holds", 200, 0, 0, NULL);
	static char in[BUFSIZ], out[BUFSIZ];
	char line[64];

	/* Not by the C library's malloc at the first use: whoever counts what is held may do so before or after it. */
	if (!cache || setvbuf(stdin, in, _IOFBF, sizeof(in)) ||
	    setvbuf(stdout, out, _IOLBF, sizeof(out)))
		return 1;
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "quit\n") != 0) {
		if (!strcmp(line, "hold\n"))
			hold(cache);
		else if (!strcmp(line, "drop\n"))
			drop(cache);
		else if (!strcmp(line, "trim\n"))
			malloc_trim(0);
		puts("done");
		fflush(stdout);
	}
	return 0;
}
