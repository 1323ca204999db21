/* SPDX-License-Identifier: MIT */
/* linux/mm.h - where older code finds kvmalloc() and is_vmalloc_addr(). */
#ifndef KMALLOC_LINUX_MM_H
#define KMALLOC_LINUX_MM_H

#include <kmalloc/slab.h>
#include <kmalloc/vmalloc.h>

#include <linux/types.h>

#endif
