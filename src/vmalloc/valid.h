/* SPDX-License-Identifier: MIT */
/* valid.h - the validators of the room; what they report is in lib/valid.h. */
#ifndef VMALLOC_VALID_H
#define VMALLOC_VALID_H

#include "vmalloc/vmap_area.h"

/* One range, its entries in the table, its neighbours and its lists. With vmap_lock. */
bool vmap_area_is_valid(const struct vmap_area *area);
/* All ranges, the bins, the age list and the counts. Takes vmap_lock if it is not held. */
bool vmap_is_valid(void);

#endif
