/* SPDX-License-Identifier: MIT */
/*
 * vmap_area.c - the ranges of the vmalloc window: bins by size, and the table
 * from address to range.
 *
 * The kernel's counterparts are vmap_node's pools (exact sizes up to 256
 * pages), the tree of free ranges, and find_vmap_area(). Differences: bins
 * of eight per doubling with a bitmap instead of a tree above 256 pages; and a
 * two-level table with a pointer per page, of which only the first and the last
 * page of each range are kept true, so that free is one step and neighbours are
 * found without a search.
 *
 * Invariants, under vmap_lock:
 *  - ranges tile [vmap_base, vmap_top) without gap or overlap;
 *  - table[first page] and table[last page] of each range point to it; entries
 *    between are stale and only ever compared (area->addr == addr), never
 *    trusted; structs are type-stable, so reading a stale one is harmless;
 *  - two holes are never neighbours.
 *
 * Without the lock (vmap_find() of an address that the caller owns, or that is nobody's): the top, the
 * leaves and the entries are read and written whole; an owner's entry is written by no one else, and what is
 * found for any other address is compared only.
 *
 * Leaves of the table cover LEAF_BYTES of the window and are mapped when first
 * needed (2 MiB of address space each; only entries in use become resident).
 */
#include "vmalloc/vmap_area.h"

#include "lib/valid.h"
#include "os/os.h"
#include "page/meta.h"
#include "vmalloc/valid.h"
#include "vmalloc/vmalloc_internal.h"
#include "vmalloc/vmap_guard.h"

#define LEAF_SHIFT 30 /* 1 GiB of the window */
#define LEAF_BYTES (1UL << LEAF_SHIFT)
#define NR_LEAVES (1UL << 16) /* 64 TiB */
#define EXACT_BINS 256U
#define STEPS_PER_DOUBLING 8U
#define NR_BINS (EXACT_BINS + 40 * STEPS_PER_DOUBLING)
#define SCAN_MAX 16

struct bins {
	struct list_head list[NR_BINS];
	uint64_t nonempty[(NR_BINS + 63) / 64];
};

struct lock vmap_lock;
uintptr_t vmap_base, vmap_top, vmap_end;
size_t vmap_lazy_bytes;
size_t vmap_nr_lazy;
size_t vmap_nr_holes;
struct list_head vmap_age;

static struct bins lazy_bins, hole_bins;
static struct vmap_area **leaves[NR_LEAVES];

static void bins_init(struct bins *bins)
{
	for (unsigned i = 0; i < NR_BINS; i++)
		list_init(&bins->list[i]);
}

void vmap_area_init(uintptr_t base, size_t size)
{
	lock_init(&vmap_lock, LOCK_RANK_VMALLOC);
	vmap_base = base;
	vmap_top = base;
	vmap_end = base + min_size(size, NR_LEAVES * LEAF_BYTES);
	list_init(&vmap_age);
	bins_init(&lazy_bins);
	bins_init(&hole_bins);
}

unsigned vmap_bin_of(size_t span)
{
	size_t pages = span >> os_page_shift;
	unsigned log, bin;

	if (pages < EXACT_BINS)
		return (unsigned)pages;
	log = ilog2(pages);
	bin = EXACT_BINS + (log - 8) * STEPS_PER_DOUBLING + (unsigned)((pages >> (log - 3)) & 7);
	return bin < NR_BINS ? bin : NR_BINS - 1;
}

static struct bins *bins_of(enum vmap_state state)
{
	return state == VMAP_LAZY ? &lazy_bins : &hole_bins;
}

static struct vmap_area **leaf_entry(uintptr_t addr)
{
	/* pairs with leaf_prepare() */
	struct vmap_area **leaf =
		__atomic_load_n(&leaves[(addr - vmap_base) >> LEAF_SHIFT], __ATOMIC_ACQUIRE);

	return leaf ? &leaf[((addr - vmap_base) & (LEAF_BYTES - 1)) >> os_page_shift] : NULL;
}

static bool leaf_prepare(uintptr_t addr, gfp_t gfp)
{
	struct vmap_area ***leaf = &leaves[(addr - vmap_base) >> LEAF_SHIFT];

	if (*leaf)
		return true;
	if (!gfpflags_allow_blocking(gfp))
		return false;

	struct vmap_area **fresh = os_map((LEAF_BYTES >> os_page_shift) * sizeof(void *));

	/* pairs with leaf_entry(), which may look without the lock */
	__atomic_store_n(leaf, fresh, __ATOMIC_RELEASE);
	return fresh != NULL;
}

