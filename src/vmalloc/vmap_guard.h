/* SPDX-License-Identifier: MIT */
/*
 * vmap_guard.h - mapping areas with their guard page. Internal to the room;
 * all without vmap_lock, on ranges that are MOVING or BUSY in the caller's hands.
 */
#ifndef VMALLOC_VMAP_GUARD_H
#define VMALLOC_VMAP_GUARD_H

#include "vmalloc/vmap_area.h"

/* Map a hole's pages, guard included. 0; -EEXIST: foreign; -ENOMEM. */
int vmap_map(struct vmap_area *area);
/* Make the last page fault, if it does not and the VMA count allows. */
void vmap_guard_install(struct vmap_area *area);
/* Make the last page usable. False: the system refused; it stays as it is. */
bool vmap_guard_remove(struct vmap_area *area);
/*
 * Before the pages of a range are moved away: what is mapped becomes one piece from its
 * start on, so that nothing stays behind. Returns how many bytes; 0: the system refused.
 */
size_t vmap_make_whole(struct vmap_area *area);
/* Nothing of a range is mapped any more: count so. */
void vmap_unmapped(struct vmap_area *area);
/* Unmap a range whole. False: the system refused (VMA limit). */
bool vmap_unmap(struct vmap_area *area);
/* Count an area that becomes a VMA of its own; false, and not counted: there are too many. */
bool vmap_moved_get(void);
/* Count one whatever the bound (a moved range was cut in two), and one less. */
void vmap_moved_add(void);
void vmap_moved_put(void);

#endif
