/* SPDX-License-Identifier: MIT */
/* linux/gfp.h - the kernel's name for kmalloc/gfp.h. */
#ifndef KMALLOC_LINUX_GFP_H
#define KMALLOC_LINUX_GFP_H

#include <kmalloc/gfp.h>

#include <linux/types.h>

#endif
