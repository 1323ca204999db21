/* SPDX-License-Identifier: MIT */
/* linux/vmalloc.h - the kernel's name for kmalloc/vmalloc.h. */
#ifndef KMALLOC_LINUX_VMALLOC_H
#define KMALLOC_LINUX_VMALLOC_H

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

#include <linux/types.h>

#endif
