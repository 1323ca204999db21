/* SPDX-License-Identifier: MIT */
/*
 * report.c - allocation failures, and calls with arguments that can't be right.
 *
 * Mirrors slab_out_of_memory() of mm/slub.c and warn_alloc() of mm/page_alloc.c: as many lines as
 * theirs, at most BURST in INTERVAL_MS, and then how many were left out. Differences: the caller is named;
 * there is one node. And as GFP_ATOMIC makes no system call, a report of such a call only leaves a note, which the
 * next call that may sleep prints, or the end of the program: the kernel's printk_deferred(). Only then is the
 * caller's name looked for, since the dynamic linker's lock goes with it.
 *
 * A note goes FREE -> FILLING -> READY -> PRINTING -> FREE, each step by the thread that took
 * the one before by compare-and-swap (FREE and READY are for anybody to take). When all
 * are taken, a failure is only counted. No locks; any context. A child of fork has none: they are its parent's to print,
 * and the thread that had one in hand is not there.
 */
#include "kmalloc/report.h"

#include "kmalloc/caller.h"
#include "kmalloc/context.h"
#include "lib/fmt.h"
#include "lib/port.h"
#include "os/os.h"

#include <stdatomic.h>
#include <string.h>

#define NR_NOTES 32
#define INTERVAL_MS 5000
#define BURST 10
#define FAULT_TEXT 384

enum { NOTE_FREE, NOTE_FILLING, NOTE_READY, NOTE_PRINTING };

struct note {
	_Atomic int state;
	bool fault; /* its text is in fault_texts[]; only `caller` below holds */
	const struct kmem_cache *cache; /* NULL: there is none */
	const char *what;		/* the call, where there is no cache */
	const void *caller;
	size_t size;
	size_t slabs, objects, inuse;
	gfp_t gfp;
	unsigned cpu;
};

static struct note notes[NR_NOTES];
static char fault_texts[NR_NOTES][FAULT_TEXT]; /* each belongs to the note with its number */
static _Atomic unsigned nr_pending;	       /* notes READY, and failures that found none free */
static _Atomic unsigned nr_missed;
static _Atomic uint64_t interval_start;
static _Atomic unsigned nr_printed; /* in this interval */

static struct note *take_note(int from, int to)
{
	for (size_t i = 0; i < NR_NOTES; i++) {
		int state = from;

		if (atomic_load_explicit(&notes[i].state, memory_order_relaxed) == from &&
		    atomic_compare_exchange_strong(&notes[i].state, &state, to))
			return &notes[i];
	}
	return NULL;
}

static void print(const struct note *note)
{
	char text[CALLER_TEXT], flags[GFP_FORMAT_MAX];
	const struct kmem_cache *cache = note->cache;

	gfp_format(flags, sizeof(flags), note->gfp);
	caller_text(text, note->caller);
	if (!cache) {
		fmt_warn("%s: allocation failure: %zu bytes, mode:0x%x(%s), called from %s",
			 note->what, note->size, note->gfp, flags, text);
		return;
	}
	fmt_warn("SLUB: Unable to allocate memory on CPU %u (of node 0) on node 0, gfp=0x%x(%s), "
		 "called from %s\n"
		 "  cache: %s, object size: %u, buffer size: %u, default order: %u, min order: %u\n"
		 "  node 0: slabs: %zu, objs: %zu, free: %zu",
		 note->cpu, note->gfp, flags, text, cache->name, cache->object_size, cache->size,
		 cache->order + GRANULE_SHIFT - os_page_shift,
		 cache->order + GRANULE_SHIFT - os_page_shift, note->slabs, note->objects,
		 note->objects - min_size(note->inuse, note->objects));
}

static void print_fault(char *text, const void *caller)
{
	char name[CALLER_TEXT];
	char *mark = strchr(text, REPORT_CALLER[0]);

	if (mark)
		*mark++ = 0;
	fmt_warn("%s%s%s", text, mark ? caller_text(name, caller) : "", mark ? mark : "");
}

