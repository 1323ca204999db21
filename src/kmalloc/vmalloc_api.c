/* SPDX-License-Identifier: MIT */
/*
 * vmalloc_api.c - the kernel's vmalloc() and kvmalloc() families, for programs that link the library.
 *
 * Mirrors mm/vmalloc.c and mm/util.c. Differences: areas may be asked for in any context, and where
 * waiting is forbidden the answer is NULL; a larger alignment in
 * vrealloc is not offered; vrealloc moves pages instead of bytes (vmalloc/vrealloc.c).
 *
 * kvmalloc: 1. up to KMALLOC_MAX_SIZE an object, without a warning; 2. if there is none, or above
 * it, an area. The size of an area that was asked for is not kept: what __GFP_ZERO promises holds to
 * the end of its last page.
 *
 * vfree() of what is no area is reported in the kernel's words and does nothing; a second vfree() of an
 * area dies with a report as free() does.
 *
 * No state, no locks of its own. errno is not touched.
 */
#include "kmalloc/caller.h"
#include "kmalloc/gfp_alloc.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/observe.h"
#include "kmalloc/report.h"
#include "kmalloc/slab.h"
#include "kmalloc/vmalloc.h"
#include "os/os.h"
#include "vmalloc/vmalloc.h"

#include <limits.h>
#include <string.h>

static cold_path void complain(const char *what, const void *addr, const void *caller)
{
	report_fault(GFP_KERNEL, caller, "%s (%p), called from " REPORT_CALLER, what, addr);
}

static void *area_alloc(size_t size, size_t align, gfp_t gfp, const void *caller)
{
	void *area;

	if (unlikely(!size)) {
		if (!(gfp & __GFP_NOWARN) && caller_is_new(caller))
			report_fault(gfp, caller,
				     "vmalloc: 0 bytes asked for, called from " REPORT_CALLER);
		return NULL;
	}
	area = vmalloc_gfp(size, align, gfp, caller);
	if (likely(area))
		vmalloc_mark(area);
	if (observed() && area)
		observe_alloc(area, NULL, size, gfp, caller);
	return area;
}

exported void *vmalloc(unsigned long size)
{
	return area_alloc(size, 0, GFP_KERNEL, __builtin_return_address(0));
}

exported void *vzalloc(unsigned long size)
{
	return area_alloc(size, 0, GFP_KERNEL | __GFP_ZERO, __builtin_return_address(0));
}

exported void *__vmalloc(unsigned long size, gfp_t gfp)
{
	return area_alloc(size, 0, gfp, __builtin_return_address(0));
}

exported void *__vmalloc_node(unsigned long size, unsigned long align, gfp_t gfp, int node,
			      const void *caller)
{
	(void)node;
	return area_alloc(size, align, gfp, caller);
}

exported bool is_vmalloc_addr(const void *addr)
{
	return vmalloc_owns(addr);
}

static void area_free(void *ptr, bool wait, const void *caller)
{
	if (!ptr)
		return;
	if (unlikely((uintptr_t)ptr & (os_page_size - 1)))
		complain("Trying to vfree() bad address", ptr, caller);
	else if (likely(vmalloc_owns(ptr) && vmalloc_size(ptr)))
		wait ? kvfree_slow(ptr, caller) : kfree_nowait_slow(ptr, caller);
	else if (!vmalloc_owns(ptr) ||
		 vfree_area(ptr, current_gfp_context(wait ? GFP_KERNEL : GFP_NOWAIT)) ==
			 VFREE_NOT_AREA)
		complain("Trying to vfree() nonexistent vm area", ptr, caller);
}

exported void vfree(const void *area)
{
	area_free((void *)(uintptr_t)area, true, __builtin_return_address(0));
}

exported void vfree_atomic(const void *area)
{
	area_free((void *)(uintptr_t)area, false, __builtin_return_address(0));
}

/* What a resized area holds beyond the bytes that are kept. */
static void zero_tail(char *area, size_t old_size, size_t size)
{
	size_t new_size = vmalloc_size(area);
	size_t from = min_size(old_size, size);

	memset(area + from, 0, new_size - min_size(from, new_size));
}

