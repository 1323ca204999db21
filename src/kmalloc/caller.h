/* SPDX-License-Identifier: MIT */
/* caller.h - a return address in words, for reports. */
#ifndef KMALLOC_CALLER_H
#define KMALLOC_CALLER_H

#include "lib/compiler.h"

#define CALLER_TEXT 160

/*
 * As the kernel's %pS: "symbol+0x12/0x34 [module]", or "module+0x1234" where no symbol is known,
 * or the bare address. Allocates nothing. Where waiting is not allowed, no symbol is looked
 * for. Returns `buf`, of CALLER_TEXT bytes.
 */
const char *caller_text(char *buf, const void *caller);

/*
 * Is this the first time that this caller is asked about? For warnings that come once for
 * each place. When more are known than there is room for: no.
 */
bool caller_is_new(const void *caller);

#endif
