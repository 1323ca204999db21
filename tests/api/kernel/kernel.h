/* SPDX-License-Identifier: MIT */
/* kernel.h - what the three kernel-style files of this folder offer. */
#ifndef API_KERNEL_H
#define API_KERNEL_H

#include <linux/types.h>

int request_init(size_t bytes);
int request_add(const char *name, u32 priority, const void *payload);
char *request_take(void *payload);
void request_exit(void);

int tree_init(void);
int tree_insert(unsigned long index, void *item);
void *tree_lookup(unsigned long index);
void *tree_erase(unsigned long index);
void tree_exit(void);

int ring_init(size_t size);
int ring_write(const char *text);
size_t ring_read(char *text, size_t size);
int ring_grow(size_t size);
void ring_exit(void);

#endif
