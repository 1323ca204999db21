/* SPDX-License-Identifier: MIT */
/*
 * die.c - the last words. Nothing here allocates, takes a lock or uses stdio;
 * the kernel's counterpart is BUG(). A thread that finds damage while another
 * reports waits for the abort, so that the report is one and whole; a handler
 * that interrupts the reporting thread and finds more damage aborts at once.
 */
#include "lib/die.h"

#include "lib/fmt.h"
#include "lib/port.h"

#include <stdatomic.h>

static _Atomic(void *) reporter; /* thread pointer of the first to die */

_Noreturn cold_path void die(const char *format, ...)
{
	void *self = __builtin_thread_pointer();
	void *nobody = NULL;

	if (!atomic_compare_exchange_strong(&reporter, &nobody, self)) {
		if (nobody == self)
			port_abort();
		for (;;) {
			_Atomic uint32_t never = 0;

			port_futex_wait(&never, 0);
		}
	}

	char line[512];
	va_list args;
	size_t len = fmt_format(line, sizeof(line), "libkmalloc: ");

	va_start(args, format);
	len += fmt_vformat(line + len, sizeof(line) - len - 1, format, args);
	va_end(args);
	line[len++] = '\n';
	port_write(2, line, len);
	port_abort();
}
