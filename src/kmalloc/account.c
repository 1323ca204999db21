/* SPDX-License-Identifier: MIT */
/*
 * account.c - one walk over the whole allocator that says where every byte is.
 *
 * The kernel's counterpart is /proc/meminfo together with show_mem(). Difference: this
 * one must add up. What the rooms find by walking their lists, bitmaps and tables
 * (accounted) is put beside what their counters say was taken from the system
 * (reserved). A byte that no walk finds, or that two find, shows as a difference.
 *
 * Terms:
 *
 *   reserved = live + cached + waiting             handed out once: by class, by pages
 *            + free_slabs + free_pages + free_areas
 *            + metadata + spare_meta + rest
 *            + lost
 *
 * Metadata has no counter of its own: what is handed out of its regions is known (the
 * regions less the free pieces), and what the walks found in use is subtracted. The
 * remainder is lost_meta.
 *
 * Stopping the world: the locks are taken as before a fork (lib/lock.c); then, under
 * percpu_lock, the entries of all areas go to 0 and a barrier makes every hit in
 * progress end (slab/percpu_drain.c). A thread that misses now fails to try percpu_lock, goes to
 * the slabs, and waits for the cache's lock. Signals are blocked meanwhile: a handler of this
 * thread that forks would release the locks, which it could not tell from its own fork's.
 *
 * The library's own data (tables of areas, of caches and of leaves: .data and .bss) is not
 * counted: it is part of the mapped file.
 */
#include "kmalloc/account.h"

#include "kmalloc/emergency.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/start.h"
#include "lib/fmt.h"
#include "lib/lock.h"
#include "os/os.h"
#include "vmalloc/vmalloc.h"

bool account_stop(struct account_stopped *stopped)
{
	stopped->signals = os_block_signals(0);
	lock_fork_prepare();
	return percpu_stop();
}

void account_start(const struct account_stopped *stopped)
{
	percpu_start();
	lock_fork_parent();
	os_restore_signals(stopped->signals);
}

static bool count_deferred(void *ptr, void *arg)
{
	struct account *account = arg;
	unsigned owner = page_owner(ptr);

	if (owner)
		account->deferred_objects += page_cache(owner, ptr)->size;
	else
		account->deferred_areas += vmalloc_size(ptr);
	return true;
}

static void total(struct account *account)
{
	const struct page_account *page = &account->page;
	const struct slab_account *slab = &account->slab;
	const struct vmalloc_account *vmalloc = &account->vmalloc;
	const struct reserve_account *reserve = &account->reserve;
	size_t found = page->descriptors + slab->sheaves + slab->bitmaps + slab->areas +
		       slab->structs + vmalloc->ranges + account->reserve.chunks;

	account->lost_meta = page->meta_used - found;
	account->waiting = account->deferred_objects + account->deferred_areas + slab->put_off;
	account->live = slab->out + vmalloc->live + account->emergency + reserve->live -
			account->waiting;
	account->cached = slab->cpu + slab->barn;
	account->free_slabs = slab->free + reserve->free_slots;
	account->free_pages = page->dirty + page->clean + page->deferred + page->dma_free +
			      reserve->free_pages;
	account->free_areas = vmalloc->lazy + vmalloc->lazy_clean + account->stuck;
	account->metadata = found + vmalloc->tables + page->maps;
	account->spare_meta = page->meta_pooled + page->meta_uncut + page->meta_links;
	account->rest = slab->rest + reserve->rest + vmalloc->guards - vmalloc->gaps;
	account->lost = page->lost + vmalloc->lost + reserve->lost + account->lost_meta;
	account->accounted = account->live + account->cached + account->waiting +
			     account->free_slabs + account->free_pages + account->free_areas +
			     account->metadata + account->spare_meta + account->rest +
			     account->lost;
	account->reserved = page->mapped + vmalloc->mapped + page->meta_mapped + page->maps +
			    vmalloc->tables + account->emergency + account->stuck + reserve->mapped;
	account->unmapped = page->offline + page->foreign + vmalloc->holes + vmalloc->foreign +
			    vmalloc->gaps;
}

bool account_read(struct account *account)
{
	struct account_stopped stopped;

	if (lock_in_atomic() || !kmalloc_start())
		return false;
	*account = (struct account){ .exact = account_stop(&stopped) };
	page_account(&account->page, slab_account_slab, &account->slab);
	slab_account(&account->slab);
	vmalloc_account(&account->vmalloc);
	account->nr_emergency = emergency_account(&account->emergency, &account->stuck);
	reserve_account(&account->reserve);
	kvmalloc_walk_deferred(count_deferred, account);
	account_start(&stopped);
	total(account);
	return true;
}

void account_print(const struct account *account)
{
	const struct {
		const char *name;
		size_t bytes;
	} terms[] = {
		{ "live", account->live },
		{ "cached in sheaves", account->cached },
		{ "waiting to be freed", account->waiting },
		{ "free in slabs", account->free_slabs },
		{ "free pages", account->free_pages },
		{ "free areas", account->free_areas },
		{ "metadata", account->metadata },
		{ "metadata, free", account->spare_meta },
		{ "ends and guards", account->rest },
		{ "lost", account->lost },
	};

	for (size_t i = 0; i < ARRAY_SIZE(terms); i++)
		fmt_print("  %-20s %16zu\n", terms[i].name, terms[i].bytes);
	fmt_print("  %-20s %16zu%s\n", "reserved", account->reserved,
		  account->accounted == account->reserved ? "" : " (does not add up)");
	fmt_print("  %-20s %16zu\n", "addresses not mapped", account->unmapped);
}
