/* SPDX-License-Identifier: MIT */
/* linux/io.h - the kernel's name for what kmalloc/io.h has of it. */
#ifndef KMALLOC_LINUX_IO_H
#define KMALLOC_LINUX_IO_H

#include <kmalloc/io.h>

#include <linux/types.h>

#endif
