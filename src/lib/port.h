/* SPDX-License-Identifier: MIT */
/*
 * port.h - the few services that lib/ needs from the system. lib/ declares
 * them, os/ defines them: so lib/ includes nobody, and every system call
 * still stands in os/ alone. None of them allocates or touches errno.
 */
#ifndef LIB_PORT_H
#define LIB_PORT_H

#include "lib/compiler.h"

/* Sleep while *word == value; may return early for any reason. */
void port_futex_wait(_Atomic uint32_t *word, uint32_t value);
/* The same for so many milliseconds, or microseconds, at most. */
void port_futex_wait_ms(_Atomic uint32_t *word, uint32_t value, unsigned ms);
void port_futex_wait_us(_Atomic uint32_t *word, uint32_t value, unsigned us);
/* Wake at most `count` sleepers of *word. */
void port_futex_wake(_Atomic uint32_t *word, int count);
/* Wake all of other processes that sleep on it: a word of a file that they have mapped as well, and that nobody writes. */
void port_futex_wake_others(const uint32_t *word);
/* Milliseconds of a clock that never goes back; coarse, read without a system call. */
uint64_t port_clock_ms(void);
/* Write all of buf to a file descriptor, as far as the system lets it. */
void port_write(int fd, const char *buf, size_t len);
/* A second descriptor, closed by exec, for the same open file; negative: none. */
int port_dup(int fd);
/* Die by SIGABRT, without running anything of the program's. */
_Noreturn void port_abort(void);
/* The calling process, for reports; the calling thread. */
int port_getpid(void);
int port_gettid(void);

#endif
