/* SPDX-License-Identifier: MIT */
/*
 * fmt.h - formatting into a fixed buffer, without stdio and allocation.
 *
 * Knows %s %c %d %u %lu %ld %zu %x %lx %p %% with width, '-' and '0', and
 * cuts what does not fit. Safe in a signal handler.
 */
#ifndef LIB_FMT_H
#define LIB_FMT_H

#include "lib/compiler.h"

#include <stdarg.h>

/* Returns how many bytes were written, the final 0 not counted. */
size_t fmt_vformat(char *buf, size_t size, const char *format, va_list args);
size_t fmt_format(char *buf, size_t size, const char *format, ...) printf_like(3, 4);

/* Write one formatted piece of at most 1023 bytes to standard error. */
void fmt_print(const char *format, ...) printf_like(1, 2);
/*
 * From now on fmt_print() writes to what is standard error at this moment,
 * whatever the program does with descriptor 2 later.
 */
void fmt_keep_output(void);
/* One line to standard error: "libkmalloc: " + text + newline. */
void fmt_warn(const char *format, ...) printf_like(1, 2);

/* "64K" style sizes as the kernel's memparse(): K M G T; false when malformed. */
bool fmt_parse_size(const char *text, size_t *value);

#endif