/* May one more be printed now? */
static bool within_rate(void)
{
	uint64_t now = port_clock_ms();
	uint64_t start = atomic_load_explicit(&interval_start, memory_order_relaxed);

	if (now - start >= INTERVAL_MS &&
	    atomic_compare_exchange_strong(&interval_start, &start, now)) {
		unsigned printed = atomic_exchange(&nr_printed, 0);

		if (printed > BURST)
			fmt_warn("%u reports were left out", printed - BURST);
	}
	return atomic_fetch_add(&nr_printed, 1) < BURST;
}

bool report_is_pending(void)
{
	return atomic_load_explicit(&nr_pending, memory_order_relaxed) != 0;
}

void report_flush(void)
{
	unsigned missed = atomic_exchange(&nr_missed, 0);
	struct note *note;

	while ((note = take_note(NOTE_READY, NOTE_PRINTING)) != NULL) {
		if (note->fault)
			print_fault(fault_texts[note - notes], note->caller);
		else if (within_rate())
			print(note);
		atomic_fetch_sub(&nr_pending, 1);
		atomic_store(&note->state, NOTE_FREE);
	}
	atomic_fetch_sub(&nr_pending, missed);
	if (missed)
		fmt_warn("%u reports were left out", missed);
}

void report_fork_child(void)
{
	for (size_t i = 0; i < NR_NOTES; i++)
		atomic_store(&notes[i].state, NOTE_FREE);
	atomic_store(&nr_pending, 0);
	atomic_store(&nr_missed, 0);
}

static void report(const struct note *filled)
{
	struct note *note;

	if (gfpflags_allow_blocking(filled->gfp)) {
		if (within_rate())
			print(filled);
		return;
	}
	note = take_note(NOTE_FREE, NOTE_FILLING);
	if (note) {
		note->fault = false;
		note->cache = filled->cache;
		note->what = filled->what;
		note->caller = filled->caller;
		note->size = filled->size;
		note->slabs = filled->slabs;
		note->objects = filled->objects;
		note->inuse = filled->inuse;
		note->gfp = filled->gfp;
		note->cpu = filled->cpu;
		atomic_store(&note->state, NOTE_READY);
	} else {
		atomic_fetch_add(&nr_missed, 1);
	}
	atomic_fetch_add(&nr_pending, 1);
}

void report_no_object(const struct kmem_cache *cache, gfp_t gfp, const void *caller)
{
	/* without the lock, which may be held below: near enough */
	size_t slabs = __atomic_load_n(&cache->nr_slabs, __ATOMIC_RELAXED);
	struct note note = {
		.cache = cache,
		.caller = caller,
		.slabs = slabs,
		.objects = slabs * cache->nr_objects,
		.inuse = __atomic_load_n(&cache->nr_inuse, __ATOMIC_RELAXED),
		.gfp = gfp,
		.cpu = os_current_cpu(),
	};

	if (!(gfp & __GFP_NOWARN))
		report(&note);
}

void report_no_memory(const char *what, size_t size, gfp_t gfp, const void *caller)
{
	struct note note = { .what = what, .caller = caller, .size = size, .gfp = gfp };

	if (!(gfp & __GFP_NOWARN))
		report(&note);
}

void report_fault(gfp_t gfp, const void *caller, const char *format, ...)
{
	char text[FAULT_TEXT];
	struct note *note;
	va_list args;

	va_start(args, format);
	fmt_vformat(text, sizeof(text), format, args);
	va_end(args);
	if (gfpflags_allow_blocking(current_gfp_context(gfp))) {
		print_fault(text, caller);
		return;
	}
	note = take_note(NOTE_FREE, NOTE_FILLING);
	if (note) {
		note->fault = true;
		note->caller = caller;
		memcpy(fault_texts[note - notes], text, sizeof(text));
		atomic_store(&note->state, NOTE_READY);
	} else {
		atomic_fetch_add(&nr_missed, 1);
	}
	atomic_fetch_add(&nr_pending, 1);
}
