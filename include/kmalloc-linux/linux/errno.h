/* SPDX-License-Identifier: MIT */
/* linux/errno.h - the system's header of that name: the C library's own errno.h reads it, too. */
#ifndef KMALLOC_LINUX_ERRNO_H
#define KMALLOC_LINUX_ERRNO_H

#include_next <linux/errno.h>

#endif
