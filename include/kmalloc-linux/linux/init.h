/* SPDX-License-Identifier: MIT */
/* linux/init.h - marks of code that the kernel drops after its start; here they mark nothing. */
#ifndef KMALLOC_LINUX_INIT_H
#define KMALLOC_LINUX_INIT_H

#define __init
#define __exit
#define __initdata
#define __ro_after_init

#endif
