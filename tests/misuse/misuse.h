/* SPDX-License-Identifier: MIT */
/* misuse.h - what the programs of this folder share. */
#ifndef MISUSE_H
#define MISUSE_H

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

/* The same pointer, which the compiler knows nothing of. */
static inline void *hide(void *ptr)
{
	__asm__ volatile("" : "+r"(ptr));
	return ptr;
}

/* Tell check.py the address that the report must name. */
static inline void print_pointer(void *ptr)
{
	printf("%p\n", ptr);
	fflush(stdout);
}

#endif
