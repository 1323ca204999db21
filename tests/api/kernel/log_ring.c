/* SPDX-License-Identifier: MIT */
/*
 * A ring of bytes on vmalloc memory, which can be made larger, and records that are written out of
 * a pool, so that they go on when memory is short. Written as for the kernel.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "kernel.h"

static char *ring;
static size_t ring_size, ring_head, ring_tail;
static mempool_t *record_pool;

struct record {
	size_t length;
	char text[120];
};

int ring_init(size_t size)
{
	ring = vzalloc(size);
	if (!ring)
		return -ENOMEM;
	ring_size = size;
	ring_head = ring_tail = 0;
	record_pool = mempool_create_kmalloc_pool(4, sizeof(struct record));
	if (!record_pool) {
		vfree(ring);
		return -ENOMEM;
	}
	return 0;
}

static size_t ring_used(void)
{
	return ring_head - ring_tail;
}

int ring_write(const char *text)
{
	struct record *record = mempool_alloc(record_pool, GFP_NOIO);
	size_t n;

	record->length = min(strlen(text), sizeof(record->text));
	memcpy(record->text, text, record->length);
	n = record->length;
	if (n > ring_size - ring_used()) {
		mempool_free(record, record_pool);
		return -ENOSPC;
	}
	for (size_t i = 0; i < n; i++)
		ring[ring_head++ % ring_size] = record->text[i];
	mempool_free(record, record_pool);
	return 0;
}

size_t ring_read(char *text, size_t size)
{
	size_t n = min_t(size_t, size, ring_used());

	for (size_t i = 0; i < n; i++)
		text[i] = ring[ring_tail++ % ring_size];
	return n;
}

/* Only an empty or unwrapped ring can be enlarged in place; any other is copied. */
int ring_grow(size_t size)
{
	char *larger;

	if (!is_vmalloc_addr(ring) || size < ring_size)
		return -EINVAL;
	if (ring_head <= ring_size) {
		larger = vrealloc(ring, size, GFP_KERNEL | __GFP_ZERO);
		if (!larger)
			return -ENOMEM;
	} else {
		size_t used = ring_used();

		larger = kvzalloc(size, GFP_KERNEL);
		if (!larger)
			return -ENOMEM;
		ring_read(larger, used);
		ring_tail = 0;
		ring_head = used;
		kvfree(ring);
	}
	ring = larger;
	ring_size = size;
	return 0;
}

void ring_exit(void)
{
	mempool_destroy(record_pool);
	kvfree(ring);
}
