/* SPDX-License-Identifier: MIT */
/*
 * scan.c - which blocks of a process does nothing point to?
 *
 * Mirrors mm/kmemleak.c: blocks are white; those that a root points to, to their start or inside, become grey, and what they
 * point to in turn; what stays white is unreachable. Differences: the whole scan is of one moment, as the process is stopped
 * meanwhile, so there is no age and no second look; which blocks there are is read from the allocator's own bitmaps, so it
 * costs the program nothing before.
 *
 * Roots are the registers of all threads, vector registers included, and every aligned word of memory that can be read, but
 * for: the windows of slabs and areas; the library's metadata and rings; of thread stacks what is below the stack
 * pointer, as it is left over; pages that were never touched (pagemap says so); and of mappings that can't be
 * written what is still as in the file. What the kernel keeps for the program (roots.h) are roots too.
 *
 * A thread inside the allocator may have objects in its hands that are neither in a sheaf nor the program's. So if one is there the
 * process may go on for a moment, and is stopped again, INSIDE_TRIES times. After that what such a thread may have in its
 * hands counts as referenced.
 *
 * Order: stop; blocks; roots; then the stack of grey blocks until it is empty; what is white, with its first bytes; go on. Memory
 * here: a few bits for each block, the grey stack, and copies of slabs, up to COPY_MAX.
 */
#include "scan.h"

#include "freeze.h"
#include "heap.h"
#include "library.h"
#include "roots.h"
#include "say.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define INSIDE_TRIES 20
#define INSIDE_WORDS 512 /* of a stack that are looked at for a return into the library */
#define BUFFER (256UL << 10)
#define BATCH 512 /* blocks read at once */
#define COPY_MAX (512UL << 20)

struct scan {
	struct process *process;
	struct freeze freeze;
	struct library library;
	struct heap heap;
	struct scan_result *result;
	uint64_t *marked; /* a bit for each block */
	uint64_t *grey;	  /* a stack of blocks: an address in each */
	uint64_t **copy;  /* of each slab; NULL: not read (yet) */
	size_t copied;	  /* bytes of those */
	size_t nr_grey, grey_room;
	uint64_t
		source; /* the block that is scanned for indirect leaks; HEAP_NONE: roots and grey blocks */
	uint64_t *buffer;
};

static void mark_block(struct scan *scan, uint64_t number, uint64_t address)
{
	uint64_t bit = 1UL << (number % 64);

	if (scan->marked[number / 64] & bit || !heap_is_held(&scan->heap, number))
		return;
	scan->marked[number / 64] |= bit;
	if (scan->nr_grey == scan->grey_room) {
		scan->grey_room = scan->grey_room * 2 + 4096;
		scan->grey = xrealloc(scan->grey, scan->grey_room * sizeof(*scan->grey));
	}
	scan->grey[scan->nr_grey++] = address;
}

static void scan_words(struct scan *scan, const uint64_t *words, size_t count)
{
	const struct heap *heap = &scan->heap;
	uint64_t slabs = heap->window_end - heap->window, areas = heap->areas_end - heap->areas;

	for (size_t i = 0; i < count; i++) {
		uint64_t number;

		if (words[i] - heap->window >= slabs && words[i] - heap->areas >= areas)
			continue;
		number = heap_find(heap, words[i]);
		if (number != HEAP_NONE && number != scan->source)
			mark_block(scan, number, words[i]);
	}
}

/* As much as can be read from the start on; the fast way first. */
static size_t read_some(struct scan *scan, uint64_t start, void *buf, size_t size)
{
	struct iovec here = { buf, size }, there = { (void *)(uintptr_t)start, size };
	ssize_t n = process_vm_readv(scan->process->pid, &here, 1, &there, 1, 0);

	if (n > 0)
		return (size_t)n;
	return target_read(&scan->process->target, start, buf, size) == 0 ? size : 0;
}

static void scan_range(struct scan *scan, uint64_t start, uint64_t end)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	start = (start + 7) & ~7UL;
	while (start + sizeof(uint64_t) <= end) {
		size_t size = end - start < BUFFER ? end - start : BUFFER;
		size_t n = read_some(scan, start, scan->buffer, size);

		scan_words(scan, scan->buffer, n / sizeof(uint64_t));
		/* beyond a page that can't be read there may be others */
		start = n ? start + (n & ~7UL) + (n < 8) * page : (start & ~(page - 1)) + page;
	}
}

static void scan_root(uint64_t start, uint64_t end, void *arg)
{
	struct scan *scan = arg;

	scan->result->root_bytes += end - start;
	scan_range(scan, start, end);
}

static void scan_part(uint64_t start, uint64_t end, void *arg)
{
	scan_range(arg, start, end);
}

/*
 * What a block of a slab has in it, from a copy of the whole slab: one call for all of its blocks. NULL: there are too many copies
 * already, or it can't be read whole.
 */
