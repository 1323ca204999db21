/* SPDX-License-Identifier: MIT */
/* linux/gfp_types.h - the kernel's name for kmalloc/gfp.h. */
#ifndef KMALLOC_LINUX_GFP_TYPES_H
#define KMALLOC_LINUX_GFP_TYPES_H

#include <kmalloc/gfp.h>

#endif
