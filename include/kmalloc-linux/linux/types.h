/* SPDX-License-Identifier: MIT */
/*
 * linux/types.h - the system's header of that name, and the types that kernel code has besides.
 */
#ifndef KMALLOC_LINUX_TYPES_H
#define KMALLOC_LINUX_TYPES_H

#include_next <linux/types.h>

#include <kmalloc/gfp.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

struct list_head {
	struct list_head *next, *prev;
};

#endif
