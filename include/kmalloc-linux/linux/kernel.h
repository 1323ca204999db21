/* SPDX-License-Identifier: MIT */
/* linux/kernel.h - the small macros that all kernel code uses. */
#ifndef KMALLOC_LINUX_KERNEL_H
#define KMALLOC_LINUX_KERNEL_H

#include_next <linux/kernel.h>

#include <linux/bug.h>
#include <linux/printk.h>
#include <linux/types.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define __maybe_unused __attribute__((__unused__))
#define noinline __attribute__((__noinline__))

#ifndef READ_ONCE
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, value) ((void)(*(volatile __typeof__(x) *)&(x) = (value)))
#endif

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define min(a, b)                                                                                  \
	({                                                                                         \
		__typeof__(a) __min_a = (a);                                                       \
		__typeof__(b) __min_b = (b);                                                       \
		__min_a < __min_b ? __min_a : __min_b;                                             \
	})
#define max(a, b)                                                                                  \
	({                                                                                         \
		__typeof__(a) __max_a = (a);                                                       \
		__typeof__(b) __max_b = (b);                                                       \
		__max_a > __max_b ? __max_a : __max_b;                                             \
	})
#define min_t(type, a, b) min((type)(a), (type)(b))
#define max_t(type, a, b) max((type)(a), (type)(b))
#define clamp(value, low, high) min(max(value, low), high)

#define ALIGN(x, a) (((x) + (__typeof__(x))(a)-1) & ~((__typeof__(x))(a)-1))
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#define is_power_of_2(n) ((n) != 0 && ((n) & ((n)-1)) == 0)

#endif
