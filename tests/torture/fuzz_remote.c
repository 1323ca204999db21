/* SPDX-License-Identifier: MIT */
/*
 * fuzz_remote.c - libFuzzer: kmem's readers on a process whose memory is damaged, which is this one.
 *
 * What kmem reads of a process comes from here, through the system as ever (process_vm_readv(2)), and with words that the input
 * says laid over it. An input is a row of such words, 12 bytes each: which of the places that kmem looks at, the word
 * there, what kind of value, and the value. Nothing is written. All readers look, one after the other; whatever they
 * find, they end, keep to their own memory, and what they say fits together.
 */
#include "caches.h"
#include "depot.h"
#include "entries.h"
#include "heap.h"
#include "rings.h"

#include "kmalloc/layout.h"
#include "trace/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define WORDS_MAX 64
#define SPOTS_MAX 256
#define BLOCKS 2000
#define AREA 300000

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct spot {
	uint64_t at, words;
} spots[SPOTS_MAX];
static size_t nr_spots;

static struct {
	uint64_t at, value;
} laid[WORDS_MAX];
static size_t nr_laid;

static void check(bool holds)
{
	if (!holds)
		abort();
}

int target_read(const struct target *target, uint64_t address, void *buf, size_t size)
{
	struct iovec here = { buf, size }, there = { (void *)(uintptr_t)address, size };

	if (process_vm_readv(target->pid, &here, 1, &there, 1, 0) != (ssize_t)size)
		return -1;
	for (size_t i = 0; i < nr_laid; i++) {
		uint64_t at = laid[i].at - address;
		size_t first = laid[i].at < address ? address - laid[i].at : 0;

		if (first)
			at = 0;
		if (first >= 8 || at >= size)
			continue;
		memcpy((char *)buf + at, (char *)&laid[i].value + first,
		       8 - first < size - at ? 8 - first : size - at);
	}
	return 0;
}

int target_read_much(struct target *target, uint64_t address, void *buf, size_t size)
{
	return target_read(target, address, buf, size);
}

int target_write(const struct target *target, uint64_t address, const void *buf, size_t size)
{
	char there = 0;

	(void)buf;
	(void)size;
	return target_read(target, address, &there, 1);
}

int target_refresh(struct target *target)
{
	return target_read(target, target->control, &target->state, sizeof(target->state));
}

int target_beat(struct target *target)
{
	return TARGET_WRITE_FIELD(target, beat, 1);
}

static uint64_t word_at(uint64_t address)
{
	struct iovec there = { (void *)(uintptr_t)address, 8 };
	uint64_t word = 0;
	struct iovec here = { &word, 8 };

	/* not by itself: it may be at a place of which this program's own checks say that it is nobody's */
	return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 8 ? word : 0;
}

static void add_spot(uint64_t address, size_t bytes)
{
	if (address && nr_spots < SPOTS_MAX)
		spots[nr_spots++] = (struct spot){ address, bytes / 8 };
}

