/* SPDX-License-Identifier: MIT */
/*
 * window.c - the address window of the kmalloc path, in sections of 4 MiB.
 *
 * The kernel's counterpart is the sparse memory map (mm/sparse.c): sections
 * come online one after another, each with its own array of descriptors.
 * Differences: the owner map is flat, so that free() needs one load; sections
 * are address space, so they can go offline again at any time they are free.
 *
 * The window itself is not reserved: it is a range of addresses far from where
 * the system places mappings by itself, and each step maps the next sections
 * with MAP_FIXED_NOREPLACE. A section that somebody else mapped first is
 * skipped for good. So the address space charged to the process is what it
 * uses: `ulimit -v`, also when it is lowered at run time, and strict overcommit
 * see no more than that. Only the two maps are reserved (1/32768 of the window),
 * and committed as it grows.
 *
 * Readers of kmap take no lock: a byte below nr_granules is always readable;
 * nr_granules is published after the byte is. Descriptors of a section that came
 * online are never freed.
 *
 * Huge pages (transparent_hugepage=): adaptive refuses them while the heap is
 * below THP_ADAPTIVE_FROM, so that a small program never pays 2 MiB for a class,
 * and asks for them above.
 *
 * Locks: everything here is guarded by the zone's lock (rank ZONE), held by
 * the caller; descriptors come from meta (rank META).
 */
#include "page/window.h"

#include "lib/param.h"
#include "os/os.h"
#include "page/meta.h"
#include "page/page_internal.h"

#include <errno.h>

#define THP_ADAPTIVE_FROM (64UL << 20)
#define MAP_COMMIT_STEP (16UL << 10)
#define SKIP_MAX 4096 /* sections taken by others in one go: 16 GiB */

struct page_window window hidden;

static size_t kmap_committed;	  /* bytes of kmap that may be read */
static size_t sections_committed; /* bytes of the section table */
static size_t nr_described;	  /* sections that were given descriptors, or skipped */

static size_t table_bytes(size_t granules)
{
	return align_up(granules / SECTION_GRANULES * sizeof(struct page *), os_page_size);
}

size_t window_described(void)
{
	return nr_described;
}

size_t window_maps_bytes(void)
{
	return align_up(window.max_granules, os_page_size) + table_bytes(window.max_granules);
}

bool window_init(uintptr_t base, size_t size)
{
	size_t granules = size >> GRANULE_SHIFT;
	size_t table = table_bytes(granules);
	char *maps = os_reserve(align_up(granules, os_page_size) + table);

	if (!maps)
		return false;
	window.base = base;
	window.sections = (struct page **)maps;
	window.kmap = (uint8_t *)maps + table;
	window.max_granules = granules;
	return true;
}

/* Make one of the two maps readable up to `needed` bytes. */
static bool commit_map(void *map, size_t *committed, size_t needed, size_t limit)
{
	if (needed <= *committed)
		return true;

	size_t target = min_size(align_up(needed, max_size(MAP_COMMIT_STEP, os_page_size)),
				 align_up(limit, os_page_size));

	if (os_commit((char *)map + *committed, target - *committed) != 0)
		return false;
	*committed = target;
	return true;
}

static bool commit_maps(size_t granules)
{
	size_t sections = granules / SECTION_GRANULES;

	return commit_map(window.kmap, &kmap_committed, granules, window.max_granules) &&
	       commit_map(window.sections, &sections_committed, sections * sizeof(struct page *),
			  window.max_granules / SECTION_GRANULES * sizeof(struct page *));
}

/* Give the next sections descriptors, as many of them as there is memory for. */
static size_t describe_sections(size_t section, size_t count)
{
	for (size_t n = 0; n < count; n++) {
		struct page *pages = window.sections[section + n];

		if (pages)
			continue;
		pages = meta_alloc(SECTION_GRANULES * sizeof(struct page), GFP_KERNEL);
		if (!pages)
			return n;
		for (unsigned i = 0; i < SECTION_GRANULES; i++)
			pages[i].granule = (uint32_t)((section + n) * SECTION_GRANULES + i);
		window.sections[section + n] = pages;
		nr_described = max_size(nr_described, section + n + 1);
	}
	return count;
}

/* Somebody else is there: the section is never used, and so nobody reads what it had. */
static void skip_section(size_t section)
{
	meta_free(window.sections[section], SECTION_GRANULES * sizeof(struct page), GFP_KERNEL);
	window.sections[section] = NULL;
}

static void *section_address(size_t section)
{
	return (void *)(window.base + (section << SECTION_SHIFT));
}

static void advise_sections(size_t section, size_t count)
{
	bool huge;

	switch (params.thp) {
	case PARAM_THP_ADAPTIVE:
		huge = section << SECTION_SHIFT >= THP_ADAPTIVE_FROM;
		break;
	case PARAM_THP_NEVER:
		huge = false;
		break;
	default:
		huge = true;
		break;
	}
	os_advise_huge(section_address(section), count << SECTION_SHIFT, huge);
}

size_t window_online(size_t count, size_t *first)
{
	size_t section = window.nr_granules / SECTION_GRANULES;
	size_t total = window.max_granules / SECTION_GRANULES;

	for (unsigned skipped = 0; skipped < SKIP_MAX && section < total; skipped++) {
		count = min_size(count, total - section);
		if (!commit_maps((section + count) * SECTION_GRANULES))
			return 0;

		/* before they are mapped: to unmap again might be refused */
		count = describe_sections(section, count);
		if (!count)
			return 0;

		int err = os_map_at(section_address(section), count << SECTION_SHIFT);

		if (!err) {
			advise_sections(section, count);
			/* pairs with page_owner(): the maps are readable by now */
			__atomic_store_n(&window.nr_granules, (section + count) * SECTION_GRANULES,
					 __ATOMIC_RELEASE);
			*first = section;
			return count;
		}
		if (count > 1)
			count = 1;
		else if (err == -EEXIST)
			skip_section(section++);
		else
			return 0;
	}
	return 0;
}

int window_reonline(size_t section)
{
	int err = os_map_at(section_address(section), SECTION_SIZE);

	if (!err)
		advise_sections(section, 1);
	return err;
}

bool window_offline(size_t section)
{
	return os_unmap(section_address(section), SECTION_SIZE) == 0;
}
