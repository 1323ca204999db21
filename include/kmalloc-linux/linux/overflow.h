/* SPDX-License-Identifier: MIT */
/* linux/overflow.h - the kernel's name for kmalloc/overflow.h. */
#ifndef KMALLOC_LINUX_OVERFLOW_H
#define KMALLOC_LINUX_OVERFLOW_H

#include <kmalloc/overflow.h>

#endif
