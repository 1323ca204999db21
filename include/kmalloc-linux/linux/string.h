/* SPDX-License-Identifier: MIT */
/* linux/string.h - the C library's string functions, and the kernel's that allocate. */
#ifndef KMALLOC_LINUX_STRING_H
#define KMALLOC_LINUX_STRING_H

#include <kmalloc/slab.h>

#include <linux/types.h>
#include <string.h>

/* Zeroes that the compiler may not drop. */
static inline void memzero_explicit(void *memory, size_t size)
{
	memset(memory, 0, size);
	__asm__ volatile("" : : "r"(memory) : "memory");
}

#endif
