/* SPDX-License-Identifier: MIT */
/*
 * fault_account.c - nothing is lost.
 *
 * After everything is freed and trimmed, the objects out of slabs are as many as before;
 * pages online are slabs and free blocks, to the byte; ranges tile their window, and none
 * is between two states; and the size of the process, less what the library says it has
 * mapped, is what it was: a mapping that nobody knows of any more would show here.
 */
#include "fault.h"

#include "kmalloc/size_class.h"
#include "page/meta.h"
#include "page/page.h"
#include "slab/kmem_cache.h"
#include "vmalloc/vmalloc.h"
#include "vmalloc/vmap_area.h"

#include <fcntl.h>

#define PAGE 4096UL
#define LEAF_BYTES (2 * MIB) /* of the table of areas, for each GiB of the window */
#define LEAF_COVERS (1024 * MIB)
#define LEAVES 4096

/* Bytes of address space of this process, by the system's account. */
static size_t address_space(void)
{
	char text[128];
	int fd = open("/proc/self/statm", O_RDONLY);
	ssize_t n;

	CHECK(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	CHECK(n > 0);
	close(fd);
	text[n] = '\0';
	return strtoul(text, NULL, 10) * PAGE;
}

static size_t check_caches(struct account *account)
{
	size_t slabs = 0;

	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++) {
		struct kmem_cache_stat stat;

		kmem_cache_stat(&kmem_caches[i], &stat);
		CHECK(stat.active_objs <= stat.num_objs);
		CHECK(stat.cached_objs == 0);
		account->objects[i] = stat.active_objs;
		slabs += stat.num_slabs * (GRANULE_SIZE << kmem_caches[i].order);
	}
	return slabs;
}

static size_t check_pages(size_t slabs)
{
	struct page_stat stat;

	page_stat(&stat);
	if (stat.mapped != slabs + stat.free_dirty + stat.free_clean)
		fault_fail("%zu bytes of pages are mapped, but %zu of slabs, %zu dirty, %zu clean",
			   stat.mapped, slabs, stat.free_dirty, stat.free_clean);
	return stat.mapped;
}

/* The table of areas has a leaf for each GiB in which a range begins or ends. */
static void note_leaf(uintptr_t addr, bool *leaves)
{
	size_t leaf = (addr - vmap_base) / LEAF_COVERS;

	CHECK(leaf < LEAVES);
	leaves[leaf] = true;
}

/* Returns the bytes that are mapped of the window of areas, and for its table. */
static size_t check_areas(struct account *account)
{
	size_t mapped = 0, lazy = 0, nr_lazy = 0, nr_holes = 0, live = 0;
	struct vmalloc_stat stat;
	bool hole_before = false;
	bool leaves[LEAVES] = { false };

	vmalloc_stat(&stat);
	for (uintptr_t addr = vmap_base; addr < vmap_top;) {
		const struct vmap_area *area = vmap_find(addr);

		CHECK(area && area->addr == addr && area->span && area->span % PAGE == 0);
		CHECK(vmap_find(addr + area->span - PAGE) == area);
		CHECK(area->state != VMAP_MOVING);
		CHECK(!(hole_before && area->state == VMAP_HOLE));
		hole_before = area->state == VMAP_HOLE;
		nr_holes += area->state == VMAP_HOLE;
		nr_lazy += area->state == VMAP_LAZY;
		lazy += area->state == VMAP_LAZY && !area->zeroed ? area->span : 0;
		account->nr_areas += area->state == VMAP_BUSY;
		account->nr_foreign += area->state == VMAP_FOREIGN;
		live += area->state == VMAP_BUSY ? area->span - PAGE : 0;
		if (area->state == VMAP_BUSY || area->state == VMAP_LAZY)
			mapped += area->span - (area->guard == VMAP_GUARD_GAP ? PAGE : 0);
		note_leaf(addr, leaves);
		addr += area->span;
		note_leaf(addr - PAGE, leaves);
		CHECK(addr <= vmap_top);
	}
	CHECK(vmap_top <= vmap_end);
	CHECK(vmap_nr_holes == nr_holes && vmap_nr_lazy == nr_lazy && vmap_lazy_bytes == lazy);
	CHECK(stat.nr_areas == account->nr_areas && stat.bytes == live);
	for (size_t i = 0; i < LEAVES; i++)
		mapped += leaves[i] ? LEAF_BYTES : 0;
	return mapped;
}

void account_take(struct account *account)
{
	size_t slabs, held;

	*account = (struct account){ 0 };
	/* the second time takes what the first freed of the deferred list */
	malloc_trim(0);
	malloc_trim(0);
	slabs = check_caches(account);
	held = check_pages(slabs) + check_areas(account) + meta_bytes();
	account->unknown = address_space() - held;
}

void account_compare(const struct account *before, const struct account *now, bool foreign)
{
	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++)
		if (before->objects[i] != now->objects[i])
			fault_fail("%s: %zu objects are out of slabs, before it was %zu",
				   kmem_caches[i].name, now->objects[i], before->objects[i]);
	CHECK(before->nr_areas == now->nr_areas);
	if (now->nr_foreign != before->nr_foreign && !foreign)
		fault_fail("%zu ranges of addresses are given up, before it was %zu",
			   now->nr_foreign, before->nr_foreign);
	if (now->unknown != before->unknown)
		fault_fail("%ld KiB of address space more are mapped than the library knows of",
			   ((long)now->unknown - (long)before->unknown) / 1024);
}
