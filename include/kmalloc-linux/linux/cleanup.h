/* SPDX-License-Identifier: MIT */
/* linux/cleanup.h - the kernel's name for kmalloc/cleanup.h. */
#ifndef KMALLOC_LINUX_CLEANUP_H
#define KMALLOC_LINUX_CLEANUP_H

#include <kmalloc/cleanup.h>

#endif