/* Make sure that the entries of a range can be written. */
static bool table_prepare(uintptr_t addr, size_t span, gfp_t gfp)
{
	return leaf_prepare(addr, gfp) && leaf_prepare(addr + span - os_page_size, gfp);
}

static void top_raise(size_t bytes)
{
	__atomic_store_n(&vmap_top, vmap_top + bytes, __ATOMIC_RELAXED);
}

static void table_set(struct vmap_area *area)
{
	__atomic_store_n(leaf_entry(area->addr), area, __ATOMIC_RELAXED);
	__atomic_store_n(leaf_entry(area->addr + area->span - os_page_size), area,
			 __ATOMIC_RELAXED);
}

size_t vmap_table_bytes(void)
{
	size_t bytes = 0;

	for (size_t i = 0; i < NR_LEAVES; i++)
		if (leaves[i])
			bytes += (LEAF_BYTES >> os_page_shift) * sizeof(void *);
	return bytes;
}

struct vmap_area *vmap_find(uintptr_t addr)
{
	struct vmap_area **entry;

	if (addr < vmap_base || addr >= __atomic_load_n(&vmap_top, __ATOMIC_RELAXED))
		return NULL;
	entry = leaf_entry(addr);
	return entry ? __atomic_load_n(entry, __ATOMIC_RELAXED) : NULL;
}

struct vmap_area *vmap_next(const struct vmap_area *area)
{
	return vmap_find(area->addr + area->span);
}

struct vmap_area *vmap_prev(const struct vmap_area *area)
{
	return vmap_find(area->addr - os_page_size);
}

static void bin_add(struct vmap_area *area)
{
	struct bins *bins = bins_of(area->state);
	unsigned bin = vmap_bin_of(area->span);

	list_add(&area->bin, &bins->list[bin]);
	bins->nonempty[bin / 64] |= 1UL << (bin % 64);
}

static void bin_del(struct vmap_area *area)
{
	struct bins *bins = bins_of(area->state);
	unsigned bin = vmap_bin_of(area->span);

	list_del(&area->bin);
	if (list_empty(&bins->list[bin]))
		bins->nonempty[bin / 64] &= ~(1UL << (bin % 64));
}

static void count_holes(int delta)
{
	__atomic_store_n(&vmap_nr_holes, vmap_nr_holes + (size_t)delta, __ATOMIC_RELAXED);
}

void vmap_isolate(struct vmap_area *area)
{
	bin_del(area);
	if (area->state == VMAP_LAZY) {
		vmap_nr_lazy--;
		if (!area->zeroed)
			vmap_lazy_bytes -= area->span;
		list_del(&area->age);
	} else {
		count_holes(-1);
	}
	area->state = VMAP_MOVING;
}

void vmap_put_lazy(struct vmap_area *area, uint32_t stamp)
{
	area->state = VMAP_LAZY;
	area->stamp = stamp;
	vmap_nr_lazy++;
	list_init(&area->age);
	if (!area->zeroed) {
		vmap_lazy_bytes += area->span;
		list_add(&area->age, &vmap_age);
	}
	bin_add(area);
	debug_valid(vmap_area_is_valid(area));
}

bool vmap_can_join(const struct vmap_area *area, const struct vmap_area *upper)
{
	return area && upper && area->state == VMAP_LAZY && upper->state == VMAP_LAZY &&
	       !area->moved && !upper->moved;
}

void vmap_join(struct vmap_area *area, struct vmap_area *upper)
{
	area->span += upper->span;
	area->guard = upper->guard;
	table_set(area);
	if (upper->moved)
		vmap_moved_put();
	upper->addr = 0; /* a stale entry must not match */
	meta_free(upper, sizeof(*upper), GFP_KERNEL);
}

void vmap_put_hole(struct vmap_area *area)
{
	struct vmap_area *next = vmap_next(area);
	struct vmap_area *prev = vmap_prev(area);

	area->guard = VMAP_GUARD_NONE;
	area->moved = false;
	area->zeroed = false;
	if (next && next->state == VMAP_HOLE) {
		vmap_isolate(next);
		vmap_join(area, next);
	}
	if (prev && prev->state == VMAP_HOLE) {
		vmap_isolate(prev);
		vmap_join(prev, area);
		area = prev;
	}
	area->state = VMAP_HOLE;
	count_holes(1);
	bin_add(area);
	debug_valid(vmap_area_is_valid(area));
}

static struct vmap_area *area_create(uintptr_t addr, size_t span, gfp_t gfp)
{
	struct vmap_area *area;

	if (!table_prepare(addr, span, gfp))
		return NULL;
	area = meta_alloc(sizeof(*area), gfp);
	if (!area)
		return NULL;
	list_init(&area->bin);
	list_init(&area->age);
	area->addr = addr;
	area->span = span;
	area->state = VMAP_MOVING;
	return area;
}

