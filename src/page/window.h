/* SPDX-License-Identifier: MIT */
/*
 * window.h - sections of the window, between the buddy and the system. All
 * functions are called with the zone's lock held.
 */
#ifndef PAGE_WINDOW_H
#define PAGE_WINDOW_H

#include "page/page.h"

/* [start] Reserve the maps of a window of `size` bytes at base. False: no memory. */
bool window_init(uintptr_t base, size_t size);

/*
 * Map the next `count` sections (fewer when memory is short) and give them
 * descriptors; returns how many came, from *first on. 0: no memory.
 */
size_t window_online(size_t count, size_t *first);
/* Map a section again that window_offline() took. 0; -EEXIST: somebody else did; -ENOMEM. */
int window_reonline(size_t section);
/* Unmap a section whose granules are all free. False: the system refused. */
bool window_offline(size_t section);

#endif
