/* SPDX-License-Identifier: MIT */
/*
 * compiler.h - what the compiler is told: branch odds, visibility, ordering.
 *
 * Only spelling; nothing here has behaviour of its own.
 */
#ifndef LIB_COMPILER_H
#define LIB_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define cold_path __attribute__((cold, noinline))
#define busy_path __attribute__((hot, noinline)) /* off the hit path, but not seldom taken */
#define hot_path __attribute__((hot, aligned(64)))
#define always_inline inline __attribute__((__always_inline__))
#define exported __attribute__((visibility("default")))
#define hidden __attribute__((visibility("hidden")))
#define initial_exec __attribute__((tls_model("initial-exec")))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))

/* The same function under a second name; only gcc can, and wants to, copy the attributes. */
#if __has_attribute(copy)
#define alias_of(target) __attribute__((alias(#target), copy(target)))
#else
#define alias_of(target) __attribute__((alias(#target)))
#endif

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Where a function was called from, and the stack pointer there once it returns. Of the function that it is inlined into. */
#define CALLER __builtin_return_address(0)
#define CALLER_SP ((uintptr_t)__builtin_dwarf_cfa())

/* Keep the compiler from moving memory accesses across; costs no instruction. */
#define barrier() __asm__ __volatile__("" ::: "memory")

static inline size_t align_up(size_t n, size_t align)
{
	return (n + align - 1) & ~(align - 1);
}

static inline bool is_power_of_2(size_t n)
{
	return n && !(n & (n - 1));
}

static inline size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline size_t max_size(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* The position of the highest set bit; n must not be 0. */
static inline unsigned ilog2(size_t n)
{
	return 63U - (unsigned)__builtin_clzl(n);
}

#endif
