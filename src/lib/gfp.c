/* SPDX-License-Identifier: MIT */
/*
 * gfp.c - the names of flags, as the kernel's show_gfp_flags() gives them: greedy, the
 * combinations with most bits first, then single flags, then what is left in hexadecimal. No state.
 */
#include "lib/gfp.h"

#include "lib/fmt.h"

/* clang-format off */
#define NAME(flag) { flag, #flag }
static const struct {
	gfp_t bits;
	const char *name;
} names[] = {
	NAME(GFP_TRANSHUGE), NAME(GFP_TRANSHUGE_LIGHT), NAME(GFP_HIGHUSER_MOVABLE),
	NAME(GFP_HIGHUSER), NAME(GFP_USER), NAME(GFP_KERNEL_ACCOUNT), NAME(GFP_KERNEL),
	NAME(GFP_NOFS), NAME(GFP_ATOMIC), NAME(GFP_NOIO), NAME(GFP_NOWAIT), NAME(GFP_DMA),
	NAME(GFP_DMA32), NAME(__GFP_RECLAIM), NAME(__GFP_HIGHMEM), NAME(__GFP_MOVABLE),
	NAME(__GFP_RECLAIMABLE), NAME(__GFP_HIGH), NAME(__GFP_IO), NAME(__GFP_FS),
	NAME(__GFP_ZERO), NAME(__GFP_DIRECT_RECLAIM), NAME(__GFP_KSWAPD_RECLAIM),
	NAME(__GFP_WRITE), NAME(__GFP_NOWARN), NAME(__GFP_RETRY_MAYFAIL), NAME(__GFP_NOFAIL),
	NAME(__GFP_NORETRY), NAME(__GFP_MEMALLOC), NAME(__GFP_COMP), NAME(__GFP_NOMEMALLOC),
	NAME(__GFP_HARDWALL), NAME(__GFP_THISNODE), NAME(__GFP_ACCOUNT), NAME(__GFP_ZEROTAGS),
};
/* clang-format on */

const char *gfp_format(char *buf, size_t size, gfp_t gfp)
{
	size_t len = 0;

	if (!gfp)
		len = fmt_format(buf, size, "none");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if ((gfp & names[i].bits) != names[i].bits)
			continue;
		len += fmt_format(buf + len, size - len, "%s%s", len ? "|" : "", names[i].name);
		gfp &= ~names[i].bits;
	}
	if (gfp)
		fmt_format(buf + len, size - len, "%s0x%x", len ? "|" : "", gfp);
	return buf;
}
