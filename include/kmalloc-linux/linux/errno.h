/* SPDX-License-Identifier: MIT */
/* linux/errno.h - the system's numbers. */
#ifndef KMALLOC_LINUX_ERRNO_H
#define KMALLOC_LINUX_ERRNO_H

#include <errno.h>

#endif
