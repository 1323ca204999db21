/* SPDX-License-Identifier: MIT */
/*
 * gfp.h - how an allocation may behave: the kernel's flags, with its values (Linux 7.3).
 *
 * docs/gfp.md says what each flag means in a process. In short:
 *
 *   GFP_KERNEL   may wait for locks, make system calls, purge and drain other CPUs
 *   GFP_NOWAIT   makes no system call and waits for no lock; else NULL
 *   GFP_ATOMIC   as GFP_NOWAIT, and may take from the reserve (min_free_kbytes); valid in a
 *                signal handler, whatever it interrupted
 *   GFP_DMA      physically contiguous, resident and locked; combines with the others
 *
 * Scopes: between a save and its restore, every allocation of the thread is bound by the scope,
 * whatever its flags. They nest; each restore takes what its save returned.
 */
#ifndef KMALLOC_GFP_H
#define KMALLOC_GFP_H

#include <kmalloc/symbol.h>

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef unsigned int gfp_t;

/* clang-format off */
/* Zones. kmalloc() refuses HIGHMEM and DMA32 as the kernel's does; MOVABLE has no effect. */
#define __GFP_DMA            ((gfp_t)0x1U)
#define __GFP_HIGHMEM        ((gfp_t)0x2U)
#define __GFP_DMA32          ((gfp_t)0x4U)
#define __GFP_MOVABLE        ((gfp_t)0x8U)
#define GFP_ZONEMASK (__GFP_DMA | __GFP_HIGHMEM | __GFP_DMA32 | __GFP_MOVABLE)

/* Placement and accounting. */
#define __GFP_RECLAIMABLE    ((gfp_t)0x10U)
#define __GFP_WRITE          ((gfp_t)0x1000U)
#define __GFP_HARDWALL       ((gfp_t)0x100000U)
#define __GFP_THISNODE       ((gfp_t)0x200000U)
#define __GFP_ACCOUNT        ((gfp_t)0x400000U)

/* The reserve: HIGH and MEMALLOC may take from it, NOMEMALLOC forbids it and wins. */
#define __GFP_HIGH           ((gfp_t)0x20U)
#define __GFP_MEMALLOC       ((gfp_t)0x20000U)
#define __GFP_NOMEMALLOC     ((gfp_t)0x80000U)

/* Reclaim: what may be done to get memory. */
#define __GFP_IO             ((gfp_t)0x40U)
#define __GFP_FS             ((gfp_t)0x80U)
#define __GFP_DIRECT_RECLAIM ((gfp_t)0x400U)
#define __GFP_KSWAPD_RECLAIM ((gfp_t)0x800U)
#define __GFP_RECLAIM (__GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM)
#define __GFP_RETRY_MAYFAIL  ((gfp_t)0x4000U)
#define __GFP_NOFAIL         ((gfp_t)0x8000U)
#define __GFP_NORETRY        ((gfp_t)0x10000U)

/* The object and the report. */
#define __GFP_ZERO           ((gfp_t)0x100U)
#define __GFP_NOWARN         ((gfp_t)0x2000U)
#define __GFP_COMP           ((gfp_t)0x40000U)
#define __GFP_ZEROTAGS       ((gfp_t)0x800000U)
/* Need hardware memory tags or lock debugging in the kernel; no bit where these are absent, as here. */
#define __GFP_SKIP_ZERO      ((gfp_t)0)
#define __GFP_SKIP_KASAN     ((gfp_t)0)
#define __GFP_NOLOCKDEP      ((gfp_t)0)

#define __GFP_BITS_SHIFT 24
#define __GFP_BITS_MASK ((gfp_t)((1U << __GFP_BITS_SHIFT) - 1))