static void find_spots(void)
{
	const struct trace_places *places = (void *)(uintptr_t)trace_control.places;
	const struct page_window *slabs = (void *)(uintptr_t)places->window;
	uint64_t region = word_at(places->meta_regions);

	add_spot((uintptr_t)&trace_control, sizeof(trace_control));
	add_spot(trace_control.places, sizeof(*places));
	add_spot(places->window, sizeof(*slabs));
	add_spot(places->vmap_base, 8);
	add_spot(places->vmap_top, 8);
	add_spot(places->kmem_caches, sizeof(struct kmem_cache) * KMEM_CACHES_MAX);
	add_spot(places->nr_areas, 8);
	add_spot(places->meta_regions, 8);
	add_spot(places->deferred, 8);
	add_spot(places->areas, 64);
	add_spot(places->vmap_leaves, 64);
	add_spot(word_at(places->vmap_leaves), 4096);
	add_spot((uintptr_t)slabs->kmap, 512);
	add_spot(word_at((uintptr_t)slabs->sections), sizeof(struct page) * 64);
	add_spot(trace_control.depot, sizeof(struct trace_depot));
	add_spot(trace_control.depot + word_at(trace_control.depot),
		 sizeof(struct trace_node) * 256);
	for (uint64_t i = 0; i < 16; i++) {
		uint64_t area = word_at(places->areas + i * 8),
			 ring = word_at(trace_control.rings + i * 8);

		if (area)
			add_spot(places->percpu + area, PERCPU_WORDS * 8);
		if (ring)
			add_spot(trace_control.base + ring, 8192);
	}
	for (int i = 0; region && i < 8; i++) {
		const struct meta_region *link = (void *)(uintptr_t)region;

		add_spot((uintptr_t)link->start, META_REGION_BYTES);
		region = (uintptr_t)link->next;
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	/* traced from the start, so that there are rings with events in them */
	trace_give_up_ms = trace_silent_ms = UINT32_MAX / 2;
	for (int i = 0; i < BLOCKS; i++) {
		void *block = library_entries.malloc((size_t)i % 3000 + 1);

		if (i == 10) {
			trace_control.want_mode = TRACE_ALL;
			trace_control.want_stacks = 1;
			trace_control.want_ring_events = 1024;
			trace_control.generation++;
			__atomic_store_n((uint8_t *)trace_control.divert, 1, __ATOMIC_SEQ_CST);
			memset((void *)(uintptr_t)trace_control.hit_table, 0, 64 * 8);
		}
		if (i % 3)
			library_entries.free(block);
		if (i % 500 == 0)
			check(library_entries.malloc(AREA) != NULL);
	}
	check(trace_control.nr_rings > 0 && trace_control.depot);
	find_spots();
	return 0;
}

/* From 12 bytes: u8 place, u16 word, u8 kind, u64 value. */
static void lay(const uint8_t *bytes)
{
	const struct spot *spot = &spots[bytes[0] % nr_spots], *other;
	uint16_t word;
	uint64_t value;

	memcpy(&word, bytes + 1, sizeof(word));
	memcpy(&value, bytes + 4, sizeof(value));
	laid[nr_laid].at = spot->at + word % spot->words * 8;
	other = &spots[value % nr_spots];
	switch (bytes[3] % 5) {
	case 0:
		value = value % 4096;
		break;
	case 1: /* the address of something */
		value = other->at + (value >> 8) % (other->words * 8);
		break;
	case 2:
		value = word_at(laid[nr_laid].at) ^ 1UL << value % 64;
		break;
	case 3: /* something from elsewhere */
		value = word_at(other->at + (value >> 8) % other->words * 8);
		break;
	default:
		break;
	}
	laid[nr_laid++].value = value;
}

static bool see_area(const struct vmap_area *area, void *arg)
{
	uint64_t *end = arg;

	check(area->addr >= *end && area->span > 0 && area->addr + area->span > area->addr);
	*end = area->addr + area->span;
	return true;
}

uint32_t recording_stack(struct writer *writer, const uint64_t *frames, size_t count, bool cut)
{
	(void)writer;
	(void)cut;
	check(count > 0 && count <= TRACE_STACK_FRAMES && frames[0]);
	return 1;
}

void recording_forget(struct writer *writer)
{
	(void)writer;
}

struct seen {
	uint64_t last;
	struct rings *rings;
	struct depot *depot;
};

static void see_events(const struct raw_event *events, size_t n, void *arg)
{
	struct seen *seen = arg;

	for (size_t i = 0; i < n; i++) {
		uint64_t missing = depot_missing(seen->depot);
		struct event event;

		check(events[i].words[0] >= seen->last);
		seen->last = events[i].words[0];
		if (!rings_decode(seen->rings, &events[i], &event))
			continue;
		check(event.type > TRACE_NONE && event.type < TRACE_NR_TYPES &&
		      event.when == seen->last);
		if (event.stack)
			check(depot_resolve(seen->depot, &event) ==
			      (depot_missing(seen->depot) == missing));
		check(event.stack <= 1);
	}
}

static void read_heap(const struct process *process)
{
	struct heap heap;

	if (heap_read(&heap, process))
		for (uint64_t i = 0; i < heap.nr_blocks; i++) {
			struct heap_range block = heap_block(&heap, i);

			check(block.start < block.end);
			if (heap_is_held(&heap, i))
				heap_block_cache(&heap, i);
		}
	heap_free(&heap);
}

static void read_rings(struct process *process)
{
	struct rings *rings = rings_open(&process->target, true);
	struct seen seen = { .rings = rings, .depot = depot_open(&process->target, NULL, true) };

	for (int pass = 0; pass < 3; pass++) {
		rings_collect(rings, pass == 2, see_events, &seen);
		depot_collect(seen.depot);
	}
	rings_lost(rings);
	depot_lost(seen.depot);
	depot_close(seen.depot);
	rings_close(rings);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct process process = { .pid = getpid() };
	struct cache_rows rows = { 0 };
	struct remote_counts counts;
	uint64_t end = 0;

	nr_laid = 0;
	for (; size >= 12 && nr_laid < WORDS_MAX; size -= 12, bytes += 12)
		lay(bytes);
	process.target = (struct target){ .pid = process.pid, .mem = -1 };
	process.target.control = (uintptr_t)&trace_control;
	if (target_refresh(&process.target) != 0 ||
	    remote_places(&process.target, &process.places) != 0)
		return 0;
	cache_rows_read(&process, &rows);
	for (size_t i = 0; i < rows.count; i++)
		check(strlen(rows.row[i].cache.name) < KMEM_CACHE_NAME_MAX);
	cache_rows_free(&rows);
	remote_count(&process.target, &process.places, &counts);
	remote_areas(&process.target, &process.places, see_area, &end);
	read_heap(&process);
	read_rings(&process);
	return 0;
}
