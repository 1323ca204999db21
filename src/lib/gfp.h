/* SPDX-License-Identifier: MIT */
/*
 * gfp.h - how an allocation may behave: the public flags (include/kmalloc/gfp.h, where their
 * bits stand once), and how to write them down.
 *
 * The rooms below kmalloc/ act on
 *   __GFP_DIRECT_RECLAIM  may wait for locks and make system calls. Without it
 *                         every lock is only tried and no memory is mapped;
 *   __GFP_NORETRY         nothing is purged before the answer is no.
 * The others are kmalloc/'s matter.
 */
#ifndef LIB_GFP_H
#define LIB_GFP_H

#include "kmalloc/gfp.h"
#include "lib/compiler.h"

#define GFP_FORMAT_MAX 320 /* bytes that the longest text takes */

/* May memory be purged, once, before an allocation with these flags fails? */
static inline bool gfp_may_reclaim(gfp_t gfp)
{
	return (gfp & (__GFP_DIRECT_RECLAIM | __GFP_NORETRY)) == __GFP_DIRECT_RECLAIM;
}

/* The flags in the kernel's %pGg form: "GFP_KERNEL|__GFP_ZERO". Returns buf. */
const char *gfp_format(char *buf, size_t size, gfp_t gfp);

#endif
