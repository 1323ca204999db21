/* SPDX-License-Identifier: MIT */
/*
 * stat.c - what `KMALLOC_CMDLINE=stat` prints when the program ends.
 *
 * First the caches in the form of /proc/slabinfo 2.1 (mm/slab_common.c,
 * slabinfo_show()), so that what reads that reads this; then what went each way
 * in the program's whole life. Difference: active_objs are objects in the
 * program's hands, exactly; the kernel counts those in sheaves too. For caches that the
 * program created it is the kernel's number, less what is in the barn.
 *
 * While counting, every CPU is diverted to the slow path, so nothing is missed and
 * the hit path has no counter in it. The counters are relaxed atomics: each
 * is exact, two of them need not be of the same moment.
 *
 * Standard error is duplicated at the start: some programs close it themselves before
 * they end. Nothing is allocated. Where the program ends by exit() in a handler that interrupted
 * the allocator, nobody will release its locks: what needs them is left out.
 */
#include "kmalloc/stat.h"

#include "kmalloc/size_class.h"
#include "lib/fmt.h"
#include "lib/lock.h"
#include "lib/port.h"
#include "os/os.h"
#include "page/meta.h"
#include "slab/kmem_cache.h"
#include "vmalloc/vmalloc.h"

#include <stdatomic.h>

struct counts {
	_Atomic size_t allocs;
	_Atomic size_t frees;
	_Atomic size_t bytes; /* asked for, over all allocations */
};

static struct counts counts[NR_KMALLOC_CLASSES];

void stat_start(void)
{
	fmt_keep_output();
	percpu_divert(PERCPU_DIVERT_STAT, PERCPU_DIVERT_ALL);
}

void stat_count_alloc(unsigned index, size_t size)
{
	atomic_fetch_add_explicit(&counts[index].allocs, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&counts[index].bytes, size, memory_order_relaxed);
}

void stat_count_free(unsigned index)
{
	if (index < NR_KMALLOC_CLASSES)
		atomic_fetch_add_explicit(&counts[index].frees, 1, memory_order_relaxed);
}

static size_t live(unsigned index)
{
	size_t frees = atomic_load_explicit(&counts[index].frees, memory_order_relaxed);
	size_t allocs = atomic_load_explicit(&counts[index].allocs, memory_order_relaxed);

	return allocs > frees ? allocs - frees : 0;
}

static void print_cache(struct kmem_cache *cache, size_t active)
{
	struct kmem_cache_stat stat;

	kmem_cache_stat(cache, &stat);
	fmt_print("%-17s %6lu %6lu %6u %4u %4d : tunables %4u %4u %4u"
		  " : slabdata %6lu %6lu %6lu\n",
		  cache->name, active, stat.num_objs, cache->size, (unsigned)cache->nr_objects,
		  (int)((GRANULE_SIZE << cache->order) / os_page_size), 0U, 0U, 0U, stat.num_slabs,
		  stat.num_slabs, 0UL);
}

static void print_slabinfo(void)
{
	fmt_print("slabinfo - version: 2.1\n"
		  "# name            <active_objs> <num_objs> <objsize> <objperslab> "
		  "<pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata "
		  "<active_slabs> <num_slabs> <sharedavail>\n");
	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++)
		if (atomic_load_explicit(&counts[i].allocs, memory_order_relaxed))
			print_cache(&kmem_caches[i], live(i));
	for_each_kmem_cache(cache)
	{
		struct kmem_cache_stat stat;

		if (!(cache->flags & KMEM_CACHE_CREATED) ||
		    kmem_cache_state(cache) == KMEM_CACHE_DEAD)
			continue;
		kmem_cache_stat(cache, &stat);
		print_cache(cache, stat.active_objs - stat.cached_objs);
	}
}

static void print_kmalloc_path(void)
{
	size_t allocs = 0, frees = 0, bytes = 0, live_bytes = 0;

	fmt_print("\nkmalloc path (requests up to %lu bytes)\n", KMALLOC_MAX_SIZE);
	fmt_print("%-17s %12s %12s %16s %16s\n", "# name", "<allocs>", "<frees>", "<bytes_req>",
		  "<live_bytes>");
	for (unsigned i = 1; i < NR_KMALLOC_CLASSES; i++) {
		size_t class_allocs = atomic_load(&counts[i].allocs);

		if (!class_allocs)
			continue;
		fmt_print("%-17s %12zu %12zu %16zu %16zu\n", kmem_caches[i].name, class_allocs,
			  atomic_load(&counts[i].frees), atomic_load(&counts[i].bytes),
			  live(i) * kmem_caches[i].size);
		allocs += class_allocs;
		frees += atomic_load(&counts[i].frees);
		bytes += atomic_load(&counts[i].bytes);
		live_bytes += live(i) * kmem_caches[i].size;
	}
	fmt_print("%-17s %12zu %12zu %16zu %16zu\n", "total", allocs, frees, bytes, live_bytes);
}

static void print_vmalloc_path(void)
{
	struct vmalloc_stat stat;

	vmalloc_stat(&stat);
	fmt_print("\nvmalloc path (requests above %lu bytes)\n", KMALLOC_MAX_SIZE);
	fmt_print("areas: %zu allocated, %zu freed, %zu live\n", stat.nr_alloc, stat.nr_free,
		  stat.nr_areas);
	fmt_print("bytes: %zu allocated, %zu live, %zu waiting for reuse, %zu returned\n",
		  stat.bytes_alloc, stat.bytes, stat.lazy, stat.purged);
}

static void print_process(void)
{
	struct page_stat pages;
	size_t peak, faults;

	page_stat(&pages);
	os_rusage(&peak, &faults);
	fmt_print("\npages: %zu bytes mapped, %zu free and resident, %zu free and not, "
		  "%zu returned; metadata %zu\n",
		  pages.mapped, pages.free_dirty, pages.free_clean, pages.purged, meta_bytes());
	fmt_print("program: %s, process %d\n", os_program(), port_getpid());
	fmt_print("mode: %s (%s); %u per-CPU areas\n", percpu_mode_name(), percpu_mode_reason(),
		  percpu_nr_areas());
	fmt_print("peak resident: %zu KiB, %zu minor faults\n", peak / 1024, faults);
}

void stat_print(void)
{
	if (lock_in_atomic()) {
		/* exit() in a handler that interrupted the allocator: its locks are ours for good */
		fmt_print("statistics: the program ended inside the allocator: calls alone\n");
		print_kmalloc_path();
		return;
	}
	print_slabinfo();
	print_kmalloc_path();
	print_vmalloc_path();
	print_process();
}
