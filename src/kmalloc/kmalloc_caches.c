/* SPDX-License-Identifier: MIT */
/*
 * kmalloc_caches.c - dma-kmalloc-N, kmalloc-cg-N and kmalloc-sampled-N, and the physical addresses of the former.
 *
 * Mirrors kmalloc_caches[][] of mm/slab_common.c. Differences: a cache is made when first asked for; it
 * has no slot and so no sheaves, since its frees have to be seen: each call is one of its slab's. All
 * of a kind are made at once, so that one call that may sleep is enough for those that may not.
 *
 * Races: an entry is published by compare-and-swap; who loses destroys what it made. No locks
 * of its own.
 */
#include "kmalloc/kmalloc_caches.h"

#include "kmalloc/context.h"
#include "kmalloc/io.h"
#include "kmalloc/size_class.h"
#include "kmalloc/start.h"
#include "lib/fmt.h"
#include "page/zone_dma.h"

static const struct {
	const char *prefix;
	unsigned flags;
} kinds[NR_KMALLOC_KINDS] = {
	[KMALLOC_DMA] = { "dma-", KMEM_CACHE_DMA },
	[KMALLOC_CGROUP] = { "kmalloc-cg", KMEM_CACHE_ACCOUNT },
	[KMALLOC_SAMPLED] = { "kmalloc-sampled", KMEM_CACHE_SAMPLED },
};

static _Atomic(struct kmem_cache *) caches[NR_KMALLOC_KINDS][NR_KMALLOC_CLASSES];

static struct kmem_cache *create(enum kmalloc_kind kind, unsigned index)
{
	const struct kmem_cache *class = &kmem_caches[index];
	char name[KMEM_CACHE_NAME_MAX];
	struct kmem_cache_spec spec = {
		.name = name,
		.object_size = class->object_size,
		.align = min_size(class->align, GRANULE_SIZE),
		.flags = kinds[kind].flags,
		.slotless = true,
	};

	/* dma-kmalloc-64, kmalloc-cg-64, kmalloc-sampled-64 */
	fmt_format(name, sizeof(name), "%s%s", kinds[kind].prefix,
		   class->name + (kind == KMALLOC_DMA ? 0 : sizeof("kmalloc") - 1));
	return kmem_cache_new(&spec);
}

static void create_all(enum kmalloc_kind kind)
{
	for (unsigned index = 1; index < NR_KMALLOC_CLASSES; index++) {
		struct kmem_cache *none = NULL, *made;
		size_t left;

		if (atomic_load_explicit(&caches[kind][index], memory_order_acquire))
			continue;
		made = create(kind, index);
		if (made && !atomic_compare_exchange_strong(&caches[kind][index], &none, made))
			kmem_cache_shutdown(made, 0, NULL, &left);
	}
}

struct kmem_cache *kmalloc_cache_of_kind(enum kmalloc_kind kind, unsigned index, gfp_t gfp)
{
	struct kmem_cache *cache = atomic_load_explicit(&caches[kind][index], memory_order_acquire);

	if (likely(cache) || !gfpflags_allow_blocking(current_gfp_context(gfp)) || !kmalloc_start())
		return cache;
	create_all(kind);
	return atomic_load_explicit(&caches[kind][index], memory_order_acquire);
}

exported phys_addr_t virt_to_phys(const volatile void *address)
{
	return zone_dma_phys((const void *)(uintptr_t)address);
}

exported void *phys_to_virt(phys_addr_t address)
{
	return address == PHYS_ADDR_UNKNOWN ? NULL : zone_dma_virt(address);
}

exported bool dma_zone_verify(void)
{
	return zone_dma_verify();
}
