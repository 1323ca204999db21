/* SPDX-License-Identifier: MIT */
/*
 * symbol.h - the names that the linker sees.
 *
 * libkmalloc is preloaded into programs that never heard of it, and some of their libraries
 * have functions named kmalloc, kfree or vmalloc of their own. So the library's calls are
 * named libkmalloc_kmalloc and so on for the linker; these headers do the renaming.
 */
#ifndef KMALLOC_SYMBOL_H
#define KMALLOC_SYMBOL_H

#define KMALLOC_SYMBOL(name) __asm__("libkmalloc_" #name)

#define KMALLOC_ALLOCATES(...) __attribute__((__malloc__, __warn_unused_result__, ##__VA_ARGS__))

#endif
