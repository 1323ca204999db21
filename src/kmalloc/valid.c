/* SPDX-License-Identifier: MIT */
/*
 * valid.c - the validators of this room, and the order of all.
 *
 * While others are at work, each room can be looked at under its own locks, but for what
 * hit paths change: the CPUs' areas. These can be read only when the world is stopped
 * (account.c), which takes a barrier from the system; so that is done where the
 * user asked: malloc_trim() in a debug build, and tests.
 *
 * The count of misses is shared by all threads and relaxed: it only spreads the walks.
 */
#include "kmalloc/valid.h"

#include "kmalloc/account.h"
#include "kmalloc/emergency.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/reserve.h"
#include "kmalloc/start.h"
#include "lib/bitrun.h"
#include "lib/lock.h"
#include "lib/param.h"
#include "lib/valid.h"
#include "os/os.h"
#include "page/valid.h"
#include "slab/valid.h"
#include "vmalloc/valid.h"
#include "vmalloc/vmalloc.h"

#define LOOKS 3
#define WAITING_MAX 100000000UL /* a longer list is a ring */

bool emergency_is_valid(void)
{
	size_t nr_slots, count = 0;
	const struct emergency_slot *slots = emergency_table(&nr_slots);

	for (size_t i = 0; i < nr_slots; i++) {
		uintptr_t ptr = atomic_load_explicit(&slots[i].ptr, memory_order_acquire);

		if (!ptr)
			continue;
		count++;
		if (ptr & (os_page_size - 1) || slots[i].map & (os_page_size - 1) ||
		    slots[i].len & (os_page_size - 1) || ptr < slots[i].map ||
		    ptr >= slots[i].map + slots[i].len)
			return invalid("emergency slot %zu: %p is not in its mapping of %zu at %p",
				       i, (void *)ptr, slots[i].len, (void *)slots[i].map);
	}
	if (emergency_used() != count)
		return invalid("emergency: %zu slots in use, %zu counted", count, emergency_used());
	return true;
}

/* NULL, or what can't be so. */
static const char *page_fault(size_t at, const struct reserve_page *page)
{
	if (page->free && page->tag)
		return "it is free, and heads objects";
	if (page->run && (!page->pages || at % BITRUN_UNITS + page->pages > BITRUN_UNITS))
		return "its run is not in one chunk";
	if (page->run && page->slots)
		return "it heads a run, and has free slots";
	if (page->tag && !page->run && page->slots & page->others)
		return "it has slots that can't be in it";
	return NULL;
}

/*
 * There is no lock, and a handler may be at work on a page whoever stands still: its map and its tag are two words. What
 * is wrong is wrong each time that it is looked at.
 */
static bool reserve_page_is_valid(size_t at, struct reserve_page *page)
{
	const char *fault = page_fault(at, page);
	uint64_t tag = page->tag;

	for (unsigned i = 0; fault && i < LOOKS; i++) {
		if (!reserve_read_page(at, page) || page->tag != tag)
			return true;
		fault = page_fault(at, page);
	}
	return !fault || invalid("reserve: page %zu: %s (tag 0x%lx)", at, fault, tag);
}

bool reserve_is_valid(void)
{
	struct reserve_page page;

	for (size_t at = 0; reserve_read_page(at, &page); at++)
		if (!reserve_page_is_valid(at, &page))
			return false;
	return true;
}

struct waiting {
	size_t count;
	bool valid;
};

static bool check_waiting(void *ptr, void *arg)
{
	struct waiting *waiting = arg;
	unsigned owner = page_owner(ptr);

	if (++waiting->count > WAITING_MAX)
		waiting->valid = invalid("deferred list: it has no end");
	else if (owner && !kmem_cache_is_object(page_cache(owner, ptr), ptr))
		waiting->valid = invalid("deferred list: %p is not the start of an object of %s",
					 ptr, page_cache(owner, ptr)->name);
	else if (!owner && !(vmalloc_owns(ptr) && vmalloc_size(ptr)))
		waiting->valid = invalid("deferred list: %p is no object and no area", ptr);
	return waiting->valid;
}

bool deferred_is_valid(void)
{
	struct waiting waiting = { 0, true };

	kvmalloc_walk_deferred(check_waiting, &waiting);
	return waiting.valid;
}

bool rooms_are_valid(void)
{
	return params_are_valid() && locks_are_valid() && kmem_caches_are_valid() &&
	       vmap_is_valid() && zone_is_valid() && meta_is_valid() && reserve_is_valid();
}

static bool world_is_valid(void)
{
	struct account_stopped stopped;
	bool areas = account_stop(&stopped);
	bool valid = rooms_are_valid();

	/* what looks at an area comes before what follows the objects in it */
	if (areas)
		valid = valid && percpu_is_valid() && cached_objects_are_valid() &&
			deferred_is_valid();
	account_start(&stopped);
	return valid;
}

bool kmalloc_is_valid(void)
{
	struct account account;

	if (!world_is_valid() || !account_read(&account))
		return false;
	if (account.accounted != account.reserved)
		return invalid("account: %zu bytes found, %zu reserved", account.accounted,
			       account.reserved);
	return true;
}

void valid_poll(void)
{
	static _Atomic size_t misses;
	size_t n = atomic_fetch_add_explicit(&misses, 1, memory_order_relaxed) + 1;

	if (params.valid_shift < 64 && !(n & ((1UL << params.valid_shift) - 1)))
		rooms_are_valid();
}
