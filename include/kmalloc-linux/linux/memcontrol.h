/* SPDX-License-Identifier: MIT */
/* linux/memcontrol.h - the kernel's name for what kmalloc/memcontrol.h has of it. */
#ifndef KMALLOC_LINUX_MEMCONTROL_H
#define KMALLOC_LINUX_MEMCONTROL_H

#include <kmalloc/memcontrol.h>

#include <linux/types.h>

#endif
