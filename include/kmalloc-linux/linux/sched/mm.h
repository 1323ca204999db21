/* SPDX-License-Identifier: MIT */
/* linux/sched/mm.h - the kernel's name for what kmalloc/gfp.h has of it. */
#ifndef KMALLOC_LINUX_SCHED_MM_H
#define KMALLOC_LINUX_SCHED_MM_H

#include <kmalloc/gfp.h>

#include <linux/types.h>

#include <kmalloc/memcontrol.h>

#endif