/* A free and an allocation, for those who count them. The area is the caller's, whatever comes between. */
static cold_path void *observed_resize(void *ptr, size_t old_size, size_t size, gfp_t gfp,
				       const void *caller)
{
	void *area;

	observe_free(ptr, gfp, caller);
	area = vrealloc_area(ptr, size, current_gfp_context(gfp));
	observe_alloc(area ? area : ptr, NULL, area ? size : old_size, gfp, caller);
	return area;
}

static void *area_resize(void *ptr, size_t size, gfp_t gfp, const void *caller)
{
	size_t old_size = vmalloc_owns(ptr) ? vmalloc_size(ptr) : 0;
	void *area;

	if (unlikely(!old_size)) {
		complain("Trying to vrealloc() nonexistent vm area", ptr, caller);
		return NULL;
	}
	area = observed() ? observed_resize(ptr, old_size, size, gfp, caller) :
			    vrealloc_area(ptr, size, current_gfp_context(gfp));
	if (area && (gfp & __GFP_ZERO))
		zero_tail(area, old_size, size);
	return area;
}

exported void *vrealloc(const void *area, size_t size, gfp_t gfp)
{
	void *ptr = (void *)(uintptr_t)area;

	if (!ptr)
		return area_alloc(size, 0, gfp, __builtin_return_address(0));
	if (!size) {
		vfree(ptr);
		return NULL;
	}
	return area_resize(ptr, size, gfp, __builtin_return_address(0));
}

static void *kv_alloc(size_t size, gfp_t gfp, const void *caller)
{
	void *object;

	/* an area knows no zone: it can't stand in */
	if (unlikely(gfp & __GFP_DMA))
		return __kmalloc_caller(size, gfp, caller);
	if (size <= KMALLOC_MAX_SIZE) {
		object = __kmalloc_caller(size, gfp | __GFP_NOWARN, caller);
		if (likely(object) || !gfpflags_allow_blocking(gfp))
			return object;
	} else if (unlikely(size > INT_MAX)) {
		if (!(gfp & __GFP_NOWARN) && caller_is_new(caller))
			report_fault(gfp, caller,
				     "kvmalloc: %zu bytes are more than INT_MAX, called "
				     "from " REPORT_CALLER,
				     size);
		return NULL;
	}
	return area_alloc(size, 0, gfp, caller);
}

exported void *kvmalloc(size_t size, gfp_t gfp)
{
	return kv_alloc(size, gfp, __builtin_return_address(0));
}

exported void *kvrealloc(const void *memory, size_t size, gfp_t gfp)
{
	const void *caller = __builtin_return_address(0);
	void *ptr = (void *)(uintptr_t)memory;
	size_t old_size;
	void *object;

	if (ZERO_OR_NULL_PTR(ptr))
		return kv_alloc(size, gfp, caller);
	if (!size) {
		kvfree(ptr);
		return ZERO_SIZE_PTR;
	}
	old_size = kvmalloc_size(ptr);
	if (vmalloc_owns(ptr) && size > KMALLOC_MAX_SIZE)
		return size > INT_MAX ? NULL : area_resize(ptr, size, gfp, caller);
	if (size <= old_size && !vmalloc_owns(ptr))
		return ptr;
	object = kv_alloc(size, gfp, caller);
	if (unlikely(!object))
		return NULL;
	memcpy(object, ptr, min_size(old_size, size));
	kvfree(ptr);
	return object;
}

exported void *kvmemdup(const void *source, size_t size, gfp_t gfp)
{
	void *copy = kv_alloc(size, gfp, __builtin_return_address(0));

	if (likely(copy && size))
		memcpy(copy, source, size);
	return copy;
}

exported void kvfree(const void *memory)
{
	void *ptr = (void *)(uintptr_t)memory;

	if (!ZERO_OR_NULL_PTR(ptr))
		kvmalloc_free(ptr);
}

exported void kvfree_atomic(const void *memory)
{
	void *ptr = (void *)(uintptr_t)memory;

	if (!ZERO_OR_NULL_PTR(ptr) && !kfree_hit(ptr))
		kfree_nowait_slow(ptr, __builtin_return_address(0));
}

exported void kvfree_sensitive(const void *memory, size_t size)
{
	void *ptr = (void *)(uintptr_t)memory;

	if (ZERO_OR_NULL_PTR(ptr))
		return;
	memset(ptr, 0, size);
	/* the compiler may not drop that because the memory is freed next */
	__asm__ volatile("" : : "r"(ptr) : "memory");
	kvfree(ptr);
}
