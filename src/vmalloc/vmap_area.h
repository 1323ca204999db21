/* SPDX-License-Identifier: MIT */
/*
 * vmap_area.h - ranges of the vmalloc window and the structures that find
 * them. Internal to the room.
 */
#ifndef VMALLOC_VMAP_AREA_H
#define VMALLOC_VMAP_AREA_H

#include "lib/gfp.h"
#include "lib/list.h"
#include "lib/lock.h"

enum vmap_state {
	VMAP_BUSY,    /* handed out */
	VMAP_LAZY,    /* freed, still mapped: waits for reuse or the purge */
	VMAP_HOLE,    /* free, not mapped */
	VMAP_MOVING,  /* between two states, in the hands of one thread */
	VMAP_FOREIGN, /* somebody else mapped something there: never ours */
};

enum vmap_guard {
	VMAP_GUARD_NONE, /* the last page is like the others */
	VMAP_GUARD_MARK, /* mapped, faults by MADV_GUARD_INSTALL */
	VMAP_GUARD_GAP,	 /* not mapped */
};

/*
 * One range. The ranges tile the window from its base to vmap_top. Type-stable:
 * a struct is only ever reused as another vmap_area.
 */
struct vmap_area {
	struct list_head bin; /* of its state and size: LAZY and HOLE */
	struct list_head age; /* LAZY and not zeroed, oldest last */
	uintptr_t addr;
	size_t span;	  /* bytes, the guard page at its end included */
	uint8_t state;	  /* enum vmap_state */
	uint8_t guard;	  /* enum vmap_guard: of the last page */
	bool moved;	  /* its pages came by mremap: a VMA of its own, followed by a gap */
	bool zeroed;	  /* LAZY: reads as zero, not resident */
	bool rest;	  /* LAZY: what was left of a larger one */
	bool marked : 1;  /* BUSY: handed out by vmalloc(), not by malloc() */
	bool sampled : 1; /* BUSY: a trace told of its allocation */
	uint16_t owner;	  /* BUSY: the number of the group that it is charged to; 0: none */
	uint32_t stamp;	  /* LAZY: when it was freed, in units of 256 ms */
	uint32_t charged; /* pages, if it has an owner */
};

extern struct lock vmap_lock;
/* All below is called with vmap_lock held. */
extern uintptr_t vmap_base, vmap_top, vmap_end;
extern size_t vmap_lazy_bytes; /* of LAZY ranges that are not zeroed */
extern size_t vmap_nr_lazy;
extern size_t vmap_nr_holes; /* also read without the lock, as a hint */
extern struct list_head vmap_age;

void vmap_area_init(uintptr_t base, size_t size);
/* Bytes mapped for the table. */
size_t vmap_table_bytes(void);
/* The range that starts at addr, or the one whose last page is at addr; else unspecified or NULL. */
struct vmap_area *vmap_find(uintptr_t addr);
/* The neighbours; NULL at the window's ends. */
struct vmap_area *vmap_next(const struct vmap_area *area);
struct vmap_area *vmap_prev(const struct vmap_area *area);

/*
 * Take the best fitting range of a state off its bin, aligned and cut to span; NULL:
 * none. A lazy one keeps up to 1/VMAP_SLACK more: cutting costs a guard page, and so
 * a system call each time.
 */
#define VMAP_SLACK 8
struct vmap_area *vmap_take(enum vmap_state state, size_t span, size_t align, gfp_t gfp);
/* A new range at the top of the window. NULL: the window is used up, or no metadata. */
struct vmap_area *vmap_extend(size_t span, size_t align, gfp_t gfp);
/* Take a given LAZY or HOLE range off its lists; it is MOVING after. */
void vmap_isolate(struct vmap_area *area);
/* Cut a MOVING or BUSY range in two; returns the upper part, MOVING. NULL: no metadata. */
struct vmap_area *vmap_split(struct vmap_area *area, size_t span, gfp_t gfp);
/* Are these two lazy ranges, of which `upper` follows, alike, so that they may be joined? NULL: no. */
bool vmap_can_join(const struct vmap_area *area, const struct vmap_area *upper);
/* Join `upper`, which follows `area`, to it; both MOVING or BUSY; `upper` is gone. May block. */
void vmap_join(struct vmap_area *area, struct vmap_area *upper);
/* Put a MOVING range on the lists of a state. Holes join their like. */
void vmap_put_lazy(struct vmap_area *area, uint32_t stamp);
void vmap_put_hole(struct vmap_area *area);

#endif
