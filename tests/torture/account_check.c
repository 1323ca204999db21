/* SPDX-License-Identifier: MIT */
/*
 * account_check.c - comparisons of the account. A failure prints the whole account first.
 */
#include "account.h"

#include "kmalloc/valid.h"
#include "page/page_internal.h"
#include "vmalloc/vmalloc_internal.h"

#include <errno.h>
#include <sys/wait.h>

/* Mappings of this process, joined where they touch; read and write, or none. */
struct maps {
	struct {
		uintptr_t start, end;
	} * entries;
	size_t count;
};

#define IS(account, a, b)                                                                          \
	do {                                                                                       \
		if ((a) != (b)) {                                                                  \
			account_print(account);                                                    \
			CHECK_EQ(a, b);                                                            \
		}                                                                                  \
	} while (0)

void account_adds_up(const struct account *account)
{
	const struct page_account *page = &account->page;
	const struct vmalloc_account *vmalloc = &account->vmalloc;

	CHECK(account->exact);
	IS(account, account->accounted, account->reserved);
	IS(account, page->slabs + page->dirty + page->clean + page->deferred + page->lost,
	   page->mapped);
	IS(account, page->mapped + page->offline + page->foreign, page->window);
	IS(account,
	   vmalloc->live + vmalloc->guards + vmalloc->lazy + vmalloc->lazy_clean + vmalloc->lost +
		   vmalloc->holes + vmalloc->foreign,
	   vmalloc->window);
	CHECK(account->lost_meta <= account->page.meta_used);
}

static struct maps read_maps(void)
{
	FILE *file = fopen("/proc/self/maps", "r");
	struct maps maps = { 0 };
	unsigned long start, end;
	char line[512];

	CHECK(file != NULL);
	while (fgets(line, sizeof(line), file)) {
		CHECK(sscanf(line, "%lx-%lx", &start, &end) == 2);
		maps.entries = realloc(maps.entries, (maps.count + 1) * sizeof(*maps.entries));
		CHECK(maps.entries != NULL);
		maps.entries[maps.count].start = start;
		maps.entries[maps.count++].end = end;
	}
	fclose(file);
	return maps;
}

static size_t bytes_in(const struct maps *maps, uintptr_t start, size_t size)
{
	size_t bytes = 0;

	for (size_t i = 0; i < maps->count; i++) {
		uintptr_t from = max_size(maps->entries[i].start, start);
		uintptr_t to = min_size(maps->entries[i].end, start + size);

		bytes += from < to ? to - from : 0;
	}
	return bytes;
}

void account_is_mapped(const struct account *account, size_t slack)
{
	struct maps maps = read_maps();
	struct meta_view meta;
	struct vmap_view vmap;
	size_t tables = 0, regions = 0;

	meta_view(&meta);
	vmap_view(&vmap);
	IS(account, bytes_in(&maps, window.base, window.max_granules * GRANULE_SIZE),
	   account->page.mapped);
	if (!account->vmalloc.lost) {
		size_t areas = bytes_in(&maps, vmap_base, vmap_end - vmap_base);

		if (areas + slack < account->vmalloc.mapped ||
		    areas > account->vmalloc.mapped + slack)
			IS(account, areas, account->vmalloc.mapped);
	}
	IS(account, bytes_in(&maps, (uintptr_t)window.sections, account->page.maps),
	   account->page.maps);
	for (const struct meta_region *region = meta.regions; region; region = region->next)
		regions += bytes_in(&maps, (uintptr_t)region->start, META_REGION_BYTES);
	IS(account, regions, account->page.meta_mapped);
	for (size_t i = 0; i < vmap.nr_leaves; i++)
		if (vmap.leaves[i])
			tables += bytes_in(&maps, (uintptr_t)vmap.leaves[i], vmap.leaf_bytes);
	IS(account, tables, account->vmalloc.tables);
	free(maps.entries);
}

static bool count_waiting(void *ptr, void *arg)
{
	struct expected *expected = arg;
	unsigned owner = page_owner(ptr);

	if (owner)
		expected->objects[owner]++;
	return true;
}

void account_is(const struct expected *expected)
{
	struct expected all = *expected;
	struct account account;

	CHECK(kmalloc_is_valid() && emergency_is_valid());
	CHECK(account_read(&account));
	account_adds_up(&account);
	account_is_mapped(&account, 0);
	kvmalloc_walk_deferred(count_waiting, &all);
	for (unsigned i = 1; i < KMEM_CACHES_MAX; i++)
		IS(&account, account.slab.caches[i].out, all.objects[i]);
	IS(&account, account.vmalloc.live - account.deferred_areas, expected->areas);
	IS(&account, account.nr_emergency, expected->emergency);
	IS(&account, account.lost, 0UL);
}

void account_fork_child(void)
{
	lock_fork_child();
	percpu_fork_child();
}

int wait_for_child(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		CHECK(errno == EINTR);
	return status;
}
