/* SPDX-License-Identifier: MIT */
/*
 * probes.c - one place for each probe.
 *
 * The kernel's counterparts are the tracepoints of include/trace/events/kmem.h: their names, and their fields in that order.
 * Differences: no probe tells node, accounted, pfn or migratetype, which mean nothing here; a page is
 * its address; vmalloc, vfree, slab_refill and slab_flush have no counterpart.
 *
 *	kmem:kmalloc		call_site, ptr, bytes_req, bytes_alloc, gfp_flags
 *	kmem:kfree		call_site, ptr
 *	kmem:kmem_cache_alloc	call_site, ptr, name, bytes_req, bytes_alloc, gfp_flags
 *	kmem:kmem_cache_free	call_site, ptr, name
 *	kmem:vmalloc		call_site, ptr, bytes_req, bytes_alloc, gfp_flags
 *	kmem:vfree		call_site, ptr
 *	kmem:mm_page_alloc	page, order, gfp_flags
 *	kmem:mm_page_free	page, order
 *	kmem:slab_refill	name, count
 *	kmem:slab_flush		name, count
 *	otel_memory:alloc	ptr, size, weight
 *	otel_memory:free	ptr
 *
 * A probe is a nop that the notes of this file name, with where its arguments are then (<sys/sdt.h>). Each stands once in the
 * library, so that a listener puts one breakpoint for it.
 *
 * Semaphores stand side by side, so that a miss looks at all of them with a few loads: the assembler gives the names that
 * the notes want to the elements of one array.
 *
 * No state but the semaphores, which the system writes; no locks.
 */
#include "trace/probes.h"

/* the assembler's .hidden is spelled by a macro in there */
#undef hidden
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

union probe_semaphores probe_semaphores
	__attribute__((section(".probes"), aligned(sizeof(uint64_t))));

/* index is a number, since the assembler knows no enum; see the assertions below. */
#define SEMAPHORE(provider, name, index)                                                           \
	extern unsigned short provider##_##name##_semaphore __attribute__((visibility("hidden"))); \
	__asm__(".globl " #provider "_" #name "_semaphore\n\t"                                     \
		".hidden " #provider "_" #name "_semaphore\n\t"                                    \
		".set " #provider "_" #name "_semaphore, probe_semaphores + 2 * (" #index " - 1)")

SEMAPHORE(kmem, kmalloc, 1);
SEMAPHORE(kmem, kfree, 2);
SEMAPHORE(kmem, kmem_cache_alloc, 3);
SEMAPHORE(kmem, kmem_cache_free, 4);
SEMAPHORE(kmem, vmalloc, 5);
SEMAPHORE(kmem, vfree, 6);
SEMAPHORE(kmem, mm_page_alloc, 7);
SEMAPHORE(kmem, mm_page_free, 8);
SEMAPHORE(kmem, slab_refill, 9);
SEMAPHORE(kmem, slab_flush, 10);
SEMAPHORE(otel_memory, alloc, 11);
SEMAPHORE(otel_memory, free, 12);

_Static_assert(TRACE_KMALLOC == 1 && TRACE_KFREE == 2 && TRACE_KMEM_CACHE_ALLOC == 3 &&
		       TRACE_KMEM_CACHE_FREE == 4 && TRACE_VMALLOC == 5 && TRACE_VFREE == 6 &&
		       TRACE_MM_PAGE_ALLOC == 7 && TRACE_MM_PAGE_FREE == 8 &&
		       TRACE_SLAB_REFILL == 9 && TRACE_SLAB_FLUSH == 10 && PROBE_OTEL_ALLOC == 11 &&
		       PROBE_OTEL_FREE == 12,
	       "each probe has its own semaphore");

cold_path void probe_event(const struct trace_event *event, const char *name, size_t bytes_alloc)
{
	const void *site = event->call_site, *ptr = event->ptr;
	size_t bytes_req = event->bytes_req;
	unsigned gfp = event->gfp;

	if (!probe_is_armed(event->type))
		return;
	switch (event->type) {
	case TRACE_KMALLOC:
		STAP_PROBE5(kmem, kmalloc, site, ptr, bytes_req, bytes_alloc, gfp);
		break;
	case TRACE_KFREE:
		STAP_PROBE2(kmem, kfree, site, ptr);
		break;
	case TRACE_KMEM_CACHE_ALLOC:
		STAP_PROBE6(kmem, kmem_cache_alloc, site, ptr, name, bytes_req, bytes_alloc, gfp);
		break;
	case TRACE_KMEM_CACHE_FREE:
		STAP_PROBE3(kmem, kmem_cache_free, site, ptr, name);
		break;
	case TRACE_VMALLOC:
		STAP_PROBE5(kmem, vmalloc, site, ptr, bytes_req, bytes_alloc, gfp);
		break;
	case TRACE_VFREE:
		STAP_PROBE2(kmem, vfree, site, ptr);
		break;
	case TRACE_MM_PAGE_ALLOC:
		STAP_PROBE3(kmem, mm_page_alloc, ptr, bytes_alloc, gfp);
		break;
	case TRACE_MM_PAGE_FREE:
		STAP_PROBE2(kmem, mm_page_free, ptr, bytes_alloc);
		break;
	case TRACE_SLAB_REFILL:
		STAP_PROBE2(kmem, slab_refill, name, bytes_req);
		break;
	case TRACE_SLAB_FLUSH:
		STAP_PROBE2(kmem, slab_flush, name, bytes_req);
		break;
	default:
		break;
	}
}

cold_path void probe_otel_alloc(const void *ptr, size_t size, size_t weight)
{
	if (probe_is_armed(PROBE_OTEL_ALLOC))
		STAP_PROBE3(otel_memory, alloc, ptr, size, weight);
}

cold_path void probe_otel_free(const void *ptr)
{
	if (probe_is_armed(PROBE_OTEL_FREE))
		STAP_PROBE1(otel_memory, free, ptr);
}