struct vmap_area *vmap_split(struct vmap_area *area, size_t span, gfp_t gfp)
{
	struct vmap_area *upper;

	if (!leaf_prepare(area->addr + span - os_page_size, gfp))
		return NULL;
	upper = area_create(area->addr + span, area->span - span, gfp);
	if (!upper)
		return NULL;
	upper->guard = area->guard;
	upper->moved = area->moved;
	if (upper->moved)
		vmap_moved_add();
	upper->zeroed = area->zeroed;
	area->span = span;
	area->guard = VMAP_GUARD_NONE;
	table_set(area);
	table_set(upper);
	return upper;
}

/* Bytes to skip at the start of a range to be aligned; SIZE_MAX: it does not fit. */
static size_t fit(const struct vmap_area *area, size_t span, size_t align)
{
	size_t skip = align ? -area->addr & (align - 1) : 0;

	return skip <= area->span && area->span - skip >= span ? skip : SIZE_MAX;
}

/* The smallest of the first few entries of a bin that fits. */
static struct vmap_area *best_in_bin(struct list_head *list, size_t span, size_t align)
{
	struct vmap_area *area, *best = NULL;
	unsigned scanned = 0;

	list_for_each_entry(area, list, bin) {
		if (fit(area, span, align) != SIZE_MAX && (!best || area->span < best->span))
			best = area;
		if (++scanned == SCAN_MAX || (best && best->span == span))
			break;
	}
	return best;
}

static struct vmap_area *best_fit(struct bins *bins, size_t span, size_t align)
{
	unsigned bin = vmap_bin_of(span);
	uint64_t word = bins->nonempty[bin / 64] & (~0UL << (bin % 64));

	for (unsigned i = bin / 64;;) {
		for (; word; word &= word - 1) {
			struct list_head *list =
				&bins->list[i * 64 + (unsigned)__builtin_ctzl(word)];
			struct vmap_area *best = best_in_bin(list, span, align);

			if (best)
				return best;
		}
		if (++i == ARRAY_SIZE(bins->nonempty))
			return NULL;
		word = bins->nonempty[i];
	}
}

/* Give back what a cut left over; for lazy ranges both parts stay mapped. */
static void put_rest(struct vmap_area *area, enum vmap_state state, uint32_t stamp)
{
	if (state == VMAP_HOLE) {
		vmap_put_hole(area);
		return;
	}
	vmap_put_lazy(area, stamp);
}

struct vmap_area *vmap_take(enum vmap_state state, size_t span, size_t align, gfp_t gfp)
{
	struct vmap_area *area = best_fit(bins_of(state), span, align);

	lock_assert_held(&vmap_lock);
	if (!area)
		return NULL;

	uint32_t stamp = area->stamp;
	size_t skip = fit(area, span, align);

	vmap_isolate(area);
	if (skip) {
		struct vmap_area *upper = vmap_split(area, skip, gfp);

		put_rest(area, state, stamp);
		if (!upper)
			return NULL;
		area = upper;
	}
	if (area->span > span + (state == VMAP_LAZY ? span / VMAP_SLACK : 0)) {
		struct vmap_area *upper = vmap_split(area, span, gfp);

		if (!upper) {
			put_rest(area, state, stamp);
			return NULL;
		}
		put_rest(upper, state, stamp);
	}
	debug_valid(vmap_area_is_valid(area));
	return area;
}

struct vmap_area *vmap_extend(size_t span, size_t align, gfp_t gfp)
{
	size_t skip = align ? -vmap_top & (align - 1) : 0;
	struct vmap_area *area;

	lock_assert_held(&vmap_lock);
	if (vmap_end - vmap_top < skip || vmap_end - vmap_top - skip < span)
		return NULL;
	if (skip) {
		area = area_create(vmap_top, skip, gfp);
		if (!area)
			return NULL;
		top_raise(skip);
		table_set(area);
		vmap_put_hole(area);
	}
	area = area_create(vmap_top, span, gfp);
	if (!area)
		return NULL;
	top_raise(span);
	table_set(area);
	debug_valid(vmap_area_is_valid(area));
	return area;
}

void vmap_view(struct vmap_view *view)
{
	view->lazy = (struct vmap_bins_view){ lazy_bins.list, lazy_bins.nonempty, NR_BINS };
	view->holes = (struct vmap_bins_view){ hole_bins.list, hole_bins.nonempty, NR_BINS };
	view->leaves = leaves;
	view->nr_leaves = NR_LEAVES;
	view->leaf_bytes = (LEAF_BYTES >> os_page_shift) * sizeof(void *);
}
