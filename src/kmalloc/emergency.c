/* SPDX-License-Identifier: MIT */
/*
 * emergency.c - mappings of their own, in a table without locks.
 *
 * The kernel's counterpart is the reserve behind __GFP_HIGH. A plain malloc()
 * in a signal handler must not fail because of where the signal hit; it is
 * rare enough for a mapping, a page or more, each time.
 *
 * A slot's `ptr` is 0 when free, CLAIMED while one thread sets it up or tears it
 * down, else the address handed out. Claims are by compare-and-swap, the address is
 * stored last (release) and compared first (acquire), so a reader that finds
 * its pointer finds the rest. The pointer's owner alone frees it, so no slot
 * changes under a reader who has a right to ask. No locks; any context.
 *
 * A mapping that the system refuses to unmap (another stands beside it, the two became one
 * VMA, and there are too many to split it) stays in its free slot, `len` telling so, and
 * is tried again by whoever claims the slot. `map` and `len` of a free slot are read and
 * written by its claimer alone.
 *
 * nr_used keeps the search off everybody's way: it is counted up before a
 * pointer leaves here, so who holds one never reads 0.
 */
#include "kmalloc/emergency.h"

#include "os/os.h"

#define NR_SLOTS 1024
#define CLAIMED 1UL

static struct emergency_slot slots[NR_SLOTS];
static _Atomic unsigned nr_used;
static _Atomic unsigned nr_stuck; /* free slots whose mapping is still there */

static bool slot_try_claim(struct emergency_slot *slot)
{
	uintptr_t unused = 0;

	return atomic_load_explicit(&slot->ptr, memory_order_relaxed) == 0 &&
	       atomic_compare_exchange_strong(&slot->ptr, &unused, CLAIMED);
}

static void slot_put(struct emergency_slot *slot)
{
	atomic_store_explicit(&slot->ptr, 0, memory_order_release);
}

/* Unmap what a claimed slot had. False: the system refuses, now as before. */
static bool slot_unmap(struct emergency_slot *slot, bool stuck)
{
	if (os_unmap((void *)slot->map, slot->len) != 0)
		return false;
	slot->len = 0;
	if (stuck)
		atomic_fetch_sub(&nr_stuck, 1);
	return true;
}

static struct emergency_slot *slot_claim(void)
{
	for (size_t i = 0; i < NR_SLOTS; i++) {
		if (!slot_try_claim(&slots[i]))
			continue;
		if (!slots[i].len || slot_unmap(&slots[i], true))
			return &slots[i];
		slot_put(&slots[i]);
	}
	return NULL;
}

static struct emergency_slot *slot_find(const void *ptr)
{
	if (likely(atomic_load_explicit(&nr_used, memory_order_relaxed) == 0))
		return NULL;
	if (!ptr || (uintptr_t)ptr & CLAIMED)
		return NULL;
	for (size_t i = 0; i < NR_SLOTS; i++)
		if (atomic_load_explicit(&slots[i].ptr, memory_order_acquire) == (uintptr_t)ptr)
			return &slots[i];
	return NULL;
}

void *emergency_alloc(size_t size, size_t align)
{
	size_t extra = align > os_page_size ? align : 0;
	struct emergency_slot *slot;
	size_t len;
	char *map;

	if (size > PTRDIFF_MAX - extra - os_page_size)
		return NULL;
	slot = slot_claim();
	if (!slot)
		return NULL;
	len = align_up(size + !size + extra, os_page_size);
	map = os_map(len);
	if (!map) {
		slot_put(slot);
		return NULL;
	}
	slot->map = (uintptr_t)map;
	slot->len = len;
	atomic_fetch_add(&nr_used, 1);

	uintptr_t ptr = align_up((uintptr_t)map, max_size(align, os_page_size));

	atomic_store_explicit(&slot->ptr, ptr, memory_order_release);
	return (void *)ptr;
}

bool emergency_free(void *ptr, bool unmap)
{
	struct emergency_slot *slot = slot_find(ptr);
	uintptr_t expected = (uintptr_t)ptr;

	if (!slot || !atomic_compare_exchange_strong(&slot->ptr, &expected, CLAIMED))
		return false;
	if (!unmap || !slot_unmap(slot, false)) {
		/* the mapping waits for the next who claims the slot, or a trim; its pages go if they may */
		if (unmap)
			os_discard((void *)slot->map, slot->len);
		atomic_fetch_add(&nr_stuck, 1);
	}
	atomic_fetch_sub(&nr_used, 1);
	slot_put(slot);
	return true;
}

void emergency_trim(void)
{
	if (likely(!atomic_load(&nr_stuck)))
		return;
	for (size_t i = 0; i < NR_SLOTS; i++) {
		if (!slot_try_claim(&slots[i]))
			continue;
		if (slots[i].len)
			slot_unmap(&slots[i], true);
		slot_put(&slots[i]);
	}
}

size_t emergency_size(const void *ptr)
{
	const struct emergency_slot *slot = slot_find(ptr);

	return slot ? slot->map + slot->len - (uintptr_t)ptr : 0;
}

size_t emergency_account(size_t *bytes, size_t *stuck)
{
	size_t count = 0;

	*bytes = *stuck = 0;
	for (size_t i = 0; i < NR_SLOTS; i++) {
		uintptr_t ptr = atomic_load_explicit(&slots[i].ptr, memory_order_acquire);

		if (ptr > CLAIMED) {
			*bytes += slots[i].len;
			count++;
		} else if (!ptr) {
			*stuck += slots[i].len;
		}
	}
	return count;
}

struct emergency_slot *emergency_table(size_t *count)
{
	*count = NR_SLOTS;
	return slots;
}

size_t emergency_used(void)
{
	return atomic_load_explicit(&nr_used, memory_order_relaxed);
}
