/* SPDX-License-Identifier: MIT */
/*
 * linux/bug.h - conditions that must not be. BUG() ends the process by SIGABRT, after one line
 * that names the place; WARN() prints such a line and goes on.
 */
#ifndef KMALLOC_LINUX_BUG_H
#define KMALLOC_LINUX_BUG_H

#include <linux/printk.h>

#include <stdbool.h>
#include <stdlib.h>

#define BUG()                                                                                      \
	do {                                                                                       \
		printk(KERN_ERR "kernel BUG at %s:%d!\n", __FILE__, __LINE__);                     \
		abort();                                                                           \
	} while (0)
#define BUG_ON(condition)                                                                          \
	do {                                                                                       \
		if (__builtin_expect(!!(condition), 0))                                            \
			BUG();                                                                     \
	} while (0)
#define BUILD_BUG_ON(condition) _Static_assert(!(condition), "BUILD_BUG_ON: " #condition)

#define WARN(condition, ...)                                                                       \
	({                                                                                         \
		bool __warn = !!(condition);                                                       \
		if (__builtin_expect(__warn, 0)) {                                                 \
			printk(KERN_WARNING "WARNING: %s:%d at %s()\n", __FILE__, __LINE__,        \
			       __func__);                                                          \
			printk(__VA_ARGS__);                                                       \
		}                                                                                  \
		__warn;                                                                            \
	})
#define WARN_ON(condition) WARN(condition, "%s", "")
#define WARN_ONCE(condition, ...)                                                                  \
	({                                                                                         \
		static bool __warned;                                                              \
		bool __met = !!(condition);                                                        \
		if (__builtin_expect(__met && !__warned, 0)) {                                     \
			__warned = true;                                                           \
			WARN(1, __VA_ARGS__);                                                      \
		}                                                                                  \
		__met;                                                                             \
	})
#define WARN_ON_ONCE(condition) WARN_ONCE(condition, "%s", "")

#endif
