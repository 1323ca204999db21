/* SPDX-License-Identifier: MIT */
/* live.c - the objects of a recording that are live, by address. At removal those that follow shift backwards. */
#include "live.h"

#include "say.h"

#include <string.h>
#include <sys/mman.h>

#define FIRST_ROOM 1024U
#define RELEASED (1UL << 17) /* entries, 4 MiB, a power of two */

static struct live *map(size_t room)
{
	size_t bytes = room * sizeof(struct live);
	struct live *entry =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (entry == MAP_FAILED)
		give_up("no memory for %zu live objects", room);
	if (bytes >= 4UL << 20)
		madvise(entry, bytes, MADV_HUGEPAGE); /* or not: then it is slower */
	return entry;
}

void live_free(struct live_table *table)
{
	if (table->entry)
		munmap(table->entry, table->room * sizeof(*table->entry));
	*table = (struct live_table){ 0 };
}

/* Entries up to and with this one are not needed any more. */
static void pass(const struct live_table *table, size_t at)
{
	if (at % RELEASED == RELEASED - 1)
		madvise(&table->entry[at + 1 - RELEASED], RELEASED * sizeof(*table->entry),
			MADV_DONTNEED);
}

const struct live *live_drain(struct live_table *table, size_t *at)
{
	while (*at < table->room) {
		if (*at)
			pass(table, *at - 1);
		if (table->entry[(*at)++].ptr)
			return &table->entry[*at - 1];
	}
	live_free(table);
	return NULL;
}

void live_grow(struct live_table *table)
{
	struct live_table old = *table;

	table->room = old.room ? old.room * 2 : FIRST_ROOM;
	table->shift = 64 - (unsigned)__builtin_ctzl(table->room);
	table->entry = map(table->room);
	/* both are in the order of their hashes: as the new one fills up the old one can go */
	for (size_t i = 0; i < old.room; i++) {
		if (old.entry[i].ptr)
			*live_find(table, old.entry[i].ptr) = old.entry[i];
		pass(&old, i);
	}
	live_free(&old);
}

void live_remove(struct live_table *table, struct live *live)
{
	size_t mask = table->room - 1, hole = (size_t)(live - table->entry), at = hole;

	for (;;) {
		size_t home;

		at = (at + 1) & mask;
		if (!table->entry[at].ptr)
			break;
		home = live_home(table, table->entry[at].ptr);
		/* may it move to the hole: is its home not between the hole and it? */
		if (((at - home) & mask) >= ((at - hole) & mask)) {
			table->entry[hole] = table->entry[at];
			hole = at;
		}
	}
	table->entry[hole].ptr = 0;
	table->nr--;
}

void live_clear(struct live_table *table)
{
	if (table->room)
		memset(table->entry, 0, table->room * sizeof(*table->entry));
	table->nr = 0;
}
