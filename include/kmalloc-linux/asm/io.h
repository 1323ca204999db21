/* SPDX-License-Identifier: MIT */
/* asm/io.h - the kernel's name for what kmalloc/io.h has of it. */
#ifndef KMALLOC_ASM_IO_H
#define KMALLOC_ASM_IO_H

#include <kmalloc/io.h>

#include <linux/types.h>

#endif
