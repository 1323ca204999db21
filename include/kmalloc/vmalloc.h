/* SPDX-License-Identifier: MIT */
/*
 * vmalloc.h - the kernel's vmalloc calls: areas of whole pages, contiguous in addresses only, with
 * a guard page behind each. Any size; at least a page is taken. All but vfree() may sleep.
 *
 * docs/kernel-api.md compares them with the kernel's call by call.
 */
#ifndef KMALLOC_VMALLOC_H
#define KMALLOC_VMALLOC_H

#include <kmalloc/gfp.h>
#include <kmalloc/overflow.h>
#include <kmalloc/symbol.h>

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An area, page-aligned; zeroed. NULL: no memory; for a size of 0 with a warning. */
void *vmalloc(unsigned long size) KMALLOC_SYMBOL(vmalloc) KMALLOC_ALLOCATES(__alloc_size__(1));
void *vzalloc(unsigned long size) KMALLOC_SYMBOL(vzalloc) KMALLOC_ALLOCATES(__alloc_size__(1));
/* With flags: GFP_NOWAIT and GFP_ATOMIC take what waits for reuse, or NULL. */
void *__vmalloc(unsigned long size, gfp_t gfp) KMALLOC_SYMBOL(__vmalloc)
	KMALLOC_ALLOCATES(__alloc_size__(1));
/* Aligned to `align`, a power of two (0: page). `node` and `caller` as in the kernel. */
void *__vmalloc_node(unsigned long size, unsigned long align, gfp_t gfp, int node,
		     const void *caller) KMALLOC_SYMBOL(__vmalloc_node)
	KMALLOC_ALLOCATES(__alloc_size__(1));

#define vmalloc_node(size, node) ((void)(node), vmalloc(size))
#define vzalloc_node(size, node) ((void)(node), vzalloc(size))
/* The system chooses page sizes by itself here. */
#define vmalloc_huge(size, gfp) __vmalloc(size, gfp)
/* What may be mapped to user space must not hold old data: zeroed. Everything is user space here. */
#define vmalloc_user(size) vzalloc(size)
/* Addresses are virtual: there is no memory below 4 GiB to ask for. */
#define vmalloc_32(size) vmalloc(size)
#define vmalloc_32_user(size) vzalloc(size)

static inline KMALLOC_ALLOCATES(__alloc_size__(1, 2)) void *__vmalloc_array(size_t n, size_t size,
									    gfp_t gfp)
{
	return __vmalloc(size_mul(n, size), gfp);
}
static inline KMALLOC_ALLOCATES(__alloc_size__(1, 2)) void *vmalloc_array(size_t n, size_t size)
{
	return vmalloc(size_mul(n, size));
}
static inline KMALLOC_ALLOCATES(__alloc_size__(1, 2)) void *__vcalloc(size_t n, size_t size,
								      gfp_t gfp)
{
	return __vmalloc(size_mul(n, size), gfp | __GFP_ZERO);
}
static inline KMALLOC_ALLOCATES(__alloc_size__(1, 2)) void *vcalloc(size_t n, size_t size)
{
	return vzalloc(size_mul(n, size));
}

/*
 * Change the size of an area, in place or by moving its pages. NULL: it is as before.
 * vrealloc(NULL, n) is __vmalloc(n); vrealloc(p, 0) frees and gives NULL. With __GFP_ZERO what is
 * new is zero.
 */
void *vrealloc(const void *area, size_t size, gfp_t gfp) KMALLOC_SYMBOL(vrealloc)
	__attribute__((__warn_unused_result__, __alloc_size__(2)));
#define vrealloc_node(area, size, gfp, node) ((void)(node), vrealloc(area, size, gfp))

/* Free an area; NULL is nothing. An address that is none is reported. */
void vfree(const void *area) KMALLOC_SYMBOL(vfree);
/* The same where waiting is not allowed, and without a system call: what would need either is put off. */
void vfree_atomic(const void *area) KMALLOC_SYMBOL(vfree_atomic);

/* Is this an address of the vmalloc window? */
bool is_vmalloc_addr(const void *addr) KMALLOC_SYMBOL(is_vmalloc_addr);

#ifdef __cplusplus
}
#endif

#endif
