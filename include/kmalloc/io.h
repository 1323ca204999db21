/* SPDX-License-Identifier: MIT */
/*
 * io.h - physical addresses of objects from the DMA zone, kmalloc(size, GFP_DMA | ...).
 *
 * Inside an object the offset between the two kinds of addresses is fixed. docs/gfp.md says what
 * is promised over time, and who may see physical addresses at all.
 */
#ifndef KMALLOC_IO_H
#define KMALLOC_IO_H

#include <kmalloc/symbol.h>

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef uint64_t phys_addr_t;

#define PHYS_ADDR_UNKNOWN ((phys_addr_t)-1)

/* PHYS_ADDR_UNKNOWN: not in the DMA zone, or the system does not show this process its frames (one line says so). */
phys_addr_t virt_to_phys(const volatile void *address) KMALLOC_SYMBOL(virt_to_phys);
/* NULL: not a byte of the DMA zone. */
void *phys_to_virt(phys_addr_t address) KMALLOC_SYMBOL(phys_to_virt);
/*
 * Look at all frames of the zone again. False: the system moved some, so what virt_to_phys() said before
 * no longer holds, or split a block; a line says which. May sleep. The library's own.
 */
bool dma_zone_verify(void) KMALLOC_SYMBOL(dma_zone_verify);

#ifdef __cplusplus
}
#endif

#endif