static const uint64_t *copy_of(struct scan *scan, uint64_t address, struct heap_range block)
{
	const struct heap_slab *slab = heap_slab_at(&scan->heap, address);
	size_t index, bytes;

	if (!slab)
		return NULL;
	index = (size_t)(slab - scan->heap.slab);
	bytes = (size_t)slab->size * slab->nr;
	if (!scan->copy[index]) {
		if (scan->copied > COPY_MAX)
			return NULL;
		scan->copied += bytes;
		scan->copy[index] = xmalloc(bytes);
		if (read_some(scan, slab->base, scan->copy[index], bytes) != bytes) {
			free(scan->copy[index]);
			scan->copy[index] = NULL;
			return NULL;
		}
	}
	return scan->copy[index] + (block.start - slab->base) / sizeof(uint64_t);
}

/* Blocks without a copy, many at once. Returns how many of the grey stack's top were done; 0: none. */
static size_t scan_batch(struct scan *scan)
{
	struct iovec there[BATCH], here = { scan->buffer, 0 };
	size_t count = 0;
	ssize_t n;

	while (count < BATCH && count < scan->nr_grey) {
		struct heap_range block =
			heap_block_at(&scan->heap, scan->grey[scan->nr_grey - 1 - count]);

		if (here.iov_len + (block.end - block.start) > BUFFER)
			break;
		there[count++] =
			(struct iovec){ (void *)(uintptr_t)block.start, block.end - block.start };
		here.iov_len += block.end - block.start;
	}
	if (!count)
		return 0;
	n = process_vm_readv(scan->process->pid, &here, 1, there, count, 0);
	if (n != (ssize_t)here.iov_len)
		return 0;
	scan->nr_grey -= count;
	scan_words(scan, scan->buffer, here.iov_len / sizeof(uint64_t));
	return count;
}

static void scan_grey(struct scan *scan)
{
	while (scan->nr_grey) {
		uint64_t address = scan->grey[scan->nr_grey - 1];
		struct heap_range block = heap_block_at(&scan->heap, address);
		const uint64_t *words = copy_of(scan, address, block);

		if (words) {
			scan->nr_grey--;
			scan_words(scan, words, (block.end - block.start) / sizeof(uint64_t));
		} else if (!scan_batch(scan)) {
			scan->nr_grey--;
			roots_present(scan->process->pid, block.start, block.end, false, scan_part,
				      scan);
		}
	}
}

static bool is_text(const struct scan *scan, uint64_t address)
{
	return address >= scan->library.text && address < scan->library.text_end;
}

static size_t read_stack(struct scan *scan, const struct frozen *thread,
			 uint64_t words[INSIDE_WORDS])
{
	uint64_t sp = (thread->regs.rsp + 7) & ~7UL;

	return read_some(scan, sp, words, INSIDE_WORDS * sizeof(uint64_t)) / sizeof(uint64_t);
}

/* Is it, or may it be, inside the allocator? */
static bool is_inside(struct scan *scan, const struct frozen *thread)
{
	uint64_t words[INSIDE_WORDS];
	size_t count;

	if (is_text(scan, thread->regs.rip))
		return true;
	count = read_stack(scan, thread, words);
	for (size_t i = 0; i < count; i++)
		if (is_text(scan, words[i]))
			return true;
	return false;
}

static bool any_inside(struct scan *scan)
{
	for (size_t i = 0; i < scan->freeze.count; i++)
		if (is_inside(scan, &scan->freeze.thread[i]))
			return true;
	return false;
}

/* Stop it, with nobody inside the allocator if that can be had. */
static bool stop(struct scan *scan)
{
	for (int i = 0; i < INSIDE_TRIES; i++) {
		if (!freeze(&scan->freeze, scan->process->pid))
			return false;
		if (!scan->library.shared || !any_inside(scan))
			return true;
		if (i == INSIDE_TRIES - 1)
			break;
		thaw(&scan->freeze);
		usleep(500);
	}
	scan->result->inside = true;
	return true;
}

static bool is_own(const struct scan *scan, uint64_t address)
{
	for (size_t i = 0; i < scan->heap.nr_skip; i++)
		if (address >= scan->heap.skip[i].start && address < scan->heap.skip[i].end)
			return true;
	return false;
}

/*
 * What a thread inside the allocator may have in its hands: the objects of a sheaf, which are not the program's but not known to be
 * free; and an area that is just handed out, or taken back, of which it has the struct.
 */
static void mark_hands(struct scan *scan, const struct frozen *thread)
{
	uint64_t words[INSIDE_WORDS + sizeof(thread->regs) / sizeof(uint64_t)];
	uint64_t objects[SHEAF_CAPACITY_MAX];
	size_t count = read_stack(scan, thread, words);
	struct vmap_area area;

	memcpy(words + count, &thread->regs, sizeof(thread->regs));
	count += sizeof(thread->regs) / sizeof(uint64_t);
	for (size_t i = 0; i < count; i++) {
		if (!is_own(scan, words[i]))
			continue;
		scan_words(scan, objects,
			   remote_sheaf_at(&scan->process->target, words[i], objects));
		if (target_read(&scan->process->target, words[i], &area, sizeof(area)) == 0)
			scan_words(scan, &area.addr, 1);
	}
}

