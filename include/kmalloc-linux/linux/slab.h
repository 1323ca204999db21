/* SPDX-License-Identifier: MIT */
/* linux/slab.h - the kernel's name for kmalloc/slab.h. */
#ifndef KMALLOC_LINUX_SLAB_H
#define KMALLOC_LINUX_SLAB_H

#include <kmalloc/slab.h>

#include <linux/bug.h>
#include <linux/types.h>

#endif
