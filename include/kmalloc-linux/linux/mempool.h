/* SPDX-License-Identifier: MIT */
/* linux/mempool.h - the kernel's name for kmalloc/mempool.h. */
#ifndef KMALLOC_LINUX_MEMPOOL_H
#define KMALLOC_LINUX_MEMPOOL_H

#include <kmalloc/mempool.h>

#include <linux/types.h>

#endif