static void scan_threads(struct scan *scan)
{
	for (size_t i = 0; i < scan->freeze.count; i++) {
		const struct frozen *thread = &scan->freeze.thread[i];

		scan_words(scan, (const uint64_t *)&thread->regs,
			   sizeof(thread->regs) / sizeof(uint64_t));
		scan_words(scan, thread->xstate, thread->xstate_words);
		if (scan->result->inside || !scan->library.shared)
			mark_hands(scan, thread);
	}
}

static bool scan_memory(struct scan *scan)
{
	struct roots roots = { .pid = scan->process->pid, .freeze = &scan->freeze };

	for (size_t i = 0; i < scan->heap.nr_skip; i++)
		roots_skip(&roots, scan->heap.skip[i].start, scan->heap.skip[i].end);
	roots_skip(&roots, scan->heap.window, scan->heap.window_end);
	roots_skip(&roots, scan->heap.areas, scan->heap.areas_end);
	if (!roots_visit(&roots, scan_root, scan))
		return false;
	for (size_t i = 0; i < roots.nr_words; i++)
		scan_words(scan, &roots.word[i], 1);
	roots_free(&roots);
	return true;
}

static void add_leak(struct scan *scan, uint64_t number)
{
	struct scan_result *result = scan->result;
	struct heap_range block = heap_block(&scan->heap, number);
	const struct kmem_cache *cache = heap_block_cache(&scan->heap, number);
	struct leak *leak;

	if (result->count == result->room) {
		result->room = result->room * 2 + 64;
		result->leak = xrealloc(result->leak, result->room * sizeof(*leak));
	}
	leak = &result->leak[result->count++];
	*leak = (struct leak){ .address = block.start, .size = block.end - block.start };
	if (cache)
		snprintf(leak->cache, sizeof(leak->cache), "%s", cache->name);
	leak->dumped = read_some(scan, leak->address, leak->dump,
				 leak->size < LEAK_DUMP ? leak->size : LEAK_DUMP);
}

/* All that is white; then which of them others of them point to. */
static void collect(struct scan *scan)
{
	for (uint64_t number = 0; number < scan->heap.nr_blocks; number++) {
		struct heap_range block;

		if (!heap_is_held(&scan->heap, number))
			continue;
		block = heap_block(&scan->heap, number);
		scan->result->blocks++;
		scan->result->bytes += block.end - block.start;
		if (scan->marked[number / 64] >> (number % 64) & 1)
			continue;
		add_leak(scan, number);
	}
	for (size_t i = 0; i < scan->result->count; i++) {
		const struct leak *leak = &scan->result->leak[i];

		scan->source = heap_find(&scan->heap, leak->address);
		roots_present(scan->process->pid, leak->address, leak->address + leak->size, false,
			      scan_part, scan);
		scan->nr_grey = 0;
	}
	for (size_t i = 0; i < scan->result->count; i++) {
		uint64_t number = heap_find(&scan->heap, scan->result->leak[i].address);

		scan->result->leak[i].indirect = scan->marked[number / 64] >> (number % 64) & 1;
	}
}

static bool scan_stopped(struct scan *scan)
{
	if (!heap_read(&scan->heap, scan->process))
		return false;
	scan->marked = xcalloc((scan->heap.nr_blocks + 63) / 64, sizeof(*scan->marked));
	scan->copy = xcalloc(scan->heap.nr_slabs, sizeof(*scan->copy));
	scan_threads(scan);
	if (!scan_memory(scan))
		return false;
	scan_grey(scan);
	collect(scan);
	return true;
}

static int by_address(const void *a, const void *b)
{
	const struct leak *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

bool scan_process(struct process *process, struct scan_result *result)
{
	struct scan scan = { .process = process, .result = result, .source = HEAP_NONE };
	bool done;

	*result = (struct scan_result){ 0 };
	scan.buffer = xmalloc(BUFFER);
	library_find(&process->target, &scan.library);
	done = stop(&scan);
	if (done) {
		result->threads = scan.freeze.count;
		/* the rings, too, are what they are now */
		done = target_refresh(&process->target) == 0 && scan_stopped(&scan);
		thaw(&scan.freeze);
		result->stood_ns = scan.freeze.stood_ns;
	}
	freeze_free(&scan.freeze);
	for (size_t i = 0; scan.copy && i < scan.heap.nr_slabs; i++)
		free(scan.copy[i]);
	free(scan.copy);
	heap_free(&scan.heap);
	free(scan.marked);
	free(scan.grey);
	free(scan.buffer);
	if (result->count)
		qsort(result->leak, result->count, sizeof(*result->leak), by_address);
	return done;
}

void scan_free(struct scan_result *result)
{
	free(result->leak);
	*result = (struct scan_result){ 0 };
}