#define GFP_ATOMIC (__GFP_HIGH | __GFP_KSWAPD_RECLAIM)
#define GFP_KERNEL (__GFP_RECLAIM | __GFP_IO | __GFP_FS)
#define GFP_KERNEL_ACCOUNT (GFP_KERNEL | __GFP_ACCOUNT)
#define GFP_NOWAIT (__GFP_KSWAPD_RECLAIM | __GFP_NOWARN)
#define GFP_NOIO (__GFP_RECLAIM)
#define GFP_NOFS (__GFP_RECLAIM | __GFP_IO)
#define GFP_USER (__GFP_RECLAIM | __GFP_IO | __GFP_FS | __GFP_HARDWALL)
#define GFP_DMA __GFP_DMA
#define GFP_DMA32 __GFP_DMA32
#define GFP_HIGHUSER (GFP_USER | __GFP_HIGHMEM)
#define GFP_HIGHUSER_MOVABLE (GFP_HIGHUSER | __GFP_MOVABLE | __GFP_SKIP_KASAN)
#define GFP_TRANSHUGE_LIGHT \
	((GFP_HIGHUSER_MOVABLE | __GFP_COMP | __GFP_NOMEMALLOC | __GFP_NOWARN) & ~__GFP_RECLAIM)
#define GFP_TRANSHUGE (GFP_TRANSHUGE_LIGHT | __GFP_DIRECT_RECLAIM)
/* clang-format on */

/* gfp if one was given, else GFP_KERNEL: for macros that take it as their last, optional argument. */
#define KMALLOC_SECOND(first, second, ...) second
#define default_gfp(...) KMALLOC_SECOND(0 __VA_OPT__(, ) __VA_ARGS__, GFP_KERNEL, 0)

/* May an allocation with these flags wait and make system calls? */
static inline bool gfpflags_allow_blocking(const gfp_t gfp)
{
	return !!(gfp & __GFP_DIRECT_RECLAIM);
}

/* Flags with both IO and FS, which the scopes below take away. */
static inline bool gfp_has_io_fs(gfp_t gfp)
{
	return (gfp & (__GFP_IO | __GFP_FS)) == (__GFP_IO | __GFP_FS);
}

/*
 * An atomic scope, this library's own (the kernel has its context instead): no allocation of the
 * thread waits or makes a system call. One that its flags allow to sleep is reported, once per
 * call site, and goes on as GFP_ATOMIC; vmalloc() gives NULL.
 */
unsigned int memalloc_atomic_save(void) KMALLOC_SYMBOL(memalloc_atomic_save);
void memalloc_atomic_restore(unsigned int flags) KMALLOC_SYMBOL(memalloc_atomic_restore);

/* No purge before an allocation fails, and the reserve may be used: for code that frees memory. */
unsigned int memalloc_noreclaim_save(void) KMALLOC_SYMBOL(memalloc_noreclaim_save);
void memalloc_noreclaim_restore(unsigned int flags) KMALLOC_SYMBOL(memalloc_noreclaim_restore);

/* As if each allocation were GFP_NOFS (GFP_NOIO). */
unsigned int memalloc_nofs_save(void) KMALLOC_SYMBOL(memalloc_nofs_save);
void memalloc_nofs_restore(unsigned int flags) KMALLOC_SYMBOL(memalloc_nofs_restore);
unsigned int memalloc_noio_save(void) KMALLOC_SYMBOL(memalloc_noio_save);
void memalloc_noio_restore(unsigned int flags) KMALLOC_SYMBOL(memalloc_noio_restore);

/* The flags that an allocation with `flags` has in this thread's scopes. */
gfp_t current_gfp_context(gfp_t flags) KMALLOC_SYMBOL(current_gfp_context);
/* Is this thread in an atomic scope, or in a handler that interrupted the allocator? */
bool in_atomic(void) KMALLOC_SYMBOL(in_atomic);

/* "This may sleep": reports, once per place, when it is reached in an atomic scope. */
void __might_sleep(const char *file, int line) KMALLOC_SYMBOL(might_sleep);
#define might_sleep() __might_sleep(__FILE__, __LINE__)
#define might_sleep_if(cond)                                                                       \
	do {                                                                                       \
		if (cond)                                                                          \
			might_sleep();                                                             \
	} while (0)
/* The same for an allocation with these flags. */
#define might_alloc(gfp) might_sleep_if(gfpflags_allow_blocking(gfp))

#ifdef __cplusplus
}
#endif

#endif
