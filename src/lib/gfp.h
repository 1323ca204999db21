/* SPDX-License-Identifier: MIT */
/*
 * gfp.h - how an allocation may behave: the kernel's flag bits (values as in
 * its gfp_types.h), as far as the rooms below the interposer act on them.
 *
 *   __GFP_DIRECT_RECLAIM  may wait for locks and make system calls. Without it
 *                         every lock is only tried and no memory is mapped.
 *   __GFP_HIGH            may take from the reserve.
 *   __GFP_ZERO            the object is zero on return.
 */
#ifndef LIB_GFP_H
#define LIB_GFP_H

#include "lib/compiler.h"

typedef unsigned int gfp_t;

#define __GFP_HIGH ((gfp_t)0x20U)
#define __GFP_IO ((gfp_t)0x40U)
#define __GFP_FS ((gfp_t)0x80U)
#define __GFP_ZERO ((gfp_t)0x100U)
#define __GFP_DIRECT_RECLAIM ((gfp_t)0x400U)
#define __GFP_KSWAPD_RECLAIM ((gfp_t)0x800U)

#define GFP_KERNEL (__GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM | __GFP_IO | __GFP_FS)
#define GFP_ATOMIC (__GFP_HIGH | __GFP_KSWAPD_RECLAIM)

static inline bool gfpflags_allow_blocking(gfp_t gfp)
{
	return gfp & __GFP_DIRECT_RECLAIM;
}

#endif
