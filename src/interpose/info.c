/* SPDX-License-Identifier: MIT */
/*
 * info.c - glibc's questions about, and orders to, its allocator.
 *
 * mallinfo's fields are filled with what they mean here: arena and ordblks for
 * the kmalloc path, hblks and hblkhd for the vmalloc path. mallopt's settings
 * are for another allocator's inner parts: known ones are accepted and have no effect.
 *
 * malloc_info alone uses stdio, on the stream that it was given.
 */
#include "interpose/malloc.h"

#include "kmalloc/account.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/start.h"
#include "lib/fmt.h"
#include "lib/lock.h"
#include "page/meta.h"
#include "page/page.h"
#include "slab/kmem_cache.h"
#include "vmalloc/vmalloc.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

struct usage {
	size_t slabs;	     /* bytes of slab pages */
	size_t slabs_active; /* of them, objects out of slabs: live, or in sheaves */
	struct page_stat pages;
	struct vmalloc_stat areas;
};

/* Objects out of slabs and not in the barn; the two were not counted at one moment. */
static size_t objects_out(const struct kmem_cache_stat *stat)
{
	return stat->active_objs - min_size(stat->active_objs, stat->cached_objs);
}

/* False: not from a handler that interrupted the allocator, and not without memory. */
static bool usage_read(struct usage *usage)
{
	*usage = (struct usage){ 0 };
	if (lock_in_atomic() || !kmalloc_start())
		return false;
	for_each_kmem_cache(cache)
	{
		struct kmem_cache_stat stat;

		kmem_cache_stat(cache, &stat);
		usage->slabs += stat.slab_bytes;
		usage->slabs_active += objects_out(&stat) * stat.object_bytes;
	}
	page_stat(&usage->pages);
	vmalloc_stat(&usage->areas);
	return true;
}

/* malloc_trim(3): returns 1 if memory went back to the system. `pad` has no meaning here. */
exported int malloc_trim(size_t pad)
{
	int saved = errno;
	bool gave = kmalloc_trim();

	(void)pad;
	errno = saved;
	return gave;
}

exported struct mallinfo2 mallinfo2(void)
{
	struct mallinfo2 info = { 0 };
	struct usage usage;

	if (!usage_read(&usage))
		return info;
	info.arena = usage.pages.mapped;
	info.ordblks = usage.slabs / GRANULE_SIZE;
	info.hblks = usage.areas.nr_areas;
	info.hblkhd = usage.areas.bytes;
	info.uordblks = usage.slabs_active + usage.areas.bytes;
	info.fordblks = usage.pages.mapped - min_size(usage.pages.mapped, usage.slabs_active);
	info.keepcost = usage.pages.free_dirty + usage.areas.lazy;
	return info;
}

static int clip(size_t n)
{
	return n > INT_MAX ? INT_MAX : (int)n;
}

/* The older form, whose fields are int: larger numbers are clipped. */
exported struct mallinfo mallinfo(void)
{
	struct mallinfo2 info = mallinfo2();

	return (struct mallinfo){
		.arena = clip(info.arena),
		.ordblks = clip(info.ordblks),
		.hblks = clip(info.hblks),
		.hblkhd = clip(info.hblkhd),
		.uordblks = clip(info.uordblks),
		.fordblks = clip(info.fordblks),
		.keepcost = clip(info.keepcost),
	};
}

/* malloc_stats(3): a summary on standard error, and the account, for which everybody is stopped a while. */
exported void malloc_stats(void)
{
	struct account account;
	struct usage usage;

	usage_read(&usage);
	fmt_print("kmalloc path: %zu bytes mapped, %zu in slabs, %zu in use\n", usage.pages.mapped,
		  usage.slabs, usage.slabs_active);
	fmt_print("vmalloc path: %zu areas, %zu bytes; %zu bytes wait for reuse\n",
		  usage.areas.nr_areas, usage.areas.bytes, usage.areas.lazy);
	fmt_print("metadata:     %zu bytes mapped\n", meta_bytes());
	if (account_read(&account)) {
		fmt_print("where every byte is that the system gave:\n");
		account_print(&account);
	}
}

/* A name that a program chose, so that it stands in an attribute. */
static void print_name(FILE *stream, const char *name)
{
	for (; *name; name++) {
		if (strchr("<>&\"", *name))
			fprintf(stream, "&#%u;", (unsigned char)*name);
		else
			fputc((unsigned char)*name < ' ' ? '?' : *name, stream);
	}
}

/* Classes first, by size: the list has the newest first. */
static void print_cache(FILE *stream, struct kmem_cache *cache)
{
	struct kmem_cache_stat stat;

	kmem_cache_stat(cache, &stat);
	if (!stat.num_slabs)
		return;
	fprintf(stream, "  <cache name=\"");
	print_name(stream, cache->name);
	fprintf(stream, "\" size=\"%zu\" slabs=\"%zu\" active=\"%zu\"/>\n", stat.object_bytes,
		stat.num_slabs, objects_out(&stat));
}

static void print_caches(FILE *stream)
{
	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++)
		print_cache(stream, &kmem_caches[i]);
	for_each_kmem_cache(cache)
	{
		if (cache->flags & KMEM_CACHE_CREATED)
			print_cache(stream, cache);
	}
}

/* malloc_info(3): an XML document on `stream`. 0, or, as glibc, EINVAL for options other than 0. */
exported int malloc_info(int options, FILE *stream)
{
	struct usage usage;
	bool known;

	if (options)
		return EINVAL;
	known = usage_read(&usage);
	fprintf(stream, "<malloc version=\"libkmalloc-1\">\n<sizes>\n");
	if (known)
		print_caches(stream);
	fprintf(stream, "</sizes>\n<system type=\"current\" size=\"%zu\"/>\n",
		usage.pages.mapped + usage.areas.bytes);
	fprintf(stream, "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n", usage.areas.nr_areas,
		usage.areas.bytes);
	fprintf(stream, "<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n</malloc>\n",
		usage.slabs / GRANULE_SIZE, usage.slabs);
	return 0;
}

/* mallopt(3): 1 for the parameters that glibc knows, 0 for others. */
exported int mallopt(int param, int value)
{
	(void)value;
	switch (param) {
	case M_MXFAST:
	case M_TRIM_THRESHOLD:
	case M_TOP_PAD:
	case M_MMAP_THRESHOLD:
	case M_MMAP_MAX:
	case M_CHECK_ACTION:
	case M_PERTURB:
	case M_ARENA_TEST:
	case M_ARENA_MAX:
		return 1;
	default:
		return 0;
	}
}
